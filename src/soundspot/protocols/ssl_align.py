"""SSL-Align: Senocak et al., Sound Source Localization is All about Cross-Modal Alignment, 2023.

Two ideas of judging. *Adaptive*: as many of the map's highest pixels are the mask as the truth has
pixels, so that the truth's size is given away and only its place is asked. *Interactive* (IIoU,
data set IS3): a picture with several sources counts only when every one of them is found by its own
sound, which a map that ignores the sound cannot do.

Taken are the pixels at or above the k-th highest, k the pixels of the truth (where g > 0), so
exactly k unless values tie. The peer's code takes those *above* it, one fewer: `ssl_align_strict`
repeats that. Both print the scores above the median too, as the peer does. Sounds of one picture
are known by its file, whether they come as several `sources` of a sample or as several samples.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, final

import numpy as np

from soundspot.metrics.interactive import iiou_of_each
from soundspot.metrics.ranked import Ranked
from soundspot.protocols.batch import Batch, Rule, View
from soundspot.protocols.judging import (
    BOXES_AGREE,
    CIOU_METRICS,
    COUNTS_BOXES,
    SQUASHED,
    above_middle,
    cious,
    column,
    means,
    overlap_parts,
)
from soundspot.protocols.protocol import Card, Parts, Protocol
from soundspot.types import Sample

SOURCE = "Senocak et al., ICCV 2023, arXiv 2407.13676; github.com/kaistmm/SSLalignment"
INTERPOLATION = "bilinear corners: the peer has half-pixel on VGG-SS"
TESTS = "Flickr-SoundNet, VGG-SS (4,692), IS3, VPO-SS, VPO-MS, AVSBench S4 and MS3"
SOUND = "16 kHz, 3.5 to 6.5 s"
VIEW = View("bilinear_corners")

METRICS: Mapping[str, str] = MappingProxyType(
    {
        **{name: f"{sentence} (adaptive)" for name, sentence in CIOU_METRICS.items()},
        "median_share_0.5": "share of samples with cIoU >= 0.5, pixels above the median",
        "median_mean": "mean cIoU, pixels above the median",
        "median_auc": "area under share(cIoU >= t), pixels above the median",
        "iiou_share_0.5": "share of pictures all of whose sounds have cIoU >= 0.5 (adaptive)",
        "iiou_auc": "area under the share of pictures all of whose sounds have cIoU >= t",
        "iiou_median_share_0.5": "iiou_share_0.5, pixels above the median",
        "iiou_median_auc": "iiou_auc, pixels above the median",
    }
)
MEANS: Mapping[str, str] = MappingProxyType(
    {name: name for name in METRICS if not name.startswith("iiou")}
)


@final
class SslAlign(Protocol):
    """Exactly as many pixels as the truth has."""

    name: ClassVar = "ssl_align"
    version: ClassVar = 1
    card: ClassVar = Card(
        source=SOURCE,
        geometry=SQUASHED,
        interpolation=INTERPOLATION,
        threshold="as many as truth: at or above the k-th highest pixel, k the pixels of the truth",
        truth=BOXES_AGREE,
        test_list=TESTS,
        sound=SOUND,
        deviates="corrects: k pixels (the peer's code has k - 1); " + COUNTS_BOXES,
    )
    metrics: ClassVar = METRICS
    means: ClassVar = MEANS
    headline: ClassVar = "ciou_share_0.5"

    def judge(self, batch: Batch) -> list[Parts]:
        """Adaptive and median cIoU of each sound."""
        return [_judge(batch, n, strict=False) for n in range(len(batch))]

    def scores(self, parts: Sequence[Parts]) -> dict[str, float]:
        """Means over samples, and over pictures."""
        return _scores(parts)


@final
class SslAlignStrict(Protocol):
    """The peer's evaluation code: one pixel fewer than the truth has."""

    name: ClassVar = "ssl_align_strict"
    version: ClassVar = 1
    card: ClassVar = Card(
        source=SOURCE,
        geometry=SQUASHED,
        interpolation=INTERPOLATION,
        threshold="one fewer than truth: above the k-th highest pixel, k the pixels of the truth",
        truth=BOXES_AGREE,
        test_list=TESTS,
        sound=SOUND,
        deviates="repeats: k - 1 pixels where k were meant, fewer where they tie; " + COUNTS_BOXES,
    )
    metrics: ClassVar = METRICS
    means: ClassVar = MEANS
    headline: ClassVar = "ciou_share_0.5"

    def judge(self, batch: Batch) -> list[Parts]:
        """Adaptive and median cIoU of each sound."""
        return [_judge(batch, n, strict=True) for n in range(len(batch))]

    def scores(self, parts: Sequence[Parts]) -> dict[str, float]:
        """Means over samples, and over pictures."""
        return _scores(parts)


def picture_number(sample: Sample) -> float:
    """A number that stands for the picture: the same for samples that show the same one.

    48 bits of a digest of its file's name and time, so it is a whole number in double precision.
    """
    digest = hashlib.sha256(f"{sample.image}/{sample.time}".encode()).digest()
    return float(int.from_bytes(digest[:6], "big"))


def _judge(batch: Batch, shot: int, *, strict: bool) -> Parts:
    def adaptive(ranked: Ranked) -> float:
        return float(ranked.ciou(ranked.kth_largest(ranked.true_pixels), strict=strict))

    found = cious(batch, shot, VIEW, Rule(), adaptive)
    middle = cious(batch, shot, VIEW, Rule(), above_middle)
    if not found.size:
        return {}
    halves = zip(overlap_parts(middle).values(), ("share_0.5", "mean", "auc"), strict=True)
    return {
        **overlap_parts(found),
        **{f"median_{name}": value for value, name in halves},
        "_adaptive": found,
        "_median": middle,
        "_picture": np.full(found.size, picture_number(batch.shots[shot].sample)),
    }


def _scores(parts: Sequence[Parts]) -> dict[str, float]:
    pictures = column(parts, "_picture").tolist()
    scores = means(parts, MEANS)
    for mark, name in (("", "_adaptive"), ("median_", "_median")):
        found = iiou_of_each(column(parts, name), pictures)
        pictured = overlap_parts(list(found.values())) or dict.fromkeys(CIOU_METRICS, math.nan)
        scores[f"iiou_{mark}share_0.5"] = float(pictured["ciou_share_0.5"])
        scores[f"iiou_{mark}auc"] = float(pictured["auc"])
    return scores
