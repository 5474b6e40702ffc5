"""The checksum of a safetensors file: what a disk changed is not taken for what was kept.

    header   {"version": 1, "kind": ..., "crc32": "9ae0daaf", ...}

The checksum is CRC-32 (ISO 3309, as in zip and PNG) of the file's own table of tensors and of our
header, both as JSON with sorted keys and without the checksum itself, and then of all numbers in
the order of the file. It finds every error of up to 32 neighbouring bits, and others but for one
in 4 billion. It is no signature: it tells of disks and cables, not of people. It takes a tenth of
the time, or less, in which a disk takes the same bytes.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO, TypeAlias

Bytes: TypeAlias = "bytes | memoryview"
METADATA, HEADER_KEY = "__metadata__", "soundspot"
CHECKSUM = "crc32"
UNKNOWN = "00000000"
"""As long as a checksum: a header can be written before its checksum is known."""
ALIGNMENT = 8
"""Bytes: what stands before the numbers is filled up with spaces to a multiple."""
BLOCK = 2**24
"""Bytes that are read at once."""


def head_of(table: Mapping[str, Any], header: Mapping[str, Any], checksum: str = UNKNOWN) -> bytes:
    """What stands before the numbers, its length first; as long with any checksum.

    Args:
        table: of each tensor its type, shape and place, as safetensors has them.
        header: what our metadata say.
        checksum: from `checksum_of`.
    """
    text = json.dumps({**header, CHECKSUM: checksum}, sort_keys=True)
    tensors = {name: value for name, value in table.items() if name != METADATA}
    content = json.dumps({METADATA: {HEADER_KEY: text}, **tensors}).encode()
    content += b" " * (-len(content) % ALIGNMENT)
    return len(content).to_bytes(8, "little") + content


def checksum_of(
    table: Mapping[str, Any], header: Mapping[str, Any], numbers: Iterable[Bytes]
) -> str:
    """The checksum of a file, as eight hexadecimal digits.

    Args:
        table: of each tensor its type, shape and place.
        header: what our metadata say.
        numbers: the bytes behind both, in the order of the file.
    """
    tensors = {name: value for name, value in table.items() if name != METADATA}
    told = {name: value for name, value in header.items() if name != CHECKSUM}
    found = zlib.crc32(json.dumps([tensors, told], sort_keys=True).encode())
    for some in numbers:
        found = zlib.crc32(some, found)
    return f"{found:08x}"


def table_of(data: Bytes) -> tuple[dict[str, Any], int]:
    """Of a file's bytes, where each tensor is, with our metadata; and where its numbers begin."""
    (length,) = struct.unpack("<Q", data[:8])
    table: dict[str, Any] = json.loads(bytes(data[8 : 8 + length]))
    return table, 8 + length


def blocks(file: BinaryIO) -> Iterator[bytes]:
    """What is left of a file, in blocks."""
    while some := file.read(BLOCK):
        yield some
