"""Maps kept on disk between a protocol's first look and its second.

A universal threshold is known only when every negative was seen, and which of a map's pixels it
will choose cannot be told from a few numbers before. So the map is kept, but not in memory: each
goes to a file of its own, named by a digest of what is in it. The same map is kept once, a run that
was cut short finds its files again, and several processes may share a folder. A part holds the
digest as two whole numbers.

The map is kept as it was handed in where that is smaller than the judged frame, else as it is in
the frame: at most about 210 kB a shot (a map of 14 x 14: 14 kB, of which the truth takes nearly
all).
"""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from soundspot.files import write_beside
from soundspot.maps import FloatMap
from soundspot.metrics.overlap import Truth
from soundspot.protocols.truths import SIDE

DIGEST_HALF = 6
"""Bytes in each of the two numbers: 48 bits are whole numbers in double precision."""


class Spool:
    """A folder of maps with their truths.

    Args:
        folder: made if it is missing; None: a temporary one that goes when the process ends.
    """

    def __init__(self, folder: Path | None = None):
        self._folder = folder

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return _temporary() if self._folder is None else self._folder

    def keep(self, values: FloatMap, truth: Truth | None) -> NDArray[np.float64]:
        """Write a map; the two numbers by which `find` knows it."""
        flat = _packed(values, truth)
        digest = hashlib.blake2b(flat, digest_size=2 * DIGEST_HALF).digest()
        path = self._path(digest)
        if not path.exists():
            with write_beside(path) as beside:
                beside.write_bytes(flat)
        halves = (digest[:DIGEST_HALF], digest[DIGEST_HALF:])
        return np.array([int.from_bytes(half, "big") for half in halves], dtype=np.float64)

    def find(self, numbers: NDArray[np.float64]) -> tuple[FloatMap, Truth | None]:
        """The map and truth that `keep` gave these numbers.

        Raises:
            FileNotFoundError: the folder is not the one they were kept in, or was deleted.
        """
        digest = b"".join(int(number).to_bytes(DIGEST_HALF, "big") for number in numbers)
        return _unpacked(self._path(digest).read_bytes())

    def _path(self, digest: bytes) -> Path:
        return self.folder / digest.hex()[:2] / f"{digest.hex()}.map"


@lru_cache(maxsize=1)
def _temporary() -> Path:
    """One folder a process, removed at its end."""
    folder = tempfile.mkdtemp(prefix="soundspot-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _packed(values: FloatMap, truth: Truth | None) -> bytes:
    """Height, width, whether a truth follows; the map; the truth as two layers of bits."""
    head = np.array([*values.shape, truth is not None], dtype=np.int32).tobytes()
    bits = b""
    if truth is not None:
        bits = np.packbits(np.stack([truth > 0, truth >= 1])).tobytes()
    return head + np.ascontiguousarray(values, dtype=np.float32).tobytes() + bits


def _unpacked(data: bytes) -> tuple[FloatMap, Truth | None]:
    height, width, has_truth = np.frombuffer(data, np.int32, 3).tolist()
    start, count = 3 * 4, height * width
    values = np.frombuffer(data, np.float32, count, start).reshape(height, width)
    if not has_truth:
        return values, None
    bits = np.unpackbits(np.frombuffer(data, np.uint8, -1, start + 4 * count))
    some, all_ = bits[: 2 * SIDE * SIDE].reshape(2, SIDE, SIDE).astype(np.bool_)
    return values, (all_ if (some == all_).all() else (some / 2 + all_ / 2))
