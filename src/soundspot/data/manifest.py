"""The manifest: JSON Lines, one sample a line, the format that any user's own data can take.

    {"id": "0001-dog", "image": "images/0001.jpg", "sound": "sounds/bark.ogg",
     "boxes": [[0.24, 0.17, 0.49, 0.82]], "group": "dog", "kind": "positive"}

(on one line of the file)

| key | what it is |
|---|---|
| `id` | unique; becomes a file name in results, so it must be safe as one |
| `image`, `sound` | files; relative paths start at the manifest's folder |
| `video`, `time` | a film in place of both, and the second of its picture (default: the middle) |
| `boxes` | x0 y0 x1 y1 in fractions (0..1) of width and height; may be left out for locating |
| `group` | what kind of thing sounds; for reports only |
| `kind` | "positive" (default), "silence", "noise", "offscreen" or "mixture" |
| `ambiguous` | true where another thing in the picture may make this sound too |
| `annotators` | one list of boxes a person, where several people drew |
| `sources` | several sources: a list of `{"boxes", "group"?, "sound"?, "mask"?}` |
| `mask` | in place of boxes, a picture file that is not black where the source is |

A box without area is an error, but not among the `annotators`: real annotations hold some (a click
in place of a stroke), which are dropped and counted, and the person stays.

Other keys are ignored, but for those that look like one of these misspelt (`MISSPELT`) where that
one is missing: they would be lost in silence. Blank lines are skipped. A null says the same as
leaving the key out. Whether the files exist is found out by whoever reads them. The frames of one
film are so many lines, each with its own id, time and boxes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeVar, get_args

from soundspot.data.boxes import DROPPED
from soundspot.data.check import Notes
from soundspot.data.dataset import Dataset
from soundspot.data.lists import UNSAFE, Ids, is_safe, shown, unique_keys
from soundspot.errors import ManifestError
from soundspot.types import Box, Kind, Sample, Source

BOX_TOLERANCE = 0.01
"""How far (in fractions of a side) a box may stick out of the picture; it is clipped to 0..1."""

KINDS: tuple[Kind, ...] = get_args(Kind)

KEYS = (
    *("id", "image", "sound", "video", "time", "boxes", "group", "kind", "ambiguous"),
    *("annotators", "sources", "mask"),
)
MISSPELT = {
    "box": "boxes",
    "bbox": "boxes",
    "bboxes": "boxes",
    "bounding_boxes": "boxes",
    "images": "image",
    "img": "image",
    "picture": "image",
    "audio": "sound",
    "sounds": "sound",
    "videos": "video",
    "groups": "group",
    "kinds": "kind",
    "masks": "mask",
}
"""What people write, and what is meant."""

T = TypeVar("T")


@dataclass(frozen=True)
class Manifest(Dataset):
    """The samples of one manifest; `root` is its file."""

    name: ClassVar[str] = "manifest"
    sentence: ClassVar[str] = "Your own data: one JSON object a line (docs/formats.md)."
    source: ClassVar[str] = "your own data"
    layout: ClassVar[str] = "ROOT itself: a .jsonl file; its paths start at its folder"

    def read(self, notes: Notes) -> Iterator[Sample]:
        """Yield a sample a line."""
        return read_manifest(self.root, notes)

    def __str__(self) -> str:
        """The file's path is enough."""
        return str(self.root)


def read_manifest(path: str | Path, notes: Notes | None = None) -> Iterator[Sample]:
    """Yield the samples of a manifest one by one, as its lines are read.

    Args:
        path: the manifest.
        notes: takes what was dropped.

    Raises:
        ManifestError: the file cannot be read, is empty, or a line breaks the format; the message
            names file and line. Samples before the bad line have been yielded by then.
    """
    path, notes = Path(path), notes or Notes()
    ids = Ids(fold=True)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                sample = _sample(line, path.parent, f"{path}, line {number}", notes)
                reason = ids.taken(sample.id, f"line {number}")
                if reason is not None:
                    raise ManifestError(f"{path}, line {number}: {reason}")
                yield sample
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not ids:
        raise ManifestError(f"{path}: has no samples; write one JSON object a line")


def _sample(line: bytes, folder: Path, where: str, notes: Notes) -> Sample:
    record = _Record(_parse(line, where), where)
    record.refuse_misspelt()
    identity = record.require("id", str)
    if not is_safe(identity):
        record.fail(f"the id {shown(identity)} {UNSAFE}")
    kind = record.get("kind", str) or "positive"
    if kind not in KINDS:
        record.fail(f"'kind' is {kind!r}; use one of {', '.join(KINDS)}")
    video = record.optional_path("video", folder)
    if video is not None:
        record.refuse("image", "is taken out of the video; leave it out")
        record.refuse("sound", "is the video's; leave it out")
    else:
        record.refuse("time", "belongs to a 'video'; leave it out")
    return Sample(
        id=identity,
        image=video or record.path("image", folder),
        sound=video or record.path("sound", folder),
        boxes=record.boxes("boxes"),
        group=record.get("group", str),
        kind=kind,
        annotators=tuple(
            _drawn(person, f"'annotators'[{i}]", where, notes)
            for i, person in enumerate(record.get("annotators", list) or [])
        ),
        sources=tuple(
            _source(source, folder, f"{where}, 'sources'[{i}]")
            for i, source in enumerate(record.get("sources", list) or [])
        ),
        ambiguous=record.get("ambiguous", bool) or False,
        mask=record.optional_path("mask", folder),
        video=video,
        time=record.seconds("time"),
    )


def _source(value: object, folder: Path, where: str) -> Source:
    if not isinstance(value, dict):
        raise ManifestError(f"{where}: must be an object such as {{'boxes': [[...]]}}")
    record = _Record(value, where)
    mask = record.optional_path("mask", folder)
    if mask is None:
        record.require("boxes", list)
    sound = record.optional_path("sound", folder)
    return Source(record.boxes("boxes"), record.get("group", str), sound, mask)


class _Record:
    """One JSON object whose values are asked for with their types, and where it stands."""

    def __init__(self, values: dict[str, Any], where: str):
        self.values = values
        self.where = where

    def fail(self, what: str) -> NoReturn:
        raise ManifestError(f"{self.where}: {what}")

    def refuse_misspelt(self) -> None:
        """Keys that nobody reads, where the one that they look like is missing."""
        for key in (key for key in self.values if key not in KEYS):
            meant = MISSPELT.get(key.casefold(), key.casefold())
            film = self.values.get("video") is not None and meant in ("image", "sound")
            if meant in KEYS and self.values.get(meant) is None and not film:
                self.fail(f"the key {shown(key)} is not known; write '{meant}'")

    def refuse(self, key: str, why: str) -> None:
        if self.values.get(key) is not None:
            self.fail(f"'{key}' {why}")

    def get(self, key: str, kind: type[T]) -> T | None:
        value = self.values.get(key)
        if value is None or isinstance(value, kind):
            return value
        return self.fail(f"'{key}' must be {_JSON_NAMES[kind]}, not {shown(value)}")

    def require(self, key: str, kind: type[T]) -> T:
        value = self.get(key, kind)
        return self.fail(f"the key '{key}' is missing") if value is None else value

    def path(self, key: str, folder: Path) -> Path:
        name = self.require(key, str)
        surrogates = any("\ud800" <= letter <= "\udfff" for letter in name)
        if not name.strip() or "\0" in name or surrogates:
            self.fail(f"'{key}' is {shown(name)}; give the name of a file")
        return folder / name

    def optional_path(self, key: str, folder: Path) -> Path | None:
        return None if self.get(key, str) is None else self.path(key, folder)

    def seconds(self, key: str) -> float | None:
        value = self.values.get(key)
        if value is None:
            return None
        if not _is_number(value) or not 0 <= value < math.inf:
            self.fail(f"'{key}' must be seconds, 0 or more, not {shown(value)}")
        return float(value)

    def boxes(self, key: str) -> tuple[Box, ...]:
        return _boxes(self.get(key, list) or [], f"'{key}'", self.where)


_JSON_NAMES: dict[type, str] = {str: "a string", bool: "true or false", list: "a list"}


def _parse(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8-sig"), object_pairs_hook=unique_keys)
    except UnicodeDecodeError as error:
        raise ManifestError(f"{where}: is not UTF-8 text") from error
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{where}: cannot be read as JSON ({error})") from error
    if not isinstance(value, dict):
        raise ManifestError(f"{where}: must be a JSON object {{...}}, not {shown(value)}")
    return value


def _boxes(values: object, name: str, where: str) -> tuple[Box, ...]:
    if not isinstance(values, list):
        raise ManifestError(f"{where}: {name} must be a list of boxes, not {shown(values)}")
    return tuple(_box(value, f"{where}: {name}[{i}]") for i, value in enumerate(values))


def _drawn(values: object, name: str, where: str, notes: Notes) -> tuple[Box, ...]:
    """The boxes of one person, without those that have no area."""
    if not isinstance(values, list):
        return _boxes(values, name, where)
    corners = [_corners(value, f"{where}: {name}[{i}]") for i, value in enumerate(values)]
    kept = [n for n, (x0, y0, x1, y1) in enumerate(corners) if x0 != x1 and y0 != y1]
    for _ in range(len(values) - len(kept)):
        notes.count(DROPPED, where)
    return tuple(_box(values[n], f"{where}: {name}[{n}]") for n in kept)


def _box(value: object, name: str) -> Box:
    x0, y0, x1, y1 = _corners(value, name)
    if x1 <= x0 or y1 <= y0:
        raise ManifestError(f"{name} is {shown(value)}, which is empty; x0 < x1 and y0 < y1")
    return x0, y0, x1, y1


def _corners(value: object, name: str) -> Box:
    """Four numbers, clipped to 0..1; they may have no area."""
    if not isinstance(value, list) or len(value) != 4 or not all(map(_is_number, value)):
        raise ManifestError(f"{name} must be four numbers [x0, y0, x1, y1], not {shown(value)}")
    if not all(-BOX_TOLERANCE <= v <= 1 + BOX_TOLERANCE for v in value):
        raise ManifestError(
            f"{name} is {shown(value)}; its numbers are fractions of width and height, 0 to 1"
        )
    x0, y0, x1, y1 = (min(max(float(v), 0.0), 1.0) for v in value)
    return x0, y0, x1, y1


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
