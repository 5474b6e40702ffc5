"""The curve below a film's pictures: how sure soundspot was, from the first second to the current.

Confidence runs from 0 (bottom) to 1 over the whole film's time, filled where a source is visible,
grey where none is. The threshold is dashed, the current time a line. Each frame adds a few columns
of pixels; the strip is never drawn anew, so an hour costs no more a frame than a minute.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from soundspot.render import TEXT_COLOUR, Picture

STRIP_COLOUR, FILL_COLOUR, DIM_COLOUR = (16, 16, 20), (40, 150, 170), (70, 70, 78)
LINE_COLOUR, CURSOR_COLOUR, DASH_COLOUR = (120, 240, 255), (255, 255, 255), (250, 170, 60)
DASH = 6
"""Pixels."""
CAPTION, CAPTION_SHARE = "confidence", 0.3
"""What the strip says of itself, and the height of the letters as a fraction of its own."""

MIN_CAPTIONED = 24
"""Pixels of a strip's sides; smaller ones say nothing."""


class Curve:
    """The strip of one film.

    Args:
        width: pixels.
        height: pixels; 0 for no strip.
        visible_from: confidence of the dashed line.
        span: first and last second.
    """

    def __init__(
        self, width: int, height: int, visible_from: float, span: tuple[float, float]
    ) -> None:
        self.height, self.visible_from, self.span = height, visible_from, span
        self._strip = np.full((height, width, 3), STRIP_COLOUR, np.uint8)
        self._caption = _caption(height, width)
        self._last: tuple[int, float] | None = None

    def add(self, time: float, confidence: float) -> None:
        """Go on to a later time, in a straight line."""
        x = self._column(time)
        x0, before = self._last or (x, confidence)
        columns = np.arange(x0 if self._last is None else min(x0 + 1, x), x + 1)
        way = np.ones(len(columns)) if x == x0 else (columns - x0) / (x - x0)
        for column, value in zip(columns, before + way * (confidence - before), strict=True):
            self._bar(int(column), float(value))
        self._last = x, confidence

    def picture(self, time: float) -> Picture:
        """The strip at a time: what was added, the threshold, the time."""
        shown = self._strip.copy()
        row = self._row(self.visible_from)
        shown[row, np.arange(shown.shape[1]) % (2 * DASH) < DASH] = DASH_COLOUR
        x = self._column(time)
        shown[:, x : x + 2] = CURSOR_COLOUR
        rows, columns = self._caption.shape
        shown[2 : 2 + rows, 4 : 4 + columns][self._caption] = TEXT_COLOUR
        return shown

    def _bar(self, column: int, value: float) -> None:
        row = self._row(value)
        bar = self._strip[:, column]
        bar[:] = STRIP_COLOUR
        bar[row:] = FILL_COLOUR if value >= self.visible_from else DIM_COLOUR
        bar[row : row + 2] = LINE_COLOUR

    def _column(self, time: float) -> int:
        first, last = self.span
        share = (time - first) / (last - first) if last > first else 0.0
        return int(min(max(share, 0.0), 1.0) * (self._strip.shape[1] - 1))

    def _row(self, value: float) -> int:
        room = self.height - 5
        return 2 + round((1 - min(max(value, 0.0), 1.0)) * room)


def _caption(height: int, width: int) -> NDArray[np.bool_]:
    """Which pixels, from the strip's top left corner, are letters."""
    if min(height, width) < MIN_CAPTIONED:
        return np.zeros((0, 0), np.bool_)
    size = round(CAPTION_SHARE * height)
    letters = Image.new("1", (min(width - 8, 8 * size), round(1.2 * size)))
    ImageDraw.Draw(letters).text((0, 0), CAPTION, fill=1, font=ImageFont.load_default(size))
    return np.asarray(letters)
