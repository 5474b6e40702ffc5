"""`soundspot locate`: one pair, or a manifest of many."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from soundspot.commands.common import add_model, load_model, refuse_overwriting, write_json
from soundspot.errors import OptionError

SENTENCE = "Find where in a picture a sound comes from."
SUFFIXES = {"output": (".png", ".jpg", ".jpeg", ".webp"), "map": (".npy", ".png")}
"""Names that the writers take."""


def define(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add = parser.add_argument
    add("input", metavar="IMAGE", help="a picture, or a manifest ending in .jsonl")
    add("sound", metavar="SOUND", nargs="?", help="a sound, or a video's sound track")
    add("-o", "--output", metavar="OUT", help="draw map and boxes: .png, .jpg or .webp")
    add("--json", metavar="FILE", help="write the answer as JSON; - prints it")
    add("--map", metavar="FILE", help="write the map: .npy (raw float32) or .png (grey)")
    add("--method", metavar="M", help="how to make the map (default: the model's own choice)")
    add_model(parser)
    many = parser.add_argument_group("for a manifest of many pairs")
    many.add_argument("--out-dir", metavar="DIR", help="where the results go")
    many.add_argument("--save", metavar="LIST", help="overlay,json,map (default: first two)")
    many.add_argument("--batch", metavar="N", type=int, help="pairs at a time (default: 8)")


def run(arguments: argparse.Namespace) -> int:
    """Locate, write what is asked for, and say it in one line."""
    if arguments.input.lower().endswith(".jsonl"):
        return _locate_manifest(arguments)
    if arguments.sound is None:
        raise OptionError(f"{arguments.input}: a sound is needed too: soundspot locate IMAGE SOUND")
    for name in ("out_dir", "save", "batch"):
        if getattr(arguments, name) is not None:
            option = name.replace("_", "-")
            raise OptionError(f"--{option} goes with a manifest (.jsonl), not with one picture")
    _check_outputs(arguments)
    from soundspot.locating import locate

    model = load_model(arguments)
    result = locate(
        model, arguments.input, arguments.sound, arguments.method, device=arguments.device
    )
    if arguments.output:
        result.save(arguments.output)
    if arguments.map:
        result.save_map(arguments.map)
    answer = str(result) + (f", drawn in {arguments.output}" if arguments.output else "")
    if arguments.json:
        write_json(arguments.json, result.json())
    print(answer, file=sys.stderr if arguments.json == "-" else sys.stdout)
    return 0


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


def _locate_manifest(arguments: argparse.Namespace) -> int:
    if arguments.out_dir is None:
        raise OptionError(f"{arguments.input}: a manifest needs --out-dir DIR for its results")
    single = [f"--{n}" for n in ("output", "json", "map") if getattr(arguments, n) is not None]
    if arguments.sound is not None or single:
        extra = single[0] if single else arguments.sound
        raise OptionError(f"{extra} goes with a single picture; a manifest takes --save")
    batch = 8 if arguments.batch is None else arguments.batch
    if batch < 1:
        raise OptionError("--batch is at least 1")
    from soundspot.batch import locate_all
    from soundspot.data.manifest import read_manifest
    from soundspot.locating import Locator

    samples = list(read_manifest(arguments.input))
    locator = Locator(load_model(arguments), arguments.method, device=arguments.device)
    words = "overlay,json" if arguments.save is None else arguments.save
    save = [word.strip() for word in words.split(",") if word.strip()]
    tally = locate_all(locator, samples, Path(arguments.out_dir), save, batch=batch)
    print(
        f"{tally.located} located, {tally.already_done} done before, {tally.failed} failed; "
        f"results in {arguments.out_dir}"
    )
    return 1 if tally.failed else 0
