"""AVSBench: Zhou et al., Audio-Visual Segmentation, ECCV 2022.

The truth is drawn pixel by pixel (boxes serve where there is no mask); the map is logits, and its
mask is where sigmoid(map) > 0.5, so where the map is above 0.

    mIoU  mean over frames of IoU; of an empty truth, the share of the picture that is left free
    F     max over 255 thresholds of the mean over frames of F with beta^2 = 0.3; frames with an
          empty truth are left out

The peer takes the maximum of each mini-batch and averages those, so that F depends on the batch.
`avsbench` takes it once over the data set. `avsbench_batched` repeats the peer, whose test runs one
video of five frames at a time: five shots in a row, in the order of the list.

Frames in which nothing visible sounds are the negatives, and positives whose mask is black.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, final

import numpy as np

from soundspot.metrics.ranked import F_THRESHOLDS, Ranked
from soundspot.metrics.segmentation import max_f, max_f_in_batches
from soundspot.protocols.batch import Batch, Rule, Unit, View
from soundspot.protocols.judging import HALF, NEGATIVES, SQUASHED, means
from soundspot.protocols.protocol import Card, Parts, Protocol

SOURCE = "Zhou et al., ECCV 2022; github.com/OpenNLPLab/AVSBench"
INTERPOLATION = "bilinear half-pixel"
TESTS = "AVSBench S4 (740 videos) and MS3 (64 videos), five frames each"
SOUND = "16 kHz, 1 s a frame"
TRUTH = "drawn mask: not black = sounding (nearest pixel); else all boxes, int(224 v), united"
VIEW = View("bilinear")
FRAMES = 5
"""Of one video, the peer's batch in testing."""

METRICS: Mapping[str, str] = MappingProxyType(
    {
        "miou": "mean IoU of the mask; of an empty truth, the share of the picture left free",
        "f_score": "the highest mean F (beta^2 = 0.3) over 255 thresholds; empty truths left out",
    }
)
MEANS: Mapping[str, str] = MappingProxyType({"miou": "miou"})


@final
class Avsbench(Protocol):
    """F over the whole data set."""

    name: ClassVar = "avsbench"
    version: ClassVar = 1
    card: ClassVar = Card(
        source=SOURCE,
        geometry=SQUASHED,
        interpolation=INTERPOLATION,
        threshold="sigmoid > 0.5: of the map; F at sigmoid(map) >= 0, 1/254 .. 1",
        truth=TRUTH,
        test_list=TESTS,
        sound=SOUND,
        deviates="corrects: F's maximum is taken over the data set, not per mini-batch",
    )
    metrics: ClassVar = METRICS
    means: ClassVar = MEANS
    headline: ClassVar = "miou"
    overlap: ClassVar = "miou"

    def judge(self, batch: Batch) -> list[Parts]:
        """IoU and the curve of F."""
        return batch.once("avsbench", lambda: [_judge(batch, n) for n in range(len(batch))])

    def scores(self, parts: Sequence[Parts]) -> dict[str, float]:
        """Mean, and the highest point of the mean curve."""
        return {**means(parts, self.means), "f_score": max_f(_curves(parts))}


@final
class AvsbenchBatched(Protocol):
    """F of every five shots, as the peer has it."""

    name: ClassVar = "avsbench_batched"
    version: ClassVar = 1
    card: ClassVar = Card(
        source=SOURCE,
        geometry=SQUASHED,
        interpolation=INTERPOLATION,
        threshold="sigmoid > 0.5: of the map; F at sigmoid(map) >= 0, 1/254 .. 1",
        truth=TRUTH,
        test_list=TESTS,
        sound=SOUND,
        deviates="repeats: F's maximum is taken of every five frames and averaged, so it depends "
        "on their order; shots must come in the list's order",
    )
    metrics: ClassVar = METRICS
    means: ClassVar = MEANS
    headline: ClassVar = "miou"
    overlap: ClassVar = "miou"

    def judge(self, batch: Batch) -> list[Parts]:
        """IoU and the curve of F."""
        return batch.once("avsbench", lambda: [_judge(batch, n) for n in range(len(batch))])

    def scores(self, parts: Sequence[Parts]) -> dict[str, float]:
        """Mean, and the mean over batches of each batch's highest point."""
        curves = _curves(parts)
        batches = [curves[n : n + FRAMES] for n in range(0, len(curves), FRAMES)]
        return {**means(parts, self.means), "f_score": max_f_in_batches(batches)}


def _judge(batch: Batch, shot: int) -> Parts:
    """Means over the shot's maps."""
    units = batch.units(shot)
    if batch.shots[shot].sample.kind in NEGATIVES:
        units = [Unit(shot, n) for n in range(len(batch.shots[shot].maps))]
    if not units:
        return {}
    found = [_probabilities(batch, unit) for unit in units]
    ious = [_free(r) if nothing else _iou(r) for r, nothing in found]
    curves = [r.f_curve() for r, nothing in found if not nothing]
    curve = np.mean(curves, axis=0) if curves else np.full(F_THRESHOLDS.size, np.nan)
    return {"miou": float(np.mean(ious)), "_f": curve.astype(np.float64)}


def _probabilities(batch: Batch, unit: Unit) -> tuple[Ranked, bool]:
    """The unit's pixels through the sigmoid, and whether nothing sounds in them."""
    negative = batch.shots[unit.shot].sample.kind in NEGATIVES
    ranked = None if negative else batch.ranked(unit, VIEW, Rule())
    if ranked is not None:
        binary = Ranked((0.0, 1.0), (ranked.parts[0], np.sort(np.concatenate(ranked.parts[1:]))))
        return binary.sigmoid(), False
    dark = batch.ranked(unit, VIEW, None)
    assert dark is not None
    return dark.sigmoid(), True


def _iou(ranked: Ranked) -> float:
    return float(ranked.ciou(HALF, strict=True))


def _free(ranked: Ranked) -> float:
    return 1 - float(ranked.lit(HALF, strict=True))


def _curves(parts: Sequence[Parts]) -> np.ndarray:
    curves = [np.asarray(part["_f"]) for part in parts if "_f" in part]
    return np.array(curves, dtype=np.float64).reshape(-1, F_THRESHOLDS.size)
