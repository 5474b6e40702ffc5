"""`soundspot train`: a model from pairs."""

from __future__ import annotations

import argparse

from soundspot.commands.common import add_device

SENTENCE = "Train a model from pairs, without boxes or class targets."


def define(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    from dataclasses import fields

    from soundspot.options import RECIPES, TrainOptions

    add = parser.add_argument
    add("data", metavar="DATA", help="a manifest (.jsonl), or a folder with images/SET, sounds/SET")
    add("--out", metavar="RUN", required=True, help="folder of the run; an unfinished one goes on")
    add("--model", choices=RECIPES, default="two_tower", help="what to train (default: two_tower)")
    add(
        "--sound-tower",
        metavar="FILE",
        default="default",
        help="from `soundspot distill` (default: the default model's)",
    )
    add("--bank", metavar="DIR", help="where heard sounds are kept, to share (default: RUN)")
    add_device(parser)
    for option in fields(TrainOptions):
        parser.add_argument(
            "--" + option.name.replace("_", "-"),
            type=type(option.default),
            metavar="N",
            help=f"{option.metadata['help']} (default: {_defaults(option.name)})",
        )


def _defaults(name: str) -> str:
    """What an option is for the models, those that differ named."""
    from soundspot.options import RECIPES

    usual = getattr(RECIPES["two_tower"], name)
    others = {model: getattr(recipe, name) for model, recipe in RECIPES.items()}
    differ = [f"{model} {value}" for model, value in others.items() if value != usual]
    return ", ".join([str(usual), *differ])


def run(arguments: argparse.Namespace) -> int:
    """Run and say what came of it."""
    from dataclasses import fields, replace

    from soundspot.options import RECIPES, TrainOptions
    from soundspot.train import train

    given = {f.name: getattr(arguments, f.name) for f in fields(TrainOptions)}
    told = {name: value for name, value in given.items() if value is not None}
    path = train(
        arguments.data,
        arguments.out,
        replace(RECIPES[arguments.model], **told),
        model=arguments.model,
        sound_tower=arguments.sound_tower,
        bank=arguments.bank,
        device=arguments.device,
    )
    print(f"trained: {path}; now `soundspot calibrate {path} MANIFEST... --out MODEL`")
    return 0
