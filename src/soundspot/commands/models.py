"""`soundspot models`: the models at hand; with `--fetch`, one more from the hub."""

from __future__ import annotations

import argparse

SENTENCE = "List the models at hand, or fetch one from the Hugging Face Hub."


def define(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "--fetch",
        metavar="OWNER/NAME[@REVISION]",
        help="download this model into the hub's local cache; nothing else uses the network",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print each name with one sentence; first fetch what is asked for."""
    from soundspot import hub
    from soundspot.embedded import EMBEDDED

    if arguments.fetch is not None:
        return _fetch(arguments.fetch)
    for name, sentence in EMBEDDED.items():
        print(f"{name:16} {sentence}")
    for name, folder in hub.in_cache().items():
        print(f"{name:16} Fetched from the hub, in {folder}")
    return 0


def _fetch(name: str) -> int:
    from soundspot.checkpoint import load

    model = load(name, fetch=True)
    megabytes = sum(p.numel() * p.element_size() for p in model.parameters()) / 1e6
    print(
        f"fetched {model.facts.name} and checked its digest: {type(model).__name__}, "
        f"{megabytes:.0f} MB in memory; --model {model.facts.name} works offline now"
    )
    return 0
