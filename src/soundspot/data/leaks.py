"""Test clips in training lists: who trained on what is tested has not been tested.

It happens: the list of 144,000 VGGSound clips that several codes share holds 3,709 of the 5,158
test clips of VGG-SS, and the Flickr list of that size 20 of the 250.

Lists name the same clip in many ways, so ids are brought to one form first:

1. Line ends, spaces and a byte order mark are taken off; of a CSV the first column counts.
2. Of a path, whichever way its slashes lean, the last part counts, without a medium's suffix.
3. A YouTube id has 11 characters and is not all digits (Flickr ids may have 11 digits). With a
   starting second it becomes `ID_000030`, whether that was written `ID_30`, `ID_000030`,
   `ID,30` (columns; `30.000` too), `ID_30_40`, `ID_000030_000040` or `ID_30000_40000` (ms).
4. Upper and lower case differ: YouTube tells them apart.

A clip is the same only with the same second: another stretch of the same video is not found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundspot.data.lists import Entry, Place, read_entries, read_rows, shown, without_suffix
from soundspot.data.manifest import read_manifest
from soundspot.errors import DataError

EXAMPLES = 10
HEADERS = frozenset(
    ("id", "ids", "file", "filename", "video", "video_id", "name", "image", "path", "youtube_id")
)
"""A first line whose first cell is one of these names columns."""
KEYS = ("file", "id", "image", "video", "name", "audio")
"""Of a JSON list's objects: the first of these that is there holds the id."""
CLIP_SECONDS, CLIP_MILLISECONDS = 10, 10_000

_YOUTUBE = re.compile(r"[\w-]{11}", re.ASCII)
_START = re.compile(r"([\w-]{11})_(\d{1,6})", re.ASCII)
_SPAN = re.compile(r"([\w-]{11})_(\d+)_(\d+)", re.ASCII)
_NUMBER = re.compile(r"\d{1,6}(\.\d*)?", re.ASCII)


@dataclass(frozen=True)
class Leak:
    """One clip of both lists, and where each has it."""

    id: str
    train: Place
    test: Place


@dataclass(frozen=True)
class Leaks:
    """What two groups of lists share.

    Args:
        train: different ids in the training lists.
        test: different ids in the test lists.
        found: those in both, in the order of the test lists.
    """

    train: int
    test: int
    found: tuple[Leak, ...]

    def lines(self, examples: int = EXAMPLES) -> list[str]:
        """The finding as text."""
        more = len(self.found) - examples
        return [
            f"{len(self.found):,} of {self.test:,} test ids are among the {self.train:,} for "
            "training",
            *(f"  {leak.id}  ({leak.test}; {leak.train})" for leak in self.found[:examples]),
            *([f"  ... and {more:,} more"] if more > 0 else []),
        ]

    def json(self) -> dict[str, Any]:
        """The finding as JSON, with every id."""
        return {
            "train": self.train,
            "test": self.test,
            "leaks": len(self.found),
            "ids": [leak.id for leak in self.found],
        }


def find_leaks(train: Sequence[str | Path], test: Sequence[str | Path]) -> Leaks:
    """Find test ids in training lists.

    A list is a .txt or .csv, a .json (a list of objects or of ids, or an object by id), or one of
    our manifests (.jsonl).

    Raises:
        DataError: a list cannot be read, or holds no ids.
    """
    trained: dict[str, Place] = {}
    for path in train:
        for identity, place in read_ids(Path(path)).items():
            trained.setdefault(identity, place)
    tested: dict[str, Place] = {}
    for path in test:
        for identity, place in read_ids(Path(path)).items():
            tested.setdefault(identity, place)
    found = (Leak(i, trained[i], place) for i, place in tested.items() if i in trained)
    return Leaks(len(trained), len(tested), tuple(found))


def read_ids(path: Path) -> dict[str, Place]:
    """The ids of a list in their normal form, each with the place where it stands first.

    Raises:
        DataError: the list cannot be read, or holds no ids.
    """
    readers = {".json": _from_json, ".jsonl": _from_manifest}
    found: dict[str, Place] = {}
    for identity, place in readers.get(path.suffix.lower(), _from_rows)(path):
        if not identity:
            raise DataError(f"{place}: holds no id")
        found.setdefault(identity, place)
    if not found:
        raise DataError(f"{path}: holds no ids; write one a line")
    return found


def normal_id(text: str, start: str = "") -> str:
    """Bring an id to its normal form; `start` is what the next column says, if there is one."""
    name = without_suffix(text.strip().replace("\\", "/").rstrip("/").rpartition("/")[2]).strip()
    if _YOUTUBE.fullmatch(name) and not name.isdigit() and _NUMBER.fullmatch(start):
        return f"{name}_{int(float(start)):06d}"
    if found := _START.fullmatch(name):
        return f"{found[1]}_{int(found[2]):06d}"
    if found := _SPAN.fullmatch(name):
        return _from_span(*found.groups()) or name
    return name


def _from_span(video: str, first: str, last: str) -> str | None:
    """The normal form of a clip by its first and last second or millisecond."""
    bare = first == str(int(first)) and last == str(int(last))
    if not bare and len(first) != len(last):
        return None
    length = int(last) - int(first)
    if length == CLIP_MILLISECONDS:
        return f"{video}_{int(first) // 1000:06d}"
    return f"{video}_{int(first):06d}" if length == CLIP_SECONDS else None


def _from_rows(path: Path) -> Iterator[tuple[str, Place]]:
    for number, (place, cells) in enumerate(read_rows(path)):
        is_header = number == 0 and cells[0].lower() in HEADERS
        if not is_header and not cells[0].startswith("#"):
            yield normal_id(cells[0], cells[1] if len(cells) > 1 else ""), place


def _from_json(path: Path) -> Iterator[tuple[str, Place]]:
    for entry in read_entries(path):
        yield normal_id(entry.key or _named(entry)), entry.place


def _named(entry: Entry) -> str:
    if isinstance(entry.value, str):
        return entry.value
    if isinstance(entry.value, dict):
        for key in KEYS:
            if isinstance(entry.value.get(key), str):
                return str(entry.value[key])
    keys = ", ".join(KEYS)
    raise DataError(f"{entry.place}: {shown(entry.value)} names no id under any of {keys}")


def _from_manifest(path: Path) -> Iterator[tuple[str, Place]]:
    for number, sample in enumerate(read_manifest(path), start=1):
        yield normal_id(sample.id), Place(path, f"sample {number}")
