"""Files known by name, size and content, wherever they lie: for runs that go on, and shared banks.

A mark is the start of a SHA-256 of a file's name (relative to its data), its size, and its first
and last 64 KB. So a folder that was moved, or named in another way, holds the same files, and one
that was replaced under its name is another, unless it differs far within alone. Files are opened
eight at a time; one that cannot be read has the mark of none.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from soundspot.files import one_line

END = 2**16
"""Bytes of a file's beginning, and of its end."""
DIGITS = 12
"""Hexadecimal, of a mark."""
READERS = 8
AT_ONCE = 256
"""Files that a reader takes at once."""
QUIET = 2.0
"""Seconds after which progress is shown."""
NAMED = 2
"""Files that a message names."""
ABSENT = -1
"""The size of a file that cannot be read."""


@dataclass(frozen=True)
class Marks:
    """Files in their order.

    Args:
        names: relative to their data.
        marks: of each.
    """

    names: Sequence[str] = ()
    marks: Sequence[str] = ()

    @classmethod
    def of(cls, names: Sequence[str], paths: Sequence[Path]) -> Marks:
        """Look at files."""
        each = list(dict.fromkeys(zip(names, paths, strict=True)))
        some = [each[start : start + AT_ONCE] for start in range(0, len(each), AT_ONCE)]
        found = dict[str, str]()
        with (
            ThreadPoolExecutor(READERS) as readers,
            tqdm(total=len(each), desc="comparing files", unit="file", delay=QUIET) as bar,
        ):
            for marks in readers.map(_marks, some):
                found |= marks
                bar.update(len(marks))
        return cls(names, [found[name] for name in names])

    def text(self) -> str:
        """The marks, to be kept."""
        return " ".join(self.marks)

    def part(self, numbers: range) -> Marks:
        """Those of some files."""
        where = slice(numbers.start, numbers.stop)
        return Marks(self.names[where], self.marks[where])

    def other_than(self, text: str, free: Collection[str] = ()) -> str:
        """In words, how these files differ from those of a `text`; nothing where they do not.

        Args:
            text: what was kept.
            free: names of files whose content does not matter.
        """
        kept, each = text.split(), list(zip(self.names, self.marks, strict=True))
        if len(kept) == len(each):
            pairs = zip(each, kept, strict=True)
            if all(mark == old or name in free for (name, mark), old in pairs):
                return ""
        known, mine = set(kept), set(self.marks)
        unknown = [name for name, mark in each if mark not in known]
        new = [name for name in unknown if name not in free]
        gone = max(0, len(known - mine) - (len(unknown) - len(new)))
        shown = ", ".join(map(one_line, new[:NAMED])) + (", ..." if len(new) > NAMED else "")
        said = [f"{len(new):,} new or changed ({shown})"] if new else []
        said += [f"{gone:,} gone or changed"] if gone else []
        return " and ".join(said) or "the same files in another order"


def _marks(files: Sequence[tuple[str, Path]]) -> dict[str, str]:
    return {name: _mark(name, path) for name, path in files}


def _mark(name: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            ends = file.read(END)
            file.seek(max(len(ends), size - END))
            ends += file.read(END)
    except (OSError, ValueError):
        size, ends = ABSENT, b""
    told = f"{name}\0{size}\0".encode("utf-8", "surrogateescape")
    return hashlib.sha256(told + ends).hexdigest()[:DIGITS]
