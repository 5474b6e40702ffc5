"""A list beside the shards (`errors.jsonl`, `left_out.jsonl`) that grows with them.

What is in it after a shard is noted in the journal too. So whoever goes on after a crash cuts off
what came later; and a list that was lost or changed in between is written again, which is said.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from soundspot.errors import MediaError
from soundspot.files import one_line, write_beside

log = logging.getLogger(__name__)


class GrowingList:
    """One such file.

    Args:
        path: of the file.
        noted: its content after the last whole shard.

    Raises:
        MediaError: it cannot be read or written.
    """

    def __init__(self, path: Path, noted: str):
        self.path, self._lines = path, list[str]()
        content = noted.encode()
        try:
            before = path.read_bytes() if path.exists() else b""
            if before.startswith(content):
                if path.exists():
                    os.truncate(path, len(content))
                return
        except OSError as error:
            raise MediaError(f"{one_line(path)} cannot be read ({error.strerror})") from error
        log.warning("%s: was lost or changed; its first lines are written again", one_line(path))
        with write_beside(path) as beside:
            beside.write_bytes(content)

    def add(self, value: dict[str, Any]) -> None:
        """One more line, in memory."""
        self._lines.append(json.dumps(value) + "\n")

    def flush(self) -> str:
        """Put what came since on the disk, and return it.

        Raises:
            MediaError: the disk refuses.
        """
        text = "".join(self._lines)
        try:
            with self.path.open("ab") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise MediaError(
                f"{one_line(self.path)} cannot be written ({error.strerror})"
            ) from error
        self._lines.clear()
        return text
