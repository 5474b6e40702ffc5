"""Pictures for people: the map as colours over the photograph, boxes, and the verdict in words.

A drawn picture keeps the pixels of the photograph where they are: what lies at (x, y) of one lies
at (x, y) of the other, the lower edge of a box included. The words stand on a strip below it, in
letters, lines and words that fit its width; a picture too narrow for any has no strip.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from soundspot.maps import FloatMap, ScoredBox

Picture = NDArray[np.uint8]
Font: TypeAlias = ImageFont.ImageFont | ImageFont.FreeTypeFont
Colour: TypeAlias = tuple[int, int, int]

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
LINE_SHARE = 1.35
"""Height of a line as a fraction of its letters'."""
MOST_LINES = 2
"""Of words below a picture."""
UNCALIBRATED = "uncalibrated"
"""What is said of a confidence that is a bare sigmoid."""


def overlay(
    picture: Picture,
    values: FloatMap,
    boxes: Sequence[ScoredBox],
    confidence: float,
    visible: bool,
    *,
    calibrated: bool = True,
) -> Picture:
    """Draw map and boxes over a picture, and a strip of words below it.

    Without a visible source the picture itself stays bare.

    Args:
        picture: uint8, H W 3.
        values: the map, H W, any scale: its own minimum is see-through, its maximum bright.
        boxes: xyxy in pixels.
        confidence: 0 to 1, written below.
        visible: whether there is a source to show.
        calibrated: whether the confidence is; else that it is not is written too.
    """
    canvas = heat(picture, values) if visible else Image.fromarray(picture)
    if canvas.mode != "RGB":
        canvas = canvas.convert("RGB")
    size, draw = text_size(canvas.size), ImageDraw.Draw(canvas)
    for box, score in boxes:
        draw_box(draw, box, f"{score:.2f}", BOX_COLOUR, size)
    bare = "" if calibrated else f" ({UNCALIBRATED})"
    verdict = "source" if visible else "no visible source"
    long = f"{verdict}, confidence {confidence:.2f}"
    short = f"{'source' if visible else 'no source'} {confidence:.2f}"
    return captioned(np.asarray(canvas), (long + bare, short + bare, short))


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


def text_size(size: tuple[int, int]) -> int:
    """Height of letters, in pixels, for a picture of this width and height."""
    return max(MIN_TEXT, round(TEXT_SHARE * min(size)))


@cache
def font_of(size: int) -> Font:
    """The font whose letters are so many pixels high."""
    return ImageFont.load_default(size)


def draw_box(
    draw: ImageDraw.ImageDraw, box: Sequence[float], text: str, colour: Colour, size: int
) -> None:
    """A frame just inside the box's pixels, a word in its corner where there is room for it."""
    x0, y0, x1, y1 = box
    draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=colour, width=max(2, size // 6))
    corner, font, pad = (x0 + size // 3, y0 + size // 4), font_of(size), size // 6
    left, top, right, bottom = draw.textbbox(corner, text, font=font)
    width, height = draw.im.size
    if right + pad >= width or bottom + pad >= height:
        return
    draw.rectangle((left - pad, top - pad, right + pad, bottom + pad), fill=BANNER_COLOUR)
    draw.text(corner, text, fill=colour, font=font)


def draw_banner(canvas: Image.Image, words: str) -> None:
    """Words over the foot of a frame of a film, on a ground no wider than they are."""
    size, draw = text_size(canvas.size), ImageDraw.Draw(canvas)
    width, foot = draw.textlength(words, font=font_of(size)), canvas.size[1]
    draw.rectangle((0, foot - round(1.5 * size), round(width + size), foot), fill=BANNER_COLOUR)
    place = (size // 2, foot - round(LINE_SHARE * size))
    draw.text(place, words, fill=TEXT_COLOUR, font=font_of(size))


def captioned(picture: Picture, wordings: Sequence[str]) -> Picture:
    """The picture with words on a strip below it.

    Args:
        picture: uint8, H W 3.
        wordings: the same thing in fewer and fewer words; the first one that fits is written, in
            one line if need be with smaller letters, else in two. None fits: there is no strip.
    """
    height, width = picture.shape[:2]
    largest = text_size((width, height))
    for words in wordings:
        for most in range(1, MOST_LINES + 1):
            for size in range(largest, MIN_TEXT - 1, -1):
                lines = wrapped(words, size, width)
                if lines and len(lines) <= most:
                    return np.concatenate((picture, _strip(lines, size, width)))
    return picture


def wrapped(words: str, size: int, width: int) -> list[str]:
    """Words in lines that fit a width, a third of a letter free on both sides; [] if none fit."""
    font, room = font_of(size), width - 2 * (size // 3)
    lines: list[str] = []
    for word in words.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if font.getlength(longer) <= room:
            lines[-1:] = [longer]
        elif font.getlength(word) <= room:
            lines.append(word)
        else:
            return []
    return lines


def _strip(lines: Sequence[str], size: int, width: int) -> Picture:
    step = round(LINE_SHARE * size)
    strip = Image.new("RGB", (width, step * len(lines) + size // 4), BANNER_COLOUR)
    draw = ImageDraw.Draw(strip)
    for number, line in enumerate(lines):
        place = (size // 3, step * number + size // 8)
        draw.text(place, line, fill=TEXT_COLOUR, font=font_of(size))
    return np.asarray(strip)
