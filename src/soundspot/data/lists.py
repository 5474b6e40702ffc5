"""Lists and their entries: read line by line, and everything in them looked at twice.

A list comes from somewhere: another repository, another system, a spreadsheet. Line ends may be
CRLF, ids may trail spaces, names may end in the suffix of files that are not there, paths may be
those of somebody else's computer, or lead out of the data set's folder. What is harmless is read;
what is not is refused with file and line. JSON is decoded entry by entry, so that an error in the
five-thousandth can say where it is.
"""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

from soundspot.errors import DataError

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
SOUNDS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac")
VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".3gp", ".ts")
MEDIA_SUFFIXES = frozenset((*PICTURES, *SOUNDS, *VIDEOS, ".xml", ".npy"))
"""Taken off the names in lists: a list may say `.png` where the files are `.jpg`."""

MAX_ID_BYTES = 200
"""File systems allow 255 bytes a name; the rest is left for a suffix such as `.overlay.png`."""
UNSAFE_IN_FILE_NAMES = frozenset('<>:"/\\|?*')

T = TypeVar("T")

_SPACE = re.compile(r"[ \t\r\n]*")
_DRIVE = re.compile(r"[A-Za-z]:")


class Place(NamedTuple):
    """Where something stands, for messages."""

    file: Path
    spot: str

    def __str__(self) -> str:
        return f"{self.file}, {self.spot}"


class Row(NamedTuple):
    """One line of a list, cut at its commas."""

    place: Place
    cells: tuple[str, ...]


class Entry(NamedTuple):
    """One element of a JSON list, or one pair of a JSON object."""

    place: Place
    value: Any
    key: str = ""


class Ids:
    """Who has which id; `fold` also keeps ids apart that differ only in case.

    macOS and Windows take `Cat.png` and `cat.png` for one file.
    """

    def __init__(self, *, fold: bool = False):
        self._fold = fold
        self._first: dict[str, tuple[str, str]] = {}

    def taken(self, identity: str, spot: str) -> str | None:
        """Note an id; or say why it cannot be had."""
        key = unicodedata.normalize("NFC", identity).casefold() if self._fold else identity
        first, holder = self._first.setdefault(key, (spot, identity))
        if first == spot:
            return None
        if holder == identity:
            return f"the id {identity!r} was taken by {first}; give every line its own"
        return (
            f"the id {identity!r} differs from {holder!r} of {first} only in case, and would be "
            "the same file on some systems; rename one"
        )

    def take(self, identity: str, place: Place) -> str:
        """Note an id.

        Raises:
            DataError: another line has it; both are named.
        """
        reason = self.taken(identity, place.spot)
        if reason is not None:
            raise DataError(f"{place}: {reason}")
        return identity

    def __len__(self) -> int:
        return len(self._first)


# --- files -----------------------------------------------------------------------------------


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the lines of a .txt or .csv list; blank ones are passed over, cells are stripped.

    Raises:
        DataError: the file cannot be read, or a line is no text or no CSV.
    """
    try:
        with path.open("rb") as file:
            reader = csv.reader(_text_lines(file, path), strict=True)
            while True:
                try:
                    cells = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    place = Place(path, f"line {reader.line_num}")
                    raise DataError(f"{place}: cannot be read as CSV ({error})") from error
                place = Place(path, f"line {reader.line_num}")
                if any("\n" in cell for cell in cells):
                    raise DataError(f"{place}: a quoted cell runs over several lines; close it")
                if any(cell.strip() for cell in cells):
                    yield Row(place, tuple(cell.strip() for cell in cells))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def _text_lines(lines: Iterator[bytes], path: Path) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}, line {number}: is not UTF-8 text") from error
        if "\0" in text:
            raise DataError(f"{path}, line {number}: holds a NUL byte; it is no text")
        yield text


def read_entries(path: Path) -> Iterator[Entry]:
    """Yield the elements of a JSON list, or the pairs of a JSON object, each with its place.

    Raises:
        DataError: the file cannot be read, is neither, is broken, or a key stands twice.
    """
    text = _whole_text(path)
    at = _skip(text, 0)
    opening = text[at : at + 1]
    if opening not in ("[", "{"):
        raise DataError(f"{path}, line 1: must be a JSON list [...] or object {{...}}")
    closing = "]" if opening == "[" else "}"
    keys = Ids()
    counted, line, number = 0, 1, 0
    at = _skip(text, at + 1)
    while text[at : at + 1] != closing:
        line, counted = line + text.count("\n", counted, at), at
        place = Place(path, f"line {line}, entry {number + 1}")
        key = ""
        if opening == "{":
            key, at = _decode(text, at, place)
            if not isinstance(key, str) or text[at : at + 1] != ":":
                raise DataError(f'{place}: must be a pair "key": value')
            keys.take(key, place)
            at = _skip(text, at + 1)
        value, at = _decode(text, at, place)
        yield Entry(place, value, key)
        number += 1
        at = _comma(text, at, closing, place)
    if _skip(text, at + 1) != len(text):
        raise DataError(f"{path}: goes on after its closing {closing}; it holds two documents")


def _comma(text: str, at: int, closing: str, place: Place) -> int:
    """Pass the comma after an entry; stay at the closing bracket."""
    if text[at : at + 1] == ",":
        after = _skip(text, at + 1)
        if text[after : after + 1] != closing:
            return after
    elif text[at : at + 1] == closing:
        return at
    raise DataError(f"{place}: is not followed by a comma and an entry, nor by {closing}")


def _decode(text: str, at: int, place: Place) -> tuple[Any, int]:
    try:
        value, at = _DECODER.raw_decode(text, at)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: cannot be read as JSON ({error})") from error
    return value, _skip(text, at)


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return at if space is None else space.end()


def _whole_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}, line {line}: is not UTF-8 text") from error


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `json`: an object whose keys are all different.

    Raises:
        ValueError: a key stands twice.
    """
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [key for key, _ in pairs]
        raise ValueError(f"the key '{next(k for k in names if names.count(k) > 1)}' stands twice")
    return values


_DECODER = json.JSONDecoder(object_pairs_hook=unique_keys)


# --- what stands in them ---------------------------------------------------------------------


def field(value: Any, key: str, kind: type, place: Place) -> Any:
    """The value of a key in a JSON object, of the type expected.

    Raises:
        DataError: it is no object, the key is missing, or the value is of another type.
    """
    if not isinstance(value, dict):
        raise DataError(f"{place}: must be a JSON object {{...}}, not {shown(value)}")
    if key not in value:
        raise DataError(f"{place}: the key '{key}' is missing")
    return checked(value[key], kind, f"'{key}'", place)


def checked(value: Any, kind: type, what: str, place: Place) -> Any:
    """A JSON value, of the type expected.

    Raises:
        DataError: it is of another type.
    """
    if not isinstance(value, kind):
        raise DataError(f"{place}: {what} must be a {_KINDS[kind]}, not {shown(value)}")
    return value


LIST, TEXT = list, str
"""Types of JSON values, for classes that have an option called `list`."""
_KINDS: dict[type, str] = {str: "string", list: "list", dict: "JSON object"}


def or_broken(read: Callable[[], T], nothing: T) -> tuple[T, str | None]:
    """The truth of one sample; or nothing, and why it cannot be used.

    A list that breaks its format stops a run before it begins. What is wrong with the truth of one
    sample is that sample's failure alone (`Sample.broken`).
    """
    try:
        return read(), None
    except DataError as error:
        return nothing, str(error)


def listed_path(text: str, place: Place) -> PurePosixPath:
    """A relative path out of a list.

    Raises:
        DataError: it is absolute, leads out of its folder, or is no path.
    """
    name = text.strip().replace("\\", "/")
    path = PurePosixPath(name)
    outside = path.is_absolute() or ".." in path.parts or _DRIVE.match(name)
    if not name or not path.parts or outside or not name.isprintable():
        raise DataError(
            f"{place}: {shown(text)} does not stay in the data set's folder; lists hold ids, or "
            "paths relative to it"
        )
    return path


def listed_id(text: str, place: Place) -> str:
    """The id that an entry of a list names: the last part of its path, without a media suffix.

    Raises:
        DataError: the path leaves the data set, or the id is not safe as a file name.
    """
    identity = without_suffix(listed_path(text, place).name)
    if not is_safe(identity):
        raise DataError(f"{place}: the id {shown(identity)} {UNSAFE}")
    return identity


def without_suffix(name: str) -> str:
    """A file's name without its suffix, where that is one of media."""
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in MEDIA_SUFFIXES else name


UNSAFE = (
    "is not safe as a file name; use letters, digits, '-', '_' and inner '.', at most "
    f"{MAX_ID_BYTES} bytes"
)


def is_safe(identity: str) -> bool:
    """Whether an id can be a file's name: it leaves no folder and troubles no file system."""
    return bool(
        identity
        and identity[0] not in ". "
        and identity[-1] not in ". "
        and identity.isprintable()
        and UNSAFE_IN_FILE_NAMES.isdisjoint(identity)
        and len(identity.encode(errors="replace")) <= MAX_ID_BYTES
    )


def shown(value: object, width: int = 60) -> str:
    """A value as JSON, cut so that the message stays one line."""
    text = json.dumps(value)
    return text if len(text) <= width else text[: width - 3] + "..."
