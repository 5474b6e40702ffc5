"""Where each sample of a shard lies: a small binary file beside it, one fixed record a sample.

| bytes | what |
|---|---|
| 0-7 | `soundidx` |
| 8-11 | version, 2 |
| 12-15 | CRC-32 of all that follows byte 15 |
| 16-23 | how many samples |
| 24-31 | 0 |
| 32-... | a record of 24 bytes a sample: offset (8), length (4), CRC-32 of these bytes (4), |
|  | length of the head (4), CRC-32 of the head (4) |
| behind | the keys, ASCII, one a line |

The head is what lies before the header of the sound: pictures and JSON can be read and checked
without it. Version 1, for tars whose sounds are not last, has records of 16 bytes, without a head:
there it is the whole sample. Both are read; which is written follows from the tar, so that an index
made anew is the one that was lost, to the byte.

Numbers are little-endian. A large file is mapped, not read: only the pages in use are in memory. It
holds nothing that the tar does not: a lost one is made anew by `scan`.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from soundspot.errors import MediaError
from soundspot.shards.format import BLOCK, BrokenTarError, head_length, head_of, padded

MAGIC = b"soundidx"
HEAD = struct.Struct("<8sIIQQ")
CHECKED_FROM = 16
_WHOLE = [("offset", "<u8"), ("length", "<u4"), ("crc", "<u4")]
RECORDS = {1: np.dtype(_WHOLE), 2: np.dtype([*_WHOLE, ("head", "<u4"), ("head_crc", "<u4")])}
"""What a record is in each version."""
SUFFIX = ".idx"
MAPPED_FROM = 1 << 20
"""Bytes above which a file is mapped."""
MAX_LENGTH = 2**32 - 1
"""Bytes of one sample."""
MAX_OFFSET = 2**63 - 1
"""Where a file can have bytes."""


class Place(NamedTuple):
    """Where one sample lies, and how much of it precedes its sound; each with its CRC-32."""

    offset: int
    length: int
    crc: int
    head: int
    head_crc: int

    @classmethod
    def of(cls, offset: int, stretch: bytes) -> Place:
        """The place of a sample with these bytes.

        Raises:
            BrokenTarError: they are no whole members.
        """
        head = head_length(stretch)
        front = zlib.crc32(memoryview(stretch)[:head])
        whole = zlib.crc32(memoryview(stretch)[head:], front)
        return cls(offset, len(stretch), whole, head, front)


@dataclass(frozen=True, eq=False)
class Index:
    """The records of one shard and where its keys begin."""

    records: NDArray[np.void]
    keys: bytes | memoryview

    def __len__(self) -> int:
        return len(self.records)

    def place(self, number: int) -> Place:
        """Where a sample lies."""
        offset, length, crc, *head = self.records[number].tolist()
        return Place(offset, length, crc, *(head or (length, crc)))

    def names(self) -> Iterator[str]:
        """The keys in order."""
        return iter(bytes(self.keys).decode("ascii").split("\n")[: len(self)])


def index_bytes(places: Sequence[Place], keys: Sequence[str]) -> bytes:
    """The content of an index file; version 1 where no sample has a head that is shorter."""
    version = 2 if any(place.head < place.length for place in places) else 1
    record = RECORDS[version]
    fields = len(record.names or ())
    records = np.array([place[:fields] for place in places], record).tobytes()
    names = "".join(f"{key}\n" for key in keys).encode("ascii")
    rest = struct.pack("<QQ", len(places), 0) + records + names
    return HEAD.pack(MAGIC, version, zlib.crc32(rest), len(places), 0) + rest[16:]


def parse_index(content: bytes) -> Index:
    """An index from its bytes.

    Raises:
        MediaError: it is none of a known version, or damaged.
    """
    return _checked(memoryview(content), np.frombuffer(content, np.uint8))


def open_index(path: Path) -> Index:
    """Read an index file, or map a large one.

    A mapped file that somebody cuts short ends the process (SIGBUS), one that was read does not.

    Raises:
        MediaError: it is missing, none of a known version, or damaged.
    """
    try:
        small = path.stat().st_size <= MAPPED_FROM
        whole = np.fromfile(path, np.uint8) if small else np.memmap(path, np.uint8, "r")
    except (OSError, ValueError) as error:
        raise MediaError(f"{path}: cannot be read ({error})") from error
    try:
        return _checked(memoryview(whole.data), whole)
    except MediaError as error:
        raise MediaError(f"{path}: {error}") from None


def _checked(view: memoryview, mapped: NDArray[np.uint8]) -> Index:
    if len(view) < HEAD.size:
        raise MediaError("is no index")
    magic, version, crc, count, _ = HEAD.unpack(view[: HEAD.size])
    if magic != MAGIC or version not in RECORDS:
        raise MediaError("is no index of a known version")
    stop = HEAD.size + count * RECORDS[version].itemsize
    if len(view) < stop:
        raise MediaError("is cut short")
    if zlib.crc32(view[CHECKED_FROM:]) != crc:
        raise MediaError("is damaged")
    records = mapped[HEAD.size : stop].view(RECORDS[version])
    if count and int(records["offset"].max()) > MAX_OFFSET:
        raise MediaError("is damaged")
    return Index(records, view[stop:])


def scan(tar: BinaryIO) -> tuple[list[Place], list[str], str | None]:
    """Find the samples of a tar by reading it from start to end.

    Returns places, keys, and, where it breaks off before its closing zeros, what is wrong there.
    """
    places: list[Place] = []
    keys: list[str] = []
    start, stretch, current = tar.tell(), bytearray(), ""

    def close() -> None:
        if stretch:
            places.append(Place.of(start, bytes(stretch)))
            keys.append(current)

    while True:
        block = tar.read(BLOCK)
        if block and not any(block):
            close()
            return places, keys, None
        try:
            name, size = head_of(block)
        except BrokenTarError as error:
            close()
            return places, keys, "it is cut short" if len(block) < BLOCK else str(error)
        key = name.partition(".")[0]
        if key != current:
            close()
            start, stretch, current = tar.tell() - BLOCK, bytearray(), key
        content = tar.read(padded(size))
        if len(content) < padded(size):
            return places, keys, "it is cut short"
        stretch += block + content
