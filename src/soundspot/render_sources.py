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
    """One source: its number, heat 0 to 255 at any resolution, boxes in pixels, confidence."""

    number: int
    heat: NDArray[np.uint8]
    boxes: Sequence[ScoredBox]
    confidence: float


def colour_of(number: int) -> tuple[int, int, int]:
    """The colour of source 1, 2 and so on."""
    return COLOURS[(number - 1) % len(COLOURS)]


def own_range(values: FloatMap) -> NDArray[np.uint8]:
    """A map as heat by its own range; a constant one has none."""
    span = float(np.ptp(values))
    levels = (values - values.min()) * np.float32(255 / span) if span > 0 else np.zeros_like(values)
    heat: NDArray[np.uint8] = levels.astype(np.uint8)
    return heat


def overlay_sources(
    picture: NDArray[np.uint8], layers: Sequence[Layer], opacity: float = OPACITY
) -> NDArray[np.uint8]:
    """Draw heat and boxes; without layers the picture stays bare.

    Args:
        picture: uint8, H W 3.
        layers: of the sources to show; each pixel shows the one that is hottest there.
        opacity: of the hottest place, 0 to 1.
    """
    canvas = _tinted(Image.fromarray(picture), layers, opacity)
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


def _tinted(canvas: Image.Image, layers: Sequence[Layer], opacity: float) -> Image.Image:
    """Each pixel mixed with the colour of its hottest source."""
    if not layers:
        return canvas
    heats = np.stack([_spread(layer.heat, canvas.size) for layer in layers])
    colours = Image.fromarray(heats.argmax(0).astype(np.uint8))
    colours.putpalette([value for layer in layers for value in colour_of(layer.number)])
    mask = Image.fromarray(heats.max(0)).point([round(opacity * level) for level in range(256)])
    return Image.composite(colours.convert("RGB"), canvas, mask)


def _spread(heat: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Heat over a picture of this width and height."""
    return np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BILINEAR))


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
