"""Checkpoints of a run: the last few, each whole or not there, each enough to go on from.

    RUN/checkpoints/00000080.safetensors     all that step 81 depends on
    RUN/checkpoints/00000160.safetensors

A checkpoint is written beside, brought to the disk, and renamed; then the folder itself is, and
only then are older ones deleted. So at every moment, also under `kill -9` or on a full disk, the
newest whole one is found again. One that the disk damaged later is passed over with a warning.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from soundspot.checkpoint import read_checkpoint, write_checkpoint
from soundspot.errors import CheckpointError, TrainingError
from soundspot.files import TEMPORARY_PREFIX

if TYPE_CHECKING:
    from torch import Tensor

Kept: TypeAlias = "tuple[dict[str, Any], dict[str, Tensor]]"
"""Header and tensors of a checkpoint."""
FOLDER = "checkpoints"
KIND = "training"
LOCK = ".lock"
DIGITS = 8


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a run.

    Args:
        run: its folder.
        keep: so many of the newest stay.
    """

    run: Path
    keep: int = 2

    @property
    def folder(self) -> Path:
        """Where they are."""
        return self.run / FOLDER

    def steps(self) -> list[int]:
        """Of which there are checkpoints, rising."""
        return sorted(int(p.stem) for p in self.folder.glob(f"{'[0-9]' * DIGITS}.safetensors"))

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step is."""
        return self.folder / f"{step:0{DIGITS}}.safetensors"

    def save(self, step: int, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
        """Keep a step, then let go of the oldest.

        Raises:
            TrainingError: the disk refuses; earlier checkpoints are whole.
        """
        for half in self.folder.glob(f"{TEMPORARY_PREFIX}*"):  # a kill left it
            half.unlink(missing_ok=True)
        try:
            write_checkpoint(self.path(step), tensors, {**header, "kind": KIND, "step": step})
            sync_folder(self.folder)
        except CheckpointError as error:
            raise TrainingError(str(error)) from None
        except OSError as error:
            raise TrainingError(f"{self.folder} cannot be written ({error.strerror})") from None
        for old in self.steps()[: -self.keep]:
            self.path(old).unlink(missing_ok=True)

    def newest(self, warn: Callable[[str], None]) -> Kept | None:
        """Header and tensors of the newest checkpoint that can be read; None where there is none.

        Raises:
            CheckpointError: there are some, and none can be read.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                return read_checkpoint(self.path(step), KIND)
            except CheckpointError as error:
                if step == steps[0]:
                    raise CheckpointError(
                        f"{error}, or delete {self.folder} to train from the beginning"
                    ) from None
                warn(f"{error}; going on from the checkpoint before it")
        return None


def kept(step: int) -> str:
    """In words, what a run that stops now can go on from; step 0: nothing yet."""
    return f"the checkpoint of step {step} is kept" if step else "no checkpoint was written yet"


@contextlib.contextmanager
def held(run: Path) -> Iterator[None]:
    """Hold a run's folder: two starts at once would write over one another.

    The system lets go of it when the process ends, however it ends.

    Raises:
        TrainingError: another process holds it.
    """
    with Lock(run / LOCK) as lock:
        if not lock.try_():
            raise TrainingError(
                f"{run}: is being trained by another process; wait for it, or give another --out"
            )
        yield


class Lock:
    """A file that one process at a time holds; it stays, and the system lets go when that ends.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.file = path.open("w")

    def __enter__(self) -> Self:
        """Not held yet: see `try_`."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go, also where a copy of this process has the file open."""
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(self.file, fcntl.LOCK_UN)
        self.file.close()

    def try_(self) -> bool:
        """Hold it, unless another process does; Windows has no such locks."""
        if sys.platform == "win32":
            return True
        import fcntl

        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries to the disk, so that a rename in it outlives a power cut."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
