"""Several sources over one picture: a colour, a number and boxes for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from soundspot.render import BANNER_COLOUR, MIN_TEXT, TEXT_COLOUR, TEXT_SHARE

if TYPE_CHECKING:
    from soundspot.maps import FloatMap, ScoredBox

COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (204, 121, 167))
"""Of sources 1 to 4, and round again; all eyes tell them apart (Okabe & Ito 2008)."""
OPACITY = 0.7
"""Of the brightest place of a source; the darkest is see-through."""


class Layer(NamedTuple):
    """One source: its number, its map H W at any scale, its boxes in pixels, its confidence."""

    number: int
    map: FloatMap
    boxes: Sequence[ScoredBox]
    confidence: float


def colour_of(number: int) -> tuple[int, int, int]:
    """The colour of source 1, 2 and so on."""
    return COLOURS[(number - 1) % len(COLOURS)]


def overlay_sources(picture: NDArray[np.uint8], layers: Sequence[Layer]) -> NDArray[np.uint8]:
    """Draw maps and boxes; without layers the picture stays bare.

    Args:
        picture: uint8, H W 3.
        layers: of the sources to show; each pixel shows the one that is brightest there.
    """
    canvas = Image.fromarray(_tinted(picture, layers))
    size = max(MIN_TEXT, round(TEXT_SHARE * min(canvas.size)))
    font = ImageFont.load_default(size)
    draw = ImageDraw.Draw(canvas)
    for layer in layers:
        _frames(draw, layer, font, size)
    words = ", ".join(f"{layer.number}: {layer.confidence:.2f}" for layer in layers)
    text = f"sources {words}" if layers else "no visible source"
    width, height = canvas.size
    draw.rectangle((0, height - round(1.6 * size), width, height), fill=BANNER_COLOUR)
    draw.text((size // 2, height - round(1.4 * size)), text, fill=TEXT_COLOUR, font=font)
    return np.asarray(canvas)


def _tinted(picture: NDArray[np.uint8], layers: Sequence[Layer]) -> NDArray[np.uint8]:
    """Each pixel mixed with the colour of its brightest source."""
    if not layers:
        return picture
    levels = np.stack([_levels(layer.map) for layer in layers])
    owners = levels.argmax(0)
    colours = np.array([colour_of(layer.number) for layer in layers], np.float32)[owners]
    alpha = (OPACITY * levels.max(0))[..., None]
    mixed: NDArray[np.uint8] = (picture * (1 - alpha) + colours * alpha).astype(np.uint8)
    return mixed


def _levels(values: FloatMap) -> FloatMap:
    """A map in 0 to 1 by its own range; a constant one is 0."""
    span = float(np.ptp(values))
    return (values - values.min()) / np.float32(span) if span > 0 else np.zeros_like(values)


def _frames(
    draw: ImageDraw.ImageDraw,
    layer: Layer,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    size: int,
) -> None:
    """The boxes of a source with its number and their scores."""
    colour, pad = colour_of(layer.number), size // 6
    for (x0, y0, x1, y1), score in layer.boxes:
        draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=colour, width=max(2, size // 6))
        corner = (x0 + size // 3, y0 + size // 4)
        text = f"{layer.number}: {score:.2f}"
        left, top, right, bottom = draw.textbbox(corner, text, font=font)
        draw.rectangle((left - pad, top - pad, right + pad, bottom + pad), fill=BANNER_COLOUR)
        draw.text(corner, text, fill=colour, font=font)
