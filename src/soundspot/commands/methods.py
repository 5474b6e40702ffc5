"""`soundspot methods`: the ways to make a map."""

from __future__ import annotations

import argparse

SENTENCE = "List the ways to make a map, and their options."


def define(parser: argparse.ArgumentParser) -> None:
    """No arguments."""


def run(arguments: argparse.Namespace) -> int:
    """Print each method, what it needs, its options."""
    from dataclasses import fields

    from soundspot.localize import METHODS

    for name, method in METHODS.items():
        print(f"{name:16} {method.summary}")
        print(f"{'':16} needs {method.needs}")
        options = [f"{f.name}={f.default!r}" for f in fields(method) if f.name != method.parts]
        if options:
            print(f"{'':16} options {', '.join(options)}")
    return 0
