"""Where one shot of a film ends and the next begins: nothing is carried across a hard cut.

A picture is sketched as the mean colours of `SKETCH` x `SKETCH` cells. A cut is where two sketches,
one frame after the other, differ (mean absolute difference, from 0 to 1) by more than `LEAST`, and
by `TIMES` the median of the last `MEMORY` differences: a camera that swings, or a film of one
picture a second, changes much all the time. Every frame of the film is compared, judged or not.

Seen on the six clips in the data pack (`../shared/data/videos`): 0.035 is the most between frames
of one shot, 0.15 the one cut among them, and 0.167 the least between pictures of different clips.
Fades are no cuts, and a photographer's flash is two.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray

SKETCH = 16
"""Cells a side."""
SAMPLES = 8
"""Pixels a side, at most, of which the mean of a cell is taken."""
LEAST, TIMES, MEMORY = 0.1, 3.0, 9

Sketch = NDArray[np.float32]


class Shots:
    """Counts shots; `see` each frame in order.

    Args:
        changes: the last differences before the first frame, where a film is read on.
    """

    def __init__(self, changes: Sequence[float] = ()) -> None:
        self.number = 0
        self.changes = tuple(changes)
        self._last: Sketch | None = None

    def see(self, picture: NDArray[np.uint8]) -> int:
        """The number of the shot that the next frame belongs to."""
        now = sketch(picture)
        if self._last is not None:
            same = now.shape == self._last.shape
            change = float(np.abs(now - self._last).mean()) if same else 1.0
            self.number += is_cut(change, self.changes)
            self.changes = (*self.changes, change)[-MEMORY:]
        self._last = now
        return self.number


def is_cut(change: float, before: Sequence[float]) -> bool:
    """Whether a difference stands out from those before it."""
    return change > max(LEAST, TIMES * median(before) if before else 0.0)


def sketch(picture: NDArray[np.uint8]) -> Sketch:
    """Mean colours of cells, 0 to 1: `H W 3` to `SKETCH SKETCH 3` (less for tiny pictures)."""
    steps = [max(1, n // (SKETCH * SAMPLES)) for n in picture.shape[:2]]
    sampled = picture[:: steps[0], :: steps[1]]
    height, width = (n - n % SKETCH if n >= SKETCH else n for n in sampled.shape[:2])
    rows, columns = min(SKETCH, height), min(SKETCH, width)
    cells = sampled[:height, :width].reshape(rows, height // rows, columns, width // columns, 3)
    means: Sketch = cells.mean((1, 3), np.float32) / np.float32(255)
    return means
