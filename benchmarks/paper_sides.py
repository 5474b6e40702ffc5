"""Which differences are real, in words.

A difference counts as real where its 95 % interval leaves out zero; else it is called undecided.
No allowance is made for how many differences are looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from soundspot.metrics import Difference


class Sides(NamedTuple):
    """Names by what their difference says: above zero, below it, undecided."""

    above: list[str]
    below: list[str]
    undecided: list[str]

    def __str__(self) -> str:
        """In words, empty sides left out."""
        parts = [
            f"{word} {', '.join(names)}"
            for word, names in (
                ("above zero for", self.above),
                ("below zero for", self.below),
                ("undecided for", self.undecided),
            )
            if names
        ]
        return "; ".join(parts) or "nothing to compare"


def sides(found: Mapping[str, Difference]) -> Sides:
    """Sort differences by their intervals."""
    known = {name: d for name, d in found.items() if not math.isnan(d.mean)}
    above = [name for name, d in known.items() if d.low > 0]
    below = [name for name, d in known.items() if d.high < 0]
    return Sides(above, below, [n for n in known if n not in above and n not in below])


def outcome(good: int, count: int) -> str:
    """A claim's verdict from how many of the cases bear it out."""
    if count == 0:
        return "not measured"
    if good == count:
        return f"holds ({good} of {count})"
    return f"holds in part ({good} of {count})" if good else f"is not shown (0 of {count})"
