"""A lost or damaged index, made anew from its tar.

What is found is kept on the disk only where the tar is the one that was packed (its SHA-256 says
so): checksums of damaged bytes would call the damage whole. It is then the lost one, to the byte.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from pathlib import Path
from typing import BinaryIO

from soundspot.errors import MediaError
from soundspot.files import one_line, write_beside
from soundspot.shards.catalogue import ShardFile
from soundspot.shards.index import Index, index_bytes, parse_index, scan

CHUNK = 1 << 20
"""Bytes read at a time for a checksum."""

log = logging.getLogger(__name__)


def mended_index(tar: Path, index: Path, entry: ShardFile) -> Index:
    """Scan a tar; where it is whole, write the index to its place, if the folder lets us.

    Raises:
        MediaError: the tar cannot be read, or no whole sample is in it.
    """
    try:
        with tar.open("rb") as file:
            whole = sha256_of(file) == entry.sha256
            file.seek(0)
            places, keys, wrong = scan(file)
    except OSError as error:
        raise MediaError(f"{tar} cannot be read ({error.strerror}); copy it again") from error
    if not places:
        raise MediaError(f"{tar} is damaged: {wrong or 'it is empty'}; copy it again")
    content = index_bytes(places, keys)
    if not whole:
        log.warning(
            "%s: is damaged (its SHA-256 is not that of shards.json), and without its index it "
            "cannot be told which samples are; copy both again",
            one_line(tar),
        )
    if whole:
        with contextlib.suppress(MediaError), write_beside(index) as beside:
            beside.write_bytes(content)
    return parse_index(content)


def sha256_of(file: BinaryIO) -> str:
    """The checksum of a file from here to its end, in hexadecimal."""
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()
