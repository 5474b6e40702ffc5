"""Are shards whole? Every checksum, every header, every picture and sound decoded.

What is wrong is named by shard and sample. A file whose SHA-256 differs from `shards.json` is
looked through sample by sample, so that one flipped bit costs one sample and not a shard.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from soundspot.errors import MediaError
from soundspot.files import one_line
from soundspot.shards.catalogue import Catalogue, ShardFile, read_catalogue
from soundspot.shards.format import BrokenTarError, members_of
from soundspot.shards.index import SUFFIX, Index, Place, index_bytes, open_index, parse_index, scan
from soundspot.shards.mending import sha256_of
from soundspot.shards.reader import sample_of

EXAMPLES = 20


class Bar(Protocol):
    """What a progress bar can do."""

    def update(self, n: int = 1) -> object:
        """So many more are done."""

    def close(self) -> None:
        """All is done."""


@dataclass(frozen=True)
class ShardCheck:
    """What a check of shards found.

    Args:
        folder: which.
        shards: how many `shards.json` names.
        samples: likewise.
        whole: samples whose bytes are those that were packed, and decode.
        wrong: what is not right, by shard and sample.
    """

    folder: str
    shards: int
    samples: int
    whole: int
    wrong: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Everything is there, unchanged, and decodes."""
        return not self.wrong and self.whole == self.samples

    def lines(self, examples: int = EXAMPLES) -> list[str]:
        """The report as text."""
        more = len(self.wrong) - examples
        return [
            f"{self.folder}: {self.whole:,} of {self.samples:,} samples in {self.shards:,} shards "
            "are whole",
            *(f"  {text}" for text in self.wrong[:examples]),
            *([f"  ... and {more:,} more"] if more > 0 else []),
            "all whole" if self.ok else f"damaged: {len(self.wrong):,} findings",
        ]

    def json(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "folder": self.folder,
            "ok": self.ok,
            "shards": self.shards,
            "samples": self.samples,
            "whole": self.whole,
            "wrong": list(self.wrong),
        }


def check(folder: Path, watch: Callable[[int], Bar]) -> ShardCheck:
    """Read and decode everything in a folder of shards; changes nothing.

    Args:
        folder: of the shards.
        watch: makes a progress bar for so many samples.

    Raises:
        DataError: it holds no shards, or `shards.json` is damaged.
    """
    catalogue = read_catalogue(folder)
    bar = watch(catalogue.samples)
    wrong: list[str] = []
    whole = 0
    keys: set[str] = set()
    try:
        for entry in catalogue.shards:
            for key, finding in _check_shard(folder, entry, catalogue.settings.get("sound")):
                whole += finding is None
                if finding is not None:
                    wrong.append(finding)
                elif key in keys:
                    wrong.append(f"{entry.tar}, sample {key}: its key came before")
                keys.add(key)
                bar.update(key != "")
    finally:
        bar.close()
    wrong += _surplus(folder, {name for e in catalogue.shards for name in (e.tar, e.index)})
    wrong += _contradictions(catalogue)
    return ShardCheck(
        one_line(folder), len(catalogue.shards), catalogue.samples, whole, tuple(wrong)
    )


Finding = tuple[str, str | None]
"""A sample's key ("" for what is not about one sample), and what is wrong."""


def _check_shard(folder: Path, entry: ShardFile, sound: str | None) -> Iterator[Finding]:
    tar, path = folder / entry.tar, folder / entry.index
    try:
        with tar.open("rb") as file:
            same = sha256_of(file) == entry.sha256
    except OSError as error:
        yield "", f"{entry.tar}: cannot be read ({error.strerror}); {entry.samples} samples lost"
        return
    index, finding = _index_of(tar, path, entry)
    if finding is not None:
        yield "", finding
    if not same:
        yield "", f"{entry.tar}: its bytes are not those that were packed (SHA-256 differs)"
    names = list(index.names())
    with tar.open("rb") as file:
        for number, name in enumerate(names):
            place = index.place(number)
            file.seek(place.offset)
            where = f"{entry.tar}, sample {name}"
            yield name, _check_sample(file.read(place.length), place, where, sound)
    if len(names) < entry.samples:
        yield "", f"{entry.tar}: {entry.samples - len(names)} of {entry.samples} samples are gone"


def _index_of(tar: Path, path: Path, entry: ShardFile) -> tuple[Index, str | None]:
    """The index, or one made from the tar, and what is wrong with the first."""
    try:
        index = open_index(path)
        with path.open("rb") as file:
            if sha256_of(file) == entry.index_sha256 and len(index) == entry.samples:
                return index, None
        finding = f"{entry.index}: is not the one that was packed"
    except MediaError:
        finding = f"{entry.index}: is {'damaged' if path.exists() else 'missing'}"
    with tar.open("rb") as file:
        places, keys, _ = scan(file)
    remedy = "reading makes it anew from the tar"
    return parse_index(index_bytes(places, keys)), f"{finding}; {remedy}"


def _check_sample(stretch: bytes, place: Place, where: str, sound: str | None) -> str | None:
    """What is wrong with one sample; None where it is whole."""
    if len(stretch) < place.length:
        return f"{where}: is cut short"
    if zlib.crc32(stretch) != place.crc:
        return f"{where}: its bytes are not those that were packed"
    try:
        if Place.of(place.offset, stretch) != place:
            return f"{where}: its index says wrongly where its sound begins"
        sample = sample_of(list(members_of(stretch)), where)
        if sound not in {None, sample.sound_format}:
            return f"{where}: its sound is {sample.sound_format}, shards.json says {sound}"
        for number in range(len(sample.pictures)):
            sample.picture(number)
        sample.wave()
    except (MediaError, BrokenTarError) as error:
        return str(error)
    return None


def _contradictions(catalogue: Catalogue) -> list[str]:
    """Totals of `shards.json` that are not the sums of its shards."""
    said = {"samples": catalogue.stated, "counts.packed": catalogue.counts.get("packed")}
    return [
        f"shards.json: {key} is {value:,}, its shards have {catalogue.samples:,}"
        for key, value in said.items()
        if value is not None and value != catalogue.samples
    ]


def _surplus(folder: Path, known: set[str]) -> list[str]:
    """Shards that `shards.json` does not name."""
    found = sorted(p.name for p in folder.iterdir() if p.suffix in (".tar", SUFFIX))
    return [f"{name}: is not in shards.json" for name in found if name not in known]
