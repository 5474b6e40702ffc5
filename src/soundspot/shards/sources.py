"""What is packed: a source as a list of entries, each a film or a picture with its sound.

| the source | its entries |
|---|---|
| a folder of videos | every video in it and below, sorted by path |
| a folder with `images/SET`, `sounds/SET` | every picture; number k of a set with sound k mod n |
| a manifest (.jsonl), `NAME:ROOT` | its samples of the kind "positive", in their order |

Only pictures, sounds and films are looked at: boxes, groups and masks stay behind. What is of
another kind (noise, silence, off-screen, mixtures) was not recorded with its picture; it is counted
and left out.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from soundspot.data import open_data
from soundspot.data.dataset import Dataset
from soundspot.data.lists import VIDEOS
from soundspot.data.pairs import Pairs, read_pairs
from soundspot.errors import DataError, TrainingError
from soundspot.files import one_line
from soundspot.shards.catalogue import is_shards
from soundspot.types import Sample


@dataclass(frozen=True)
class Entry:
    """One thing to pack.

    Args:
        number: its place in the source.
        sample: what to read.
        source: the file of the picture or film, relative to the source's root.
        sound: the file of the sound, likewise; None for films.
        root: the source's root.
    """

    number: int
    sample: Sample
    source: str
    sound: str | None
    root: Path = Path()

    def names(self) -> dict[str, str]:
        """What each of its files is called, by the path that it is read from."""
        sample = self.sample
        more = [path for source in sample.sources for path in (source.image, source.sound)]
        paths = {sample.image, sample.sound, sample.video, *more} - {None}
        return {str(path): _relative(path, self.root) for path in paths if path is not None}


@dataclass(frozen=True)
class Source:
    """All there is to pack.

    Args:
        kind: of the source.
        root: folder that provenance is relative to.
        entries: in the source's order.
        other_kinds: samples that are not entries.
    """

    kind: str
    root: Path
    entries: tuple[Entry, ...]
    other_kinds: int = 0

    def digest(self) -> str:
        """SHA-256 of the list: names, times and file sizes."""
        digest = hashlib.sha256()
        for entry in self.entries:
            sizes = [_size(entry.sample.image), _size(entry.sample.sound)]
            line = [entry.source, entry.sound, entry.sample.id, entry.sample.time, sizes]
            digest.update((json.dumps(line) + "\n").encode())
        return digest.hexdigest()


def open_source(spec: str | Path) -> Source:
    """List a source.

    Raises:
        DataError: nothing to pack there, or a list that breaks its format.
        OptionError: an unknown data set.
    """
    path = Path(spec)
    if path.is_dir():
        if is_shards(path):
            raise DataError(f"{one_line(path)}: holds shards; they are packed already")
        found = _of_sets(path) if (path / "images").is_dir() else _of_videos(path)
    else:
        data = open_data(spec)
        found = _of_data(data)
    if not found.entries:
        raise DataError(
            f"{one_line(spec)}: nothing to pack; give a folder of videos ({', '.join(VIDEOS)}), a "
            "folder with images/SET and sounds/SET, a manifest (.jsonl), or NAME:ROOT"
        )
    return found


def _of_videos(root: Path) -> Source:
    def broken(error: OSError) -> None:
        raise DataError(f"{one_line(error.filename)} cannot be read ({error.strerror})")

    paths = [
        Path(folder, name)
        for folder, _, names in os.walk(root, onerror=broken)
        for name in names
        if Path(name).suffix.lower() in VIDEOS
    ]
    names = sorted(path.relative_to(root).as_posix() for path in paths)
    samples = (Sample(name, root / name, root / name, video=root / name) for name in names)
    return Source("videos", root, _entries(samples, root))


def _of_sets(root: Path) -> Source:
    try:
        pairs = read_pairs(root)
    except TrainingError as error:
        raise DataError(str(error)) from None
    return Source("sets", root, _entries(_pairs_of(root, pairs.pictures, pairs), root))


def _pairs_of(root: Path, pictures: tuple[tuple[Path, ...], ...], pairs: Pairs) -> Iterator[Sample]:
    for seen, heard in zip(pictures, pairs.sounds, strict=True):
        for k, picture in enumerate(seen):
            sound = pairs.all_sounds[heard[k % len(heard)]]
            yield Sample(_relative(picture, root), picture, sound)


def _of_data(data: Dataset) -> Source:
    root = data.root if data.root.is_dir() else data.root.parent
    samples = list(data.samples())
    positive = [sample for sample in samples if sample.kind == "positive"]
    others = len(samples) - len(positive)
    return Source(data.name, root, _entries(positive, root), others)


def _entries(samples: Iterable[Sample], root: Path) -> tuple[Entry, ...]:
    return tuple(
        Entry(
            number,
            sample,
            _relative(sample.image, root),
            None if sample.video is not None else _relative(sample.sound, root),
            root,
        )
        for number, sample in enumerate(samples)
    )


def _relative(path: Path, root: Path) -> str:
    return Path(os.path.relpath(path, root)).as_posix()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
