"""`soundspot data`: which sets there are, whether one is all there, and whether lists leak."""

from __future__ import annotations

import argparse

from soundspot.commands.common import refuse_overwriting, write_json

SENTENCE = "Check data sets, and training lists against test lists."


def define(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command and of its three parts."""
    parts = parser.add_subparsers(title="parts", metavar="PART", dest="part", required=True)

    known = parts.add_parser("list", help="the data sets, and where to get each")
    known.set_defaults(act=_list)

    check = parts.add_parser("check", help="count a data set's samples, open its files")
    check.add_argument("name", metavar="NAME", help="from `soundspot data list`")
    check.add_argument("root", metavar="ROOT", help="its folder; of a manifest, the file")
    check.add_argument(
        "--option", metavar="KEY=VALUE", action="append", default=[], help="may be given again"
    )
    check.add_argument("--decode", action="store_true", help="sounds and videos to their end")
    check.set_defaults(act=_check)

    leaks = parts.add_parser("leaks", help="find test ids in training lists")
    leaks.add_argument("--train", metavar="LIST", nargs="+", required=True)
    leaks.add_argument("--test", metavar="LIST", nargs="+", required=True)
    leaks.set_defaults(act=_leaks)

    for part in (check, leaks):
        part.add_argument("--json", metavar="FILE", help="write what is found; - prints it")


def run(arguments: argparse.Namespace) -> int:
    """Do the part; exit code 1 where something is missing, broken or leaked."""
    return int(arguments.act(arguments))


def _list(arguments: argparse.Namespace) -> int:
    from soundspot.data import DATASETS

    for name, kind in DATASETS.items():
        print(f"{name:16} {kind.sentence}")
        print(f"{'':16} from {kind.source}")
        print(f"{'':16} ROOT holds {kind.layout}")
        for known in kind.options():
            print(f"{'':16} {known.name}={known.default}  {known.metadata['help']}")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from tqdm import tqdm

    from soundspot.data import DATASETS, named_options
    from soundspot.errors import OptionError

    if arguments.name not in DATASETS:
        raise OptionError(
            f"there is no data set {arguments.name!r}; there are {', '.join(DATASETS)}"
        )
    refuse_overwriting([arguments.json], [arguments.root])
    data = DATASETS[arguments.name].opened(arguments.root, named_options(arguments.option))
    found = data.check(
        decode=arguments.decode,
        watch=lambda samples: tqdm(samples, "checking", unit=" samples", disable=None),
    )
    if arguments.json != "-":
        print(*found.lines(), sep="\n")
    if arguments.json:
        write_json(arguments.json, found.json())
    return 0 if found.ok else 1


def _leaks(arguments: argparse.Namespace) -> int:
    from soundspot.data.leaks import find_leaks

    refuse_overwriting([arguments.json], [*arguments.train, *arguments.test])
    found = find_leaks(arguments.train, arguments.test)
    if arguments.json != "-":
        print(*found.lines(), sep="\n")
    if arguments.json:
        write_json(arguments.json, found.json())
    return 1 if found.found else 0
