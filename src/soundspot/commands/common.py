"""What several commands share."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundspot.errors import OptionError

if TYPE_CHECKING:
    from soundspot.similarity import Similarity


CUTS = {"threshold", "visible"}
"""Arguments of `add_cuts`."""
TRACKS_SUFFIX = ".jsonl"


def add_cuts(group: argparse._ArgumentGroup) -> None:
    """Arguments that take the place of the model's own thresholds."""
    add = group.add_argument
    add(
        "--threshold",
        metavar="T",
        type=float,
        help="raw map value at and above which a pixel belongs to the source "
        "(default: the calibrated one)",
    )
    add(
        "--visible",
        metavar="P",
        type=float,
        help="confidence, 0 to 1, from which a source is called visible (default: the model's)",
    )


def cuts(arguments: argparse.Namespace) -> dict[str, float | None]:
    """What `add_cuts` was given, by name."""
    return {name: getattr(arguments, name) for name in sorted(CUTS)}


def add_model(parser: argparse.ArgumentParser, default: str = "default") -> None:
    """Arguments that choose a model and where it runs."""
    parser.add_argument(
        "--model",
        metavar="NAME",
        default=default,
        help="from `soundspot models`, a file, a folder, a hub id or package.module:function "
        f"(default: {default})",
    )
    add_device(parser)


def add_device(parser: argparse.ArgumentParser) -> None:
    """The argument that says where to run."""
    parser.add_argument(
        "--device", metavar="D", default="auto", help="auto, cpu, cuda or mps (default: auto)"
    )


def load_model(arguments: argparse.Namespace) -> Similarity:
    """The model that `add_model` chose."""
    return model_named(arguments.model, arguments.device)


def model_named(name: str, device: str) -> Similarity:
    """A model by its name; one in code is tried on noise first.

    Raises:
        CheckpointError: there is no such model, or it is broken.
        ModelError: the code cannot be imported, or does not answer as a model must.
    """
    from soundspot.checkpoint import EMBEDDED, load
    from soundspot.locating import pick_device
    from soundspot.user_model import import_model, names_code, try_model

    if name in EMBEDDED or not names_code(name) or Path(name).exists():
        return load(name)
    model = import_model(name)
    try_model(model, pick_device(device))
    return model


def require_folder(name: str, option: str) -> None:
    """Refuse a file where a folder for many results is wanted.

    Raises:
        OptionError: it is a file.
    """
    if Path(name).exists() and not Path(name).is_dir():
        raise OptionError(f"{name} is a file; give {option} a folder, which is made where missing")


def refuse_overwriting(outputs: Iterable[str | None], inputs: Iterable[str | Path]) -> None:
    """Refuse outputs that are read from, and two that are the same file; - is the terminal.

    Raises:
        OptionError: naming the file.
    """
    taken = {Path(name).resolve() for name in inputs}
    for name in outputs:
        if name is None or name == "-":
            continue
        if Path(name).resolve() in taken:
            raise OptionError(f"{name}: is read from or written twice; write to another file")
        taken.add(Path(name).resolve())


def require_film_outputs(arguments: argparse.Namespace) -> None:
    """Refuse a video of which nothing is to be written.

    Raises:
        OptionError: saying what could be.
    """
    if not (arguments.output or arguments.tracks or arguments.json or arguments.listen):
        listen = "" if arguments.sources is None else ", --listen DIR"
        raise OptionError(
            f"{arguments.input} is a video: say what to write: -o FILM.mp4, --tracks FILE.jsonl"
            f"{listen} or --json FILE"
        )
    if arguments.tracks == "-":
        raise OptionError("--tracks -: give a file; --json - prints the summary")
    if arguments.tracks and Path(arguments.tracks).suffix.lower() != TRACKS_SUFFIX:
        raise OptionError(f"{arguments.tracks}: --tracks takes a name ending in {TRACKS_SUFFIX}")


def say_what_is_encoded_again(sound: str | Path, film: str | Path) -> None:
    """One line where a film cannot hold its sound as it is: never in silence."""
    from soundspot.media.film_sound import plan_sound
    from soundspot.media.film_writer import check_film_name

    check_film_name(film)
    note = plan_sound(sound, film).note
    if note is not None:
        print(note, file=sys.stderr)


def write_json(target: str, data: Any) -> None:
    """Print (target -), or write beside and rename."""
    text = json.dumps(data, indent=2)
    if target == "-":
        print(text)
        return
    from soundspot.files import write_beside

    with write_beside(target) as beside:
        beside.write_text(text + "\n")
