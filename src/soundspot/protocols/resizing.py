"""Maps to the judged frame as each peer brings them there: separable taps, exact and fast.

A pixel of the new axis is a weighted sum of 2 (linear) or 4 (cubic) old ones. What differs:

* *half-pixel* centres: new pixel j looks at (j + 0.5) old / new - 0.5. What OpenCV's `resize` and
  torch's `interpolate` (`align_corners=False`) do.
* *corners*: new pixel j looks at j (old - 1) / (new - 1), so that the corner pixels stay
  (`align_corners=True`).

Cubic is Keys' kernel (1981) with a = -0.75, as in OpenCV and torch. Past the border the border's
pixel counts again. Nothing is averaged when an axis shrinks: no peer does.

Taps are added in one fixed order, element by element, so that pixels which ought to tie do tie (a
matrix product may round equal rows differently, and a median rule then tears a plateau apart).
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
    """Where each new pixel of an axis looks, and how much it takes. Shapes: taps new."""

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
    weights = _cubic(where - base) if kind.startswith("cubic") else _linear(where - base)
    first = -1 if kind.startswith("cubic") else 0
    places = base[None, :] + first + np.arange(len(weights))[:, None]
    clipped = np.clip(places, 0, old - 1).astype(np.intp)
    return Taps(*_merged(clipped, weights))


def resample(values: FloatMap, rows: Taps, columns: Taps) -> FloatMap:
    """The map seen through the taps of both axes, across first."""
    wide = _along_last(values, columns)
    return _along_first(wide, rows)


def _along_last(values: FloatMap, columns: Taps) -> FloatMap:
    out: FloatMap = values[:, columns.places[0]] * columns.weights[0]
    for places, weights in zip(columns.places[1:], columns.weights[1:], strict=True):
        out += values[:, places] * weights
    return out


def _along_first(values: FloatMap, rows: Taps) -> FloatMap:
    out: FloatMap = values[rows.places[0]] * rows.weights[0][:, None]
    for places, weights in zip(rows.places[1:], rows.weights[1:], strict=True):
        out += values[places] * weights[:, None]
    return out


def _linear(beyond: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([1 - beyond, beyond])


def _cubic(beyond: NDArray[np.float64]) -> NDArray[np.float64]:
    near = [_near(beyond), _near(1 - beyond)]
    return np.stack([_far(1 + beyond), *near, _far(2 - beyond)])


def _near(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' kernel at distances up to 1."""
    return ((KEYS_A + 2) * x - (KEYS_A + 3)) * x * x + 1


def _far(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' kernel at distances from 1 to 2."""
    return ((KEYS_A * x - 5 * KEYS_A) * x + 8 * KEYS_A) * x - 4 * KEYS_A


def _merged(
    places: NDArray[np.intp], weights: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Taps that fell on the same border pixel become one, so that a plateau stays exact."""
    merged = weights.copy()
    for later in range(1, len(places)):
        for earlier in range(later):
            same = (places[later] == places[earlier]) & (merged[earlier] != 0)
            merged[earlier, same] += merged[later, same]
            merged[later, same] = 0
    return places, merged.astype(np.float32)
