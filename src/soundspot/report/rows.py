"""A row of scores, and the names of scores and rows.

A score is named `PROTOCOL/METRIC`. The recommended protocol's scores of maps and of confidence
have short names too, those of `MAP_KEYS` and `AUROC_KEYS`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from soundspot.types import Kind

ROUNDING = 12
"""Decimals of scores in the JSON."""

OWN = "soundspot"
"""The recommended protocol."""
MAP_KEYS = (
    "top_half/share_0.5",
    "top_half/auc",
    "as_truth/share_0.5",
    "as_truth/auc",
    "pointing",
)
"""Scores of maps, on positives."""
NEGATIVE_KINDS = ("silence", "noise", "offscreen")
AUROC_KEYS = tuple(f"auroc/{kind}" for kind in NEGATIVE_KINDS)
HEADLINE = "as_truth/share_0.5"
"""The score of the groups' table and of the differences printed under it."""

PICTURE_ONLY = "picture only"
WRONG_SOUND = "wrong sound"

RowKind = Literal["method", "blind", "control"]


class Failure(NamedTuple):
    """A sample that could not be judged, and why; `row` where only that row lacks it."""

    id: str
    reason: str
    row: str | None = None


class Subject(NamedTuple):
    """A sample that was judged: what tables and drawings need to know of it.

    `picture` names the picture (or film), whose samples are drawn together; `truth` is the true
    share of it, NaN where nothing is to be found.
    """

    id: str
    kind: Kind
    picture: str
    group: str | None
    truth: float


class Exhibit(NamedTuple):
    """One of a row's best or worst samples: its overlap, and the map over the picture as JPEG."""

    row: str
    best: bool
    subject: Subject
    overlap: float
    jpeg: bytes


@dataclass(frozen=True)
class Row:
    """The scores of one method, blind map or control.

    Args:
        name: the string that rebuilds a method, or the label of another row; before it, where
            several models are judged, the model's name and a colon.
        kind: "method", "blind" or "control".
        scores: by key: `PROTOCOL/METRIC`, and the short names.
        intervals: 95 % bootstrap intervals, by the same keys; NaN where none is computed.
        groups: by group, `n` and the scores of what is to be found in it.
        values: by key, for scores that are means, the part of each: of each positive and mixture
            under a short name, of each sample under a long one; NaN where this row has no answer.
        overlaps: by protocol, each sample's overlap with the truth.
        model: what was judged; empty for maps that look at nothing.
        answered: samples that this row has an answer on, of `asked`.
        asked: samples that this row was asked about.
        own: a method that is the model's default one.
    """

    name: str
    kind: RowKind
    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    groups: Mapping[str, Mapping[str, float]]
    values: Mapping[str, NDArray[np.float64]] = field(repr=False, compare=False)
    overlaps: Mapping[str, NDArray[np.float64]] = field(
        default_factory=dict, repr=False, compare=False
    )
    model: str = ""
    answered: int = 0
    asked: int = 0
    own: bool = False

    def json(self) -> dict[str, Any]:
        """The row as plain data."""
        return {
            "name": self.name,
            "kind": self.kind,
            "scores": {key: number(score) for key, score in self.scores.items()},
            "intervals": {key: [number(v) for v in i] for key, i in self.intervals.items()},
            "groups": {
                group: {key: number(score) for key, score in scores.items()}
                for group, scores in self.groups.items()
            },
        }


def own_metric(key: str) -> str:
    """The recommended protocol's name of the metric that has this short name."""
    return key.replace("/", "_")


def wrong_sound_name(method: str) -> str:
    """The label of a method's wrong-sound control."""
    return f"{method}, {WRONG_SOUND}"


def number(value: float) -> float | int | None:
    """A score as JSON has it: rounded, NaN as null."""
    if isinstance(value, int):
        return value
    return None if math.isnan(value) else round(float(value), ROUNDING)


def percent(score: float) -> str:
    """A score as tables have it."""
    return "-" if math.isnan(score) else f"{100 * score:.1f}"
