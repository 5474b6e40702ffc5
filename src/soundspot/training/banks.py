"""A bank of heard sounds that is found, or a part of one: whether it is one's own, and whole.

It is known by its tower and, of shards, by their checksums (`origin`), and by the marks of sounds
that are files (`soundspot.data.marks`); whether a disk has changed it, by its own checksum.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from soundspot.checkpoint_file import read_header, require_whole
from soundspot.data.marks import QUIET, Marks
from soundspot.errors import CheckpointError, TrainingError
from soundspot.files import one_line
from soundspot.sound_bank import Broken
from soundspot.training.journal import warn

OPTION = "--bank (or --out, where there is no --bank)"
"""What names the folder."""
DICE = 2
"""Version of the dice by which recordings are varied; parts of another version are refused."""


def header_of(file: Path) -> dict[str, Any]:
    """The header of a bank.

    Raises:
        CheckpointError: it is none, or damaged.
    """
    with _mended_by_deleting():
        return read_header(file)


def compare(file: Path) -> None:
    """Read all of a bank once, to compare it with its checksum.

    Raises:
        CheckpointError: it is damaged.
    """
    size = file.stat().st_size
    bar = tqdm(total=size, desc="checking sounds", unit="B", unit_scale=True, delay=QUIET)
    with bar, _mended_by_deleting():
        require_whole(file, bar.update)


def require_own(
    path: Path,
    header: Mapping[str, Any],
    origin: str,
    marks: Marks,
    whole: Path | None = None,
) -> None:
    """Refuse what was heard of others.

    Args:
        path: of what was heard.
        header: of it.
        origin: tells the tower, and sounds of shards, from others.
        marks: of the same recordings as they are now.
        whole: what may be deleted, to hear again.

    Raises:
        TrainingError: saying in what it differs.
    """
    why = ""
    if marks.names and "marks" not in header:
        why = "shards, or was heard by an earlier version, which knew files by their paths"
    elif header.get("origin") != origin or header.get("dice", DICE) > DICE:
        why = "other data or another sound tower, or was heard with another --hear-all"
    elif differ := marks.other_than(header.get("marks", ""), header.get("broken", {})):
        why = f"other sounds: {differ}"
    if why:
        deleted = f", or delete {whole} to hear all again" if whole is not None else ""
        raise TrainingError(f"{path}: belongs to {why}; choose another {OPTION}{deleted}")


def say_what_lacks(file: Path, broken: Broken) -> None:
    """A recording may have been repaired since; a bank never changes by itself."""
    if not broken:
        return
    count = len(broken)
    sounds, are = ("sound", "is") if count == 1 else ("sounds", "are")
    warn(
        f"{file}: {count:,} {sounds} could not be read when the others were heard, and "
        f"{are} left out ({one_line(next(iter(broken.values())))}); delete this file to hear "
        "all of them again"
    )


@contextlib.contextmanager
def _mended_by_deleting() -> Iterator[None]:
    """Say of a bank that cannot be read what mends it."""
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{error}, or delete it: its sounds are heard again") from None
