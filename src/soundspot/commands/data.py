"""`soundspot data`: which sets there are, whether one is all there, whether lists leak; shards."""

from __future__ import annotations

import argparse
from pathlib import Path

from soundspot.commands.common import refuse_overwriting, write_json
from soundspot.commands.data_pack import (
    check_shards,
    define_info,
    define_pack,
    pack_data,
    show_info,
)
from soundspot.files import one_line

SENTENCE = "Check data sets and lists; pack videos into shards for training."


def define(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command and of its parts."""
    parts = parser.add_subparsers(title="parts", metavar="PART", dest="part", required=True)

    known = parts.add_parser("list", help="the data sets, and where to get each")
    known.set_defaults(act=_list)

    check = parts.add_parser("check", help="count a data set's samples, open its files")
    check.add_argument("name", metavar="NAME", help="from `soundspot data list`, or SHARDS alone")
    check.add_argument(
        "root", metavar="ROOT", nargs="?", help="its folder; of a manifest, the file"
    )
    check.add_argument(
        "--option", metavar="KEY=VALUE", action="append", default=[], help="may be given again"
    )
    check.add_argument("--decode", action="store_true", help="sounds and videos to their end")
    check.set_defaults(act=_check)

    leaks = parts.add_parser("leaks", help="find test ids in training lists")
    leaks.add_argument(
        "--train",
        metavar="LIST",
        nargs="+",
        required=True,
        help="what was trained on: manifests, or lists with an id a line (.txt, .csv, .json)",
    )
    leaks.add_argument(
        "--test", metavar="LIST", nargs="+", required=True, help="what is judged: the same"
    )
    leaks.set_defaults(act=_leaks)

    pack = parts.add_parser("pack", help="decode a source once, into shards for training")
    define_pack(pack)
    pack.set_defaults(act=pack_data)

    info = parts.add_parser("info", help="what is inside shards, with a contact sheet")
    define_info(info)
    info.set_defaults(act=show_info)

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

    if arguments.root is None:
        return _check_alone(arguments)
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


def _check_alone(arguments: argparse.Namespace) -> int:
    """One word: a folder of shards."""
    from soundspot.errors import OptionError

    if not Path(arguments.name).is_dir():
        there = "is no folder" if Path(arguments.name).exists() else "does not exist"
        raise OptionError(
            f"{one_line(arguments.name)} {there}; give a folder of shards, or NAME ROOT of a known "
            "data set (`soundspot data list`)"
        )
    if arguments.option:
        raise OptionError("--option goes with NAME ROOT, not with shards")
    return check_shards(Path(arguments.name), arguments.json)


def _leaks(arguments: argparse.Namespace) -> int:
    from soundspot.data.leaks import find_leaks

    refuse_overwriting([arguments.json], [*arguments.train, *arguments.test])
    found = find_leaks(arguments.train, arguments.test)
    if arguments.json != "-":
        print(*found.lines(), sep="\n")
    if arguments.json:
        write_json(arguments.json, found.json())
    return 1 if found.found else 0
