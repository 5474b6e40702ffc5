"""Reading samples out of shards, any one with a single seek.

    shards = Shards.open("shards")
    raw = shards.raw(41)                   # bytes of the pictures, of the sound, and the metadata
    raw.picture(), raw.wave()              # decoded
    numbers = shards.order(seed=0, epoch=3).at(range(256))

Reads are `pread`s of whole samples: no file has a position that threads or forked processes could
disturb. At most `OPEN_SHARDS` shards are open at once, large indexes mapped, so memory does not
grow with the number of samples. Each sample's bytes are checked against the CRC-32 of its index
record; what does not agree is a `MediaError` that names shard and key, and the samples beside it
can be read.
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
from typing import Any, Self, cast

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from soundspot.errors import DataError, MediaError
from soundspot.files import one_line
from soundspot.media.audio import Sound
from soundspot.media.image import Picture
from soundspot.shards.catalogue import Catalogue, ShardFile, read_catalogue
from soundspot.shards.format import META, PICTURE, SOUND, BrokenTarError, Member, members_of
from soundspot.shards.index import Index, open_index
from soundspot.shards.mending import mended_index
from soundspot.shards.order import Order, blocks_for

OPEN_SHARDS = 192
"""Two groups of `order.blocks_for`: reading ahead crosses from one to the next."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RawSample:
    """One sample as it lies in its shard.

    Args:
        key: unique in all shards.
        pictures: JPEG files, in the order of their times; one or more.
        sound: a FLAC file, mono.
        meta: its JSON: id, source, time, seconds and what else `docs/shards.md` lists.
        where: shard and key, for messages.
    """

    key: str
    pictures: tuple[bytes, ...] = field(repr=False)
    sound: bytes = field(repr=False)
    meta: dict[str, Any] = field(repr=False)
    where: str = ""

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

    def wave(self) -> tuple[Sound, int]:
        """The sound decoded, mono float32 in [-1, 1], and its rate in Hz.

        Raises:
            MediaError: it does not decode.
        """
        try:
            samples, rate = soundfile.read(io.BytesIO(self.sound), dtype="float32")
        except (soundfile.SoundFileError, ValueError) as error:
            raise MediaError(
                f"{self.where}: the sound does not decode ({one_line(error)}); pack again"
            ) from error
        return cast("Sound", samples), int(rate)


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
        if number >= len(self.index):
            raise MediaError(f"{self.path}: sample {number} is missing: the shard is damaged")
        place = self.index.place(number)
        stretch = os.pread(self.file.fileno(), place.length, place.offset)
        where = f"{self.path}, sample {number}"
        try:
            members = list(members_of(stretch))
        except BrokenTarError as error:
            raise _damaged(where, str(error)) from None
        where = f"{self.path}, sample {members[0].key}" if members else where
        if len(stretch) < place.length or zlib.crc32(stretch) != place.crc or not members:
            raise _damaged(where, "its bytes are not those that were packed")
        return sample_of(members, where)


def sample_of(members: list[Member], where: str) -> RawSample:
    """A sample from its members.

    Raises:
        MediaError: they do not make one.
    """
    key = members[0].key
    by_suffix = {member.suffix: member.content for member in members}
    pictures = tuple(m.content for m in members if m.suffix.rpartition(".")[2] == PICTURE)
    try:
        meta = json.loads(by_suffix[META])
        sound = by_suffix[SOUND]
    except (KeyError, ValueError) as error:
        raise _damaged(where, f"no sound or metadata ({one_line(error)})") from error
    if not pictures or any(member.key != key for member in members):
        raise _damaged(where, "its members do not belong together")
    return RawSample(key, pictures, sound, meta, where)


def _damaged(where: str, what: str) -> MediaError:
    return MediaError(f"{where} is damaged: {what}; copy the shard again, or pack again")
