"""Scenes: training pictures cut, varied and laid out, so that a source can be anywhere, any size.

A scene is a square canvas with one to four tiles, each a random crop of another picture. Because
we laid it out, we know which region belongs to which picture, and so which sound: a place to
look is learned without any box drawn by a person.

Every tile is shrunk to a random resolution and back, and loses its colour at random: neither
sharpness nor greyness may tell where it came from.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance, ImageFilter

from soundspot.media.image import Picture

OF_FOUR = 1 / 11
"""Of the scenes with several tiles, this share has four; the others have two."""
CROP_AREA = (0.75, 1.0)
"""Share of a picture's area that a tile shows."""
CROP_ASPECT = 1.28
"""A crop is at most this much wider or narrower than its picture."""
RESOLUTIONS = (45.0, 224.0)
"""Longer side in pixels of a tile's shrunken version (drawn on a log scale)."""
SHRINK_SHARE, GREY_SHARE, COLOUR_SHARE, LIGHT_SHARE = 0.75, 0.2, 0.35, 0.5
BLUR_SHARE, JPEG_SHARE = 0.1, 0.15
SMALLEST_TILE = 0.35
"""Side of the smallest tile, as a fraction of the canvas."""

Rng = np.random.Generator
Rectangle = tuple[int, int, int, int]
Draw = Callable[[], tuple[int, Picture]]
"""Gives a set's number and one of its pictures."""


@dataclass(frozen=True)
class Scene:
    """A composed picture.

    Args:
        pixels: uint8, side side 3.
        tiles: for each picture in it, its set's number and its place (x0, y0, x1, y1), pixels.
    """

    pixels: Picture
    tiles: tuple[tuple[int, Rectangle], ...]


def layouts(mosaics: float) -> tuple[float, float, float]:
    """Shares of scenes with one, two and four tiles, where `mosaics` have several."""
    return 1 - mosaics, mosaics * (1 - OF_FOUR), mosaics * OF_FOUR


def compose(rng: Rng, draw: Draw, side: int, shares: Sequence[float]) -> Scene:
    """Lay out one scene of `side` x `side` pixels; `shares` are those of `layouts`."""
    layout = rng.choice(len(shares), p=shares)
    rectangles = ([(0, 0, side, side)], halves(rng, side), quarters(rng, side))[layout]
    canvas = np.empty((side, side, 3), np.uint8)
    tiles = []
    for x0, y0, x1, y1 in rectangles:
        number, picture = draw()
        canvas[y0:y1, x0:x1] = vary(rng, picture, x1 - x0, y1 - y0)
        tiles.append((number, (x0, y0, x1, y1)))
    return Scene(canvas, tuple(tiles))


def halves(rng: Rng, side: int) -> list[Rectangle]:
    """Two tiles, beside or above one another."""
    cut = _cut(rng, side)
    tiles = [(0, 0, cut, side), (cut, 0, side, side)]
    return _turned(rng, tiles)


def quarters(rng: Rng, side: int) -> list[Rectangle]:
    """Four tiles: two rows (or columns), each cut at its own place."""
    row, upper, lower = (_cut(rng, side) for _ in range(3))
    tiles = [
        (0, 0, upper, row),
        (upper, 0, side, row),
        (0, row, lower, side),
        (lower, row, side, side),
    ]
    return _turned(rng, tiles)


def _cut(rng: Rng, side: int) -> int:
    return int(side * rng.uniform(SMALLEST_TILE, 1 - SMALLEST_TILE))


def _turned(rng: Rng, tiles: list[Rectangle]) -> list[Rectangle]:
    """Half of the time with x and y exchanged."""
    return tiles if rng.random() < 0.5 else [(y0, x0, y1, x1) for x0, y0, x1, y1 in tiles]


def vary(rng: Rng, picture: Picture, width: int, height: int) -> Picture:
    """A random crop at a random resolution, with random light and colour, `height width 3`."""
    x0, y0, x1, y1 = _crop(rng, picture.shape[1::-1], width / height)
    tile = picture[_whole(y0, y1), _whole(x0, x1)]
    if rng.random() < SHRINK_SHARE:
        low, high = np.log(RESOLUTIONS)
        scale = np.exp(rng.uniform(low, high)) / max(x1 - x0, y1 - y0)
        small = [max(16, int(length * scale)) for length in (x1 - x0, y1 - y0)]
        tile = resized(resized(tile, small[0], small[1]), width, height, "bicubic")
    else:
        tile = resized(tile, width, height)
    return _recolour(rng, tile, mirrored=rng.random() < 0.5)


def resized(picture: Picture, width: int, height: int, mode: str = "bilinear") -> Picture:
    """A picture at another size, antialiased: Pillow's numbers within two levels, in less time."""
    pixels = torch.from_numpy(picture)[None].permute(0, 3, 1, 2)
    new: Picture = (
        F.interpolate(pixels, (height, width), mode=mode, antialias=True)[0]
        .permute(1, 2, 0)
        .numpy()
    )
    return new


def _whole(start: float, end: float) -> slice:
    """The whole pixels nearest to a stretch of a side, one at least."""
    return slice(round(start), max(round(start) + 1, round(end)))


def _crop(rng: Rng, size: tuple[int, int], aspect: float) -> tuple[float, float, float, float]:
    """A part of the picture whose proportions lean towards the tile's."""
    side = np.sqrt(rng.uniform(*CROP_AREA))
    stretch = np.exp(rng.uniform(-1, 1) * np.log(CROP_ASPECT))
    width, height = size[0] * min(1.0, side * stretch), size[1] * min(1.0, side / stretch)
    lean = (aspect / (width / height)) ** rng.uniform(0.3, 1.0)
    if lean > 1:
        height = max(height / lean, 0.5 * size[1])
    else:
        width = max(width * lean, 0.5 * size[0])
    x, y = rng.uniform(0, size[0] - width), rng.uniform(0, size[1] - height)
    return x, y, x + width, y + height


def _recolour(rng: Rng, pixels: Picture, *, mirrored: bool) -> Picture:
    """Random light and colour; Pillow's numbers."""
    tile = Image.fromarray(pixels)
    if mirrored:
        tile = tile.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    dice = rng.random()
    if dice < GREY_SHARE:
        tile = tile.convert("L").convert("RGB")
    elif dice < GREY_SHARE + COLOUR_SHARE:
        tile = ImageEnhance.Color(tile).enhance(rng.uniform(0.2, 1.6))
    for fixed in (_black, _middle):
        if rng.random() < LIGHT_SHARE:
            level = Image.new("RGB", tile.size, (fixed(tile),) * 3)
            tile = Image.blend(level, tile, rng.uniform(0.6, 1.4))
    if rng.random() < BLUR_SHARE:
        tile = tile.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2)))
    if rng.random() < JPEG_SHARE:
        buffer = io.BytesIO()
        tile.save(buffer, "JPEG", quality=int(rng.integers(25, 80)))
        tile = Image.open(buffer).convert("RGB")
    return np.asarray(tile)


def _black(_: Image.Image) -> int:
    """The level that a change of brightness leaves as it is."""
    return 0


def _middle(tile: Image.Image) -> int:
    """The level that a change of contrast leaves as it is: the mean of the greys."""
    return int(np.asarray(tile.convert("L")).mean() + 0.5)
