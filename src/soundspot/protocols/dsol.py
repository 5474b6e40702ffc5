"""DSOL: Hu et al., Discriminative Sounding Objects Localization, NeurIPS 2020.

Several classes may sound at once, and each has a map. A class's map is resized to 224 x 224
(OpenCV's bilinear); pixels *above* a tenth of its highest value are the mask. A picture's score is
the mean cIoU of the classes that sound and are visible; it is solved from 0.3.

NSA (no-sounding-area): on the maps of silent classes, the share of pixels kept dark, at or below
0.2. This 0.2 is of the map's own values, as in the peer's code, whose maps are probabilities.
Silent are here the sources that have neither boxes nor mask, and every map of a negative.

The rule is for maps that are not negative: where even the highest value is below 0, a tenth of it
is higher, and nothing is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, final

import numpy as np

from soundspot.metrics.ranked import Ranked
from soundspot.metrics.several import DARK, DSOL_SUCCESS, nsa
from soundspot.metrics.thresholds import DSOL_FRACTION
from soundspot.protocols.batch import Batch, Rule, Unit, View
from soundspot.protocols.judging import HALF, NEGATIVES, SQUASHED, areas, cious, means
from soundspot.protocols.protocol import Card, Parts, Protocol

VIEW = View("bilinear")

METRICS: Mapping[str, str] = MappingProxyType(
    {
        "ciou_share_0.3": "share of pictures whose mean cIoU over the classes that sound is >= 0.3",
        "ciou_share_0.5": "the same from 0.5",
        "ciou_mean": "mean over pictures of the mean cIoU over the classes that sound",
        "auc": "area under share(mean cIoU >= t) over t = 0, 0.05 .. 1, by trapezoids",
        "nsa": f"share of pixels at or below {DARK} on the maps of silent classes",
    }
)


@final
class Dsol(Protocol):
    """Class-aware cIoU and NSA."""

    name: ClassVar = "dsol"
    version: ClassVar = 1
    card: ClassVar = Card(
        source="Hu et al., NeurIPS 2020; github.com/DTaoo/"
        "Discriminative-Sounding-Objects-Localization",
        geometry=SQUASHED,
        interpolation="bilinear half-pixel",
        threshold="> 0.1 max: of each map's highest value; NSA: dark at or below 0.2",
        truth="one class's boxes: int(224 v), united; one map a class",
        test_list="MUSIC solo and duet, MUSIC-Synthetic, AudioSet-instrument",
        sound="16 kHz, 1 s",
        deviates="the peer's scripts also cut duets at 0.2 and synthetic pairs at 0.5 max",
    )
    metrics: ClassVar = METRICS
    means: ClassVar = MappingProxyType({name: name for name in METRICS})
    headline: ClassVar = "ciou_share_0.3"

    def judge(self, batch: Batch) -> list[Parts]:
        """The mean over the classes that sound, and how dark the silent ones are."""
        return [{**_sounding(batch, n), **_silent(batch, n)} for n in range(len(batch))]

    def scores(self, parts: Sequence[Parts]) -> dict[str, float]:
        """Shares and means."""
        return means(parts, self.means)


def above_a_tenth(ranked: Ranked) -> float:
    """Score of the pixels above a tenth of the highest value."""
    return float(ranked.ciou(DSOL_FRACTION * ranked.highest, strict=True))


def _sounding(batch: Batch, shot: int) -> Parts:
    found = cious(batch, shot, VIEW, Rule(), above_a_tenth)
    if not found.size:
        return {}
    score = float(np.mean(found))
    return {
        "ciou_share_0.3": float(score >= DSOL_SUCCESS),
        "ciou_share_0.5": float(score >= HALF),
        "ciou_mean": score,
        "auc": float(areas(score)),
    }


def _silent(batch: Batch, shot: int) -> Parts:
    sample = batch.shots[shot].sample
    if sample.kind in NEGATIVES:
        silent = list(range(len(batch.shots[shot].maps)))
    else:
        silent = [n for n, source in enumerate(sample.sources) if not (source.boxes or source.mask)]
    maps = [batch.view(Unit(shot, n), VIEW) for n in silent]
    return {"nsa": nsa(maps)} if maps else {}
