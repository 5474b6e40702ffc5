"""Reading samples out of shards, any one with a single seek.

    shards = Shards.open("shards")
    raw = shards.raw(41)                   # bytes of the pictures, of the sound, and the metadata
    raw.picture(), raw.wave()              # decoded
    shards.pictures(41).picture()          # the sound is not read
    numbers = shards.order(seed=0, epoch=3).at(range(256))

Reads are `pread`s of whole samples, or of their heads: no file has a position that threads or
forked processes could disturb. At most `OPEN_SHARDS` shards are open at once, large indexes mapped,
so memory does not grow with the number of samples. What is read is checked against its CRC-32 in
the index; what does not agree is a `MediaError` that names shard and key, and the samples beside it
can be read. So can the pictures of a sample whose sound is damaged.
"""

from __future__ import annotations

import io
import json
import logging
import os
import threading
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from soundspot.errors import DataError, MediaError
from soundspot.files import one_line
from soundspot.media.audio import Sound
from soundspot.media.image import Picture
from soundspot.shards.catalogue import Catalogue, ShardFile, read_catalogue
from soundspot.shards.format import (
    META,
    PICTURE,
    SOUNDS,
    BrokenTarError,
    Member,
    members_of,
)
from soundspot.shards.index import Index, Place, open_index
from soundspot.shards.mending import mended_index
from soundspot.shards.options import SoundFormat
from soundspot.shards.order import Order, blocks_for
from soundspot.shards.sounds import decoded

OPEN_SHARDS = 192
"""Two groups of `order.blocks_for`: reading ahead crosses from one to the next."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RawPictures:
    """One sample as it lies in its shard, without its sound.

    Args:
        key: unique in all shards.
        pictures: JPEG files, in the order of their times; one or more.
        meta: its JSON: id, source, time, seconds and what else `docs/shards.md` lists.
        where: shard and key, for messages.
    """

    key: str
    pictures: tuple[bytes, ...] = field(repr=False)
    meta: dict[str, Any] = field(repr=False)
    where: str

    def picture(self, number: int = 0, at_least: tuple[int, int] | None = None) -> Picture:
        """A picture decoded, `H W 3` uint8 RGB.

        Args:
            number: which of the pictures.
            at_least: (width, height) that suffice: may come back 2, 4 or 8 times smaller.

        Raises:
            MediaError: it does not decode.
        """
        try:
            with Image.open(io.BytesIO(self.pictures[number]), formats=("JPEG",)) as opened:
                if at_least is not None:
                    opened.draft("RGB", at_least)
                return np.array(opened if opened.mode == "RGB" else opened.convert("RGB"))
        except (OSError, ValueError, SyntaxError) as error:
            raise MediaError(
                f"{self.where}: the picture does not decode ({one_line(error)}); pack again"
            ) from error


@dataclass(frozen=True)
class RawSample(RawPictures):
    """One sample as it lies in its shard.

    Args:
        sound: a file, mono.
        sound_format: of the file.
    """

    sound: bytes = field(repr=False)
    sound_format: SoundFormat

    def wave(self) -> tuple[Sound, int]:
        """The sound decoded, mono float32 in [-1, 1), and its rate in Hz.

        Raises:
            MediaError: it does not decode.
        """
        try:
            return decoded(self.sound, self.sound_format)
        except ValueError as error:
            raise MediaError(
                f"{self.where}: the sound does not decode ({one_line(error)}); pack again"
            ) from error


class Shards:
    """A folder of shards as one long list of samples; safe between threads and processes.

    Args:
        folder: where they lie.
        catalogue: what is in them.
        open_shards: how many may be open at once in this process.
    """

    def __init__(self, folder: Path, catalogue: Catalogue, open_shards: int = OPEN_SHARDS):
        self.folder, self.catalogue, self.open_shards = folder, catalogue, open_shards
        self.firsts: NDArray[np.int64] = np.cumsum(
            [0, *(shard.samples for shard in catalogue.shards)], dtype=np.int64
        )
        """The number of each shard's first sample, and behind the last the count of all."""
        self._open: OrderedDict[int, _Shard] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a folder; shards are opened when they are first read.

        Raises:
            DataError: no finished shards, or empty ones.
        """
        catalogue = read_catalogue(path)
        if not catalogue.samples:
            raise DataError(f"{one_line(path)}: its shards hold no samples; pack another source")
        return cls(Path(path), catalogue)

    def __len__(self) -> int:
        return int(self.firsts[-1])

    def raw(self, number: int) -> RawSample:
        """One sample, from 0 on.

        Raises:
            MediaError: shard or sample is missing or damaged.
            IndexError: no such number.
        """
        shard, within = self.locate(number)
        return self._shard(shard).raw(within)

    def pictures(self, number: int) -> RawPictures:
        """One sample without its sound, which is not read either (but in shards of version 1).

        Raises:
            MediaError: shard or sample is missing, or the sample damaged before its sound.
            IndexError: no such number.
        """
        shard, within = self.locate(number)
        return self._shard(shard).pictures(within)

    def locate(self, number: int) -> tuple[int, int]:
        """The shard of a sample, and the sample's number in it.

        Raises:
            IndexError: no such number.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"sample {number} of {len(self)}")
        shard = int(np.searchsorted(self.firsts, number, side="right")) - 1
        return shard, number - int(self.firsts[shard])

    def names(self) -> Iterator[str]:
        """The keys of all samples in order.

        Raises:
            MediaError: a shard's index is lost and its tar damaged.
        """
        for number in range(len(self.catalogue.shards)):
            yield from self._shard(number).index.names()

    def order(self, seed: int = 0, epoch: int = 0) -> Order:
        """A shuffled order whose reads stay within a few shards at a time."""
        mean = -(-len(self) // len(self.catalogue.shards))
        block, group = blocks_for(len(self), mean)
        return Order(len(self), seed, epoch, block, group)

    def _shard(self, number: int) -> _Shard:
        with self._lock:
            shard = self._open.get(number)
            if shard is None:
                shard = _Shard(self.folder, self.catalogue.shards[number])
                self._open[number] = shard
                if len(self._open) > self.open_shards:
                    self._open.popitem(last=False)  # closed when its last reader is done
            self._open.move_to_end(number)
            return shard

    def __reduce__(self) -> tuple[type[Self], tuple[Path, Catalogue, int]]:
        """Another process opens its own files."""
        return type(self), (self.folder, self.catalogue, self.open_shards)


class _Shard:
    """One open shard; its file is closed when nothing refers to it any more."""

    def __init__(self, folder: Path, entry: ShardFile):
        self.path, self.entry = folder / entry.tar, entry
        try:
            self.file = self.path.open("rb", buffering=0)
        except OSError as error:
            raise MediaError(
                f"{one_line(self.path)} cannot be read ({error.strerror}); "
                "copy it again, or pack again"
            ) from error
        weakref.finalize(self, self.file.close)
        self.index = self._index(folder / entry.index)

    def _index(self, path: Path) -> Index:
        try:
            index = open_index(path)
            if len(index) == self.entry.samples:
                return index
            reason = f"{path}: has {len(index)} samples, not {self.entry.samples}"
        except MediaError as error:
            reason = str(error)
        log.warning("%s; it is made anew from the tar", one_line(reason))
        return mended_index(self.path, path, self.entry)

    def raw(self, number: int) -> RawSample:
        place = self._place(number)
        return sample_of(*self._members(number, place.offset, place.length, place.crc))

    def pictures(self, number: int) -> RawPictures:
        place = self._place(number)
        return pictures_of(*self._members(number, place.offset, place.head, place.head_crc))

    def _place(self, number: int) -> Place:
        if number >= len(self.index):
            raise MediaError(f"{self.path}: sample {number} is missing: the shard is damaged")
        return self.index.place(number)

    def _members(self, number: int, offset: int, length: int, crc: int) -> tuple[list[Member], str]:
        """Read and check bytes of a sample; its members, and what it is called in messages."""
        stretch = os.pread(self.file.fileno(), length, offset)
        where = f"{self.path}, sample {number}"
        try:
            members = list(members_of(stretch))
        except BrokenTarError as error:
            raise _damaged(where, str(error)) from None
        where = f"{self.path}, sample {members[0].key}" if members else where
        if len(stretch) < length or zlib.crc32(stretch) != crc or not members:
            raise _damaged(where, "its bytes are not those that were packed")
        return members, where


def pictures_of(members: list[Member], where: str) -> RawPictures:
    """A sample's pictures and metadata from its members, of which the sound may be missing.

    Raises:
        MediaError: they do not make a sample.
    """
    key = members[0].key
    pictures = tuple(m.content for m in members if m.suffix.rpartition(".")[2] == PICTURE)
    if not pictures or any(member.key != key for member in members):
        raise _damaged(where, "its members do not belong together")
    try:
        meta = json.loads(_by_suffix(members).get(META, b""))
    except ValueError as error:
        raise _damaged(where, f"no metadata ({one_line(error)})") from error
    return RawPictures(key, pictures, meta, where)


def sample_of(members: list[Member], where: str) -> RawSample:
    """A sample from its members.

    Raises:
        MediaError: they do not make one.
    """
    seen = pictures_of(members, where)
    contents = _by_suffix(members)
    for sound_format in SOUNDS:
        if sound_format in contents:
            sound = contents[sound_format]
            return RawSample(**vars(seen), sound=sound, sound_format=sound_format)
    raise _damaged(where, "no sound")


def _by_suffix(members: list[Member]) -> dict[str, bytes]:
    return {member.suffix: member.content for member in members}


def _damaged(where: str, what: str) -> MediaError:
    return MediaError(f"{where} is damaged: {what}; copy the shard again, or pack again")
