"""The JSON lists of SSLalignment: absolute author paths, boxes in 224-pixel corners, or masks.

Senocak et al., "Sound Source Localization is All about Cross-Modal Alignment", ICCV 2023, and its
follow-ups publish IS3, VPO and AVSBench as lists of

    {"image": "/mnt/.../X.jpg", "audio": "/mnt/.../X.wav", "gt_box": [x0, y0, x1, y1]}

with boxes in pixels of the picture squashed to 224 x 224, or with the path of a mask in `gt_box`.
The paths are those of the authors' machine: the part before the data set is taken off. A box of
four zeros says that nothing visible sounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from soundspot.data.boxes import box_from_pixels
from soundspot.data.check import Notes
from soundspot.data.dataset import Dataset
from soundspot.data.lists import (
    TEXT,
    Ids,
    Place,
    field,
    listed_path,
    or_broken,
    read_entries,
    shown,
)
from soundspot.errors import DataError
from soundspot.types import Box

FRAME_SIDE = 224
"""Pixels of the square that boxes are given in."""
EMPTY = [0, 0, 0, 0]


@dataclass(frozen=True)
class Seen:
    """One entry: a picture, a sound, and where it comes from.

    `silent`: its box is four zeros, nothing visible sounds. `broken`: why its box cannot be used.
    """

    place: Place
    image: Path
    sound: Path
    boxes: tuple[Box, ...]
    mask: Path | None
    silent: bool = False
    broken: str | None = None


def read_seen(data: Dataset, name: str, author_root: str, notes: Notes) -> Iterator[Seen]:
    """Yield the entries of one list under the root of `data`.

    Raises:
        DataError: it is missing or broken, a path is not under `author_root`, or an entry's
            picture stands twice with the same sound.
    """
    listed = data.list_file(name)
    pairs = Ids()
    for place, value, _ in read_entries(listed):
        image, sound = (
            _rerooted(field(value, key, TEXT, place), data, author_root, place)
            for key in ("image", "audio")
        )
        pairs.take(f"{image} with {sound}", place)
        truth = value.get("gt_box")
        if isinstance(truth, str):
            mask = _rerooted(truth, data, author_root, place)
            yield Seen(place, image, sound, (), mask)
        elif truth == EMPTY:
            yield Seen(place, image, sound, (), None, silent=True)
        else:
            box, broken = or_broken(partial(box_from_pixels, truth, FRAME_SIDE, notes, place), None)
            yield Seen(place, image, sound, () if box is None else (box,), None, broken=broken)
    if not pairs:
        raise DataError(f"{listed}: holds no entries")


def _rerooted(text: str, data: Dataset, author_root: str, place: Place) -> Path:
    """A path of the authors' machine, on this one."""
    prefix = author_root.rstrip("/") + "/"
    rest = text.removeprefix(prefix)
    if rest.startswith("/"):
        raise DataError(
            f"{place}: {shown(text, 120)} does not begin with {prefix}; say what stands before the "
            f"data set's own folders: {data.name}:{data.root}?author_root=/THEIR/FOLDER"
        )
    return data.root / listed_path(rest, place)
