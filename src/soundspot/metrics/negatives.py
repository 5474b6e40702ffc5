"""Does the map stay dark where nothing visible sounds? Silence, noise, and sounds from elsewhere.

Confidence of a map (Mo & Morgado, NeurIPS 2022, SLAVC): the mean of its highest quarter of pixels
(`top_quarter_mean`), on the map's own scale.

SLAVC. Samples with a visible source and samples without are ranked by confidence; at a threshold,

    TP  visible, confidence reaches it, cIoU >= 0.5      FN  visible, confidence below it
    FP  reaches it, and not visible or cIoU < 0.5        F1 = 2 P R / (P + R)

`slavc_ap` and `slavc_max_f1` repeat the authors' code to the letter: recall is TP / (TP + FN), so a
source found in the wrong place is not missed, and recall reaches 1 however bad the maps; about 200
(AP) or 10 (F1) confidences at most serve as thresholds, in AP never the highest; AP's area starts
at the first recall, not at 0; where nothing can be divided, the ratio is 1.

`detection_ap` and `detection_max_f1` are the corrected forms: recall is TP / all visible, every
distinct confidence is a threshold, the area starts at 0. AP has the precision envelope in both
(`soundspot.metrics.average_precision`). LocAcc (`loc_acc`) looks at visible samples only and asks
for more than 0.5, as the authors' code does.

Juanola et al. (2024, arXiv 2410.01020, vssl_eval). pIA is the share of the picture that is
chosen on a negative (`lit_share`; values above the threshold), 0 is perfect. One threshold for all
pictures is set from the maxima of the maps of negatives (`universal_thresholds`).

    AUC_N = area under share(pIA <= t), t = 0, .05 .. 1, by trapezoids: all dark 1, all lit 0.025
    F_LOC = harmonic mean of the mean cIoU at the third quartile and 1 - mean pIA
    F_AUC = harmonic mean of AUC at the third quartile and AUC_N

With several kinds of negatives, mean pIA and AUC_N are first taken of each kind, then averaged.
AUROC of any confidence is `soundspot.metrics.confidence.auroc`. All scores are in 0..1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundspot.metrics.overlap import AUC_THRESHOLDS, Map
from soundspot.metrics.ranked import rank

SUCCESS = 0.5
"""cIoU from which a source counts as found."""

CONFIDENCE_SHARE = 0.25
"""Of the picture's pixels: those whose mean is a map's confidence."""

AP_THRESHOLDS = 200
"""About this many confidences serve as thresholds of SLAVC's AP."""

F1_THRESHOLDS = 10
"""About this many confidences serve as thresholds of SLAVC's F1."""

MARGIN = 1.1
"""The highest value on negatives, and a tenth more."""


def top_quarter_mean(map: Map) -> float:
    """A map's confidence: the mean of the highest quarter of its pixels (rounded up)."""
    return rank(map).top_mean(CONFIDENCE_SHARE)


def slavc_ap(
    ciou: ArrayLike, confidence: ArrayLike, visible: ArrayLike, success: float = SUCCESS
) -> float:
    """Average precision as the authors' code has it; NaN of no samples."""
    found, sure, seen = _columns(ciou, confidence, visible, success)
    if not sure.size:
        return float("nan")
    levels = np.sort(sure)[:-1][:: -max(1, sure.size // AP_THRESHOLDS)]
    precision, recall = _authors_curve(levels, found, sure, seen)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(best_from_here[:-1] * np.diff(recall)))


def slavc_max_f1(
    ciou: ArrayLike, confidence: ArrayLike, visible: ArrayLike, success: float = SUCCESS
) -> float:
    """Highest F1 over the authors' thresholds; NaN of no samples."""
    found, sure, seen = _columns(ciou, confidence, visible, success)
    if not sure.size:
        return float("nan")
    levels = np.sort(sure)[:: max(1, sure.size // F1_THRESHOLDS)]
    precision, recall = _authors_curve(levels, found, sure, seen)
    return float(np.max(_f1(precision, recall)))


def detection_ap(
    ciou: ArrayLike, confidence: ArrayLike, visible: ArrayLike, success: float = SUCCESS
) -> float:
    """Average precision over every confidence, with envelope; NaN where nothing is visible."""
    precision, recall = _curve(*_columns(ciou, confidence, visible, success))
    if not recall.size:
        return float("nan")
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best_from_here @ np.diff(recall, prepend=0))


def detection_max_f1(
    ciou: ArrayLike, confidence: ArrayLike, visible: ArrayLike, success: float = SUCCESS
) -> float:
    """Highest F1 over every confidence; NaN where nothing is visible."""
    precision, recall = _curve(*_columns(ciou, confidence, visible, success))
    return float(np.max(_f1(precision, recall))) if recall.size else float("nan")


def loc_acc(ciou: ArrayLike, visible: ArrayLike, success: float = SUCCESS) -> float:
    """Share of the visible samples whose cIoU is above `success`; NaN where nothing is visible."""
    scores, seen = np.asarray(ciou, dtype=np.float64), np.asarray(visible, dtype=np.bool_)
    if scores.shape != seen.shape or np.isnan(scores[seen]).any():
        raise ValueError("LocAcc needs one cIoU a visible sample, none NaN")
    return float(np.mean(scores[seen] > success)) if seen.any() else float("nan")


def lit_share(map: Map, threshold: float) -> float:
    """pIA: the share of the picture above the threshold."""
    return float(rank(map).lit(threshold, strict=True))


class UniversalThresholds(NamedTuple):
    """Thresholds for all pictures, in the map's own units."""

    highest: float
    highest_and_a_tenth: float
    third_quartile: float


def universal_thresholds(maxima: ArrayLike) -> UniversalThresholds:
    """The highest of the maxima on negatives, 1.1 times that, and their third quartile.

    The quartile is interpolated (numpy's default). Where maxima are below 0, a tenth more is lower.
    """
    values = _finite(maxima, "the maxima")
    if not values.size:
        return UniversalThresholds(float("nan"), float("nan"), float("nan"))
    highest = float(values.max())
    return UniversalThresholds(highest, MARGIN * highest, float(np.percentile(values, 75)))


def universal_thresholds_by_kind(maxima: Mapping[str, ArrayLike]) -> UniversalThresholds:
    """The same of each kind of negatives, where the kind's median stands for its highest value.

    Of the kinds the highest counts. The thresholds in the authors' code cannot come from
    `universal_thresholds`: their `max` lies below their third quartile for all six models, which
    the maximum of all negatives never does. That it is the median is our reading, unconfirmed.
    """
    kinds = [_finite(values, f"the maxima of {kind}") for kind, values in maxima.items()]
    if not kinds or not all(values.size for values in kinds):
        return UniversalThresholds(float("nan"), float("nan"), float("nan"))
    centre = max(float(np.median(values)) for values in kinds)
    quartile = max(float(np.percentile(values, 75)) for values in kinds)
    return UniversalThresholds(centre, MARGIN * centre, quartile)


def auc_n(lit_shares: ArrayLike) -> float:
    """Area under share(pIA <= t) over t = 0, .05 .. 1; NaN of no samples."""
    values = _finite(lit_shares, "pIA")
    if not values.size:
        return float("nan")
    passed = (values[:, None] <= AUC_THRESHOLDS).mean(axis=0)
    return float(np.trapezoid(passed, AUC_THRESHOLDS))


def f_loc(mean_ciou: float, mean_lit_share: float) -> float:
    """Harmonic mean of the mean cIoU on positives and 1 - mean pIA on negatives."""
    return harmonic_mean(mean_ciou, 1 - mean_lit_share)


def f_auc(auc: float, area_on_negatives: float) -> float:
    """Harmonic mean of AUC on positives and AUC_N on negatives."""
    return harmonic_mean(auc, area_on_negatives)


def harmonic_mean(a: float, b: float) -> float:
    """2 a b / (a + b); 0 where both are 0."""
    return 2 * a * b / (a + b) if a + b != 0 else 0.0


def _columns(
    ciou: ArrayLike, confidence: ArrayLike, visible: ArrayLike, success: float
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.bool_]]:
    scores = np.asarray(ciou, dtype=np.float64).reshape(-1)
    sure = np.asarray(confidence, dtype=np.float64).reshape(-1)
    seen = np.asarray(visible, dtype=np.bool_).reshape(-1)
    if not scores.size == sure.size == seen.size:
        raise ValueError("cIoU, confidence and visible must be as many")
    if np.isnan(sure).any() or np.isnan(scores[seen]).any():
        raise ValueError("a confidence, or the cIoU of a visible sample, is NaN")
    return seen & (scores >= success), sure, seen


def _authors_curve(
    levels: NDArray[np.float64],
    found: NDArray[np.bool_],
    sure: NDArray[np.float64],
    seen: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision and recall at each level, 1 where there is nothing to divide by."""
    hits = _reaching(found, sure, levels)
    chosen = _reaching(np.ones_like(seen), sure, levels)
    counted = hits + np.count_nonzero(seen) - _reaching(seen, sure, levels)
    return _ratio(hits, chosen), _ratio(hits, counted)


def _curve(
    found: NDArray[np.bool_], sure: NDArray[np.float64], seen: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision and recall at each distinct confidence, from the highest; empty of none visible."""
    if not seen.any():
        return np.empty(0), np.empty(0)
    levels = np.unique(sure)[::-1]
    hits = _reaching(found, sure, levels)
    chosen = _reaching(np.ones_like(seen), sure, levels)
    return hits / chosen, hits / np.count_nonzero(seen)


def _reaching(
    members: NDArray[np.bool_], sure: NDArray[np.float64], levels: NDArray[np.float64]
) -> NDArray[np.int64]:
    """How many members have at least each level of confidence."""
    values = np.sort(sure[members])
    return np.asarray(values.size - np.searchsorted(values, levels, "left"))


def _ratio(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(a, b, out=np.ones(a.shape), where=b > 0)


def _f1(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> NDArray[np.float64]:
    total = precision + recall
    return np.divide(2 * precision * recall, total, out=np.zeros(total.shape), where=total > 0)


def _finite(values: ArrayLike, what: str) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64).reshape(-1)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{what} must be finite numbers")
    return numbers
