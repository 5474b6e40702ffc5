"""`soundspot calibrate`: what a model's numbers mean."""

from __future__ import annotations

import argparse

from soundspot.commands.common import add_device, refuse_overwriting
from soundspot.errors import OptionError

SENTENCE = "Fit a model's confidence on pairs and negatives."
MODEL_OUT = "the calibrated model: a file ending in .safetensors, or a folder"


def define(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add = parser.add_argument
    add("checkpoint", metavar="MODEL", help="a trained model: a file, a folder or a name")
    add("manifest", metavar="MANIFEST", nargs="+", help="pairs and negatives to calibrate on")
    add("--out", metavar="OUT", required=True, help=MODEL_OUT)
    add(
        "--method",
        metavar="M",
        help="the method that the model will use by default (default: the model's own)",
    )
    add(
        "--size",
        metavar="SIDE",
        type=int,
        help="the side in pixels that pictures are fitted to (default: the model's own)",
    )
    add(
        "--proportions",
        choices=("kept", "square"),
        help="fit pictures in their own proportions, or squeeze them to the square (default: the "
        "model's own)",
    )
    add(
        "--base",
        metavar="NAME",
        help="leave out the sound tower of this embedded model (default: keep it in)",
    )
    add_device(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run and say what came of it."""
    from soundspot.calibrate import calibrate
    from soundspot.models.saving import check_name

    if arguments.checkpoint.lower().endswith(".jsonl"):
        raise OptionError(
            f"{arguments.checkpoint} is a manifest, and a model is missing before it: "
            "soundspot calibrate MODEL MANIFEST... --out FILE"
        )
    refuse_overwriting([arguments.out], [arguments.checkpoint, *arguments.manifest])
    check_name(arguments.out)
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
    print(f"written: {arguments.out}")
    return 0
