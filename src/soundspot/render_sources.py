"""Several sources over one picture: a colour, a number and boxes for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from soundspot.render import UNCALIBRATED, captioned, draw_banner, draw_box, text_size

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
    picture: NDArray[np.uint8],
    layers: Sequence[Layer],
    unseen: Sequence[int] = (),
    *,
    calibrated: bool = True,
) -> NDArray[np.uint8]:
    """Draw heat and boxes, and a strip of words below; without layers the picture stays bare.

    Args:
        picture: uint8, H W 3.
        layers: of the sources to show; each pixel shows the one that is hottest there.
        unseen: numbers of sources that were asked for and are not visible: said in words.
        calibrated: whether confidences are; else that they are not is written too.
    """
    drawn = np.asarray(_drawn(picture, layers, OPACITY))
    sure = {layer.number: f"{layer.confidence:.2f}" for layer in layers}
    bare = "" if calibrated else f" ({UNCALIBRATED})"
    if not sure:
        return captioned(drawn, ("no visible source", "no source"))
    every = sorted({*sure, *unseen})
    long, short = (
        ", ".join(f"{number}: {sure.get(number, none)}" for number in every)
        for none in ("no visible source", "none")
    )
    return captioned(drawn, (f"sources {long}{bare}", short))


def frame_of_sources(
    picture: NDArray[np.uint8], layers: Sequence[Layer], opacity: float = OPACITY
) -> NDArray[np.uint8]:
    """The same as a frame of a film, whose size it keeps: the words lie over the picture's foot.

    Args:
        picture: uint8, H W 3.
        layers: of the sources to show.
        opacity: of the hottest place, 0 to 1.
    """
    canvas = _drawn(picture, layers, opacity)
    words = ", ".join(f"{layer.number}: {layer.confidence:.2f}" for layer in layers)
    draw_banner(canvas, f"sources {words}" if layers else "no visible source")
    return np.asarray(canvas)


def _drawn(picture: NDArray[np.uint8], layers: Sequence[Layer], opacity: float) -> Image.Image:
    canvas = _tinted(Image.fromarray(picture), layers, opacity)
    size, draw = text_size(canvas.size), ImageDraw.Draw(canvas)
    for number, _, boxes, _ in layers:
        for box, score in boxes:
            draw_box(draw, box, f"{number}: {score:.2f}", colour_of(number), size)
    return canvas


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
