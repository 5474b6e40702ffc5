"""SLAVC: Mo & Morgado, A Closer Look at Weakly-Supervised Audio-Visual Source Localization, 2022.

The first with negatives: the test sets are extended by samples in which nothing visible sounds
(most of their "silent" additions are in fact mismatched pairs). A map is resized to 224 x 224 with
bicubic interpolation that keeps the corners; the pixels at or above its median are the mask (the
peer's `relative_prediction`); the mean of its highest quarter of pixels is its confidence, whatever
else the model says.

`slavc` repeats the peer's AP and max-F1 to the letter (recall forgives sources found in the wrong
place, confidences are thinned out, the area does not start at recall 0); `slavc_corrected` takes
all confidences and counts a misplaced source as missed, and counts annotators. The formulas are in
`soundspot.metrics.negatives`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, final

import numpy as np

from soundspot.metrics.negatives import (
    detection_ap,
    detection_max_f1,
    loc_acc,
    slavc_ap,
    slavc_max_f1,
)
from soundspot.protocols.batch import Batch, Rule, Unit, View
from soundspot.protocols.judging import (
    BOXES_AGREE,
    CIOU_MEANS,
    CIOU_METRICS,
    COUNTS_BOXES,
    NEGATIVES,
    PEOPLE_AGREE,
    SQUASHED,
    cious,
    column,
    from_middle,
    means,
    overlap_parts,
)
from soundspot.protocols.protocol import Card, Parts, Protocol

SOURCE = "Mo & Morgado, NeurIPS 2022; github.com/stoneMo/SLAVC"
INTERPOLATION = "cubic corners: a = -0.75"
THRESHOLD = ">= median: ties are in; confidence: mean of the highest quarter of the map"
TESTS = "Flickr-SoundNet and VGG-SS, each plus as many negatives (*_plus_silent)"
SOUND = "native rate, the middle 3 s"
VIEW = View("cubic_corners")

METRICS: Mapping[str, str] = MappingProxyType(
    {
        **CIOU_METRICS,
        "ap": "average precision of finding sources (cIoU >= 0.5) among positives and negatives",
        "max_f1": "the highest F1 over thresholds of the confidence",
        "loc_acc": "share of positives with cIoU > 0.5",
    }
)


@final
class Slavc(Protocol):
    """The peer's evaluation code."""

    name: ClassVar = "slavc"
    version: ClassVar = 1
    card: ClassVar = Card(
        source=SOURCE,
        geometry=SQUASHED,
        interpolation=INTERPOLATION,
        threshold=THRESHOLD,
        truth=BOXES_AGREE,
        test_list=TESTS,
        sound=SOUND,
        deviates="repeats: AP and F1 over thinned confidences, recall that forgives misplaced "
        "sources, an area that does not start at recall 0; " + COUNTS_BOXES,
    )
    metrics: ClassVar = METRICS
    means: ClassVar = CIOU_MEANS
    headline: ClassVar = "ciou_share_0.5"

    def judge(self, batch: Batch) -> list[Parts]:
        """Score of positives, confidence of all."""
        return _judge(batch, Rule())

    def scores(self, parts: Sequence[Parts]) -> dict[str, float]:
        """Means, and the curves over all samples."""
        found, sure, seen = _columns(parts)
        return {
            **means(parts, self.means),
            "ap": slavc_ap(found, sure, seen),
            "max_f1": slavc_max_f1(found, sure, seen),
            "loc_acc": loc_acc(found, seen),
        }


@final
class SlavcCorrected(Protocol):
    """Every confidence a threshold, misplaced sources missed, annotators counted."""

    name: ClassVar = "slavc_corrected"
    version: ClassVar = 1
    card: ClassVar = Card(
        source=SOURCE,
        geometry=SQUASHED,
        interpolation=INTERPOLATION,
        threshold=THRESHOLD,
        truth=PEOPLE_AGREE,
        test_list=TESTS,
        sound=SOUND,
        deviates="corrects: AP and F1 over every confidence, recall of all visible sources, area "
        "from recall 0; counts annotators, not boxes",
    )
    metrics: ClassVar = METRICS
    means: ClassVar = CIOU_MEANS
    headline: ClassVar = "ciou_share_0.5"

    def judge(self, batch: Batch) -> list[Parts]:
        """Score of positives, confidence of all."""
        return _judge(batch, Rule(people=True))

    def scores(self, parts: Sequence[Parts]) -> dict[str, float]:
        """Means, and the curves over all samples."""
        found, sure, seen = _columns(parts)
        return {
            **means(parts, self.means),
            "ap": detection_ap(found, sure, seen),
            "max_f1": detection_max_f1(found, sure, seen),
            "loc_acc": loc_acc(found, seen),
        }


def _judge(batch: Batch, rule: Rule) -> list[Parts]:
    """A visible sample has one cIoU a source; of a negative each map counts, with cIoU 0."""
    parts: list[Parts] = []
    for n, shot in enumerate(batch.shots):
        visible = bool(batch.units(n))
        units = batch.units(n)
        if shot.sample.kind in NEGATIVES:
            units = [Unit(n, k) for k in range(len(shot.maps))]
        scores = cious(batch, n, VIEW, rule, from_middle) if visible else np.zeros(len(units))
        parts.append(
            {
                **(overlap_parts(scores) if visible else {}),
                "_ciou": scores,
                "_confidence": np.array([_confidence(batch, unit, rule) for unit in units]),
                "_visible": np.full(len(units), float(visible)),
            }
            if units
            else {}
        )
    return parts


def _confidence(batch: Batch, unit: Unit, rule: Rule) -> float:
    visible = batch.shots[unit.shot].sample.kind not in NEGATIVES
    ranked = batch.ranked(unit, VIEW, rule) if visible else None
    ranked = ranked or batch.ranked(unit, VIEW, None)
    return 0.0 if ranked is None else ranked.top_mean()


def _columns(parts: Sequence[Parts]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    visible = column(parts, "_visible") > 0
    return column(parts, "_ciou"), column(parts, "_confidence"), visible
