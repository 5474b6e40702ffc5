"""`soundspot separate`: the sound of one pixel."""

from __future__ import annotations

import argparse

from soundspot.commands.common import add_model, load_model, refuse_overwriting
from soundspot.errors import MethodError, OptionError

SENTENCE = "Separate the sound that one place in a picture makes."
SEPARATES = "pixel_sound"
"""The model that comes with soundspot and does so."""


def define(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add = parser.add_argument
    add("image", metavar="IMAGE", help="a picture")
    add("sound", metavar="SOUND", help="a sound, or a video's sound track")
    add("--at", metavar="X,Y", required=True, help="the place, in pixels of the picture")
    add("-o", "--output", metavar="OUT", required=True, help="the sound: .wav, .flac or .ogg")
    add_model(parser, default=SEPARATES)


def run(arguments: argparse.Namespace) -> int:
    """Separate, write, and say how much is left."""
    place = _place(arguments.at)
    refuse_overwriting([arguments.output], [arguments.image, arguments.sound, arguments.model])
    from soundspot.band_mask import MasksSound
    from soundspot.separating import separate

    model = load_model(arguments)
    if not isinstance(model, MasksSound):
        raise MethodError(
            f"{arguments.model}: does not separate sounds; leave --model out, or give one that "
            f"does, as {SEPARATES} does"
        )
    separated = separate(model, arguments.image, arguments.sound, place, device=arguments.device)
    separated.save(arguments.output)
    print(f"{separated}; written to {arguments.output}")
    return 0


def _place(text: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise OptionError(f"--at {text}: give two numbers, such as --at 120,80") from None
    return x, y
