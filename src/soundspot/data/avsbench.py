"""AVSBench: five frames of each five-second clip, with the pixels of what sounds.

Zhou et al., "Audio-Visual Segmentation", ECCV 2022. S4: one source a clip (740 test clips); MS3:
several, which may stop and start (64). Frame n is the picture at the end of second n; the sound is
the whole clip's.

- `truth=masks` reads `mask`s. In MS3 a mask may be all black: nothing visible sounds in that
  frame. The sample stays a positive, and its metric scores the background.
- `truth=boxes` reads SSLalignment's boxes around the masks. There a frame in which nothing visible
  sounds is `[0, 0, 0, 0]` and becomes kind "offscreen": the clip's sound goes on, and is not
  "silence".
- Lists: the official `*_meta_data.csv` (a clip a line, and its split), a list of frames
  (`VIDEO_FRAME,group`), or SSLalignment's JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from soundspot.data.check import Notes
from soundspot.data.dataset import Dataset, option
from soundspot.data.lists import Ids, Place, Row, is_safe, listed_id, read_rows, shown
from soundspot.data.sslalign import Seen, read_seen
from soundspot.errors import DataError
from soundspot.types import Sample

FRAMES = 5
S4_TRAINING_FRAMES = 1
"""Only the first frame of a training clip of S4 has a mask."""
FOLDERS = {"s4": "Single-source/s4_data", "ms3": "Multi-sources/ms3_data"}
OFFICIAL_LISTS = {
    "s4": "Single-source/s4_meta_data.csv",
    "ms3": "Multi-sources/ms3_meta_data.csv",
}
GROUP_COLUMN = 2
"""Of the official list, where no column is called `category`."""


@dataclass(frozen=True)
class AVSBench(Dataset):
    """One part of AVSBench; both lie under `root`."""

    part: str = option("s4", "s4 (one source) or ms3 (several)", ("s4", "ms3"))
    truth: str = option("masks", "masks or boxes", ("masks", "boxes"))
    split: str = option("test", "of the official list", ("train", "val", "test"))
    list: str = option("", "default: the official csv, or for boxes PART_box.json")
    author_root: str = option("/mnt/lynx3/datasets/AVSbench", "what a JSON list's paths begin with")

    name: ClassVar[str] = "avsbench"
    sentence: ClassVar[str] = "Frames of five-second clips with the pixels that sound: S4 and MS3."
    source: ClassVar[str] = "https://github.com/OpenNLPLab/AVSBench"
    layout: ClassVar[str] = (
        "Single-source/s4_meta_data.csv and Single-source/s4_data (Multi-sources/ms3_meta_data.csv "
        "and Multi-sources/ms3_data for part=ms3) with visual_frames, audio_wav and gt_masks; for "
        "truth=boxes s4_box.json (ms3_box.json)"
    )

    def read(self, notes: Notes) -> Iterator[Sample]:
        """Yield a sample a frame."""
        default = f"{self.part}_box.json" if self.truth == "boxes" else OFFICIAL_LISTS[self.part]
        name = self.list or default
        if name.lower().endswith(".json"):
            return self._from_json(name, notes)
        if self.truth == "boxes":
            raise DataError(f"{self.root / name}: holds no boxes; give list=..._box.json")
        return self._from_csv(name)

    def _from_json(self, name: str, notes: Notes) -> Iterator[Sample]:
        ids = Ids()
        for one in read_seen(self, name, self.author_root, notes):
            yield Sample(
                id=ids.take(_frame_id(one), one.place),
                image=one.image,
                sound=one.sound,
                boxes=one.boxes,
                group=one.image.parent.parent.name if self.part == "s4" else None,
                kind="offscreen" if one.silent else "positive",
                mask=one.mask,
                broken=one.broken,
            )

    def _from_csv(self, name: str) -> Iterator[Sample]:
        rows = read_rows(self.list_file(name))
        first = next(rows, None)
        if first is None:
            raise DataError(f"{self.root / name}: is empty; write one clip or frame a line")
        ids = Ids()
        if "split" in first.cells:
            yield from self._clips(rows, first, ids)
        else:
            yield from self._frame(first, ids)
            for row in rows:
                yield from self._frame(row, ids)
        if not ids:
            raise DataError(f"{self.root / name}: has no clip of split {self.split!r}")

    def _clips(self, rows: Iterator[Row], header: Row, ids: Ids) -> Iterator[Sample]:
        """The official list: each clip of the split, frame by frame."""
        split = header.cells.index("split")
        named = "category" in header.cells
        group = header.cells.index("category") if named else GROUP_COLUMN
        single_mask = self.part == "s4" and self.split == "train"
        for row in rows:
            if len(row.cells) != len(header.cells):
                raise DataError(f"{row.place}: has {len(row.cells)} cells, not {len(header.cells)}")
            if row.cells[split] != self.split:
                continue
            said = row.cells[group] if named or self.part == "s4" else ""
            for number in range(1, (S4_TRAINING_FRAMES if single_mask else FRAMES) + 1):
                yield self._sample(row.cells[0], number, said, row.place, ids)

    def _frame(self, row: Row, ids: Ids) -> Iterator[Sample]:
        """A list of frames: `VIDEO_FRAME,group`."""
        video, _, number = row.cells[0].rpartition("_")
        if not video or not number.isdecimal():
            raise DataError(f"{row.place}: {shown(row.cells[0])} is not VIDEO_FRAME")
        said = row.cells[1] if len(row.cells) > 1 else ""
        yield self._sample(video, int(number), said, row.place, ids)

    def _sample(self, listed: str, number: int, said: str, place: Place, ids: Ids) -> Sample:
        video = listed_id(listed, place)
        if said and not is_safe(said):
            raise DataError(f"{place}: the group {shown(said)} cannot be a folder")
        if self.part == "s4" and not said:
            raise DataError(f"{place}: a clip of S4 needs its group, which is its folder")
        folder = self.root / FOLDERS[self.part]
        inner = f"{self.split}/{said}" if self.part == "s4" else self.split
        frames = folder / "visual_frames" / (inner if self.part == "s4" else "")
        ending = ".mp4_" if self.part == "ms3" else "_"
        return Sample(
            id=ids.take(f"{video}_{number}", place),
            image=frames / video / f"{video}{ending}{number}.png",
            sound=folder / "audio_wav" / inner / f"{video}.wav",
            group=said or None,
            mask=folder / "gt_masks" / inner / video / f"{video}_{number}.png",
        )


def _frame_id(one: Seen) -> str:
    """MS3 calls its frames VIDEO.mp4_N.png."""
    return one.image.stem.replace(".mp4_", "_")
