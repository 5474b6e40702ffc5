"""What a shard is, byte by byte: a POSIX tar whose samples lie one behind the other.

The layout is WebDataset's (Aizman, Maltby & Breuel 2019, "High Performance I/O For Large Scale
Deep Learning"): members that share the name before the first dot are one sample.

    000000041.jpg   the picture (000000041.000.jpg, 000000041.001.jpg, ... where there are several)
    000000041.json  where they come from
    000000041.flac  the sound, mono, 16 bits (or .wav)

Nothing in a header depends on when, where or by whom it was written: time 0, owner 0, mode 0644.
A sample is one stretch of bytes, from its first header to the padding of its last member: one
read gives it whole. The sound is most of it and comes last, so the front of a stretch, its `head`,
is all but the sound. (The first version of the format had the sound before the JSON: such stretches
are read whole.) Every header is exactly one block of 512 bytes (plain ustar: keys are short ASCII),
so a stretch is taken apart in memory.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from typing import NamedTuple, get_args

from soundspot.shards.options import SoundFormat

BLOCK = tarfile.BLOCKSIZE
"""Bytes; a member's head is one block, and its content is padded to whole ones."""
END = bytes(2 * BLOCK)
"""Two blocks of zeros close a tar."""
PICTURE, META = "jpg", "json"
SOUNDS: tuple[SoundFormat, ...] = get_args(SoundFormat)
MAX_KEY = 80
"""Bytes; with its suffixes a name must fit the 100 bytes of a ustar header."""
ENCODED = ("utf-8", "surrogateescape")
"""Names, whatever the machine's own encoding."""
NAME, SIZE, CHECKSUM, KIND = slice(0, 100), slice(124, 136), slice(148, 156), slice(156, 157)
"""Where a ustar header (POSIX.1-1988) has what is read of it; the numbers are octal."""
BLANK = 8 * ord(" ")
"""What the checksum's own 8 bytes count in the sum of the header's bytes."""
PLAIN = (b"0", b"\0")
"""Kinds of a plain file."""


class Member(NamedTuple):
    """One file of a tar: its key, what follows the first dot, and its bytes."""

    key: str
    suffix: str
    content: bytes


class BrokenTarError(ValueError):
    """Bytes that are no tar members."""


def stretch_of(
    key: str,
    pictures: Sequence[bytes],
    sound: bytes,
    meta: bytes,
    sound_format: SoundFormat = "flac",
) -> bytes:
    """The bytes of one sample in a tar: pictures, JSON, sound.

    Raises:
        ValueError: the key is no plain ASCII word, or there is no picture.
    """
    plain = key.isascii() and key.isprintable() and not set("./\\ ") & set(key)
    if not (plain and 0 < len(key) <= MAX_KEY and pictures):
        raise ValueError(f"{key!r} cannot be a sample: a plain ASCII key, and a picture or more")
    names = [PICTURE] if len(pictures) == 1 else [f"{n:03d}.jpg" for n in range(len(pictures))]
    contents = (*pictures, meta, sound)
    return b"".join(
        member(f"{key}.{suffix}", content)
        for suffix, content in zip((*names, META, sound_format), contents, strict=True)
    )


def head_length(stretch: bytes) -> int:
    """Bytes of a stretch before the header of the sound, where that is last; otherwise all.

    Raises:
        BrokenTarError: it does not hold whole members.
    """
    *_, last = members_of(stretch)
    behind = BLOCK + padded(len(last.content)) if last.suffix in SOUNDS else 0
    return len(stretch) - behind


def member(name: str, content: bytes) -> bytes:
    """One file in a tar: its header, and its content padded to whole blocks.

    A name that no ustar header holds (100 bytes) stands in a pax header before (POSIX.1-2001),
    which every tool of today reads, though `members_of` does not: samples have short keys.
    """
    info = tarfile.TarInfo(name)
    info.size = len(content)
    short = len(name.encode(*ENCODED)) <= NAME.stop
    header = info.tobuf(tarfile.USTAR_FORMAT if short else tarfile.PAX_FORMAT, *ENCODED)
    return header + content + bytes(-len(content) % BLOCK)


def members_of(stretch: bytes) -> Iterator[Member]:
    """Take a stretch of whole members apart.

    Raises:
        BrokenTarError: a header is damaged, or a member ends behind the stretch.
    """
    at = 0
    while at < len(stretch):
        name, size = head_of(stretch[at : at + BLOCK])
        content = stretch[at + BLOCK : at + BLOCK + size]
        if len(content) < size:
            raise BrokenTarError(f"{name} is cut short")
        key, _, suffix = name.partition(".")
        yield Member(key, suffix, content)
        at += BLOCK + padded(size)


def head_of(block: bytes) -> tuple[str, int]:
    """The name and size that a header says; five times as fast as `tarfile`, which reads any kind.

    Raises:
        BrokenTarError: it is no whole header of a plain file.
    """
    try:
        name = block[NAME].partition(b"\0")[0].decode("ascii")
        size, stated = (int(block[field].rstrip(b"\0 "), 8) for field in (SIZE, CHECKSUM))
    except ValueError as error:
        raise BrokenTarError(f"a header is damaged ({error})") from error
    if len(block) != BLOCK or sum(block) - sum(block[CHECKSUM]) + BLANK != stated or size < 0:
        raise BrokenTarError("a header is damaged (its checksum is wrong)")
    if block[KIND] not in PLAIN:
        raise BrokenTarError(f"{name!r} is no plain file")
    return name, size


def padded(size: int) -> int:
    """A content's size in whole blocks."""
    return size + -size % BLOCK
