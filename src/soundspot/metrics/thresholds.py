"""From a map to a mask: the rules of the field, each by its name.

| rule | chosen | used by |
|---|---|---|
| `top_half` | v >= (or >) the middle value | most |
| `as_many_as_truth` | exactly as many pixels as the truth has | ours |
| `adaptive` | v >= (or >) the k-th largest, k the truth's pixels | Senocak et al., ICCV 2023 |
| `half_of_range` | min-max v >= 0.5 | Song et al., CVPR 2022 (SSPL) |
| `upper_half_of_range` | min-max v, 0 below the middle value, >= 0.5 | Wu et al., 2022 (RC-Grad) |
| `fraction_of_maximum` | v > 0.1 max | Hu et al., NeurIPS 2020 (DSOL) |
| `FIXED_THRESHOLDS` | v >= 0.05, 0.10 .. 0.95, the best kept | Park et al., WACV 2024 (ACL) |
| `at_least` | v >= (or >) one number for all pictures | Juanola et al., 2024 |

The first two are in `soundspot.metrics.overlap`.

Ties. `>=` takes all pixels that hold the threshold's value, `>` none; on a map with plateaus the
two differ much, and neither takes as many pixels as was asked for. `adaptive(strict=False)` chooses
at least k pixels; `strict=True`, which the authors' code has, at most k - 1.

Min-max: (v - lowest) / (highest - lowest). A constant map has no range; it becomes all 0 and
nothing is chosen ("zero"). The field's code leaves it as it is ("kept"), so that a map of ones is
chosen whole and a map of zeros not at all.

A threshold is compared in the map's own precision. `soundspot.metrics.ranked` computes the scores
under all these rules without making a mask.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundspot.metrics.overlap import Map, Mask, Truth, auc, check_map, check_truth
from soundspot.metrics.ranked import Constant

FIXED_THRESHOLDS = np.arange(1, 20) / 20
"""0.05, 0.10 .. 0.95."""

HALF = 0.5
"""Of the range of a map."""

DSOL_FRACTION = 0.1
"""Of the highest value."""


def at_least(map: Map, threshold: float, *, strict: bool = False) -> Mask:
    """The pixels at or above one threshold (`strict`: above it)."""
    check_map(map)
    if np.isnan(threshold):
        raise ValueError("the threshold is NaN")
    return _cut(map, threshold, strict)


def adaptive(map: Map, truth: Truth, *, strict: bool = False) -> Mask:
    """The pixels at or above the k-th largest value, where the truth has k pixels above 0."""
    check_map(map)
    check_truth(truth, map.shape)
    place = map.size - int(np.count_nonzero(truth))
    return _cut(map, np.partition(map.ravel(), place)[place], strict)


def min_max(map: Map, *, constant: Constant = "zero") -> Map:
    """The map brought to 0..1, its own lowest value 0 and its highest 1."""
    check_map(map)
    low, high = map.min(), map.max()
    if low == high:
        return map if constant == "kept" else np.zeros_like(map)
    return np.asarray((map - low) / (high - low))


def half_of_range(map: Map, *, constant: Constant = "zero") -> Mask:
    """The pixels in the upper half of the map's range of values."""
    return _cut(min_max(map, constant=constant), HALF, strict=False)


def upper_half_of_range(map: Map, *, constant: Constant = "zero") -> Mask:
    """The pixels in the upper half of the range and not below the map's middle value."""
    scaled = min_max(map, constant=constant)
    middle = np.partition(scaled.ravel(), map.size // 2)[map.size // 2]
    return _cut(np.where(scaled < middle, 0, scaled), HALF, strict=False)


def fraction_of_maximum(map: Map, fraction: float = DSOL_FRACTION) -> Mask:
    """The pixels above a fraction of the highest value. For maps that are not negative."""
    check_map(map)
    return _cut(map, fraction * float(map.max()), strict=True)


class Best(NamedTuple):
    """The threshold that suits a whole data set best, and the score it gets there."""

    threshold: float
    score: float


def best_threshold(
    scores: ArrayLike,
    thresholds: ArrayLike = FIXED_THRESHOLDS,
    summary: Callable[[NDArray[np.float64]], float] = auc,
) -> Best:
    """The threshold with the highest summary over the samples; the lowest one where several tie.

    One threshold is kept for the whole set, not one a picture. It is chosen on the samples it is
    then judged on, so the score flatters.

    Args:
        scores: n k: each sample's cIoU at each threshold.
        thresholds: k.
        summary: of one threshold's n scores.
    """
    table = np.asarray(scores, dtype=np.float64)
    cuts = np.asarray(thresholds, dtype=np.float64)
    if table.ndim != 2 or table.shape[1:] != cuts.shape:
        raise ValueError(f"scores must be samples x {cuts.size} thresholds, not {table.shape}")
    if not table.shape[0]:
        return Best(float("nan"), float("nan"))
    summaries = [summary(column) for column in table.T]
    best = int(np.argmax(summaries))
    return Best(float(cuts[best]), float(summaries[best]))


def _cut(map: Map, threshold: float | np.floating, strict: bool) -> Mask:
    level = map.dtype.type(threshold) if np.issubdtype(map.dtype, np.floating) else threshold
    chosen: Mask = map > level if strict else map >= level
    return chosen
