"""Files, whole or not at all: check before reading, write beside and swap in.

A result that is half written is worse than none: it looks finished. So nothing is ever written
under its final name. `write_beside` hands out a temporary name in the same folder (a rename is
atomic only within one file system), and gives the file its name when all of it is on the disk.
Whatever goes wrong on the way, a full disk or Ctrl-C, the file that was there before is untouched
and nothing is left lying beside it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .errors import MediaError, TrainingError

TEMPORARY_PREFIX = ".soundspot-"
TOKEN_BYTES = 6
NEW_FILE_MODE = 0o666
"""What `open` asks for; the user's umask takes away from it."""

# (first bytes, where they start, what it is): to say what was given in place of what was wanted
SIGNATURES = (
    (b"\xff\xd8\xff", 0, "a JPEG picture"),
    (b"\x89PNG", 0, "a PNG picture"),
    (b"GIF8", 0, "a GIF picture"),
    (b"WEBP", 8, "a WebP picture"),
    (b"II*\0", 0, "a TIFF picture"),
    (b"MM\0*", 0, "a TIFF picture"),
    (b"ftyphei", 4, "an HEIC picture"),
    (b"ftypmif1", 4, "an HEIC picture"),
    (b"ftypavif", 4, "an AVIF picture"),
    (b"WAVE", 8, "a WAV sound"),
    (b"fLaC", 0, "a FLAC sound"),
    (b"OggS", 0, "an Ogg sound"),
    (b"ID3", 0, "an MP3 sound"),
    (b"ftypM4A", 4, "an M4A sound"),
    (b"ftypqt", 4, "a QuickTime video"),
    (b"ftyp", 4, "an MP4 video"),
    (b"AVI ", 8, "an AVI video"),
    (b"\x1aE\xdf\xa3", 0, "a Matroska or WebM video"),
    (b"%PDF", 0, "a PDF document"),
    (b"PK\3\4", 0, "a zip archive"),
    (b"<svg", 0, "an SVG drawing"),
    (b"<?xml", 0, "an XML document"),
    (b"<!DOCTYPE", 0, "a web page"),
    (b"<html", 0, "a web page"),
    (b"#EXTM3U", 0, "a playlist"),
)
SIGNATURE_BYTES = 32


def one_line(text: object) -> str:
    """Put any text (a path, another library's message) on one printable line."""
    words = " ".join(str(text).split())
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in words)


def require_file(path: str | os.PathLike[str]) -> Path:
    """Return `path` as a `Path` to a file with something in it.

    Raises:
        MediaError: it is missing, a folder, a device, empty, or may not be read.
    """
    name = one_line(os.fspath(path))
    if "://" in name:
        raise MediaError(f"{name} is a web address; download it and give the file's path")
    file = Path(path)
    try:
        if file.is_dir():
            raise MediaError(f"{name} is a folder; give one file in it")
        if not file.exists():
            raise MediaError(f"{name} does not exist; check the path")
        if not file.is_file():
            raise MediaError(f"{name} is not a regular file; save its content to one first")
        with file.open("rb") as opened:
            if not opened.read(1):
                raise MediaError(f"{name} is empty (0 bytes); make or download it again")
    except (OSError, ValueError) as error:
        raise MediaError(f"{name} cannot be read: {_reason(error)}") from error
    return file


def what_is(file: Path) -> str | None:
    """Name what a file is, from its first bytes; None where they tell nothing."""
    with file.open("rb") as opened:
        head = opened.read(SIGNATURE_BYTES)
    for magic, offset, what in SIGNATURES:
        if head.startswith(magic, offset):
            return what
    return None


@contextlib.contextmanager
def write_beside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path to write to; on success the file there becomes `path`.

    The temporary file has the same suffix, so that encoders know the format. Missing parent
    folders are made. A symbolic link is written through, and a replaced file keeps its mode.

    Raises:
        MediaError: the folder or the disk takes no such file. Other errors pass unchanged.
    """
    name = one_line(os.fspath(path))
    try:
        target = Path(os.path.realpath(path))
        mode = _mode_to_keep(target, name)
        temporary = _reserve(target)
    except (OSError, ValueError) as error:
        raise MediaError(f"{name} cannot be written: {_reason(error)}") from error
    try:
        yield temporary
        _swap_in(temporary, target, mode)
    except OSError as error:
        if error.filename not in (None, str(temporary), os.fspath(path)):
            raise
        raise MediaError(f"{name} cannot be written: {_reason(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


class _TriedError(Exception):
    """One may write there."""


def check_writable(path: str | os.PathLike[str]) -> None:
    """Find out now, not after hours, that an output cannot be written.

    Raises:
        MediaError: the folder or the disk takes no such file.
    """
    with contextlib.suppress(_TriedError), write_beside(path):
        raise _TriedError


def _mode_to_keep(target: Path, name: str) -> int | None:
    """Return the permissions of the file that will be replaced; None where there is none."""
    if target.is_dir():
        raise MediaError(f"{name} is a folder; give a file name in it")
    if not target.exists():
        return None
    if not target.is_file():
        raise MediaError(f"{name} is a device or pipe; give the name of a regular file")
    if not os.access(target, os.W_OK):
        raise MediaError(f"{name} cannot be written: it is read-only; give another name")
    return target.stat().st_mode & 0o777


def _reserve(target: Path) -> Path:
    """Make an empty file with a fresh name beside `target`: shows at once whether one may."""
    target.parent.mkdir(parents=True, exist_ok=True)
    token = secrets.token_hex(TOKEN_BYTES)
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{token}{target.suffix}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, NEW_FILE_MODE))
    return temporary


def _swap_in(temporary: Path, target: Path, mode: int | None) -> None:
    """Give a finished file its name, once the disk holds all of it."""
    with temporary.open("rb+") as written:
        os.fsync(written.fileno())
    if mode is not None:
        temporary.chmod(mode)
    temporary.replace(target)


def _reason(error: Exception) -> str:
    """Return the operating system's word for an error, in lower case."""
    text = one_line(getattr(error, "strerror", None) or error)
    return text[:1].lower() + text[1:]


def make_folder(folder: Path, option: str = "--out") -> None:
    """Make a run's folder, or say at once that nothing can be kept there.

    Args:
        folder: to make.
        option: that names it.

    Raises:
        TrainingError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise TrainingError(
            f"{folder}: cannot be written ({error.strerror}); choose another {option}"
        ) from None
