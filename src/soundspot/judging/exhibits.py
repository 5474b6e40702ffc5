"""The best and the worst samples of a judged run, drawn: the map over the picture, truth framed.

Nothing is kept for them while samples are judged: when the scores are known, the few samples to be
shown are read and asked about once more.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw

from soundspot.data.media import mask_of
from soundspot.errors import SoundspotError
from soundspot.judging.asking import Answer, Asker
from soundspot.judging.referee import Referee
from soundspot.locating import Picture
from soundspot.maps import FloatMap, resize_map
from soundspot.media.image import fit_picture
from soundspot.render import heat
from soundspot.report import Exhibit, Report, Row
from soundspot.types import Box, Sample

THUMBNAIL = 240
"""Longer side in pixels."""
ROWS_SHOWN = 6
"""Methods whose samples are drawn, the first in the table."""
SOURCES_SHOWN = 3
JPEG_QUALITY = 80
FRAME_COLOURS = ((0, 0, 0), (64, 224, 255))
"""A dark line with a bright one inside, to be seen on any picture."""


def exhibits_of(referee: Referee, report: Report, count: int) -> Iterator[Exhibit]:
    """The `count` best and worst samples of each method, by the first protocol's overlap."""
    by_id = referee.findings.number_of
    asker_of = {h.name: asker for asker in referee.askers for h in asker.headings}
    for row in [row for row in report.rows if row.kind == "method"][:ROWS_SHOWN]:
        overlaps = row.overlaps.get(report.protocols[0].name, np.empty(0))
        for best, places in zip((True, False), _extremes(overlaps, count), strict=True):
            for place in places:
                subject = report.subjects[place]
                jpeg = _drawn(referee, asker_of[row.name], row, by_id[subject.id])
                if jpeg is not None:
                    yield Exhibit(row.name, best, subject, float(overlaps[place]), jpeg)


def _extremes(overlaps: FloatMap | np.ndarray, count: int) -> tuple[list[int], list[int]]:
    """Places of the best, best first, and of the worst, worst first; none is in both."""
    known = [int(i) for i in np.flatnonzero(~np.isnan(overlaps))]
    order = sorted(known, key=lambda i: -overlaps[i])
    half = min(count, (len(order) + 1) // 2)
    rest = order[half:]
    return order[:half], rest[::-1][:count]


def _drawn(referee: Referee, asker: Asker, row: Row, number: int) -> bytes | None:
    """One sample as JPEG; None where its files are gone by now."""
    try:
        answer = asker.answer(row.name, referee.reader.read(number))
    except SoundspotError:
        return None
    return None if answer.failed else _jpeg(thumbnail(answer))


def thumbnail(answer: Answer) -> Picture:
    """The answer's maps over the picture, one beside the other, each with its truth."""
    picture = answer.read.picture
    scale = THUMBNAIL / max(picture.shape[:2])
    height, width = (max(1, round(scale * side)) for side in picture.shape[:2])
    small = fit_picture(picture, width, height)
    parts = [
        _overlaid(small, values, _truth(answer.read.sample, place, height, width))
        for place, values in enumerate(answer.maps[:SOURCES_SHOWN])
    ]
    return np.concatenate(parts, axis=1)


def _overlaid(small: Picture, values: FloatMap, boxes: Sequence[Box]) -> Picture:
    canvas = heat(small, resize_map(values, small.shape[:2])).convert("RGB")
    draw = ImageDraw.Draw(canvas)
    for x0, y0, x1, y1 in boxes:
        for inset, colour in enumerate(FRAME_COLOURS):
            left, top = x0 + inset, y0 + inset
            right, bottom = max(left, x1 - 1 - inset), max(top, y1 - 1 - inset)
            draw.rectangle((left, top, right, bottom), outline=colour)
    return np.asarray(canvas)


def _truth(sample: Sample, place: int, height: int, width: int) -> list[Box]:
    """The truth of one map as frames in pixels; of a drawn mask, the box round it."""
    if sample.sources:
        boxes, mask = sample.sources[place].boxes, sample.sources[place].mask
    else:
        boxes, mask = sample.boxes, sample.mask
        boxes = tuple(box for person in sample.annotators for box in person) or boxes
    if mask is not None:
        boxes = _round_mask(mask_of(mask))
    return [(x0 * width, y0 * height, x1 * width, y1 * height) for x0, y0, x1, y1 in boxes]


def _round_mask(mask: np.ndarray) -> tuple[Box, ...]:
    rows, columns = np.nonzero(mask)
    if not rows.size:
        return ()
    height, width = mask.shape
    return (
        (
            float(columns.min() / width),
            float(rows.min() / height),
            float((columns.max() + 1) / width),
            float((rows.max() + 1) / height),
        ),
    )


def _jpeg(picture: Picture) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()
