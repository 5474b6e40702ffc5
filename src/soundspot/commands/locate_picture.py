"""`soundspot locate IMAGE SOUND`: one pair."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from soundspot.commands import locate_sources
from soundspot.commands.common import CUTS, cuts, load_model, refuse_overwriting, write_json
from soundspot.errors import OptionError
from soundspot.files import what_is

OPTIONS = {*CUTS, "sound", "output", "json", "map"} | locate_sources.OPTIONS
SUFFIXES = {"output": (".png", ".jpg", ".jpeg", ".webp"), "map": (".npy", ".png")}
"""Names that the writers take."""


def define(group: argparse._ArgumentGroup) -> None:
    """Options that only a picture takes."""
    group.add_argument("--map", metavar="FILE", help="write the map: .npy (raw) or .png (grey)")


def run(arguments: argparse.Namespace) -> int:
    """Locate, write what is asked for, and say it in one line."""
    if arguments.sound is None:
        raise OptionError(f"{arguments.input}: {_missing(Path(arguments.input))}")
    _check_outputs(arguments)
    locate_sources.check(arguments)
    if arguments.sources is not None:
        return locate_sources.run(arguments)
    from soundspot.locating import locate

    model = load_model(arguments)
    result = locate(
        model,
        arguments.input,
        arguments.sound,
        arguments.method,
        device=arguments.device,
        **cuts(arguments),
    )
    if arguments.output:
        result.save(arguments.output)
    if arguments.map:
        result.save_map(arguments.map)
    drawn = f", drawn in {arguments.output}" if arguments.output else ""
    answer = str(result) + drawn + (f", map in {arguments.map}" if arguments.map else "")
    if arguments.json:
        write_json(arguments.json, result.json())
    print(answer, file=sys.stderr if arguments.json == "-" else sys.stdout)
    return 0


def _missing(given: Path) -> str:
    """What is wanted beside the only file that was given."""
    what = what_is(given)
    if what is not None and what.endswith("sound"):
        return f"is {what}; a picture is needed too: soundspot locate IMAGE SOUND"
    why = "" if what is not None else "is no video; for a picture "
    return f"{why}a sound is needed too: soundspot locate IMAGE SOUND"


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Refuse, before any work is done, names that no writer takes and files that are read."""
    for name, suffixes in SUFFIXES.items():
        value = getattr(arguments, name)
        if value is not None and Path(value).suffix.lower() not in suffixes:
            raise OptionError(f"{value}: --{name} takes a name ending in {', '.join(suffixes)}")
    refuse_overwriting(
        (arguments.output, arguments.map, arguments.json),
        (arguments.input, arguments.sound, arguments.model),
    )
