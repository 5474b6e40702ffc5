"""Maps from any other code, so that a model is refereed without being run.

    DIR/ID.npy                      one map, h w, any real numbers, any size, over the whole picture
    DIR/ID.0.npy, DIR/ID.1.npy      one map a source, in the order of the sample's sources
    DIR/confidences.jsonl           {"id": ..., "confidence": 0.7}, or a list of one number a source
    DIR/confidences.csv             id,confidence (and, for several sources, source: 0, 1 ...)

Higher means more likely here; no scale is asked for. Nothing stands in for a map that is missing
or broken: the sample counts as failed in this folder's row. Pickles are never opened.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.format import MAGIC_PREFIX
from numpy.typing import NDArray

from soundspot.errors import MediaError, OptionError
from soundspot.files import one_line, require_file

SUFFIX = ".npy"
CONFIDENCES = ("confidences.jsonl", "confidences.csv")
LARGEST_MAP = 2**26
"""Pixels; a file that says it holds more is refused before any of it is read."""

FloatMap: TypeAlias = NDArray[np.float32]
Confidences: TypeAlias = tuple[float, ...]


@dataclass(frozen=True)
class MapFolder:
    """A folder of maps; `said` holds the confidences by id, empty where nobody said any."""

    folder: Path
    said: Mapping[str, Confidences]

    @classmethod
    def open(cls, folder: str | Path) -> MapFolder:
        """Look into a folder and read its confidences.

        Raises:
            OptionError: no such folder, or a confidence in it cannot be read.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise OptionError(f"{one_line(folder)}: is no folder; give one that holds ID{SUFFIX}")
        files = [folder / name for name in CONFIDENCES if (folder / name).exists()]
        if len(files) > 1:
            raise OptionError(f"{one_line(folder)}: holds {' and '.join(CONFIDENCES)}; keep one")
        return cls(folder, _confidences(files[0]) if files else {})

    @property
    def name(self) -> str:
        """The folder's own name: what its row is called."""
        return self.folder.resolve().name

    def maps(self, sample_id: str, count: int | None = None) -> tuple[FloatMap, ...]:
        """The maps of a sample: one (count None), or one for each of `count` sources.

        Raises:
            MediaError: missing or no map; the message names the file.
        """
        if count is None:
            return (read_map(self._file(sample_id)),)
        if count == 1 and self._file(sample_id).exists():
            return (read_map(self._file(sample_id)),)
        return tuple(read_map(self._file(f"{sample_id}.{i}")) for i in range(count))

    def confidences(self, sample_id: str, count: int) -> Confidences:
        """One number a map, or none where the folder says none for this sample.

        Raises:
            MediaError: as many numbers were said as there are no maps.
        """
        said = self.said.get(sample_id, ())
        if said and len(said) != count:
            raise MediaError(
                f"{one_line(self.folder)}: {len(said)} confidences for {count} maps of "
                f"{sample_id!r}; give one a map"
            )
        return said

    def fingerprint(self) -> str:
        """A digest of the files' names, sizes and times, to notice that they changed."""
        digest = hashlib.sha256()
        for entry in sorted(os.scandir(self.folder), key=lambda entry: entry.name):
            if entry.name.endswith(SUFFIX) or entry.name in CONFIDENCES:
                with suppress(FileNotFoundError):  # a link to nothing is a missing map
                    state = entry.stat()
                    digest.update(f"{entry.name}/{state.st_size}/{state.st_mtime_ns}\n".encode())
        return digest.hexdigest()[:16]

    def _file(self, stem: str) -> Path:
        """Never a path that leaves the folder: ids come from other people's lists."""
        name = f"{stem}{SUFFIX}"
        if Path(name).name != name or "\\" in name or "\0" in name:
            raise MediaError(f"the id {one_line(stem)!r} is no file name; no map can be found")
        return self.folder / name


def read_map(path: Path) -> FloatMap:
    """Read one map, h w, as float32.

    Raises:
        MediaError: missing, no .npy array of real numbers, not h w, empty, NaN or infinity.
    """
    file, name = require_file(path), one_line(path)
    with file.open("rb") as opened:
        if opened.read(len(MAGIC_PREFIX)) != MAGIC_PREFIX:
            raise MediaError(f"{name}: no .npy array of numbers; write one with numpy.save")
    try:
        stored = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError, SyntaxError, TypeError) as error:
        raise MediaError(f"{name}: no .npy array of numbers ({one_line(error)[:80]})") from None
    if stored.dtype.kind not in "fiub":
        raise MediaError(f"{name}: holds {stored.dtype} where a map of real numbers is needed")
    if stored.ndim != 2 or not 0 < stored.size <= LARGEST_MAP:
        raise MediaError(f"{name}: has shape {stored.shape}; a map is h w, and not empty")
    with np.errstate(over="ignore"):
        values = np.array(stored, dtype=np.float32)
    if not np.isfinite(values).all():
        raise MediaError(f"{name}: the map holds NaN or infinity")
    return values


def _confidences(path: Path) -> dict[str, Confidences]:
    read = _csv_lines if path.suffix == ".csv" else _json_lines
    said: dict[str, Confidences] = {}
    try:
        for where, sample_id, values in read(path):
            if path.suffix != ".csv" and sample_id in said:
                raise OptionError(f"{where}: the id {sample_id!r} stands twice")
            said[sample_id] = (*said.get(sample_id, ()), *values)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise OptionError(f"{one_line(path)}: cannot be read ({one_line(error)})") from None
    return said


def _json_lines(path: Path) -> Iterator[tuple[str, str, Confidences]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            where = f"{one_line(path)}, line {number}"
            if not line.strip():
                continue
            try:
                entry: Any = json.loads(line)
                values = entry["confidence"]
                listed = values if isinstance(values, list) else [values]
                yield where, _text(entry["id"]), tuple(map(_number, listed))
            except (ValueError, TypeError, LookupError, RecursionError):
                raise OptionError(
                    f'{where}: must be {{"id": ..., "confidence": a number}}'
                ) from None


def _csv_lines(path: Path) -> Iterator[tuple[str, str, Confidences]]:
    """Lines of one sample stand in the order of its sources; `source`, where given, is checked."""
    seen: dict[str, int] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if not {"id", "confidence"} <= set(reader.fieldnames or ()):
            raise OptionError(f"{one_line(path)}, line 1: the header must name id and confidence")
        for number, entry in enumerate(reader, start=2):
            where = f"{one_line(path)}, line {number}"
            try:
                sample_id, value = _text(entry["id"]), _number(float(entry["confidence"]))
                source = int(entry.get("source") or 0)
            except (ValueError, TypeError, LookupError):
                raise OptionError(f"{where}: must be id,confidence under that header") from None
            expected = seen.get(sample_id, 0)
            if source != expected:
                raise OptionError(
                    f"{where}: source {source} of {sample_id!r} where {expected} was expected"
                )
            seen[sample_id] = expected + 1
            yield where, sample_id, (value,)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return float(value)
