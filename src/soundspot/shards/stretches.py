"""Windows of a film's sound, each second decoded once: read a long stretch, cut windows out."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from soundspot.media.audio import Sound, read_sound

STRETCH_SECONDS = 600.0
"""Decoded at a time: 38 MB at 16 kHz."""
WINDOWS_A_STRETCH = 4
"""At least, where windows are long."""


class SoundTrack:
    """The sound track of one film; windows are asked for from front to back.

    Args:
        film: the file.
        rate: Hz of the windows.
        seconds: the longest window.
    """

    def __init__(self, film: Path, rate: int, seconds: float):
        self._film, self._rate = film, rate
        self._seconds = max(STRETCH_SECONDS, WINDOWS_A_STRETCH * seconds)
        self._start = self._stop = 0.0
        self._samples = np.zeros(0, np.float32)

    def window(self, start: float, stop: float) -> Sound:
        """The sound between two times, in seconds; shorter, or empty, where the track ends sooner.

        Raises:
            MediaError: it is damaged.
        """
        if stop > self._stop:
            self._samples = read_sound(self._film, self._rate, start, self._seconds)
            whole = len(self._samples) >= round(self._seconds * self._rate)
            self._start, self._stop = start, start + self._seconds if whole else math.inf
        first = round((start - self._start) * self._rate)
        cut = self._samples[first : first + round((stop - start) * self._rate)]
        return np.ascontiguousarray(cut)
