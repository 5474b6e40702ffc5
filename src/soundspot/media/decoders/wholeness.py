"""What a file declares of its own length, and whether it ends before.

The last page of an Ogg file says how long it is itself; Matroska, WebM and AVI say how many bytes
they have, and an mp3 with a Xing or Info tag how many frames.
"""

from __future__ import annotations

from pathlib import Path

HEAD_BYTES = 4_096
OGG_TAIL_BYTES = 2 * 65_536
"""The last page lies whole in it: a page has at most 65,307 bytes."""
MATROSKA, MATROSKA_SEGMENT = b"\x1aE\xdf\xa3", b"\x18\x53\x80\x67"


def is_cut(file: Path) -> bool:
    """Tell whether an Ogg, Matroska, WebM or AVI file ends before the end that it declares."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        head = opened.read(HEAD_BYTES)
        opened.seek(max(0, size - OGG_TAIL_BYTES))
        tail = opened.read() if head.startswith(b"OggS") else b""
    if head.startswith(b"OggS"):
        page = tail[max(0, tail.rfind(b"OggS")) :]
        return len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return size < 8 + int.from_bytes(head[4:8], "little")
    segment = head.find(MATROSKA_SEGMENT) + len(MATROSKA_SEGMENT)
    if head.startswith(MATROSKA) and segment >= len(MATROSKA_SEGMENT) and head[segment]:
        width = 9 - head[segment].bit_length()  # leading zeros count the bytes of the number
        unknown = (1 << 7 * width) - 1
        content = int.from_bytes(head[segment : segment + width]) & unknown
        return content != unknown and size < segment + width + content
    return False


def mp3_declares_length(file: Path) -> bool:
    """Tell whether the first frame, after an ID3v2 tag, counts the frames of the file."""
    with file.open("rb") as opened:
        head = opened.read(10)
        if head[:3] == b"ID3":
            a, b, c, d = head[6:10]
            opened.seek(10 + (a << 21 | b << 14 | c << 7 | d))
        else:
            opened.seek(0)
        frame = opened.read(256)
    return b"Xing" in frame or b"Info" in frame
