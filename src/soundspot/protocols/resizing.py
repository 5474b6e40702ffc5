"""Maps to the judged frame as each peer brings them there: separable taps, exact and fast.

A pixel of the new axis is a weighted sum of 2 (linear) or 4 (cubic) old ones. What differs:

* *half-pixel* centres: new pixel j looks at (j + 0.5) old / new - 0.5. What OpenCV's `resize` and
  torch's `interpolate` (`align_corners=False`) do.
* *corners*: new pixel j looks at j (old - 1) / (new - 1), so that the corner pixels stay
  (`align_corners=True`).

Cubic is Keys' kernel (1981) with a = -0.75, as in OpenCV and torch. Past the border the border's
pixel counts again. Nothing is averaged when an axis shrinks: no peer does.

A new pixel is its base (the old pixel at or before it) plus weighted differences from it, added
element by element in one order. Where all old pixels hold one value the differences are exact
zeros, so a flat map stays flat, whatever its value, and a plateau ties with itself. (Weights in
single precision need not sum to 1; a sum of products, or a matrix product, tears plateaus apart,
and a median rule then judges the rounding.)
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from soundspot.maps import FloatMap

Interpolation: TypeAlias = Literal["bilinear", "bilinear_corners", "cubic", "cubic_corners"]

KEYS_A = -0.75
"""The free parameter of Keys' cubic kernel: the slope at distance 1."""


class Taps(NamedTuple):
    """Where each new pixel of an axis looks beside its base, and how much it takes.

    `base` has a place a new pixel; the others are taps x new. All weights with the base's sum to 1.
    """

    base: NDArray[np.intp]
    places: NDArray[np.intp]
    weights: NDArray[np.float32]


@lru_cache(maxsize=256)
def taps(
    old: int, new: int, kind: Interpolation, start: int = 0, length: int | None = None
) -> Taps:
    """The taps from `old` pixels to `new`, or to the `length` of these that begin at `start`."""
    at = np.arange(start, start + (new if length is None else length), dtype=np.float64)
    if kind.endswith("corners"):
        where = at * ((old - 1) / (new - 1)) if new > 1 else at * 0
    else:
        where = (at + 0.5) * (old / new) - 0.5
    base = np.floor(where)
    others, weights = (_cubic if kind.startswith("cubic") else _linear)(where - base)
    places = base + np.array(others)[:, None]
    inside = [np.clip(which, 0, old - 1).astype(np.intp) for which in (base, places)]
    return Taps(inside[0], inside[1], weights.astype(np.float32))


def resample(values: FloatMap, rows: Taps, columns: Taps) -> FloatMap:
    """The map seen through the taps of both axes, across first."""
    return _along_first(_along_last(values, columns), rows)


def _along_last(values: FloatMap, columns: Taps) -> FloatMap:
    base: FloatMap = values[:, columns.base]
    out = base.copy()
    for places, weights in zip(columns.places, columns.weights, strict=True):
        out += (values[:, places] - base) * weights
    return out


def _along_first(values: FloatMap, rows: Taps) -> FloatMap:
    base: FloatMap = values[rows.base]
    out = base.copy()
    for places, weights in zip(rows.places, rows.weights, strict=True):
        out += (values[places] - base) * weights[:, None]
    return out


def _linear(beyond: NDArray[np.float64]) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """The neighbour that is looked at beside the base, and its weight."""
    return (1,), beyond[None]


def _cubic(beyond: NDArray[np.float64]) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """The three neighbours that are looked at beside the base, and their weights."""
    return (-1, 1, 2), np.stack([_far(1 + beyond), _near(1 - beyond), _far(2 - beyond)])


def _near(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' kernel at distances up to 1."""
    return ((KEYS_A + 2) * x - (KEYS_A + 3)) * x * x + 1


def _far(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' kernel at distances from 1 to 2."""
    return ((KEYS_A * x - 5 * KEYS_A) * x + 8 * KEYS_A) * x - 4 * KEYS_A
