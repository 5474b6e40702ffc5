"""AVGN: Mo & Tian, Audio-Visual Grouping Network for Sound Localization from Mixtures, CVPR 2023.

Mixtures of sounds, a map for each source. A map is resized to 224 x 224 with bicubic interpolation
that keeps the corners; the pixels at or above its median are the mask; a source is found from cIoU
0.3.

PIAP, pixel-wise average precision, is meant to ask how well the map's values rank the pixels of the
truth. The peer's code passes the arguments the other way round: the mask as truth and the truth as
score. `avgn` repeats that, `avgn_corrected` asks what was meant. (The peer also reads MUSIC's
boxes, x y w h, as corners, so that 1,647 of its 2,124 solo truths are empty. Boxes are read right
here in both forms.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, final

import numpy as np

from soundspot.metrics.ranked import Ranked
from soundspot.protocols.batch import Batch, Rule, View
from soundspot.protocols.judging import CIOU_METRICS, SQUASHED, cious, from_middle, means
from soundspot.protocols.judging import overlap_parts as ciou_parts
from soundspot.protocols.protocol import Card, Parts, Protocol

SOURCE = "Mo & Tian, CVPR 2023; github.com/stoneMo/AVGN"
INTERPOLATION = "cubic corners: a = -0.75"
THRESHOLD = ">= median: element N // 2 of the sorted map; ties are in"
TRUTH = "one source's boxes: int(224 v), united; one map a source"
TESTS = "MUSIC solo and duet, VGGSound-Instruments, VGGSound-Duet"
SOUND = "native rate, 3 s"
VIEW = View("cubic_corners")
SUCCESS = 0.3

METRICS: Mapping[str, str] = MappingProxyType(
    {
        "ciou_share_0.3": "share of sources with cIoU >= 0.3",
        **CIOU_METRICS,
        "piap": "pixel-wise average precision of each source's map, averaged",
    }
)
MEANS: Mapping[str, str] = MappingProxyType({name: name for name in METRICS})


@final
class Avgn(Protocol):
    """The peer's evaluation code: PIAP with truth and score swapped."""

    name: ClassVar = "avgn"
    version: ClassVar = 1
    card: ClassVar = Card(
        source=SOURCE,
        geometry=SQUASHED,
        interpolation=INTERPOLATION,
        threshold=THRESHOLD,
        truth=TRUTH,
        test_list=TESTS,
        sound=SOUND,
        deviates="repeats: PIAP takes the mask for the truth and the truth for the score",
    )
    metrics: ClassVar = METRICS
    means: ClassVar = MEANS
    headline: ClassVar = "ciou_share_0.3"

    def judge(self, batch: Batch) -> list[Parts]:
        """Score and PIAP of each source, averaged over the picture."""
        return [_judge(batch, n, swapped_piap) for n in range(len(batch))]

    def scores(self, parts: Sequence[Parts]) -> dict[str, float]:
        """Shares and means."""
        return means(parts, self.means)


@final
class AvgnCorrected(Protocol):
    """PIAP of the map's values against the truth."""

    name: ClassVar = "avgn_corrected"
    version: ClassVar = 1
    card: ClassVar = Card(
        source=SOURCE,
        geometry=SQUASHED,
        interpolation=INTERPOLATION,
        threshold=THRESHOLD,
        truth=TRUTH,
        test_list=TESTS,
        sound=SOUND,
        deviates="corrects: PIAP ranks the truth's pixels by the map's values",
    )
    metrics: ClassVar = METRICS
    means: ClassVar = MEANS
    headline: ClassVar = "ciou_share_0.3"

    def judge(self, batch: Batch) -> list[Parts]:
        """Score and PIAP of each source, averaged over the picture."""
        return [_judge(batch, n, lambda ranked: ranked.pixel_ap()) for n in range(len(batch))]

    def scores(self, parts: Sequence[Parts]) -> dict[str, float]:
        """Shares and means."""
        return means(parts, self.means)


def swapped_piap(ranked: Ranked) -> float:
    """Average precision of the truth's values as a score of the mask's pixels, 0 of no mask.

    The truth takes few values, v_1 > v_2 .. > 0, so there are as few steps: letting in the pixels
    of the highest values one after the other, recall and precision of the mask.
    """
    chosen = ranked.chosen(ranked.middle)[::-1]
    sizes = np.array([part.size for part in ranked.parts])[::-1]
    reached, taken = np.cumsum(chosen), np.cumsum(sizes)
    keep = taken > 0
    return float(np.sum(chosen[keep] * reached[keep] / taken[keep]) / reached[-1])


def _judge(batch: Batch, shot: int, piap: Callable[[Ranked], float]) -> Parts:
    found = cious(batch, shot, VIEW, Rule(), from_middle)
    if not found.size:
        return {}
    precision = cious(batch, shot, VIEW, Rule(), piap)
    return {
        "ciou_share_0.3": float(np.mean(found >= SUCCESS)),
        **ciou_parts(found),
        "piap": float(np.mean(precision)),
    }
