"""`soundspot distill`: a sound tower from a teacher."""

from __future__ import annotations

import argparse
from pathlib import Path

SENTENCE = "Train a sound tower to hear as a teacher does."


def define(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add = parser.add_argument
    add("sounds", metavar="SOUNDS", nargs="+", type=Path, help="folders of recordings")
    add("--teacher", metavar="FILE", type=Path, required=True, help="yamnet.safetensors")
    add("--out", metavar="RUN", type=Path, required=True, help="folder of the run")
    add("--steps", metavar="N", type=int, default=5900, help="steps in all (default: 5900)")
    add("--seed", metavar="N", type=int, default=0, help="of everything random (default: 0)")
    add("--bfloat16", action="store_true", help="half the time where processors support it")


def run(arguments: argparse.Namespace) -> int:
    """Run and say what came of it."""
    from soundspot.distill import distill

    path = distill(
        sounds=arguments.sounds,
        teacher=arguments.teacher,
        out=arguments.out,
        steps=arguments.steps,
        seed=arguments.seed,
        bfloat16=arguments.bfloat16,
    )
    print(f"trained: {path}")
    return 0
