"""MUSIC: musicians alone and in duets, a box for each instrument.

Zhao et al., "The Sound of Pixels", ECCV 2018; boxes of Hu et al., "Discriminative Sounding Objects
Localization via Self-supervised Audiovisual Matching" (DSOL), NeurIPS 2020; lists of AVGN (Mo &
Tian, CVPR 2023).

- Boxes are **x, y, w, h**, the corner at the top left and the size. AVGN's code takes them for two
  corners, which empties 1,647 of its 2,124 masks; its solo and duet numbers on MUSIC are of that.
- AVGN calls a frame `VIDEO_PART_FRAME`; its sound is that of the whole video, `VIDEO.wav`, or of
  the part, `VIDEO_PART.wav`, whichever is there.
- DSOL's lists are read too: an object `{"CLIP/frame_N/N.jpg": {"bbox": [{"normbox": ...}]}}`.
- A duet is one sound of two sources: kind "mixture". There is no clean sound of either.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from soundspot.data.boxes import box_from_corner_and_size
from soundspot.data.check import Notes
from soundspot.data.dataset import Dataset, find_media, option
from soundspot.data.lists import (
    LIST,
    PICTURES,
    SOUNDS,
    TEXT,
    Entry,
    Ids,
    field,
    is_safe,
    listed_id,
    listed_path,
    or_broken,
    read_entries,
    shown,
    without_suffix,
)
from soundspot.errors import DataError
from soundspot.types import Sample, Source

PART_DIGITS, FRAME_DIGITS = 3, 5
"""Of VIDEO_PART_FRAME."""
SOLO_KEYS = (("bbox", "class"),)
DUET_KEYS = (("bbox_src1", "class_src1"), ("bbox_src2", "class_src2"))
Keys = tuple[tuple[str, str], ...]
Found = list[tuple[list[float], str]]
"""Boxes as they are stored, each with what sounds there."""


@dataclass(frozen=True)
class Music(Dataset):
    """MUSIC at `root`: the solos, or the duets."""

    part: str = option("solo", "solo or duet", ("solo", "duet"))
    list: str = option("", "JSON list with boxes; default: music_PART.json")
    images: str = option("frames", "folder of the pictures, VIDEO_PART_FRAME.jpg")
    sounds: str = option("audio", "folder of the sounds, VIDEO.wav or VIDEO_PART.wav")

    name: ClassVar[str] = "music"
    sentence: ClassVar[str] = "Musicians alone or in duets, a box for each instrument."
    source: ClassVar[str] = "https://github.com/stoneMo/AVGN (videos: roudimit/MUSIC_dataset)"
    layout: ClassVar[str] = (
        "music_solo.json (music_duet.json for part=duet), frames/VIDEO_PART_FRAME.jpg, "
        "audio/VIDEO.wav"
    )

    def read(self, notes: Notes) -> Iterator[Sample]:
        """Yield a sample a frame."""
        listed = self.list_file(self.list or f"music_{self.part}.json")
        ids = Ids()
        for entry in read_entries(listed):
            yield (
                self._of_dsol(entry, ids, notes) if entry.key else self._of_avgn(entry, ids, notes)
            )
        if not ids:
            raise DataError(f"{listed}: holds no entries")

    def _of_avgn(self, entry: Entry, ids: Ids, notes: Notes) -> Sample:
        identity = listed_id(field(entry.value, "file", TEXT, entry.place), entry.place)
        keys = SOLO_KEYS if self.part == "solo" else DUET_KEYS
        return _sample(
            ids.take(identity, entry.place),
            find_media(self.root / self.images, identity, PICTURES),
            self._sound(identity),
            or_broken(lambda: _sources(_found(entry, keys), entry, notes), ()),
        )

    def _sound(self, frame: str) -> Path:
        """The sound of the part where it is there, else of the whole video."""
        part = frame[: -FRAME_DIGITS - 1]
        video = part[: -PART_DIGITS - 1]
        folder = self.root / self.sounds
        of_part = find_media(folder, part, SOUNDS)
        return of_part if of_part.exists() else find_media(folder, video, SOUNDS)

    def _of_dsol(self, entry: Entry, ids: Ids, notes: Notes) -> Sample:
        path = listed_path(entry.key, entry.place)
        identity = without_suffix("-".join(path.parts))
        if not is_safe(identity):
            raise DataError(f"{entry.place}: {shown(entry.key)} is not safe as an id")
        return _sample(
            ids.take(identity, entry.place),
            self.root / self.images / path,
            find_media(self.root / self.sounds, path.parts[0], SOUNDS),
            or_broken(lambda: _sources(_found_by_dsol(entry), entry, notes), ()),
        )


def _found(entry: Entry, keys: Keys) -> Found:
    value, place = entry.value, entry.place
    return [(field(value, box, LIST, place), field(value, kind, TEXT, place)) for box, kind in keys]


def _found_by_dsol(entry: Entry) -> Found:
    return [
        (field(one, "normbox", LIST, entry.place), str(one.get("category_id", "")))
        for one in field(entry.value, "bbox", LIST, entry.place)
    ]


def _sources(found: Found, entry: Entry, notes: Notes) -> tuple[Source, ...]:
    boxes = [(box_from_corner_and_size(v, notes, entry.place), kind) for v, kind in found]
    return tuple(Source(() if box is None else (box,), kind or None) for box, kind in boxes)


def _sample(
    identity: str, image: Path, sound: Path, truth: tuple[tuple[Source, ...], str | None]
) -> Sample:
    """One source makes a plain positive, several a mixture."""
    sources, broken = truth
    several = len(sources) > 1
    return Sample(
        id=identity,
        image=image,
        sound=sound,
        boxes=tuple(box for source in sources for box in source.boxes),
        group=None if several or not sources else sources[0].group,
        kind="mixture" if several else "positive",
        sources=sources if several else (),
        broken=broken,
    )
