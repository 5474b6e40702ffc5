"""Maps that look at nothing and hear nothing: what any table's numbers must be held against.

Each is `(height, width, sample_id) -> map`, raw, at the picture's own size. A photographer puts the
thing that matters in the middle, so a centred disc is a strong opponent: on Flickr-SoundNet it
beats the early state of the art.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from types import MappingProxyType

import numpy as np

from soundspot.maps import FloatMap, resize_map

BlindMap = Callable[[int, int, str], FloatMap]

RANDOM_GRID = 7
"""A random map is this many by this many random numbers, enlarged bilinearly: the resolution of
a network's last map on a picture of 224 pixels."""


def centre_disc(height: int, width: int, sample_id: str = "") -> FloatMap:
    """Minus the distance from the centre, in fractions of the sides (an ellipse on wide ones).

    Cut at its middle value it is the disc that covers half the picture.
    """
    return _disc(height, width)


def whole_image(height: int, width: int, sample_id: str = "") -> FloatMap:
    """The same everywhere; the top half of it is all of it."""
    return np.zeros((height, width), dtype=np.float32)


def random_smooth(height: int, width: int, sample_id: str, *, seed: int = 0) -> FloatMap:
    """Smooth noise, the same for the same sample and seed on every machine."""
    rng = sample_rng(sample_id, seed)
    return resize_map(rng.standard_normal((RANDOM_GRID, RANDOM_GRID), np.float32), (height, width))


def blind_maps(seed: int = 0) -> Mapping[str, BlindMap]:
    """The blind rows of every table, by their labels."""
    return MappingProxyType(
        {
            "centre disc": centre_disc,
            "whole image": whole_image,
            "random": partial(random_smooth, seed=seed),
        }
    )


def sample_rng(sample_id: str, seed: int = 0) -> np.random.Generator:
    """Random numbers that depend on the sample's id and the seed alone, in whatever order."""
    digest = hashlib.sha256(f"{seed}/{sample_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


@lru_cache(maxsize=64)
def _disc(height: int, width: int) -> FloatMap:
    """Kept for the next picture of this size, and therefore read-only."""
    y = (np.arange(height)[:, None] - (height - 1) / 2) / height
    x = (np.arange(width)[None, :] - (width - 1) / 2) / width
    disc = -np.hypot(y, x).astype(np.float32)
    disc.setflags(write=False)
    return disc
