"""Could it be luck? Percentile bootstrap (Efron 1979) of a score, and of a difference.

Draw as many samples as there are, with replacement, 2,000 times; the 2.5th and 97.5th percentile
of the score bound a 95 % interval. Samples that share a picture do not vary freely, so *clusters*
are drawn, each with all its samples; give each sample its cluster's name (no clusters: each sample
is its own). The interval says how far other pictures of this kind might move the score, no more.

A draw is a row of counts: how often each cluster came up. With those, the mean of a draw is a
matrix product, and AUROC a weighted AUROC.

Which to use when two methods are compared on the same samples. How large is the difference?
`paired_difference`, its interval. Is there one at all? `sign_flip_test` (Fisher 1935; Pitman 1937):
if the two were alike, each cluster's difference might as well have had the other sign, so the
difference is compared with those of all choices of signs. It is exact for any number of clusters
and for scores of any shape (with `auc_of_each`, or 0s and 1s, for AUC and a share), where the
bootstrap's own p is approximate below some fifty clusters. Of 0s and 1s it is McNemar's exact test.
For several comparisons at once multiply p by their number (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundspot.metrics.confidence import auroc

DRAWS = 2000
PERCENT = (2.5, 97.5)
"""Lower and upper percentile: 95 % lie between."""

ENUMERATED = 14
"""Up to this many clusters that differ, all choices of signs are tried (16,384)."""

FLIPS = 10_000
"""Choices of signs that are drawn where there are more."""

BLOCK_CELLS = 2**21
"""Draws are made in blocks of at most this many counts (16 MiB), however many clusters."""


class Interval(NamedTuple):
    """Bounds of a 95 % interval; both NaN of no samples."""

    low: float
    high: float


class Difference(NamedTuple):
    """How far one row is above another on the same samples.

    `p` is two-sided: twice the share of draws that end on the other side of zero, or on it.
    """

    mean: float
    low: float
    high: float
    p: float


def mean_interval(
    values: ArrayLike, clusters: Sequence[Hashable] | None = None, *, seed: int = 0
) -> Interval:
    """95 % interval of the mean. With `auc_of_each`, or 0s and 1s, of AUC and of a share too."""
    return _percentiles(_drawn_means(np.asarray(values, dtype=np.float64), clusters, seed))


def auroc_interval(
    positives: ArrayLike,
    negatives: ArrayLike,
    positive_clusters: Sequence[Hashable] | None = None,
    negative_clusters: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
) -> Interval:
    """95 % interval of AUROC. A cluster may hold positives and negatives (one picture's)."""
    above, below = np.asarray(positives, dtype=np.float64), np.asarray(negatives, dtype=np.float64)
    if not above.size or not below.size:
        return Interval(float("nan"), float("nan"))
    a = _names(positive_clusters, above.size, "positive")
    b = _names(negative_clusters, below.size, "negative")
    numbers, count = _numbered([*a, *b])
    drawn = [
        auroc(above, below, weights[: above.size], weights[above.size :])
        for counts in _draws(count, seed)
        for weights in counts[:, numbers]
    ]
    return _percentiles(np.array(drawn))


def paired_difference(
    a: ArrayLike, b: ArrayLike, clusters: Sequence[Hashable] | None = None, *, seed: int = 0
) -> Difference:
    """Mean of a - b over the same samples in the same order, its interval, and its p."""
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    drawn = _drawn_means(difference, clusters, seed)
    low, high = _percentiles(drawn)
    if not drawn.size:
        return Difference(low, low, high, low)
    tail = min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
    p = min(1.0, 2 * (int(tail) + 1) / (drawn.size + 1))
    return Difference(float(difference.mean()), low, high, p)


def sign_flip_test(
    a: ArrayLike, b: ArrayLike, clusters: Sequence[Hashable] | None = None, *, seed: int = 0
) -> float:
    """Two-sided p of "a and b score alike" over the same samples in the same order.

    The share of choices of signs under which the mean difference is at least as far from 0. With
    drawn signs the one that was seen counts as a draw, so p is never 0 (at least 1 / 10,001).
    NaN of no samples; 1 where nothing differs.
    """
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    if difference.ndim != 1 or np.isnan(difference).any():
        raise ValueError("values must be one number a sample, none NaN")
    if not difference.size:
        return float("nan")
    numbers, count = _numbered(_names(clusters, difference.size, "sample"))
    sums = np.bincount(numbers, weights=difference, minlength=count)
    sums = sums[sums != 0]
    seen = abs(sums.sum()) - 1e-12 * np.abs(sums).sum()  # sums of equal numbers may round apart
    if sums.size <= ENUMERATED:
        signs = 1 - 2 * (np.arange(2**sums.size)[:, None] >> np.arange(sums.size) & 1)
        return float(np.mean(np.abs(signs @ sums) >= seen))
    as_far = sum(int(np.count_nonzero(np.abs(s @ sums) >= seen)) for s in _signs(sums.size, seed))
    return (as_far + 1) / (FLIPS + 1)


def _signs(clusters: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """A sign of each cluster in each draw, in blocks. Shape: draws clusters."""
    rng = np.random.default_rng(seed)
    block = max(1, BLOCK_CELLS // clusters)
    for start in range(0, FLIPS, block):
        heads = rng.integers(2, size=(min(block, FLIPS - start), clusters))
        yield 1 - 2 * heads.astype(np.float64)


def _drawn_means(
    values: NDArray[np.float64], clusters: Sequence[Hashable] | None, seed: int
) -> NDArray[np.float64]:
    if values.ndim != 1 or np.isnan(values).any():
        raise ValueError("values must be one number a sample, none NaN")
    if not values.size:
        return np.empty(0)
    numbers, count = _numbered(_names(clusters, values.size, "sample"))
    sums = np.bincount(numbers, weights=values, minlength=count)
    sizes = np.bincount(numbers, minlength=count)
    return np.concatenate([(c @ sums) / (c @ sizes) for c in _draws(count, seed)])


def _draws(clusters: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each cluster comes up in each draw, in blocks. Shape: draws clusters."""
    rng = np.random.default_rng(seed)
    block = max(1, BLOCK_CELLS // clusters)
    for start in range(0, DRAWS, block):
        draws = min(block, DRAWS - start)
        picks = rng.integers(clusters, size=(draws, clusters))
        cells = (picks + clusters * np.arange(draws)[:, None]).ravel()
        counts = np.bincount(cells, minlength=draws * clusters)
        yield counts.reshape(draws, clusters).astype(np.float64)


def _names(clusters: Sequence[Hashable] | None, size: int, alone: str) -> Sequence[Hashable]:
    if clusters is None:
        return [(alone, i) for i in range(size)]
    if len(clusters) != size:
        raise ValueError(f"{len(clusters)} cluster names for {size} samples")
    return clusters


def _numbered(names: Sequence[Hashable]) -> tuple[NDArray[np.int64], int]:
    number_of: dict[Hashable, int] = {}
    numbers = [number_of.setdefault(name, len(number_of)) for name in names]
    return np.array(numbers, dtype=np.int64), len(number_of)


def _percentiles(drawn: NDArray[np.float64]) -> Interval:
    drawn = drawn[~np.isnan(drawn)]  # a draw without one of AUROC's two sides says nothing
    if not drawn.size:
        return Interval(float("nan"), float("nan"))
    low, high = np.percentile(drawn, PERCENT)
    return Interval(float(low), float(high))
