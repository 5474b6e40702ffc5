"""Whose files lie in a folder that is packed into: those of other people are never touched.

| the folder | what may lie in it |
|---|---|
| is new, or its packing wrote no line yet | nothing but the notes of that packing |
| holds an unfinished packing | its notes, lists and temporary files, the shards noted, one more |

Anything else, also under a name that packing would use, is refused before a byte is written.

Results of batch inference are written by several processes at once (`shared`): who comes first
while nobody else is at work deletes what killed ones left half-written.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from soundspot.errors import MediaError, OptionError
from soundspot.files import TEMPORARY_PREFIX, one_line
from soundspot.shards.catalogue import TAR_SUFFIX
from soundspot.shards.index import SUFFIX as INDEX_SUFFIX

ERRORS, LEFT_OUT = "errors.jsonl", "left_out.jsonl"
LISTS = (ERRORS, LEFT_OUT)
"""What grows beside the shards: entries that failed, and samples that `drop` names."""


def shard_name(number: int) -> str:
    """A shard's name without suffix."""
    return f"shard-{number:06d}"


def shard_files(number: int) -> tuple[str, str]:
    """The names of a shard's two files."""
    return shard_name(number) + TAR_SUFFIX, shard_name(number) + INDEX_SUFFIX


def refuse_others(out: Path, ours: Collection[str] = (), *, temporary: bool = False) -> None:
    """Refuse a folder that holds anything else; one that is missing is fine.

    Args:
        out: the folder.
        ours: names of files that may be there.
        temporary: what a killed process left half-written may be there too.

    Raises:
        OptionError: something else is there, or `out` is a file.
        MediaError: the folder cannot be read.
    """
    if out.exists() and not out.is_dir():
        raise OptionError(f"{one_line(out)} is a file; choose a folder as --out")
    try:
        found = sorted(out.iterdir()) if out.is_dir() else []
    except OSError as error:
        raise MediaError(f"{one_line(out)} cannot be read ({error.strerror})") from error
    for path in found:
        known = path.name in ours or (temporary and path.name.startswith(TEMPORARY_PREFIX))
        if not known or path.is_symlink() or not path.is_file():
            raise OptionError(
                f"{one_line(out)}: holds other things ({one_line(path.name)}); choose an empty or "
                "new folder as --out"
            )


def sweep(folder: Path) -> None:
    """Delete what killed processes left half-written; nobody else may write there meanwhile."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        if path.is_file():
            path.unlink(missing_ok=True)


@contextmanager
def shared(folder: Path) -> Iterator[None]:
    """Work in a folder beside other processes that say so too; half-written files go first.

    They go only while nobody else is at work: all hold a lock of the folder itself. Where the
    file system has no such locks, nothing is deleted.

    Raises:
        MediaError: the folder cannot be made or opened.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        opened = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise MediaError(f"{one_line(folder)} cannot be written ({error.strerror})") from error
    try:
        with suppress(OSError):
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            sweep(folder)
        with suppress(OSError):
            fcntl.flock(opened, fcntl.LOCK_SH)
        yield
    finally:
        os.close(opened)
