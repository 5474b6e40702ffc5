"""Pictures for people: the map as colours over the photograph, boxes, and the verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from soundspot.maps import FloatMap, ScoredBox

Picture = NDArray[np.uint8]

HEAT_STOPS = (
    (0.0, (0, 0, 0)),
    (0.25, (66, 10, 104)),
    (0.5, (188, 55, 84)),
    (0.75, (249, 142, 9)),
    (1.0, (252, 255, 164)),
)
"""Dark to bright with steadily rising lightness, so that it reads in grey and to all eyes."""
OPACITY = 0.65
"""Of the brightest heat; the darkest is see-through."""
BOX_COLOUR = (64, 224, 255)
BANNER_COLOUR = (24, 24, 24)
TEXT_COLOUR = (255, 255, 255)
TEXT_SHARE = 0.035
"""Height of text as a fraction of the picture's shorter side."""
MIN_TEXT = 11
"""Pixels."""


def overlay(
    picture: Picture,
    values: FloatMap,
    boxes: Sequence[ScoredBox],
    confidence: float,
    visible: bool,
) -> Picture:
    """Draw map and boxes over a picture; without a visible source the picture stays bare.

    Args:
        picture: uint8, H W 3.
        values: the map, H W, any scale: its own minimum is see-through, its maximum bright.
        boxes: xyxy in pixels.
        confidence: 0 to 1, written in the banner.
        visible: whether there is a source to show.
    """
    canvas = heat(picture, values) if visible else Image.fromarray(picture)
    if canvas.mode != "RGB":
        canvas = canvas.convert("RGB")
    size = max(MIN_TEXT, round(TEXT_SHARE * min(canvas.size)))
    font = ImageFont.load_default(size)
    draw = ImageDraw.Draw(canvas)
    for box, score in boxes:
        _draw_box(draw, box, f"{score:.2f}", font, size)
    verdict = "source" if visible else "no visible source"
    _banner(draw, f"{verdict}, confidence {confidence:.2f}", font, size)
    return np.asarray(canvas)


def heat(picture: Picture, values: FloatMap) -> Image.Image:
    """The picture under the map's colours."""
    low, span = float(values.min()), float(np.ptp(values))
    levels = (values - low) / np.float32(span) * 255 if span > 0 else np.zeros_like(values)
    index = levels.astype(np.uint8)
    colours, alpha = _heat_table()
    hot = Image.fromarray(colours[index])
    return Image.composite(hot, Image.fromarray(picture), Image.fromarray(alpha[index]))


def _heat_table() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Colour (256, 3) and opacity (256) of each level."""
    levels = np.linspace(0, 1, 256)
    stops = [stop for stop, _ in HEAT_STOPS]
    channels = [np.interp(levels, stops, [c[i] for _, c in HEAT_STOPS]) for i in range(3)]
    return np.stack(channels, 1).astype(np.uint8), (255 * OPACITY * levels).astype(np.uint8)


def _draw_box(
    draw: ImageDraw.ImageDraw,
    box: Sequence[float],
    text: str,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    size: int,
) -> None:
    """A frame just inside the box's pixels, its score in the corner."""
    x0, y0, x1, y1 = box
    draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=BOX_COLOUR, width=max(2, size // 6))
    left, top, right, bottom = draw.textbbox((x0 + size // 3, y0 + size // 4), text, font=font)
    pad = size // 6
    draw.rectangle((left - pad, top - pad, right + pad, bottom + pad), fill=BANNER_COLOUR)
    draw.text((x0 + size // 3, y0 + size // 4), text, fill=BOX_COLOUR, font=font)


def _banner(
    draw: ImageDraw.ImageDraw,
    text: str,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    size: int,
) -> None:
    """One line at the foot of the picture."""
    width, height = draw.im.size
    draw.rectangle((0, height - round(1.6 * size), width, height), fill=BANNER_COLOUR)
    draw.text((size // 2, height - round(1.4 * size)), text, fill=TEXT_COLOUR, font=font)
