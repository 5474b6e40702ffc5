"""`soundspot train`: a model from pairs, alone or under torchrun."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import Field
from typing import Any

SENTENCE = "Train a model from pairs, without boxes or class targets."
EXAMPLES = """\
  soundspot train DATA --out RUN                        the default model
  soundspot train --config attention-144k --data D --out RUN
  soundspot train SHARDS1 SHARDS2 'more/*' --out RUN    several folders of shards, mixed
  torchrun --nproc-per-node 8 -m soundspot train ...    on 8 GPUs

The same command on an unfinished RUN goes on with it. Recipes that --config knows by name:
  """


def define(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    from soundspot.recipes import keys, names

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES + ", ".join(names())
    parser.add_argument("DATA", nargs="*", help="the same as --data")
    parser.add_argument("--config", metavar="F", help="a YAML file, or a recipe by its name")
    parser.add_argument(
        "--print_config", "--print-config", action="store_true",
        help="print what the run would be told, as YAML, and do nothing",
    )  # fmt: skip
    for option in keys().values():
        _add(parser, option)


def _add(parser: argparse.ArgumentParser, option: Field[Any]) -> None:
    """One key as an option; left out, it is None."""
    flags = ["--" + option.name.replace("_", "-")]
    if option.name == "steps":
        flags.append("--max-steps")
    help_text = f"{option.metadata['help']} (default: {_defaults(option)})"
    if isinstance(option.default, bool):
        parser.add_argument(
            *flags, action=argparse.BooleanOptionalAction, default=None, help=help_text
        )
        return
    if isinstance(option.default, tuple):
        parser.add_argument(
            *flags, nargs="+", action="extend", metavar=option.name.upper(), help=help_text
        )
        return
    kind = type(option.default)
    metavar = "N" if kind in {int, float} else option.name.upper()
    parser.add_argument(*flags, type=kind, metavar=metavar, help=help_text)


def _defaults(option: Field[Any]) -> str:
    """What an option is for the models, those that differ named."""
    from soundspot.options import RECIPES

    usual = option.default
    others = {model: getattr(recipe, option.name, usual) for model, recipe in RECIPES.items()}
    differ = [f"{model} {value}" for model, value in others.items() if value != usual]
    text = "none" if usual in ("", ()) else str(usual)
    shown = ("yes" if usual else "no") if isinstance(usual, bool) else text
    return ", ".join([shown, *differ])


def run(arguments: argparse.Namespace) -> int:
    """Run and say what came of it."""
    from soundspot.errors import OptionError
    from soundspot.recipes import keys, merge, read_config

    given = {name: getattr(arguments, name) for name in keys()}
    told = {name: value for name, value in given.items() if value is not None}
    if arguments.DATA:
        if told.get("data", arguments.DATA) != arguments.DATA:
            both = " and ".join(" ".join(given) for given in (arguments.DATA, told["data"]))
            raise OptionError(f"train: data are given twice, {both}")
        told["data"] = arguments.DATA
    if "data" in told:
        told["data"] = tuple(told["data"])
    config = merge(read_config(arguments.config) if arguments.config else {}, told)
    if arguments.print_config:
        print(config.text(), end="")
        return 0
    for name in ("data", "out"):
        if not getattr(config.places, name):
            raise OptionError(f"train: give --{name}, or {name} in a configuration")
    from soundspot.train import train
    from soundspot.training.stopping import StoppedError

    places, first = config.places, os.environ.get("RANK", "0") == "0"
    try:
        path = train(
            places.data,
            places.out,
            config.options,
            model=places.model,
            sound_tower=places.sound_tower,
            bank=places.bank or None,
            device=places.device,
            handling=config.handling,
        )
    except StoppedError as stopped:
        if first:
            print(f"soundspot: {stopped}", file=sys.stderr)
        return stopped.exit_code
    if first:
        print(f"trained: {path}; now `soundspot calibrate {path} MANIFEST... --out MODEL`")
    return 0
