"""What a packing has done so far: a line a shard, on the disk before the next one begins.

    {"soundspot": "packing", "version": 3, "job": {...}}         what is being packed, and how
    {"shard": {...}, "position": 1013, "taken": 0, ...}          all before it is whole

A line is written when its shard has its name. Whoever goes on after a crash drops a line that is
cut short, and starts at the position of the last one: nothing is lost but the unfinished shard,
and nothing is packed twice. The file is locked while somebody packs, and deleted at the end. It
says whose the folder is: without it, or with another's, nothing there is touched (`folder`).
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from soundspot.errors import DataError, MediaError, OptionError
from soundspot.files import one_line
from soundspot.shards.catalogue import ShardFile
from soundspot.shards.folder import LISTS, refuse_others, shard_files

NAME = "packing.jsonl"
VERSION = 3
"""Changes with the bytes of shards and of this file: what another version began is refused."""
BEGIN = b'{"soundspot": "packing", "version": '
"""Of every journal's first line."""


@dataclass(frozen=True)
class Commit:
    """The state after a shard.

    Args:
        shard: the one that is whole now.
        position: entries before this one, in the order of packing, are done.
        taken: samples of that entry that are done too.
        counts: so far.
        added: to the lists beside the shards (`errors.jsonl`, ...) since the shard before.
        prints: fingerprints of the shard's samples.
    """

    shard: ShardFile
    position: int
    taken: int
    counts: dict[str, Any]
    added: dict[str, str] = field(repr=False)
    prints: list[str] = field(repr=False)


class Journal:
    """The open journal of a folder; `opened` gives one."""

    def __init__(self, path: Path, file: int, commits: list[Commit]):
        self.path, self._file, self.commits = path, file, commits

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, job: dict[str, Any]) -> Iterator[Journal]:
        """Open or begin the journal of a job, and lock it.

        Raises:
            OptionError: another job has begun in this folder, or is at work in it; or the folder
                holds what is not of this job.
            DataError: the journal is damaged.
            MediaError: the folder cannot be written.
        """
        path = folder / NAME
        if not path.is_file():
            refuse_others(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise MediaError(f"{one_line(path)} cannot be written ({error.strerror})") from error
        try:
            _lock(file, folder)
            yield cls(path, file, _resume(file, path, job))
        finally:
            os.close(file)

    def add(self, commit: Commit) -> None:
        """Note that a shard is whole.

        Raises:
            MediaError: the disk refuses.
        """
        _append(self._file, self.path, asdict(commit))
        self.commits.append(commit)

    def remove(self) -> None:
        """Delete the file: everything is done."""
        self.path.unlink(missing_ok=True)


def remove_journal(folder: Path) -> None:
    """Delete the journal of a finished packing, which a kill at the very end leaves behind."""
    path = folder / NAME
    if path.is_file() and path.read_bytes().startswith(BEGIN):
        path.unlink(missing_ok=True)


def _lock(file: int, folder: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise OptionError(
            f"{one_line(folder)}: another process packs into it; wait, or choose another --out"
        ) from None


def _resume(file: int, path: Path, job: dict[str, Any]) -> list[Commit]:
    """Read the whole lines, cut off the rest, and write the first one where there is none."""
    header = {"soundspot": "packing", "version": VERSION, "job": job}
    content = os.pread(file, os.fstat(file).st_size, 0)
    lines = content.split(b"\n")[:-1]
    if not (content.startswith(BEGIN) or BEGIN.startswith(content)):
        refuse_others(path.parent)
    if not lines:
        refuse_others(path.parent, (NAME,))
        os.ftruncate(file, 0)
        _append(file, path, header)
        return []
    _compare(_parsed(lines[0], path), json.loads(json.dumps(header)), path.parent)
    noted = [_commit(line, path) for line in lines[1:]]
    shards = [name for n in range(len(noted) + 1) for name in shard_files(n)]
    refuse_others(path.parent, {NAME, *LISTS, *shards}, temporary=True)
    commits = _present(noted, path.parent)
    for number in range(len(commits), len(noted)):
        for name in shard_files(number):
            (path.parent / name).unlink(missing_ok=True)
    keep = sum(len(line) + 1 for line in lines[: len(commits) + 1])
    os.ftruncate(file, keep)
    os.lseek(file, 0, os.SEEK_END)
    return commits


def _parsed(line: bytes, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(line)
        if not isinstance(found, dict):
            raise TypeError("a line is no object")
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged(path, error) from error
    return found


def _commit(line: bytes, path: Path) -> Commit:
    values = _parsed(line, path)
    try:
        return Commit(**{**values, "shard": ShardFile(**values["shard"])})
    except (LookupError, TypeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{one_line(path)} is damaged ({one_line(error)}); delete the folder to pack anew"
    )


def _compare(found: dict[str, Any], wanted: dict[str, Any], folder: Path) -> None:
    if found == wanted:
        return
    theirs, ours = found.get("job", {}), wanted["job"]
    names = [name for name in ours if theirs.get(name) != ours[name]]
    if found.get("version") != VERSION or not names:
        raise OptionError(
            f"{one_line(folder)}: holds an unfinished packing that another version of soundspot "
            "began; finish it with that one, choose another --out, or delete it"
        )
    raise OptionError(
        f"{one_line(folder)}: holds an unfinished packing with another {names[0]}: "
        f"{one_line(json.dumps(theirs.get(names[0])))}, not "
        f"{one_line(json.dumps(ours.get(names[0])))}; choose another --out, or delete it"
    )


def _present(commits: list[Commit], folder: Path) -> list[Commit]:
    """Those whose shards are on the disk, up to the first that is not."""
    for number, commit in enumerate(commits):
        tar = folder / commit.shard.tar
        if not tar.is_file() or tar.stat().st_size != commit.shard.bytes:
            return commits[:number]
    return commits


def _append(file: int, path: Path, value: dict[str, Any]) -> None:
    line = (json.dumps(value) + "\n").encode()
    try:
        os.lseek(file, 0, os.SEEK_END)
        while line:
            line = line[os.write(file, line) :]
        os.fsync(file)
    except OSError as error:
        raise MediaError(f"{one_line(path)} cannot be written ({error.strerror})") from error
