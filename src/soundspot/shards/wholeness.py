"""Is a film all there? Said from its head, before a stretch of it is taken for the whole.

An MP4 or QuickTime file is a chain of boxes that each declare their size (ISO/IEC 14496-12); one
that was cut ends inside a box. Ogg, Matroska, WebM and AVI declare theirs too (`media.audio`).
"""

from __future__ import annotations

from pathlib import Path

from soundspot.errors import MediaError
from soundspot.files import one_line, require_file
from soundspot.media.audio import is_cut

HEAD, LONG_HEAD = 8, 16
"""Bytes of a box's head: size and kind; a size of 1 says that 8 more bytes hold it."""


def require_whole(path: Path) -> None:
    """Refuse a film that ends before its declared end.

    Raises:
        MediaError: it is cut short, missing or empty.
    """
    file = require_file(path)
    if is_cut(file) or _is_cut_mp4(file):
        raise MediaError(f"{one_line(path)} is cut short; save or download it again")


def _is_cut_mp4(file: Path) -> bool:
    size = file.stat().st_size
    at = 0
    with file.open("rb") as opened:
        while at + HEAD <= size:
            opened.seek(at)
            head = opened.read(LONG_HEAD)
            if at == 0 and head[4:8] not in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
                return False
            length = int.from_bytes(head[:4], "big")
            if length == 0 or not head[4:8].isalnum():
                return False
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            if length < HEAD:
                return False
            at += length
    return at > size
