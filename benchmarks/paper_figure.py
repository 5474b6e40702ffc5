"""The figure of the paper's table: original, baseline, proposed and combined, one below another.

Two sorts of columns. `pairs` draws pictures of the data; they belong to whoever made them, so that
figure goes to a folder that git ignores. `planted` draws the repository's own sample (a cat and
its meow, CC0), pasted at falling sizes: its true box is known, and anybody may publish it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from paper_scores import GUIDED, OWN, SEED, combined, label
from paper_sharpness import CANVAS, paste, smooth, true_boxes
from soundspot.data.media import picture_of, sound_of
from soundspot.errors import MethodError
from soundspot.files import write_beside
from soundspot.judging.blind import sample_rng
from soundspot.locating import Locator, Waveform
from soundspot.maps import FloatMap, resize_map
from soundspot.media.audio import read_sound
from soundspot.media.image import fit_picture, read_picture
from soundspot.render import heat
from soundspot.similarity import Similarity
from soundspot.types import Box, Sample

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
CAT, MEOW = SAMPLES / "chelsea.png", SAMPLES / "meow.flac"
CAT_SIZES = (256, 160, 96, 64)
"""Square roots of the pasted areas, in pixels of a canvas of CANVAS."""

CELL = 176
"""Pixels; pictures are fitted to cells of this side, as models see them: squeezed to a square."""
GAP = 4
LABEL_WIDTH = 190
TEXT = 14
FRAME = 2
QUALITY = 85
BOX_COLOUR = (64, 224, 255)
PAPER, INK = (255, 255, 255), (24, 24, 24)

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Column:
    """A picture, its true boxes (xyxy in fractions) and what reads its sound at a rate in Hz."""

    picture: Picture
    boxes: Sequence[Box]
    sound: Callable[[int], Waveform]
    title: str


def pairs(samples: Sequence[Sample], count: int) -> list[Column]:
    """Columns of the data, drawn by seed: as many groups as there is room for."""
    order = sample_rng("figure", SEED).permutation(len(samples))
    first: dict[object, Sample] = {}
    for i in order:
        if true_boxes(samples[i]) and not samples[i].ambiguous:
            first.setdefault(samples[i].group or samples[i].id, samples[i])
    return [
        Column(picture_of(s), true_boxes(s), partial(sound_of, s), s.group or "")
        for s in list(first.values())[:count]
    ]


def planted() -> list[Column]:
    """The sample cat at falling sizes on plain grounds, asked about with its meow."""
    cat = Image.fromarray(read_picture(CAT))
    columns = []
    for size in CAT_SIZES:
        rng = sample_rng(f"figure {size}", SEED)
        picture, box = paste(smooth(rng), cat, size, (rng.random(), rng.random()))
        columns.append(Column(picture, [box], partial(read_sound, MEOW), f"{size} of {CANVAS} px"))
    return columns


def draw(
    models: Mapping[str, Similarity], columns: Sequence[Column], path: Path, device: str
) -> None:
    """Write the figure: a row of originals, then three rows a model."""
    rows = [("true box", [_original(column) for column in columns])]
    for name, model in models.items():
        for method in (OWN, GUIDED, combined(OWN, GUIDED)):
            locator = Locator(model, method, device=device)
            try:
                cells = [_asked(locator, column) for column in columns]
            except MethodError:
                continue
            rows.append((f"{name}:\n{label(method)}".replace(" + ", " +\n"), cells))
    page = _laid_out(rows, [column.title for column in columns])
    with write_beside(path) as beside:
        page.save(beside, quality=QUALITY)


def _original(column: Column) -> Image.Image:
    return _framed(Image.fromarray(fit_picture(column.picture, CELL, CELL)), column.boxes)


def _asked(locator: Locator, column: Column) -> Image.Image:
    sound = column.sound(locator.facts.sample_rate)
    (evidence,) = locator.evidence([column.picture], [sound])
    return _heated(column, evidence.map)


def _heated(column: Column, values: FloatMap) -> Image.Image:
    cell = fit_picture(column.picture, CELL, CELL)
    return _framed(heat(cell, resize_map(values, (CELL, CELL))), column.boxes)


def _framed(cell: Image.Image, boxes: Sequence[Box]) -> Image.Image:
    pen = ImageDraw.Draw(cell)
    for box in boxes:
        x0, y0, x1, y1 = (round(v * CELL) for v in box)
        pen.rectangle((x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)), outline=BOX_COLOUR, width=FRAME)
    return cell


def _laid_out(
    rows: Sequence[tuple[str, Sequence[Image.Image]]], titles: Sequence[str]
) -> Image.Image:
    step, head = CELL + GAP, TEXT + 2 * GAP
    size = (LABEL_WIDTH + step * len(titles), head + step * len(rows))
    page = Image.new("RGB", size, PAPER)
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(TEXT)
    for j, title in enumerate(titles):
        pen.text((LABEL_WIDTH + j * step, GAP), title, fill=INK, font=font)
    for i, (name, cells) in enumerate(rows):
        pen.text((GAP, head + i * step + GAP), name, fill=INK, font=font)
        for j, cell in enumerate(cells):
            page.paste(cell, (LABEL_WIDTH + j * step, head + i * step))
    return page
