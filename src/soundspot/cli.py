"""The command line: parse, call one function, print.

Nothing heavy is imported until a command needs it, so `soundspot --help` answers at once.
Exit codes: 0 done, 1 some entries of a batch failed, 2 wrong use or unusable input.

Whoever reads what is printed may leave before the end. A command that only prints is done then; one
that writes files goes on without being seen (`soundspot.streams`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from soundspot import __version__
from soundspot.commands import (
    average,
    calibrate,
    data,
    distill,
    evaluate,
    live,
    locate,
    methods,
    models,
    protocols,
    separate,
    train,
)
from soundspot.errors import SoundspotError
from soundspot.files import one_line
from soundspot.memory import keep_freed
from soundspot.streams import lasting, to_nowhere

COMMANDS = (
    locate,
    live,
    separate,
    methods,
    models,
    evaluate,
    protocols,
    data,
    train,
    distill,
    average,
    calibrate,
)
"""In the order of the help."""
FILES = ("out", "out_dir", "output", "map", "tracks", "html", "json", "config")
"""Arguments that name what a command writes; with `--config` it may be named in there."""

INTRO = """\
Find where in a picture a sound comes from.

  soundspot locate cat.jpg meow.wav -o where.png    draw where the sound comes from
  soundspot locate pairs.jsonl --out-dir results    the same for many pairs
  soundspot locate clip.mp4 -o where.mp4            the same for a video, frame by frame
  soundspot live                                    the same with camera and microphone
  soundspot separate IMAGE SOUND --at X,Y -o O.wav  hear what one pixel sounds like
  soundspot methods                                 the ways to make a map
  soundspot models                                  the models at hand
  soundspot evaluate pairs.jsonl                    score methods against true boxes
  soundspot protocols                               the ways to judge maps
  soundspot data check NAME ROOT                    is a data set all there?
  soundspot train DATA --out RUN                    train a model from pairs alone

`soundspot COMMAND --help` explains a command."""


class _OneLineParser(argparse.ArgumentParser):
    """A parser whose complaints are one line, exit code 2, and that guesses no abbreviations."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """What a command does not know is its own complaint, so that its own help is named."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"soundspot: {one_line(message)} (see `{self.prog} --help`)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = _parser().parse_args(argv)
    keep_freed()
    output = sys.stdout
    only_prints = not _writes_files(arguments)
    with lasting(sys.stderr, None if only_prints else output):
        try:
            return _answer(arguments)
        except BrokenPipeError as error:
            if not only_prints:
                return _refuse(f"{one_line(error)}; a process that it talks to is gone")
            to_nowhere(output)  # its reader has enough, as in `soundspot protocols | head`
            return 0


def _answer(arguments: argparse.Namespace) -> int:
    try:
        code = int(arguments.run(arguments) or 0)
        sys.stdout.flush()
    except SoundspotError as error:
        return _refuse(one_line(error))
    except BrokenPipeError:
        raise
    except OSError as error:
        return _refuse(f"{one_line(error)}; check the path and the disk")
    except MemoryError:
        return _refuse("out of memory; try a smaller --batch or picture")
    except KeyboardInterrupt:
        print("soundspot: stopped; finished results are kept", file=sys.stderr)
        return 130
    return code


def _refuse(why: str) -> int:
    print(f"soundspot: {why}", file=sys.stderr)
    return 2


def _writes_files(arguments: argparse.Namespace) -> bool:
    """Whether a command was told to write any file."""
    given = vars(arguments)
    return any(given.get(name) not in {None, "-"} for name in FILES)


def _parser() -> argparse.ArgumentParser:
    parser = _OneLineParser(
        prog="soundspot", description=INTRO, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"soundspot {__version__}")
    parser.set_defaults(run=lambda _: print(parser.format_help(), end=""))
    places = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in COMMANDS:
        name = command.__name__.rpartition(".")[2]
        place = places.add_parser(name, help=command.SENTENCE, description=command.SENTENCE)
        command.define(place)
        place.set_defaults(run=command.run)
    return parser
