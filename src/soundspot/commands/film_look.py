"""How the film of `soundspot locate CLIP.mp4 -o where.mp4` looks, of one source or of several."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from soundspot.errors import OptionError

if TYPE_CHECKING:
    from soundspot.render_film import Look

OPTIONS = ("opacity", "side_by_side", "curve", "no_boxes")


def define(group: argparse._ArgumentGroup) -> None:
    """The options."""
    add_flag(group, "--side-by-side", "the untouched picture to the left")
    add_flag(group, "--curve", "the confidence so far, or who sounded when, below the picture")
    group.add_argument(
        "--opacity", metavar="X", type=float, help="of the heat, 0 to 1 (default: 0.65)"
    )
    add_flag(group, "--no-boxes", "draw no boxes")


def add_flag(group: argparse._ArgumentGroup, name: str, says: str) -> None:
    """A switch whose absence can be told from its being off."""
    group.add_argument(name, action="store_true", default=None, help=says)


def check(arguments: argparse.Namespace) -> None:
    """Refuse a look where no film is written.

    Raises:
        OptionError: naming the option.
    """
    for name in OPTIONS:
        if getattr(arguments, name) is not None and not arguments.output:
            raise OptionError(f"--{name.replace('_', '-')} changes how a film looks; it needs -o")


def look_of(arguments: argparse.Namespace) -> Look:
    """What was asked for."""
    from soundspot.render_film import Look

    given: dict[str, Any] = {n: v for n in OPTIONS[:-1] if (v := getattr(arguments, n)) is not None}
    return Look(**given, boxes=not arguments.no_boxes)
