"""The ledger of an evaluation: a line per sample and row as it goes, to read and to go on from.

    {"soundspot": "evaluate", "version": 1, "run": {...}}                      the first line
    {"sample": "0001", "kind": "positive", "height": 480, "width": 640, "truth": 0.08}
    {"sample": "0001", "row": "similarity_map", "parts": {"lvs": {...}}, "confidence": [0.7]}
    {"sample": "0002", "failed": "0002.png does not exist; check the path"}
    {"sample": "0003", "row": "peer", "failed": "maps/0003.npy does not exist; ..."}
    {"block": 0}                                                           all before it is whole

Samples are judged in blocks of fixed membership, in order. A block is written in one go and closed
by its own line, so a run that was killed leaves whole blocks and at most one that is cut short:
that one is dropped and judged again. A number is written so that it is read back to the last bit,
and blocks hold the same samples every time: a run that was cut short and went on ends with the
same digits as one that was not. The first line says what run this is; no other may go on with it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from soundspot.errors import OptionError
from soundspot.files import one_line

VERSION = 1
Line: TypeAlias = dict[str, Any]


class Ledger:
    """The file of one run. `run` says which: plain data, compared entry by entry."""

    def __init__(self, path: str | Path, run: Mapping[str, Any]):
        self.path = Path(path)
        header = {"soundspot": "evaluate", "version": VERSION, "run": dict(run)}
        self.run: dict[str, Any] = json.loads(json.dumps(header["run"]))
        self.header = json.dumps(header) + "\n"

    def blocks(self) -> Iterator[list[Line]]:
        """The whole blocks of an earlier start; what is behind them is cut off the file.

        Raises:
            OptionError: the file is none of ours, of another run, damaged, or cannot be written.
        """
        try:
            with self.path.open("ab+") as file:
                file.seek(0)
                first = file.readline()
                if not first.endswith(b"\n") and self.header.encode().startswith(first):
                    self._restart()
                    return
                self._check_header(first)
                yield from self._whole_blocks()
        except OSError as error:
            raise OptionError(self._unwritable(error)) from None

    def append(self, number: int, lines: Sequence[Line]) -> None:
        """Write one block and its closing line; on the disk before this returns."""
        text = "".join(_text(line) for line in [*lines, {"block": number}])
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OptionError(self._unwritable(error)) from None

    def foreign(self, lines: Sequence[Line]) -> OptionError:
        """The error for a block whose lines are JSON, but not what this run writes."""
        first = lines[0].get("sample") if lines else None
        return OptionError(
            f"{one_line(self.path)}: the block that begins with {first!r} is damaged; delete the "
            "file to start anew"
        )

    def _restart(self) -> None:
        with self.path.open("w", encoding="utf-8") as file:
            file.write(self.header)

    def _check_header(self, first: bytes) -> None:
        name = one_line(self.path)
        try:
            header = json.loads(first)
            ours, run = header["soundspot"] == "evaluate", dict(header["run"])
        except (ValueError, LookupError, TypeError, RecursionError):
            ours, run = False, {}
        if not ours:
            raise OptionError(f"{name}: is no ledger of `soundspot evaluate`; give another name")
        if header.get("version") != VERSION:
            raise OptionError(f"{name}: is of version {header.get('version')}; give another name")
        other = [key for key in {**self.run, **run} if self.run.get(key) != run.get(key)]
        if other:
            raise OptionError(
                f"{name}: belongs to a run with other {', '.join(other)}; give another name"
            )

    def _whole_blocks(self) -> Iterator[list[Line]]:
        block: list[Line] = []
        count = whole = 0
        with self.path.open("rb") as file:
            file.readline()
            whole = file.tell()
            for number, raw in enumerate(iter(file.readline, b""), start=2):
                line = self._parsed(raw, number)
                if line is None:
                    break
                if "block" not in line:
                    block.append(line)
                    continue
                if line["block"] != count:
                    raise OptionError(self._damaged(number))
                yield block
                block, count, whole = [], count + 1, file.tell()
        os.truncate(self.path, whole)

    def _parsed(self, raw: bytes, number: int) -> Line | None:
        """One line; None where the file ends before the line does."""
        if not raw.endswith(b"\n"):
            return None
        try:
            line = json.loads(raw)
        except (ValueError, RecursionError):
            line = None
        if not isinstance(line, dict):
            raise OptionError(self._damaged(number))
        return line

    def _damaged(self, number: int) -> str:
        return f"{one_line(self.path)}, line {number}: is damaged; delete the file to start anew"

    def _unwritable(self, error: OSError) -> str:
        return f"{one_line(self.path)}: cannot be written ({error.strerror or error})"


def _text(line: Line) -> str:
    return json.dumps(line) + "\n"
