"""`soundspot evaluate`: methods against true boxes, beside rows that look at nothing."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from soundspot.commands.common import add_model, load_model, refuse_overwriting, write_json

if TYPE_CHECKING:
    from soundspot.localize import Method

SENTENCE = "Score methods against true boxes."
EVERY_METHOD = (
    "similarity_map",
    "input_gradient",
    "guided_backprop",
    "grad_cam",
    "combined(similarity_map, input_gradient)",
    "combined(similarity_map, guided_backprop)",
)
"""What `--methods all` means; occlusion takes its name to be asked for, being so slow."""


def define(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add = parser.add_argument
    add("manifest", metavar="MANIFEST", nargs="+", help="pairs with true boxes, and negatives")
    add("--methods", metavar="A,B", help="methods, or all (default: the model's own choice)")
    add("--json", metavar="FILE", help="write the report as JSON; - prints it")
    add("--batch", metavar="N", type=int, default=8, help="pairs at a time (default: 8)")
    add_model(parser)


def run(arguments: argparse.Namespace) -> int:
    """Judge and print the table; exit code 1 where samples could not be read."""
    from soundspot.benchmark import evaluate
    from soundspot.data.manifest import read_manifest
    from soundspot.locating import Locator

    samples = [s for path in arguments.manifest for s in read_manifest(path)]
    media = (path for sample in samples for path in (sample.image, sample.sound))
    refuse_overwriting([arguments.json], [*arguments.manifest, arguments.model, *media])
    model = load_model(arguments)
    own = repr(Locator(model, device=arguments.device).method)
    report = evaluate(
        model,
        samples,
        _methods_named(arguments.methods, own),
        device=arguments.device,
        batch=arguments.batch,
        progress=True,
    )
    if arguments.json != "-":
        print(report.table())
    if arguments.json:
        write_json(arguments.json, report.json())
    return 1 if report.failures else 0


def _methods_named(text: str | None, own: str) -> list[Method]:
    """The methods to judge: named, all, or the model's own."""
    from soundspot.localize import parse, parse_many

    if text is None:
        return [parse(own)]
    if text.strip() == "all":
        return [parse(name) for name in dict.fromkeys((*EVERY_METHOD, own))]
    return parse_many(text)
