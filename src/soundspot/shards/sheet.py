"""A contact sheet: some samples at one look, each with its sound drawn under its picture.

Below them stand the name of the file (cut in its middle where it is long), when the film showed the
picture and how long the sound is, and the key in the shards.
"""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from soundspot.errors import MediaError
from soundspot.files import one_line
from soundspot.media.audio import Sound
from soundspot.media.image import Picture
from soundspot.shards.reader import RawSample, Shards

COLUMNS, ROWS = 6, 5
TILE = 200
"""Pixels: side of the square that a picture is fitted into."""
WAVE, TEXT, GAP = 36, 16, 12
"""Pixels: height of the drawn sound and of a line of text, and the space between tiles."""
LETTERS, LINES = 12, 3
"""Pixels: size of the letters; and lines below a sample."""
INK, PALE, PAPER = (40, 40, 40), (110, 110, 110), (255, 255, 255)
BLUE, RED = (60, 100, 170), (190, 40, 40)
DOTS = "..."

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


def contact_sheet(shards: Shards, seed: int = 0) -> Picture:
    """Draw up to 30 samples, chosen by the seed, as `H W 3`."""
    count = min(COLUMNS * ROWS, len(shards))
    numbers = np.sort(shards.order(seed).at(np.arange(count))).tolist()
    font = ImageFont.load_default(LETTERS)
    tiles = [_tile(shards, number, font) for number in numbers]
    rows = [tiles[first : first + COLUMNS] for first in range(0, count, COLUMNS)]
    heights = [max(tile.height for tile in row) + GAP for row in rows]
    title = f"{one_line(shards.folder.name or shards.folder)}: {count} of {len(shards):,} samples"
    wide = GAP + min(COLUMNS, count) * (TILE + GAP)
    sheet = Image.new("RGB", (wide, GAP + TEXT + GAP + sum(heights)), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, GAP), fitted(title, wide - 2 * GAP, font), fill=INK, font=font)
    top = GAP + TEXT + GAP
    for row, height in zip(rows, heights, strict=True):
        for place, tile in enumerate(row):
            sheet.paste(tile, (GAP + place * (TILE + GAP), top + height - GAP - tile.height))
        top += height
    return np.array(sheet)


def fitted(text: str, width: int, font: Font) -> str:
    """A text no wider than so many pixels: its middle gives way to dots."""
    if font.getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 0, -1):
        shorter = text[: (kept + 1) // 2] + DOTS + text[len(text) - kept // 2 :]
        if font.getlength(shorter) <= width:
            return shorter
    return DOTS


def caption(raw: RawSample, seconds: float) -> tuple[str, str, str]:
    """The lines below a sample: its file, its moment and length of sound, its key."""
    name = PurePosixPath(str(raw.meta.get("source") or raw.meta.get("id") or raw.key)).name
    times = raw.meta.get("times") or [raw.meta.get("time")]
    shown = times[len(times) // 2]
    moment = f"at {shown:.1f} s, " if isinstance(shown, int | float) else ""
    return one_line(name), f"{moment}{seconds:.1f} s of sound", raw.key


def _tile(shards: Shards, number: int, font: Font) -> Image.Image:
    """Picture, sound and caption of one sample, as high as they need."""
    try:
        raw = shards.raw(number)
        picture = Image.fromarray(raw.picture(len(raw.pictures) // 2, (TILE, TILE)))
        sound, rate = raw.wave()
    except MediaError:
        return _unreadable(number, font)
    picture.thumbnail((TILE, TILE))
    tile = Image.new("RGB", (TILE, picture.height + WAVE + LINES * TEXT), PAPER)
    tile.paste(picture, ((TILE - picture.width) // 2, 0))
    pen = ImageDraw.Draw(tile)
    middle, half = picture.height + WAVE // 2, WAVE / 2 - 2
    for column, (low, high) in enumerate(_envelope(sound)):
        pen.line((column, middle - high * half, column, middle - low * half), fill=BLUE)
    for line, text in enumerate(caption(raw, len(sound) / rate)):
        place = (0, picture.height + WAVE + line * TEXT)
        pen.text(place, fitted(text, TILE, font), fill=PALE if line else INK, font=font)
    return tile


def _unreadable(number: int, font: Font) -> Image.Image:
    tile = Image.new("RGB", (TILE, TILE // 2), PAPER)
    pen = ImageDraw.Draw(tile)
    pen.rectangle((0, 0, tile.width - 1, tile.height - 1), outline=RED)
    pen.text((GAP, GAP), f"sample {number}: unreadable", fill=RED, font=font)
    return tile


def _envelope(sound: Sound) -> NDArray[np.float32]:
    """The least and greatest value of each of `TILE` stretches, scaled to the peak."""
    parts = np.array_split(sound, TILE)
    bounds = [(part.min(), part.max()) if len(part) else (0.0, 0.0) for part in parts]
    peak = max(float(np.abs(sound).max(initial=0)), 1e-3)
    return np.array(bounds, np.float32) / np.float32(peak)
