"""`soundspot average`: several runs made one model."""

from __future__ import annotations

import argparse

from soundspot.commands.common import refuse_overwriting

SENTENCE = "Average the weights of several runs of one model."


def define(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add = parser.add_argument
    add(
        "checkpoints",
        metavar="MODEL",
        nargs="+",
        help="trained with one --seed; two or more, or one with --tower-kept",
    )
    add(
        "--tower-kept",
        metavar="SHARE",
        type=float,
        default=1.0,
        help="how much of what the picture tower learned is kept; the rest goes back to its "
        "ImageNet weights (default 1)",
    )
    add(
        "--out",
        metavar="OUT",
        required=True,
        help="the mean of them: a file ending in .safetensors, or a folder",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run and say what came of it."""
    from soundspot.averaging import average
    from soundspot.models.saving import check_name

    refuse_overwriting([arguments.out], arguments.checkpoints)
    check_name(arguments.out)
    average(arguments.checkpoints, arguments.out, tower_kept=arguments.tower_kept)
    count = len(arguments.checkpoints)
    what = f"the mean of {count} models" if count > 1 else "the model with its tower taken back"
    print(f"{arguments.out}: {what}; calibrate it next")
    return 0
