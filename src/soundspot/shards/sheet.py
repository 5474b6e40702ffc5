"""A contact sheet: some samples at one look, each with its sound drawn under its picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from soundspot.errors import MediaError
from soundspot.media.audio import Sound
from soundspot.media.image import Picture
from soundspot.shards.reader import Shards

COLUMNS, ROWS = 6, 5
TILE = 160
"""Pixels: side of the square that a picture is fitted into."""
WAVE, TEXT, GAP = 32, 14, 6
"""Pixels: height of the drawn sound and of the line below, and the space between tiles."""
INK, PAPER, BLUE, RED = (40, 40, 40), (255, 255, 255), (60, 100, 170), (190, 40, 40)


def contact_sheet(shards: Shards, seed: int = 0) -> Picture:
    """Draw up to 30 samples, chosen by the seed, as `H W 3`."""
    count = min(COLUMNS * ROWS, len(shards))
    numbers = np.sort(shards.order(seed).at(np.arange(count)))
    columns, rows = min(COLUMNS, count), -(-count // COLUMNS)
    high = TILE + WAVE + TEXT + GAP
    sheet = Image.new("RGB", (columns * (TILE + GAP) + GAP, rows * high + GAP), PAPER)
    for place, number in enumerate(numbers.tolist()):
        x, y = GAP + place % COLUMNS * (TILE + GAP), GAP + place // COLUMNS * high
        _draw(sheet, x, y, shards, number)
    return np.array(sheet)


def _draw(sheet: Image.Image, x: int, y: int, shards: Shards, number: int) -> None:
    pen = ImageDraw.Draw(sheet)
    try:
        raw = shards.raw(number)
        picture = Image.fromarray(raw.picture(len(raw.pictures) // 2, (TILE, TILE)))
        sound, rate = raw.wave()
    except MediaError:
        pen.rectangle((x, y, x + TILE, y + TILE), outline=RED)
        pen.text((x + GAP, y + GAP), f"{number}: unreadable", fill=RED)
        return
    picture.thumbnail((TILE, TILE))
    sheet.paste(picture, (x + (TILE - picture.width) // 2, y + TILE - picture.height))
    for column, (low, high) in enumerate(_envelope(sound)):
        middle, half = y + TILE + WAVE // 2, WAVE / 2 - 1
        pen.line((x + column, middle - high * half, x + column, middle - low * half), fill=BLUE)
    text = f"{raw.key} {len(sound) / rate:.1f}s"
    pen.text((x, y + TILE + WAVE), text, fill=INK)


def _envelope(sound: Sound) -> NDArray[np.float32]:
    """The least and greatest value of each of `TILE` stretches, scaled to the peak."""
    parts = np.array_split(sound, TILE)
    bounds = [(part.min(), part.max()) if len(part) else (0.0, 0.0) for part in parts]
    peak = max(float(np.abs(sound).max(initial=0)), 1e-3)
    return np.array(bounds, np.float32) / np.float32(peak)
