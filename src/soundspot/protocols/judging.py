"""What the protocols' files have in common: parts of an overlap, and scores from parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundspot.metrics.ranked import Ranked
from soundspot.protocols.batch import Batch, Rule, View
from soundspot.protocols.protocol import Parts

Score: TypeAlias = Callable[[Ranked], float]
"""A map's score, given its pixels sorted apart by truth."""

NEGATIVES = ("silence", "noise", "offscreen")

CIOU_METRICS: Mapping[str, str] = MappingProxyType(
    {
        "ciou_share_0.5": "share of samples with cIoU >= 0.5; what the field's tables call cIoU",
        "ciou_mean": "mean cIoU",
        "auc": "area under share(cIoU >= t) over t = 0, 0.05 .. 1, by trapezoids",
    }
)
CIOU_MEANS: Mapping[str, str] = MappingProxyType({name: name for name in CIOU_METRICS})

HALF = 0.5
PEERS_THRESHOLDS = 0.05 * np.arange(21)
"""0, 0.05 .. 1 as every peer computes them, with their rounding."""
AREA_OF = np.array([0, *(0.05 * np.arange(21) + 0.025)[:-1], 1])
"""The part in AUC of a score that reaches 0, 1 .. 21 of the thresholds, by trapezoids."""

FLICKR_AND_VGGSS = "Flickr-SoundNet test (249 of 250 exist), VGG-SS (5,158 clips)"
BOXES_AGREE = (
    "boxes counted: int(224 v); several annotators: g = min(boxes over the pixel / 2, 1); else "
    "united"
)
PEOPLE_AGREE = (
    "people counted: int(224 v); several annotators: g = min(people over the pixel / 2, 1); else "
    "united"
)
SQUASHED = "squash: picture and boxes to 224 x 224"
COUNTS_BOXES = "repeats: counts boxes, not annotators, so one person's two boxes agree"


def cious(batch: Batch, shot: int, view: View, rule: Rule, score: Score) -> NDArray[np.float64]:
    """A score of each unit of a shot; 0 where the truth is empty in the frame: it was not found."""
    ranked = [batch.ranked(unit, view, rule) for unit in batch.units(shot)]
    return np.array([0.0 if found is None else score(found) for found in ranked])


def areas(scores: ArrayLike) -> NDArray[np.float64]:
    """Each score's part of AUC, at the peers' own thresholds. Same shape.

    0.05 * 3 is 0.15000000000000002 in double precision, so a cIoU of exactly 0.15 does not reach
    it; `metrics.auc_of_each` has 0.15.
    """
    return np.asarray(AREA_OF[np.searchsorted(PEERS_THRESHOLDS, scores, side="right")])


def overlap_parts(scores: ArrayLike) -> Parts:
    """The parts of `CIOU_METRICS` from the cIoU of each source in a picture; none of no source.

    A picture with several sources counts once, with the mean of its sources.
    """
    values = np.asarray(scores, dtype=np.float64)
    if not values.size:
        return {}
    return {
        "ciou_share_0.5": float(np.count_nonzero(values >= HALF)) / values.size,
        "ciou_mean": float(values.sum()) / values.size,
        "auc": float(areas(values).sum()) / values.size,
    }


def mean(parts: Sequence[Parts], name: str) -> float:
    """Mean of a part over the shots that have it; NaN of none."""
    values = [float(part[name]) for part in parts if name in part]
    return float(np.mean(values)) if values else math.nan


def means(parts: Sequence[Parts], names: Mapping[str, str]) -> dict[str, float]:
    """The scores that are means, by name."""
    return {score: mean(parts, name) for score, name in names.items()}


def column(parts: Sequence[Parts], name: str) -> NDArray[np.float64]:
    """A part of all shots that have it, arrays one after the other."""
    values = [np.atleast_1d(np.asarray(part[name])) for part in parts if name in part]
    return np.concatenate(values) if values else np.empty(0)


def above_middle(ranked: Ranked) -> float:
    """Score of the pixels above the middle value."""
    return float(ranked.ciou(ranked.middle, strict=True))


def from_middle(ranked: Ranked) -> float:
    """Score of the pixels at or above the middle value."""
    return float(ranked.ciou(ranked.middle))
