"""The curve below a film's pictures: what soundspot found, from the first second to the current.

The value, 0 (bottom) to 1, runs over the whole film's time; the threshold is dashed, the current
time a line. `Curve` is of one source: its confidence, filled where the source is visible, grey
where none is. `Curves` is of several: how much each one sounds, a line in its colour, dim where it
is not shown. Each frame adds a few columns of pixels; the strip is never drawn anew, so an hour
costs no more a frame than a minute.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from soundspot.render import TEXT_COLOUR, Picture

STRIP_COLOUR, FILL_COLOUR, DIM_COLOUR = (16, 16, 20), (40, 150, 170), (70, 70, 78)
LINE_COLOUR, CURSOR_COLOUR, DASH_COLOUR = (120, 240, 255), (255, 255, 255), (250, 170, 60)
GREY_DASH_COLOUR = (150, 150, 150)
"""Among colours of sources."""
DASH = 6
"""Pixels."""
DIMMED = 0.4
"""Of a line's colour, where its source is not shown."""
CAPTION_SHARE = 0.3
"""Height of the caption's letters as a fraction of the strip's."""

MIN_CAPTIONED = 24
"""Pixels of a strip's sides; smaller ones say nothing."""

Values = NDArray[np.float64]


class Strip(ABC):
    """The strip of one film.

    Args:
        width: pixels.
        height: pixels; 0 for no strip.
        threshold: value of the dashed line.
        span: first and last second.
        caption: what the strip says of itself.
    """

    dash: ClassVar[tuple[int, int, int]] = DASH_COLOUR

    def __init__(
        self, width: int, height: int, threshold: float, span: tuple[float, float], caption: str
    ) -> None:
        self.height, self.threshold, self.span = height, threshold, span
        self._strip = np.full((height, width, 3), STRIP_COLOUR, np.uint8)
        self._caption = _caption(height, width, caption)
        self._last: tuple[int, Values] | None = None

    def picture(self, time: float) -> Picture:
        """The strip at a time: what was added, the threshold, the time."""
        shown = self._strip.copy()
        row = self._row(self.threshold)
        shown[row, np.arange(shown.shape[1]) % (2 * DASH) < DASH] = self.dash
        x = self._column(time)
        shown[:, x : x + 2] = CURSOR_COLOUR
        rows, columns = self._caption.shape
        shown[2 : 2 + rows, 4 : 4 + columns][self._caption] = TEXT_COLOUR
        return shown

    def _go_on(self, time: float, values: Values) -> None:
        """Go on to a later time, in straight lines."""
        x = self._column(time)
        x0, before = self._last or (x, values)
        columns = np.arange(x0 if self._last is None else min(x0 + 1, x), x + 1)
        way = np.ones(len(columns)) if x == x0 else (columns - x0) / (x - x0)
        drawn = before
        for column, share in zip(columns, way, strict=True):
            here = before + share * (values - before)
            self._strip[:, column] = STRIP_COLOUR
            self._draw(self._strip[:, column], drawn, here)
            drawn = here
        self._last = x, values

    @abstractmethod
    def _draw(self, column: NDArray[np.uint8], before: Values, values: Values) -> None:
        """Draw into a bare column, `height 3`, what holds there and in the column before it."""

    def _column(self, time: float) -> int:
        first, last = self.span
        share = (time - first) / (last - first) if last > first else 0.0
        return int(min(max(share, 0.0), 1.0) * (self._strip.shape[1] - 1))

    def _row(self, value: float) -> int:
        room = self.height - 5
        return 2 + round((1 - min(max(value, 0.0), 1.0)) * room)


class Curve(Strip):
    """The confidence of a film of one source.

    Args:
        width: pixels.
        height: pixels; 0 for no strip.
        visible_from: confidence of the dashed line.
        span: first and last second.
    """

    def __init__(
        self, width: int, height: int, visible_from: float, span: tuple[float, float]
    ) -> None:
        super().__init__(width, height, visible_from, span, "confidence")

    def add(self, time: float, confidence: float) -> None:
        """Go on to a later time, in a straight line."""
        self._go_on(time, np.array([confidence]))

    def _draw(self, column: NDArray[np.uint8], before: Values, values: Values) -> None:
        row = self._row(values[0])
        column[row:] = FILL_COLOUR if values[0] >= self.threshold else DIM_COLOUR
        column[row : row + 2] = LINE_COLOUR


class Curves(Strip):
    """How much each of several sources sounds.

    Args:
        width: pixels.
        height: pixels.
        colours: of the sources.
        sounds_from: value of the dashed line.
        span: first and last second.
    """

    dash: ClassVar[tuple[int, int, int]] = GREY_DASH_COLOUR

    def __init__(
        self,
        width: int,
        height: int,
        colours: Sequence[tuple[int, int, int]],
        sounds_from: float,
        span: tuple[float, float],
    ) -> None:
        super().__init__(width, height, sounds_from, span, "sounding")
        self.bright = np.array(colours, np.uint8)
        self.dim = (DIMMED * self.bright).astype(np.uint8)
        self._shown: Sequence[bool] = ()

    def add(self, time: float, values: Sequence[float], shown: Sequence[bool]) -> None:
        """Go on to a later time, in straight lines; bright where sources are shown then."""
        self._shown = shown
        self._go_on(time, np.array(values))

    def _draw(self, column: NDArray[np.uint8], before: Values, values: Values) -> None:
        for source, shown in sorted(enumerate(self._shown), key=lambda one: one[1]):
            rows = sorted((self._row(before[source]), self._row(values[source])))
            colour = (self.bright if shown else self.dim)[source]
            column[rows[0] : rows[1] + 2] = colour  # from row to row: steep lines have no gaps


def _caption(height: int, width: int, words: str) -> NDArray[np.bool_]:
    """Which pixels, from the strip's top left corner, are letters."""
    if min(height, width) < MIN_CAPTIONED:
        return np.zeros((0, 0), np.bool_)
    size = round(CAPTION_SHARE * height)
    font = ImageFont.load_default(size)
    letters = Image.new("1", (min(width - 8, 8 * size), round(1.2 * size)))
    ImageDraw.Draw(letters).text((0, 0), words, fill=1, font=font)
    return np.asarray(letters)
