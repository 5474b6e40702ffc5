"""`soundspot average`: several runs made one model."""

from __future__ import annotations

import argparse

from soundspot.commands.common import refuse_overwriting

SENTENCE = "Average the weights of several runs of one model."


def define(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add = parser.add_argument
    add("checkpoints", metavar="MODEL", nargs="+", help="trained with one --seed; two or more")
    add("--out", metavar="FILE", required=True, help="the mean of them")


def run(arguments: argparse.Namespace) -> int:
    """Run and say what came of it."""
    from soundspot.averaging import average

    refuse_overwriting([arguments.out], arguments.checkpoints)
    average(arguments.checkpoints, arguments.out)
    print(f"{arguments.out}: the mean of {len(arguments.checkpoints)} models; calibrate it next")
    return 0
