"""Is this clip one that was packed before? Two fingerprints of 64 bits say so.

- Picture: the difference hash (Krawetz 2013): shrunk to 9 x 8 grey cells, is each darker than its
  right neighbour?
- Sound: after Haitsma & Kalker (2002): energies of 8 bands in 9 stretches of the window; has the
  contrast of a band to the next grown from one stretch to the next?

Clips are duplicates where both agree, up to `PICTURE_BITS` and `SOUND_BITS` bits: the same clip
under another name, encoded again, or at another size. Two moments of one still film look alike
but sound different, and stay.

Looking up costs little at any size (multi-index hashing, Norouzi, Punjani & Fleet 2012): four
tables hold the picture fingerprints by 16 of their bits each. Prints that differ in at most seven
bits differ in at most one bit in one of the four, so 4 x 17 places hold all candidates. Some 50
bytes are kept a sample.
"""

from __future__ import annotations

from array import array
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from soundspot.media.audio import Sound
from soundspot.media.image import Picture

PICTURE_BITS, SOUND_BITS = 7, 10
CELLS = (9, 8)
STRETCHES, BANDS = 9, 9
LOWEST, HIGHEST = 100.0, 3500.0
"""Hz: bands are even on a logarithmic scale; codecs keep these frequencies."""
FRAME, HOP = 0.064, 0.032
"""Seconds of a spectrum, and from one to the next."""
TABLES, TABLE_BITS = 4, 16
FLIPS = (0, *(1 << bit for bit in range(TABLE_BITS)))
LOUDEST_SECONDS = 0.1
SILENT_RMS = 1e-3
"""-60 dBFS."""
STILL_SIDE, STILL_LEVELS = 32, 6.0
"""A picture of so many cells a side, none of which changes by more levels of 255."""


class Print(NamedTuple):
    """Fingerprints of a sample's picture and sound."""

    picture: int
    sound: int

    def __str__(self) -> str:
        return f"{self.picture:016x}{self.sound:016x}"

    @classmethod
    def parse(cls, text: str) -> Print:
        """The fingerprints of a string."""
        return cls(int(text[:16], 16), int(text[16:32], 16))


def print_of(picture: Picture, sound: Sound, rate: int) -> Print:
    """The fingerprints of a picture and a sound."""
    return Print(_picture_print(picture), _sound_print(sound, rate))


def _picture_print(picture: Picture) -> int:
    small = Image.fromarray(picture).convert("L").resize(CELLS, Image.Resampling.BOX)
    grey = np.asarray(small, np.int16)
    return _number(grey[:, 1:] > grey[:, :-1])


def _sound_print(sound: Sound, rate: int) -> int:
    size, hop = round(FRAME * rate), round(HOP * rate)
    if len(sound) < size + STRETCHES * hop:
        sound = np.pad(sound, (0, size + STRETCHES * hop - len(sound)))
    frames = np.lib.stride_tricks.sliding_window_view(sound, size)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(size).astype(np.float32))) ** 2
    edges = np.geomspace(LOWEST, min(HIGHEST, 0.45 * rate), BANDS + 1) * size / rate
    in_bands = np.add.reduceat(power[:, : round(edges[-1])], np.round(edges[:-1]).astype(int), 1)
    parts = np.array_split(in_bands, STRETCHES)
    energy = np.log(np.stack([part.mean(0) for part in parts]) + 1e-7)
    contrast = energy[:, 1:] - energy[:, :-1]
    return _number(contrast[1:] > contrast[:-1])


def _number(bits: NDArray[np.bool_]) -> int:
    return int.from_bytes(np.packbits(bits.ravel()).tobytes(), "big")


class Seen:
    """The fingerprints of all samples so far."""

    def __init__(self) -> None:
        self._pictures, self._sounds = array("Q"), array("Q")
        self._tables: tuple[dict[int, array[int]], ...] = tuple({} for _ in range(TABLES))

    def find(self, prints: Print) -> int | None:
        """The number of the first sample that is the same clip."""
        near = [
            bucket
            for table, key in zip(self._tables, _keys(prints.picture), strict=True)
            for flip in FLIPS
            if (bucket := table.get(key ^ flip)) is not None
        ]
        if not near:
            return None
        numbers = np.unique(np.concatenate([np.frombuffer(b, np.uint64) for b in near]))
        close = (
            np.bitwise_count(_of(self._pictures)[numbers] ^ np.uint64(prints.picture))
            <= PICTURE_BITS
        ) & (np.bitwise_count(_of(self._sounds)[numbers] ^ np.uint64(prints.sound)) <= SOUND_BITS)
        return int(numbers[close][0]) if close.any() else None

    def add(self, prints: Print) -> None:
        """One more sample."""
        number = len(self._pictures)
        self._pictures.append(prints.picture)
        self._sounds.append(prints.sound)
        for table, key in zip(self._tables, _keys(prints.picture), strict=True):
            table.setdefault(key, array("Q")).append(number)


def _of(numbers: array[int]) -> NDArray[np.uint64]:
    return np.frombuffer(numbers, np.uint64)


def _keys(picture: int) -> list[int]:
    mask = (1 << TABLE_BITS) - 1
    return [picture >> shift & mask for shift in range(0, TABLES * TABLE_BITS, TABLE_BITS)]


def is_silent(sound: Sound, rate: int) -> bool:
    """Whether no tenth of a second is above -60 dBFS."""
    size = max(1, round(LOUDEST_SECONDS * rate))
    padded = np.pad(sound, (0, -len(sound) % size)).reshape(-1, size)
    return float(np.square(padded, dtype=np.float64).mean(1).max()) < SILENT_RMS**2


def outline(picture: Picture) -> NDArray[np.int16]:
    """A small grey copy, to tell whether anything moves."""
    grey = Image.fromarray(picture).convert("L")
    return np.asarray(grey.resize((STILL_SIDE,) * 2, Image.Resampling.BOX), np.int16)


def are_still(outlines: list[NDArray[np.int16]]) -> bool:
    """Whether nothing moves between the first picture and any other."""
    return len(outlines) > 1 and all(
        int(np.abs(other - outlines[0]).max()) <= STILL_LEVELS for other in outlines[1:]
    )
