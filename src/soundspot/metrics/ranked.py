"""One sort a map, then every threshold is a look-up: the arithmetic under all other metrics.

Cutting a map at t chooses the pixels at or above t. How many of them are true is all that IoU,
cIoU, average precision and F ask; where they lie does not matter. So a map is sorted once, its
pixels apart for each value that the truth takes (two for boxes, three for a consensus of two
people), and the number of pixels at or above any t is a binary search in each part:

    chosen_v(t) = how many pixels of truth v reach t
    cIoU(t)     = sum_v v chosen_v(t) / (sum_v v n_v + chosen_0(t))

Rules that stretch a map (to 0..1, through a sigmoid) never turn the order of two pixels round, so
the sorted pixels are stretched instead and give, bit for bit, what stretching the map first gives.

Conventions. A threshold is compared in the map's own precision: with a map of single precision, 0.3
means the single nearest to 0.3, as in numpy's `map >= 0.3`. `strict` chooses pixels above t only.
Maps of whole numbers count as double precision.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundspot.metrics.overlap import Map, Truth, check_map, check_truth

Floats: TypeAlias = NDArray[np.floating[Any]]
Scores: TypeAlias = NDArray[np.float64]
Constant: TypeAlias = Literal["zero", "kept"]

BETA_SQUARED = 0.3
"""Weight of recall in F (Achanta et al., CVPR 2009): precision counts more."""

F_THRESHOLDS = np.arange(255) / 254
"""0, 1/254 .. 1."""


def rank(map: Map, truth: Truth | None = None) -> Ranked:
    """Sort a map's pixels, apart for each value of the truth; no truth: a negative.

    Raises:
        ValueError: the map is not h w or not finite; the truth has another shape, leaves 0..1, or
            is empty.
    """
    check_map(map)
    pixels = map if np.issubdtype(map.dtype, np.floating) else map.astype(np.float64)
    if truth is None:
        return Ranked((0.0,), (np.sort(pixels, axis=None),))
    check_truth(truth, map.shape)
    if truth.dtype == np.bool_:
        return Ranked((0.0, 1.0), (np.sort(pixels[np.logical_not(truth)]), np.sort(pixels[truth])))
    values = tuple(float(v) for v in np.unique(truth))
    if values[0] > 0:
        values = (0.0, *values)
    return Ranked(values, tuple(np.sort(pixels[truth == v]) for v in values))


@dataclass(frozen=True, eq=False)
class Ranked:
    """The pixels of one map in rising order, apart for each value of the truth; made by `rank`.

    Args:
        values: of the truth, rising; the first is 0.
        parts: the map's pixels where the truth has that value, rising.
    """

    values: tuple[float, ...]
    parts: tuple[Floats, ...]

    @cached_property
    def pixels(self) -> Floats:
        """All pixels, rising."""
        if len(self.parts) == 1:
            return self.parts[0]
        return np.sort(np.concatenate(self.parts), kind="stable")  # merges runs that are sorted

    @property
    def size(self) -> int:
        """How many pixels the map has."""
        return sum(part.size for part in self.parts)

    @property
    def true_pixels(self) -> int:
        """How many pixels the truth holds (where it is above 0)."""
        return self.size - self.parts[0].size

    @property
    def lowest(self) -> float:
        """The map's lowest value."""
        return float(self.pixels[0])

    @property
    def highest(self) -> float:
        """The map's highest value."""
        return float(self.pixels[-1])

    @property
    def middle(self) -> float:
        """Element N // 2 of the sorted pixels: what the field calls the median."""
        return float(self.pixels[self.size // 2])

    def kth_largest(self, k: int) -> float:
        """The k-th largest pixel, from 1."""
        if not 1 <= k <= self.size:
            raise ValueError(f"k must be 1..{self.size}, not {k}")
        return float(self.pixels[self.size - k])

    def chosen(self, thresholds: ArrayLike, *, strict: bool = False) -> NDArray[np.int64]:
        """How many pixels of each part are chosen. Shape: parts, then the thresholds' own."""
        cuts = np.asarray(thresholds, dtype=self.parts[0].dtype)
        if np.isnan(cuts).any():
            raise ValueError("a threshold is NaN")
        side: Literal["left", "right"] = "right" if strict else "left"
        return np.array([part.size - np.searchsorted(part, cuts, side) for part in self.parts])

    def ciou(self, thresholds: ArrayLike, *, strict: bool = False) -> Scores:
        """Consensus IoU (IoU of a binary truth) at each threshold."""
        self._needs_truth()
        chosen = self.chosen(thresholds, strict=strict)
        weights = np.array(self.values)
        total = weights @ [part.size for part in self.parts]
        return np.asarray(np.tensordot(weights, chosen, 1) / (total + chosen[0]))

    def lit(self, thresholds: ArrayLike, *, strict: bool = False) -> Scores:
        """Share of the picture that is chosen at each threshold."""
        return np.asarray(self.chosen(thresholds, strict=strict).sum(axis=0) / self.size)

    def pixel_ap(self, *, envelope: bool = False) -> float:
        """Average precision of pixels; see `soundspot.metrics.average_precision`."""
        self._needs_truth()
        wrong, right = self.parts[0], self.parts[1]
        if len(self.parts) > 2:
            right = np.sort(np.concatenate(self.parts[1:]), kind="stable")
        first = np.flatnonzero(np.concatenate([[True], right[1:] != right[:-1]]))
        merged = np.argsort(np.concatenate([right, wrong]), kind="stable")  # merges sorted runs
        below = np.flatnonzero(merged < right.size)[first]  # how many pixels are lower than each
        precision = (right.size - first) / (self.size - below)
        if envelope:
            precision = np.maximum.accumulate(precision)
        return float(np.diff(first, append=right.size) @ precision / right.size)

    def f_curve(self) -> Scores:
        """F at each of the 255 thresholds; see `soundspot.metrics.segmentation`."""
        self._needs_truth()
        if self.values != (0.0, 1.0):
            raise ValueError("F needs a truth of 0 and 1")
        if self.lowest < 0 or self.highest > 1:
            raise ValueError("F needs a map of probabilities (0..1); take .sigmoid() first")
        wrong, hits = self.chosen(F_THRESHOLDS)
        f = (1 + BETA_SQUARED) * hits / (BETA_SQUARED * self.true_pixels + hits + wrong)
        return np.asarray(f)

    def top_mean(self, share: float = 0.25) -> float:
        """Mean of the highest pixels: that share of the picture, rounded up."""
        if not 0 < share <= 1:
            raise ValueError(f"share must be in (0, 1], not {share}")
        count = int(np.ceil(self.size * share))
        return float(np.mean(self.pixels[self.size - count :], dtype=np.float64))

    def min_max(self, *, constant: Constant = "zero") -> Ranked:
        """Stretched to 0..1. A constant map becomes 0, or (the field's code) stays as it is."""
        low, high = self.pixels[0], self.pixels[-1]
        if low == high:
            return self if constant == "kept" else self._mapped([part * 0 for part in self.parts])
        return self._mapped([(part - low) / (high - low) for part in self.parts])

    def sigmoid(self) -> Ranked:
        """Every pixel through 1 / (1 + exp(-x))."""
        return self._mapped([sigmoid(part) for part in self.parts])

    def _mapped(self, parts: list[Floats]) -> Ranked:
        return Ranked(self.values, tuple(parts))

    def _needs_truth(self) -> None:
        if len(self.parts) == 1:
            raise ValueError("this map was ranked without a truth")


def sigmoid(map: Floats) -> Floats:
    """1 / (1 + exp(-x)), in the map's precision, for logits of any size."""
    tail = np.exp(-np.abs(map))
    return np.asarray(np.where(map >= 0, 1, tail) / (1 + tail))
