"""Writing one shard: samples go to a file beside, which gets its name when it is whole.

The index gets its name before its tar, so a tar that is there has its index.
"""

from __future__ import annotations

import contextlib
import hashlib
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from soundspot.errors import MediaError
from soundspot.files import write_beside
from soundspot.shards.catalogue import ShardFile
from soundspot.shards.format import END, stretch_of
from soundspot.shards.index import MAX_LENGTH, Place, index_bytes
from soundspot.shards.options import SoundFormat


class ShardWriter:
    """The open tar of one shard; `opened` gives one."""

    def __init__(self, file: BinaryIO, sound: SoundFormat = "flac"):
        self._file, self._sound, self._digest = file, sound, hashlib.sha256()
        self.size = 0
        """Bytes so far."""
        self.places: list[Place] = []
        self.keys: list[str] = []

    @classmethod
    @contextlib.contextmanager
    def opened(cls, folder: Path, name: str, sound: SoundFormat = "flac") -> Iterator[ShardWriter]:
        """Write a shard of that name; both of its files appear when the block ends well.

        Args:
            folder: to write to.
            name: of the shard, without suffix.
            sound: the format of all of its sounds.

        Raises:
            MediaError: the disk refuses.
        """
        shard = ShardFile(name, 0, 0, "", "")
        with write_beside(folder / shard.tar) as tar:
            with tar.open("wb") as file:
                writer = cls(file, sound)
                yield writer
                writer._write(END + bytes(-(writer.size + len(END)) % tarfile.RECORDSIZE))
            with write_beside(folder / shard.index) as index:
                index.write_bytes(writer.index)

    @property
    def index(self) -> bytes:
        """The content of the index so far."""
        return index_bytes(self.places, self.keys)

    def add(self, key: str, pictures: Sequence[bytes], sound: bytes, meta: bytes) -> None:
        """Append one sample.

        Raises:
            MediaError: it is above `MAX_LENGTH`.
        """
        stretch = stretch_of(key, pictures, sound, meta, self._sound)
        if len(stretch) > MAX_LENGTH:
            raise MediaError(f"{key}: a sample of {len(stretch):,} bytes is too large for a shard")
        self.places.append(Place.of(self.size, stretch))
        self.keys.append(key)
        self._write(stretch)

    def entry(self, name: str) -> ShardFile:
        """What `shards.json` says of it, when it is whole."""
        index = hashlib.sha256(self.index).hexdigest()
        return ShardFile(name, len(self.keys), self.size, self._digest.hexdigest(), index)

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self._digest.update(content)
        self.size += len(content)
