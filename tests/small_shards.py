"""Small folders of shards: ten samples in three shards, as they are packed and once were."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from soundspot.shards.catalogue import Catalogue, ShardFile
from soundspot.shards.checking import ShardCheck, check
from soundspot.shards.format import END, member
from soundspot.shards.options import SoundFormat
from soundspot.shards.sounds import encoded
from soundspot.shards.writer import ShardWriter

SIZES = (5, 1, 4)
"""Samples in each shard."""
RATE, SAMPLES = 8000, 2000
"""Hz, and samples of each sound."""


class NoBar:
    def update(self, n: int = 1) -> None: ...
    def close(self) -> None: ...


def look(folder: Path) -> ShardCheck:
    """Check a folder without a progress bar."""
    return check(folder, lambda _: NoBar())


def flip(path: Path, at: int) -> None:
    """Turn one bit of a file."""
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)


def jpeg(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((24, 32, 3), 5 * number, np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def noise(number: int) -> np.ndarray:
    return np.random.default_rng(number).uniform(-0.5, 0.5, SAMPLES).astype(np.float32)


def flac(number: int) -> bytes:
    return encoded(noise(number), RATE, "flac")


def pictures(number: int) -> list[bytes]:
    """One, and of odd samples two."""
    return [jpeg(number), jpeg(number + 1)][: 1 + number % 2]


def meta(number: int) -> bytes:
    seconds = SAMPLES / RATE
    said = {"id": f"n{number}", "rate": RATE, "size": [32, 24], "seconds": seconds}
    return json.dumps(said).encode()


def small_shards(folder: Path, sound: SoundFormat = "flac", sizes: tuple[int, ...] = SIZES) -> Path:
    """So many samples in each shard, numbered from 0 on."""
    folder.mkdir(exist_ok=True)
    shards, number = list[ShardFile](), 0
    for size in sizes:
        name = f"shard-{len(shards):06d}"
        with ShardWriter.opened(folder, name, sound) as writer:
            for _ in range(size):
                heard = encoded(noise(number), RATE, sound)
                writer.add(f"{number:09d}", pictures(number), heard, meta(number))
                number += 1
        shards.append(writer.entry(name))
    (folder / "shards.json").write_text(catalogue(shards, {"sound": sound}).text())
    return folder


def catalogue(shards: list[ShardFile], settings: dict[str, str]) -> Catalogue:
    packed = sum(shard.samples for shard in shards)
    counts = {"packed": packed, "seconds": packed * SAMPLES / RATE, "found": {}}
    return Catalogue(tuple(shards), settings, counts)


def old_shards(folder: Path, sizes: tuple[int, ...] = SIZES) -> Path:
    """The same in version 1: the sound before the JSON, and indexes that know no heads."""
    folder.mkdir(exist_ok=True)
    shards, number = list[ShardFile](), 0
    for size in sizes:
        shard = ShardFile(f"shard-{len(shards):06d}", size, 0, "", "")
        tar, records, keys = b"", b"", b""
        for _ in range(size):
            stretch = old_stretch(number)
            records += struct.pack("<QII", len(tar), len(stretch), zlib.crc32(stretch))
            tar, keys, number = tar + stretch, keys + b"%09d\n" % number, number + 1
        rest = struct.pack("<QQ", size, 0) + records + keys
        index = b"soundidx" + struct.pack("<II", 1, zlib.crc32(rest)) + rest
        (folder / shard.tar).write_bytes(tar + END)
        (folder / shard.index).write_bytes(index)
        sums = [hashlib.sha256(content).hexdigest() for content in (tar + END, index)]
        size_now = len(tar + END)
        shards.append(replace(shard, bytes=size_now, sha256=sums[0], index_sha256=sums[1]))
    text = catalogue(shards, {}).text().replace('"version": 2', '"version": 1')
    (folder / "shards.json").write_text(text)
    return folder


def old_stretch(number: int) -> bytes:
    seen = pictures(number)
    names = ["jpg"] if len(seen) == 1 else ["000.jpg", "001.jpg"]
    files = zip((*names, "flac", "json"), (*seen, flac(number), meta(number)), strict=True)
    return b"".join(member(f"{number:09d}.{name}", content) for name, content in files)
