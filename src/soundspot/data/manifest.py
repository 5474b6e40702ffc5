"""The manifest: JSON Lines, one sample a line, the format that any user's own data can take.

    {"id": "0001-dog", "image": "images/0001.jpg", "sound": "sounds/bark.ogg",
     "boxes": [[0.24, 0.17, 0.49, 0.82]], "group": "dog", "kind": "positive"}

(on one line of the file)

| key | what it is |
|---|---|
| `id` | unique; becomes a file name in results, so it must be safe as one |
| `image`, `sound` | files; relative paths start at the manifest's folder |
| `boxes` | x0 y0 x1 y1 in fractions (0..1) of width and height; may be left out for locating |
| `group` | what kind of thing sounds; for reports only |
| `kind` | "positive" (default), "silence", "noise", "offscreen" or "mixture" |
| `ambiguous` | true where another thing in the picture may make this sound too |
| `annotators` | one list of boxes a person, where several people drew |
| `sources` | several sources: a list of `{"boxes", "group"?, "sound"?}` |

Other keys are ignored. Blank lines are skipped. A null says the same as leaving the key out.
Whether the files exist is found out by whoever reads them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args

from soundspot.errors import ManifestError
from soundspot.types import Box, Kind, Sample, Source

BOX_TOLERANCE = 0.01
"""How far (in fractions of a side) a box may stick out of the picture; it is clipped to 0..1."""

MAX_ID_BYTES = 200
"""File systems allow 255 bytes a name; the rest is left for a suffix such as `.overlay.png`."""

UNSAFE_IN_FILE_NAMES = frozenset('<>:"/\\|?*')
KINDS: tuple[Kind, ...] = get_args(Kind)

T = TypeVar("T")


def read_manifest(path: str | Path) -> Iterator[Sample]:
    """Yield the samples of a manifest one by one, as its lines are read.

    Raises:
        ManifestError: the file cannot be read, is empty, or a line breaks the format; the message
            names file and line. Samples before the bad line have been yielded by then.
    """
    path = Path(path)
    first_line_of: dict[str, int] = {}
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                sample = _sample(line, path.parent, where=f"{path}, line {number}")
                if sample.id in first_line_of:
                    raise ManifestError(
                        f"{path}, line {number}: the id {sample.id!r} was taken by line "
                        f"{first_line_of[sample.id]}; give every line its own"
                    )
                first_line_of[sample.id] = number
                yield sample
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read ({error.strerror or error})") from error
    if not first_line_of:
        raise ManifestError(f"{path}: has no samples; write one JSON object a line")


def _sample(line: bytes, folder: Path, where: str) -> Sample:
    record = _Record(_parse(line, where), where)
    record.refuse("video", "videos are not read from manifests yet; give 'image' and 'sound'")
    identity = record.require("id", str)
    _check_id(identity, where)
    kind = record.get("kind", str) or "positive"
    if kind not in KINDS:
        record.fail(f"'kind' is {kind!r}; use one of {', '.join(KINDS)}")
    return Sample(
        id=identity,
        image=record.path("image", folder),
        sound=record.path("sound", folder),
        boxes=record.boxes("boxes"),
        group=record.get("group", str),
        kind=kind,
        annotators=tuple(
            _boxes(person, f"'annotators'[{i}]", where)
            for i, person in enumerate(record.get("annotators", list) or [])
        ),
        sources=tuple(
            _source(source, folder, f"{where}, 'sources'[{i}]")
            for i, source in enumerate(record.get("sources", list) or [])
        ),
        ambiguous=record.get("ambiguous", bool) or False,
    )


def _source(value: object, folder: Path, where: str) -> Source:
    if not isinstance(value, dict):
        raise ManifestError(f"{where}: must be an object such as {{'boxes': [[...]]}}")
    record = _Record(value, where)
    record.require("boxes", list)
    sound = None if record.get("sound", str) is None else record.path("sound", folder)
    return Source(record.boxes("boxes"), record.get("group", str), sound)


class _Record:
    """One JSON object whose values are asked for with their types, and where it stands."""

    def __init__(self, values: dict[str, Any], where: str):
        self.values = values
        self.where = where

    def fail(self, what: str) -> NoReturn:
        raise ManifestError(f"{self.where}: {what}")

    def refuse(self, key: str, why: str) -> None:
        if self.values.get(key) is not None:
            self.fail(f"'{key}': {why}")

    def get(self, key: str, kind: type[T]) -> T | None:
        value = self.values.get(key)
        if value is None or isinstance(value, kind):
            return value
        return self.fail(f"'{key}' must be {_JSON_NAMES[kind]}, not {_shown(value)}")

    def require(self, key: str, kind: type[T]) -> T:
        value = self.get(key, kind)
        return self.fail(f"the key '{key}' is missing") if value is None else value

    def path(self, key: str, folder: Path) -> Path:
        name = self.require(key, str)
        surrogates = any("\ud800" <= letter <= "\udfff" for letter in name)
        if not name.strip() or "\0" in name or surrogates:
            self.fail(f"'{key}' is {_shown(name)}; give the name of a file")
        return folder / name

    def boxes(self, key: str) -> tuple[Box, ...]:
        return _boxes(self.get(key, list) or [], f"'{key}'", self.where)


_JSON_NAMES: dict[type, str] = {str: "a string", bool: "true or false", list: "a list"}


def _parse(line: bytes, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8-sig"), object_pairs_hook=_unique_keys)
    except UnicodeDecodeError as error:
        raise ManifestError(f"{where}: is not UTF-8 text") from error
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{where}: cannot be read as JSON ({error})") from error
    if not isinstance(value, dict):
        raise ManifestError(f"{where}: must be a JSON object {{...}}, not {_shown(value)}")
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [key for key, _ in pairs]
        raise ValueError(f"the key '{next(k for k in names if names.count(k) > 1)}' stands twice")
    return values


def _check_id(identity: str, where: str) -> None:
    """An id becomes a file name: it may not leave its folder, nor trouble any file system."""
    unsafe = (
        not identity
        or identity[0] in ". "
        or identity[-1] in ". "
        or not identity.isprintable()
        or not UNSAFE_IN_FILE_NAMES.isdisjoint(identity)
        or len(identity.encode()) > MAX_ID_BYTES
    )
    if unsafe:
        raise ManifestError(
            f"{where}: the id {_shown(identity)} is not safe as a file name; use letters, digits, "
            f"'-', '_' and inner '.', at most {MAX_ID_BYTES} bytes"
        )


def _boxes(values: object, name: str, where: str) -> tuple[Box, ...]:
    if not isinstance(values, list):
        raise ManifestError(f"{where}: {name} must be a list of boxes, not {_shown(values)}")
    return tuple(_box(value, f"{where}: {name}[{i}]") for i, value in enumerate(values))


def _box(value: object, name: str) -> Box:
    if not isinstance(value, list) or len(value) != 4 or not all(map(_is_number, value)):
        raise ManifestError(f"{name} must be four numbers [x0, y0, x1, y1], not {_shown(value)}")
    if not all(-BOX_TOLERANCE <= v <= 1 + BOX_TOLERANCE for v in value):
        raise ManifestError(
            f"{name} is {_shown(value)}; its numbers are fractions of width and height, 0 to 1"
        )
    x0, y0, x1, y1 = (min(max(float(v), 0.0), 1.0) for v in value)
    if x1 <= x0 or y1 <= y0:
        raise ManifestError(f"{name} is {_shown(value)}, which is empty; x0 < x1 and y0 < y1")
    return x0, y0, x1, y1


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: object, width: int = 60) -> str:
    """A value as JSON, cut so that the message stays one line."""
    text = json.dumps(value)
    return text if len(text) <= width else text[: width - 3] + "..."
