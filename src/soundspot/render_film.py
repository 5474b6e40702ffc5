"""Moments of a film as pictures: heat that does not flicker, boxes with numbers, a running curve.

A map brought to its own minimum and maximum is for single pictures: in a film it would flare up
wherever nothing is found. Here one scale holds for the whole film. Raw value 0 is see-through, and
the model's calibrated cut, where boxes begin, has a third of the full heat. For a method without a
calibrated cut the scale follows the maps' range: up at once, down within seconds (`Scale`).

The heat also follows the confidence: nothing below the threshold of "visible", all of it a third of
the way from there to certainty. So it comes and goes steadily, and a frame without a visible source
stays as it was.

Canvas: the picture; with `side_by_side` the untouched picture to its left; with `curve` a strip
below: the confidence so far from left to right, the threshold dashed, the current time a line.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from soundspot.errors import OptionError
from soundspot.media.image import fit_picture
from soundspot.render import (
    HEAT_STOPS,
    OPACITY,
    Colour,
    Font,
    Picture,
    draw_banner,
    font_of,
    text_size,
)
from soundspot.render_curve import Curve
from soundspot.result import ROUNDING
from soundspot.track_file import TIME_ROUNDING

if TYPE_CHECKING:
    from soundspot.maps import FloatMap
    from soundspot.result import Result
    from soundspot.streaming.moments import Moment, TrackedBox

CUT_LEVEL = 1 / 3
"""Heat, 0 to 1, of a pixel that just belongs to the source."""
FALL_SECONDS = 2.0
"""An uncalibrated scale forgets a brighter map within about so long."""
FULL_HEAT = 1 / 3
"""Of the way from the threshold of "visible" to certainty, from where on heat is full."""
HEAT_SIDE = 256
"""Pixels of the longer side at which heat is made; maps come from coarser grids."""
GOLDEN = (math.sqrt(5) - 1) / 2
"""Of the colour circle, from one id to the next: neighbours in number are far apart in colour."""
CURVE_SHARE = 0.14
"""Height of the strip as a fraction of the picture's."""
MIN_CURVE = 40
"""Pixels."""


@dataclass(frozen=True)
class Look:
    """How a film is drawn.

    Args:
        opacity: of the brightest heat, 0 (none) to 1.
        boxes: draw them, with their numbers.
        side_by_side: the untouched picture to the left.
        curve: the confidence so far, below; of several sources how much each one sounds.
    """

    opacity: float = OPACITY
    boxes: bool = True
    side_by_side: bool = False
    curve: bool = False

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0 <= self.opacity <= 1:
            raise OptionError(f"opacity={self.opacity:g}; it must be 0 to 1")

    def canvas(self, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height of the frames drawn from pictures of `size`."""
        width, height = size
        return width * (2 if self.side_by_side else 1), height + self.strip(size)

    def strip(self, size: tuple[int, int]) -> int:
        """Height of the curve's strip."""
        return max(MIN_CURVE, round(CURVE_SHARE * size[1])) if self.curve else 0

    def lay_out(
        self, size: tuple[int, int], picture: Picture, drawn: Picture, strip: Picture | None
    ) -> Picture:
        """A frame of the film: what is drawn, and what stands beside and below it."""
        pictures = [picture] if self.side_by_side else []
        row = [_fitted(p, size) for p in (*pictures, drawn)]
        rows = [np.concatenate(row, 1) if len(row) > 1 else row[0]]
        if strip is not None:
            rows.append(strip)
        return np.concatenate(rows, 0) if len(rows) > 1 else rows[0]


@dataclass(frozen=True)
class Scale:
    """The raw values that are see-through (`low`) and brightest (`high`).

    Args:
        low: raw value.
        high: raw value.
        fixed: from a calibrated cut; else the scale follows the maps.
        time: of the last map, seconds.
    """

    low: float = 0.0
    high: float = 0.0
    fixed: bool = False
    time: float = -math.inf

    @classmethod
    def for_cut(cls, cut: float | None) -> Self:
        """The scale of a method whose masks begin at a raw value (None or up to 0: unknown)."""
        if cut is None or cut <= 0:
            return cls()
        return cls(0.0, cut / CUT_LEVEL, fixed=True)

    def after(self, time: float, values: FloatMap) -> Scale:
        """The scale once a map was seen: widened at once, narrowed slowly."""
        if self.fixed:
            return self
        low, high = float(values.min()), float(values.max())
        if math.isfinite(self.time):
            kept = math.exp(-max(0.0, time - self.time) / FALL_SECONDS)
            low = min(low, low + (self.low - low) * kept)
            high = max(high, high + (self.high - high) * kept)
        return replace(self, low=low, high=high, time=time)

    def json(self) -> dict[str, Any]:
        """Plain data; `Scale(**data)` is the same."""
        return {"low": self.low, "high": self.high, "fixed": self.fixed, "time": self.time}


def levels(values: FloatMap, scale: Scale) -> NDArray[np.uint8]:
    """Heat 0 to 255 at no more than `HEAT_SIDE` pixels a side."""
    height, width = values.shape
    shrink = max(1.0, max(height, width) / HEAT_SIDE)
    rows, columns = (_middles(side, max(1, round(side / shrink))) for side in (height, width))
    small = values[np.ix_(rows, columns)]
    span = scale.high - scale.low
    if span <= 0:
        return np.zeros(small.shape, np.uint8)
    found: NDArray[np.uint8] = (
        ((small - scale.low) * np.float32(255 / span)).clip(0, 255).astype(np.uint8)
    )
    return found


def _middles(length: int, count: int) -> NDArray[np.intp]:
    """`count` places spread evenly over `length` pixels."""
    return ((np.arange(count) + 0.5) * (length / count)).astype(np.intp)


def strength(confidence: float, visible_from: float) -> float:
    """How much of the heat is shown, 0 to 1."""
    room = max((1 - visible_from) * FULL_HEAT, 1e-6)
    return min(1.0, max(0.0, (confidence - visible_from) / room))


def warm(picture: Picture, heat: NDArray[np.uint8], opacity: float) -> Image.Image:
    """The picture under heat (levels at any resolution)."""
    canvas = Image.fromarray(picture)
    if opacity <= 0 or not heat.any():
        return canvas
    level = Image.fromarray(heat).resize(canvas.size, Image.Resampling.BILINEAR)
    mask = level.point([round(opacity * n) for n in range(256)])
    level.putpalette(_palette())
    return Image.composite(level.convert("RGB"), canvas, mask)


@cache
def _palette() -> bytes:
    steps = np.linspace(0, 1, 256)
    stops = [stop for stop, _ in HEAT_STOPS]
    channels = [np.interp(steps, stops, [c[i] for _, c in HEAT_STOPS]) for i in range(3)]
    return np.stack(channels, 1).astype(np.uint8).tobytes()


def colour_of(number: int) -> Colour:
    """The colour of a track, bright, the same wherever the number comes again."""
    red, green, blue = colorsys.hsv_to_rgb((0.5 + GOLDEN * (number - 1)) % 1, 0.72, 1.0)
    return round(255 * red), round(255 * green), round(255 * blue)


class Painter:
    """Draws the moments of one film in their order.

    Args:
        look: what is drawn.
        size: width and height of the film's pictures.
        scale: of the heat.
        visible_from: confidence from which on a source is visible.
        span: first and last second of the curve.
    """

    def __init__(
        self,
        look: Look,
        size: tuple[int, int],
        scale: Scale,
        visible_from: float,
        span: tuple[float, float],
    ) -> None:
        self.look, self.size, self.scale, self.visible_from = look, size, scale, visible_from
        self.curve = Curve(look.canvas(size)[0], look.strip(size), visible_from, span)
        self._levels: tuple[FloatMap, NDArray[np.uint8]] | None = None

    def see(self, moment: Moment) -> Callable[[], Picture]:
        """Note a moment, and return what draws it (in any thread, once those before are drawn)."""
        if not moment.repeated:
            self.scale = self.scale.after(moment.time, moment.result.map)
        scale = self.scale
        return lambda: self._draw(moment, scale)

    def remember(self, time: float, confidence: float) -> None:
        """Add to the curve what a track file says of a judged frame, now or in an earlier run."""
        if self.look.curve:
            self.curve.add(round(time, TIME_ROUNDING), round(confidence, ROUNDING))

    def _draw(self, moment: Moment, scale: Scale) -> Picture:
        result = moment.result
        opacity = self.look.opacity * strength(result.confidence, self.visible_from)
        drawn = warm(result.picture, self._heat(result.map, scale), opacity)
        _draw_moment(drawn, result, moment.tracks if self.look.boxes else ())
        strip = None
        if self.look.curve:
            if not moment.repeated:
                self.remember(moment.time, result.confidence)
            strip = self.curve.picture(moment.time)
        return self.look.lay_out(self.size, result.picture, np.asarray(drawn), strip)

    def _heat(self, values: FloatMap, scale: Scale) -> NDArray[np.uint8]:
        """Levels of a map; those of a repeated one are at hand."""
        if self._levels is None or self._levels[0] is not values:
            self._levels = values, levels(values, scale)
        return self._levels[1]


def _fitted(picture: Picture, size: tuple[int, int]) -> Picture:
    """A picture of a film whose pictures change their size, brought to the first one's."""
    return picture if picture.shape[1::-1] == size else fit_picture(picture, *size)


def _draw_moment(canvas: Image.Image, result: Result, tracks: tuple[TrackedBox, ...]) -> None:
    """Boxes with numbers, and the verdict in words."""
    size = text_size(canvas.size)
    draw, font = ImageDraw.Draw(canvas), font_of(size)
    for box in tracks:
        _draw_box(draw, box, font, size)
    verdict = "source" if result.visible else "no visible source"
    draw_banner(canvas, f"{verdict}, confidence {result.confidence:.2f}")


def _draw_box(draw: ImageDraw.ImageDraw, box: TrackedBox, font: Font, size: int) -> None:
    """A frame in its track's colour, number and score in a corner of it."""
    x0, y0, x1, y1 = box.box
    colour = colour_of(box.id)
    draw.rectangle(
        (x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=max(2, size // 6)
    )
    text = f"#{box.id}   {box.score:.2f}"
    width, height = draw.textlength(text, font=font) + size // 2, round(1.35 * size)
    left = min(max(0, x0), max(0, draw.im.size[0] - width))
    draw.rectangle((left, y0, left + width, y0 + height), fill=colour)
    draw.text((left + size // 4, y0 + size // 12), text, fill=(0, 0, 0), font=font)
