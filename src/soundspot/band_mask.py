"""Masks of sound: how much of each frequency, at each moment, comes from a place in a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from soundspot.types import Images, Sounds


@dataclass(frozen=True)
class BandMask:
    """How much of a sound comes from a place, by frequency and time.

    Args:
        values: f t, 0 to 1.
        frequencies: Hz of each of the f bands, rising.
        times: seconds of each of the t moments, rising.
    """

    values: NDArray[np.float32]
    frequencies: NDArray[np.float64]
    times: NDArray[np.float64]

    def at(
        self, frequencies: NDArray[np.float64], times: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Interpolated linearly, and constant beyond the ends: `F T`."""
        over_time = np.stack([np.interp(times, self.times, row) for row in self.values])
        bands = np.eye(len(self.values))
        spread = np.stack([np.interp(frequencies, self.frequencies, row) for row in bands], 1)
        weights: NDArray[np.float32] = (spread @ over_time).astype(np.float32)
        return weights


@runtime_checkable
class MasksSound(Protocol):
    """A model that tells how much of a sound comes from each place of a picture."""

    def mask_at(self, images: Images, sounds: Sounds, place: tuple[float, float]) -> list[BandMask]:
        """The masks of one place, x y in fractions of width and height (0..1), one a pair."""
        ...
