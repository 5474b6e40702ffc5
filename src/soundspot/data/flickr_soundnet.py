"""Flickr-SoundNet: pictures out of Flickr videos, with boxes drawn by several people.

Senocak et al., "Learning to Localize Sound Source in Visual Scenes", CVPR 2018; videos of Aytar
et al., "SoundNet", NeurIPS 2016. 5,000 pictures are annotated; the field tests on 249 of them.

- An annotation holds one `bbox` a drawing, in whole pixels of a 256 x 256 frame. The field's
  consensus counts *boxes*, not people, so here each box is an annotator: `annotators` has one
  tuple a bbox. One without area keeps its place, as an empty tuple.
- The older list of 250 names 3908875357, which does not exist. It is reported missing; several
  codes test 3908875350, which is in neither list, in its place.
- Lists may say `.png`, `.wav`, or the path of an mp4: the id is what counts.
- For the training lists (10k, 144k) there are no boxes: `truth=none`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from soundspot.data.boxes import box_from_pixels, read_xml_boxes
from soundspot.data.check import Notes
from soundspot.data.dataset import Dataset, find_media, option
from soundspot.data.lists import (
    LIST,
    PICTURES,
    SOUNDS,
    Ids,
    Place,
    checked,
    listed_id,
    or_broken,
    read_entries,
    read_rows,
)
from soundspot.errors import DataError
from soundspot.types import Box, Sample

FRAME_SIDE = 256
"""Pixels of the frame that was annotated."""

Boxes = tuple[tuple[Box, ...], ...]
NOBODY: Boxes = ()


@dataclass(frozen=True)
class FlickrSoundNet(Dataset):
    """Flickr-SoundNet at `root`."""

    list: str = option("flickr_test.csv", "ids, one a line: a .txt or .csv under ROOT")
    truth: str = option("Annotations", "folder of ID.xml, or a .json {id: [boxes]}, or none")
    images: str = option("frames", "folder of the pictures, ID.jpg")
    sounds: str = option("audio", "folder of the sounds, ID.wav")

    name: ClassVar[str] = "flickr_soundnet"
    sentence: ClassVar[str] = "Flickr pictures with boxes of several people (249 or 250 in tests)."
    source: ClassVar[str] = "https://github.com/ardasnck/learning_to_localize_sound_source"
    layout: ClassVar[str] = "flickr_test.csv, frames/ID.jpg, audio/ID.wav, Annotations/ID.xml"

    def read(self, notes: Notes) -> Iterator[Sample]:
        """Yield the samples of the list."""
        rows, ids = read_rows(self.list_file(self.list)), Ids()
        boxes_of = self._boxes()
        for row in rows:
            identity = ids.take(listed_id(row.cells[0], row.place), row.place)
            said = row.cells[1] if len(row.cells) > 1 else ""
            boxes, broken = or_broken(partial(boxes_of, identity, notes), NOBODY)
            yield Sample(
                id=identity,
                image=find_media(self.root / self.images, identity, PICTURES),
                sound=find_media(self.root / self.sounds, identity, SOUNDS),
                annotators=boxes,
                group=None if not said or said.isdigit() else said,
                broken=broken,
            )
        if not ids:
            raise DataError(f"{self.root / self.list}: lists no ids; write one a line")

    def _boxes(self) -> Callable[[str, Notes], Boxes]:
        """How to look up the boxes of an id."""
        if self.truth == "none":
            return lambda identity, notes: ()
        truth = self.list_file(self.truth)
        if truth.suffix.lower() != ".json":
            return lambda identity, notes: _from_xml(truth / f"{identity}.xml", identity, notes)
        entries = {entry.key: entry for entry in read_entries(truth)}

        def look_up(identity: str, notes: Notes) -> Boxes:
            if identity not in entries:
                notes.miss(f"{truth}: boxes of {identity!r}", identity)
                return ()
            entry = entries[identity]
            values = checked(entry.value, LIST, "the boxes of an id", entry.place)
            return tuple(_annotator(box, notes, entry.place) for box in values)

        return look_up


def _from_xml(path: Path, identity: str, notes: Notes) -> Boxes:
    try:
        found = read_xml_boxes(path)
    except FileNotFoundError:
        notes.miss(path, identity)
        return ()
    return tuple(_annotator(values, notes, place) for values, place in found)


def _annotator(values: object, notes: Notes, place: Place) -> tuple[Box, ...]:
    box = box_from_pixels(values, FRAME_SIDE, notes, place)
    return () if box is None else (box,)
