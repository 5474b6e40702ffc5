"""What decoders yield: blocks of mono float32 with their place in the file.

Channels are mixed by their mean. Integers have the full range of their type: the most negative one
is -1. A file that breaks off is an error, which names the seconds that are whole.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from soundspot.errors import MediaError

Sound: TypeAlias = NDArray[np.float32]
"""`samples`, mono, in [-1, 1]."""

MIN_SECONDS = 0.025
"""The shortest sound: one frame of a spectrogram."""
BLOCK_SAMPLES = 16_384
SLACK_SECONDS = 0.1
"""Clocks of containers may be off by this much before it counts as a pause or a cut."""
INTEGER_SCALES = {"i1": 2.0**7, "u1": 2.0**7, "i2": 2.0**15, "i4": 2.0**31}
UNSIGNED_ZERO = 128


class Block(NamedTuple):
    """A piece of a file's sound, mixed to mono, at the file's own rate."""

    rate: int
    """Hz."""
    first: int
    """Place of the first sample, counted from time 0 of the file."""
    samples: Sound


def cut_short(name: str, seconds: float) -> MediaError:
    """Return the error for a file of which so many seconds are whole."""
    whole = math.floor(seconds * 100) / 100
    if whole < MIN_SECONDS:
        return MediaError(f"{name} is damaged or cut short; save or download it again")
    return MediaError(
        f"{name} is damaged or cut short after {whole:.2f} s; save it again, or take only what "
        "comes before (of a film --start and --stop; in Python start and seconds)"
    )


def mono(samples: Sound, axis: int) -> Sound:
    """Mix the channels, which lie along `axis`."""
    if samples.shape[axis] == 1:
        return samples.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):  # NaN and infinity are reported later
        mixed: Sound = samples.mean(axis=axis, dtype=np.float32)
    return mixed


def as_float(values: NDArray[Any]) -> Sound:
    """Scale integers to [-1, 1) by the range of their type."""
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return values.astype(np.float32, copy=False)
    scale = INTEGER_SCALES[values.dtype.str[1:]]
    zero = UNSIGNED_ZERO if values.dtype.kind == "u" else 0
    return ((values.astype(np.float64) - zero) / scale).astype(np.float32)
