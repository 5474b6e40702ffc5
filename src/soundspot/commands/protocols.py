"""`soundspot protocols`: the ways of judging, side by side or one in full."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from soundspot.commands.common import write_json

if TYPE_CHECKING:
    from soundspot.protocols import Protocol

SENTENCE = "Compare the evaluation protocols, or show one in full."

LEAST_WIDTH = 60
"""Narrower terminals get lines of this many characters."""
LABELS = {
    "source": "source",
    "geometry": "geometry",
    "interpolation": "interpolation",
    "threshold": "threshold",
    "truth": "truth",
    "test_list": "test lists",
    "sound": "sound",
    "deviates": "note",
}
COLUMNS = ("geometry", "interpolation", "threshold", "truth")
"""Of the comparison, beside the name."""


def define(parser: argparse.ArgumentParser) -> None:
    """A name, and JSON."""
    parser.add_argument("name", nargs="?", help="a protocol to show in full (default: a table)")
    parser.add_argument(
        "--json", metavar="FILE", help="write it as JSON; - for standard output instead of the text"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the table or the card."""
    from soundspot.protocols import PROTOCOLS, make

    chosen = list(PROTOCOLS) if arguments.name is None else [make(arguments.name).name]
    if arguments.json:
        write_json(arguments.json, [as_data(PROTOCOLS[name]) for name in chosen])
    if arguments.json != "-":
        width = max(LEAST_WIDTH, shutil.get_terminal_size((100, 24)).columns)
        if arguments.name is None:
            print(table([PROTOCOLS[name] for name in chosen], width))
        else:
            print(card(PROTOCOLS[chosen[0]], width))
    return 0


def as_data(protocol: type[Protocol]) -> dict[str, Any]:
    """Everything a protocol says about itself, as plain data."""
    return {
        "name": protocol.name,
        "version": protocol.version,
        "headline": protocol.headline,
        **protocol.card.lines(),
        "metrics": dict(protocol.metrics),
    }


def table(protocols: Sequence[type[Protocol]], width: int) -> str:
    """One line a protocol, of each convention its short phrase, cut on narrow terminals."""
    rows = [
        [p.name, *(p.card.lines()[key].partition(":")[0] for key in COLUMNS)] for p in protocols
    ]
    head = ["protocol", *COLUMNS]
    longest = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    widths = fitted(longest, width - 2 * (len(head) - 1))
    lines = [
        "  ".join(_cut(*cell) for cell in zip(row, widths, strict=True)) for row in [head, *rows]
    ]
    note = "soundspot protocols NAME shows one in full, with its metrics"
    return "\n".join([*(line.rstrip() for line in lines), "", note])


def card(protocol: type[Protocol], width: int) -> str:
    """All conventions and metrics of one protocol."""
    facts = {LABELS[key]: text for key, text in protocol.card.lines().items()}
    parts = [f"{protocol.name}, version {protocol.version}", _listed(facts, width), "scores"]
    return "\n".join([*parts, _listed(_with_headline(protocol), width)])


def fitted(longest: Sequence[int], room: int) -> list[int]:
    """Widths of columns that fit the room: the first stays whole, the others share the rest."""
    widths = list(longest)
    while sum(widths) > room:
        widest = max(range(1, len(widths)), key=widths.__getitem__)
        widths[widest] -= 1
    return widths


def _with_headline(protocol: type[Protocol]) -> dict[str, str]:
    mark = {protocol.headline: " (headline)"}
    return {name: text + mark.get(name, "") for name, text in protocol.metrics.items()}


def _listed(facts: Mapping[str, str], width: int) -> str:
    """Names flush left, their texts wrapped beside them."""
    column = 4 + max(map(len, facts))
    return "\n".join(
        textwrap.fill(
            text,
            width,
            initial_indent=f"  {name}".ljust(column),
            subsequent_indent=" " * column,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, text in facts.items()
    )


def _cut(text: str, width: int) -> str:
    return (text if len(text) <= width else text[: width - 2].rstrip() + "..")[:width].ljust(width)
