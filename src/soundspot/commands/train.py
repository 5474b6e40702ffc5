"""`soundspot train`: a model from pairs."""

from __future__ import annotations

import argparse

from soundspot.commands.common import add_device

SENTENCE = "Train a model from pairs, without boxes or class targets."


def define(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    from dataclasses import fields

    from soundspot.options import TrainOptions

    add = parser.add_argument
    add("data", metavar="DATA", help="a manifest (.jsonl), or a folder with images/SET, sounds/SET")
    add("--sound-tower", metavar="FILE", required=True, help="from `soundspot distill`")
    add("--out", metavar="RUN", required=True, help="folder of the run; an unfinished one goes on")
    add_device(parser)
    for option in fields(TrainOptions):
        parser.add_argument(
            "--" + option.name.replace("_", "-"),
            type=type(option.default),
            default=option.default,
            metavar="N",
            help=f"{option.metadata['help']} (default: {option.default})",
        )


def run(arguments: argparse.Namespace) -> int:
    """Run and say what came of it."""
    from dataclasses import fields

    from soundspot.options import TrainOptions
    from soundspot.train import train

    options = TrainOptions(**{f.name: getattr(arguments, f.name) for f in fields(TrainOptions)})
    path = train(
        arguments.data, arguments.sound_tower, arguments.out, options, device=arguments.device
    )
    print(f"trained: {path}; now `soundspot calibrate {path} MANIFEST... --out MODEL`")
    return 0
