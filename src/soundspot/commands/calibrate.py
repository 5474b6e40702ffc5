"""`soundspot calibrate`: what a model's numbers mean."""

from __future__ import annotations

import argparse

from soundspot.commands.common import add_device, refuse_overwriting

SENTENCE = "Fit a model's confidence on pairs and negatives."


def define(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add = parser.add_argument
    add("checkpoint", metavar="MODEL", help="a trained model")
    add("manifest", metavar="MANIFEST", nargs="+", help="pairs and negatives to calibrate on")
    add("--out", metavar="FILE", required=True, help="the calibrated model")
    add("--method", metavar="M", help="the method that the model will use by default")
    add("--size", metavar="SIDE", type=int, help="the side that pictures are fitted to")
    add(
        "--proportions",
        choices=("kept", "square"),
        help="fit pictures in their own proportions, or squeeze them to the square",
    )
    add("--base", metavar="NAME", help="leave out the sound tower of this embedded model")
    add_device(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run and say what came of it."""
    from soundspot.calibrate import calibrate

    refuse_overwriting([arguments.out], [arguments.checkpoint, *arguments.manifest])
    said = calibrate(
        arguments.checkpoint,
        arguments.manifest,
        arguments.out,
        method=arguments.method,
        size=arguments.size,
        keeps_proportions=None
        if arguments.proportions is None
        else arguments.proportions == "kept",
        base=arguments.base,
        device=arguments.device,
    )
    print(said)
    return 0
