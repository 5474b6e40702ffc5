"""`soundspot models`: the models that come with soundspot."""

from __future__ import annotations

import argparse

SENTENCE = "List the models that come with soundspot."


def define(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def run(arguments: argparse.Namespace) -> int:
    """Print each name with one sentence."""
    from soundspot.checkpoint import EMBEDDED

    for name, sentence in EMBEDDED.items():
        print(f"{name:16} {sentence}")
    return 0
