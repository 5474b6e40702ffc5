"""VGG Sound Source: the middle frames of 5,158 VGGSound test clips, with boxes.

Chen et al., "Localizing Visual Sounds the Hard Way", CVPR 2021. Clips are ten seconds of YouTube,
named by video and starting second (`ID_000030`); boxes are fractions of the middle frame.

- 12 boxes have a coordinate of -2.9e16 (an overflow) and 18, those 12 among them, have no area.
  They are clipped, dropped and counted; two clips are left without any box, and stay in the list.
- The splits by "heard" and "unheard" classes are lists of EZ-VSL (Mo & Morgado, ECCV 2022).
- Many clips are no longer on YouTube, and copies differ: published results are over 4,655 to
  5,158 clips. `soundspot data check` says which are missing here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from soundspot.data.boxes import box_from_fractions
from soundspot.data.check import Notes
from soundspot.data.dataset import Dataset, find_media, option
from soundspot.data.lists import (
    LIST,
    PICTURES,
    SOUNDS,
    TEXT,
    VIDEOS,
    Entry,
    Ids,
    field,
    listed_id,
    or_broken,
    read_entries,
    read_rows,
)
from soundspot.errors import DataError
from soundspot.types import Box, Sample

SPLIT_LISTS = {"all": "", "heard": "vggss_heard_test.csv", "unheard": "vggss_unheard_test.csv"}


@dataclass(frozen=True)
class VggSS(Dataset):
    """VGG-SS at `root`."""

    split: str = option("all", "all, heard or unheard classes", SPLIT_LISTS)
    list: str = option("", "ids, one a line, in place of the split's list under ROOT")
    truth: str = option("vggss.json", "the boxes")
    media: str = option("frames", "frames (pictures and sounds) or videos", ("frames", "videos"))
    images: str = option("frames", "folder of the pictures, ID.jpg")
    sounds: str = option("audio", "folder of the sounds, ID.wav")
    videos: str = option("videos", "folder of the clips, ID.mp4; the middle frame is taken")

    name: ClassVar[str] = "vgg_ss"
    sentence: ClassVar[str] = "Middle frames of VGGSound test clips, with boxes (5,158)."
    source: ClassVar[str] = "https://www.robots.ox.ac.uk/~vgg/research/lvs/"
    layout: ClassVar[str] = (
        "vggss.json, frames/ID.jpg, audio/ID.wav (or videos/ID.mp4), and for splits "
        "vggss_heard_test.csv, vggss_unheard_test.csv"
    )

    def read(self, notes: Notes) -> Iterator[Sample]:
        """Yield the samples of the list; without one, of the truth's own order."""
        truth = read_truth(self.list_file(self.truth))
        name = self.list or SPLIT_LISTS[self.split]
        if not name:
            for identity in truth:
                yield self._sample(identity, truth, notes)
            return
        ids = Ids()
        for row in read_rows(self.list_file(name)):
            identity = ids.take(listed_id(row.cells[0], row.place), row.place)
            yield self._sample(identity, truth, notes)
        if not ids:
            raise DataError(f"{self.root / name}: lists no ids; write one a line")

    def _sample(self, identity: str, truth: dict[str, Entry], notes: Notes) -> Sample:
        image = find_media(self.root / self.images, identity, PICTURES)
        sound = find_media(self.root / self.sounds, identity, SOUNDS)
        video: Path | None = None
        if self.media == "videos":
            image = sound = video = find_media(self.root / self.videos, identity, VIDEOS)
        boxes: tuple[Box, ...] = ()
        group = broken = None
        if identity in truth:
            (boxes, group), broken = boxes_and_class(truth[identity], notes)
        else:
            notes.miss(f"{self.root / self.truth}: boxes of {identity!r}", identity)
        return Sample(identity, image, sound, boxes, group, video=video, broken=broken)


def read_truth(path: Path) -> dict[str, Entry]:
    """The entries of `vggss.json` by id, in their order.

    Raises:
        DataError: the file is broken, or an id stands twice.
    """
    entries: dict[str, Entry] = {}
    ids = Ids()
    for entry in read_entries(path):
        identity = listed_id(field(entry.value, "file", TEXT, entry.place), entry.place)
        entries[ids.take(identity, entry.place)] = entry
    if not entries:
        raise DataError(f"{path}: holds no entries")
    return entries


Truth = tuple[tuple[Box, ...], str | None]


def boxes_and_class(entry: Entry, notes: Notes) -> tuple[Truth, str | None]:
    """The usable boxes of an entry, and what sounds; or why there is none of it."""
    return or_broken(lambda: _boxes_and_class(entry, notes), ((), None))


def _boxes_and_class(entry: Entry, notes: Notes) -> Truth:
    found = field(entry.value, "bbox", LIST, entry.place)
    boxes = (box_from_fractions(values, notes, entry.place) for values in found)
    group: str = field(entry.value, "class", TEXT, entry.place)
    return tuple(box for box in boxes if box is not None), group
