"""Any folder of videos: what people have, without lists and without truth.

Each video gives the frame in its middle, or one every so many seconds, with the sound around it.
Ids are the files' paths under the folder, with `-` for folder marks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from soundspot.data.check import Notes
from soundspot.data.dataset import Dataset, option
from soundspot.data.lists import UNSAFE, VIDEOS, Ids, Place, is_safe, shown, without_suffix
from soundspot.errors import DataError, MediaError, OptionError
from soundspot.types import Sample

SHORTEST_STEP = 0.01
"""Seconds: ids tell so much apart."""


@dataclass(frozen=True)
class VideoFolder(Dataset):
    """The videos under `root`, in the order of their names."""

    every: float = option(0.0, "seconds between frames; 0: only the frame in the middle")

    name: ClassVar[str] = "video_folder"
    sentence: ClassVar[str] = "Any folder of videos; no truth, for looking and for maps."
    source: ClassVar[str] = "your own videos"
    layout: ClassVar[str] = f"videos ({', '.join(VIDEOS)}) in any folders"

    def __post_init__(self) -> None:
        """Check the folder and the step."""
        super().__post_init__()
        if self.every and not (self.every >= SHORTEST_STEP and math.isfinite(self.every)):
            raise OptionError(
                f"{self.name}: every={self.every} must be {SHORTEST_STEP} or more seconds, or 0"
            )
        if not self.root.is_dir():
            raise DataError(f"{self.root} is no folder; {self.expects()}")

    def read(self, notes: Notes) -> Iterator[Sample]:
        """Yield the samples of each video."""
        ids = Ids(fold=True)
        paths = sorted(p for p in self.root.rglob("*") if p.suffix.lower() in VIDEOS)
        for path in paths:
            parts = path.relative_to(self.root).parts
            identity = without_suffix("-".join(parts))
            place = Place(self.root, "/".join(parts))
            if not is_safe(identity):
                raise DataError(f"{place}: the id {shown(identity)} {UNSAFE}")
            ids.take(identity, place)
            yield from self._of(path, identity, notes)
        if not paths:
            raise DataError(f"{self.root}: holds no videos; {self.expects()}")

    def _of(self, path: Path, identity: str, notes: Notes) -> Iterator[Sample]:
        if not self.every:
            yield Sample(identity, path, path, video=path)
            return
        from soundspot.media.video import read_info

        try:
            seconds = read_info(path).seconds
        except MediaError as error:
            notes.count("videos that cannot be read, one sample each", str(error))
            yield Sample(identity, path, path, video=path)
            return
        for number in range(max(1, math.ceil(seconds / self.every))):
            time = number * self.every
            yield Sample(f"{identity}@{time:.2f}s", path, path, video=path, time=time)
