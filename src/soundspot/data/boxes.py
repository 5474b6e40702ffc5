"""Boxes as data sets store them, into fractions of the annotated frame, nothing lost on the way.

Every published score of this field cuts boxes to whole pixels of a 224 x 224 frame by `int()`.
One part in 10^16 lost in a division would move an edge by a pixel, so:

- v / 256 is exact in binary, and `int(224 * (v / 256))` is `int(224 * v / 256)`;
- v / 224 is not, so `pixel_fraction` gives the smallest float f >= v / 224 with
  `int(224 * f) == v`.

A box that sticks out to the left or above is clipped; one without area is dropped; both are
counted. One that sticks out to the right or below by more than `TOLERANCE` is in other units, or
of another picture: an error.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from xml.parsers import expat

from soundspot.data.lists import Place, shown
from soundspot.errors import DataError
from soundspot.types import Box

if TYPE_CHECKING:
    from pathlib import Path

    from soundspot.data.check import Notes

TOLERANCE = 0.01
"""Fractions of a side."""
MAX_XML_BYTES = 1 << 20
XML_NAMES = ("xmin", "ymin", "xmax", "ymax")
CLIPPED = "boxes clipped at the picture's edge"
DROPPED = "boxes without area, dropped"


def pixel_fraction(value: float, side: int) -> float:
    """Pixel coordinate `value` of a frame `side` pixels wide, such that `int()` gives it back."""
    fraction = value / side
    while int(side * fraction) < int(value):
        fraction = math.nextafter(fraction, math.inf)
    return fraction


def box_from_pixels(values: Any, side: int, notes: Notes, place: Place) -> Box | None:
    """Corners x0 y0 x1 y1 in pixels of a square frame; None where it has no area."""
    corners = _four(values, place)
    return _usable([pixel_fraction(v, side) for v in corners], values, notes, place)


def box_from_fractions(values: Any, notes: Notes, place: Place) -> Box | None:
    """Corners x0 y0 x1 y1 in fractions; None where it has no area."""
    return _usable(_four(values, place), values, notes, place)


def box_from_corner_and_size(values: Any, notes: Notes, place: Place) -> Box | None:
    """Top left corner x y, then width and height, in fractions; None where it has no area."""
    x, y, width, height = _four(values, place)
    return _usable([x, y, x + width, y + height], values, notes, place)


def _usable(corners: list[float], values: Any, notes: Notes, place: Place) -> Box | None:
    if max(corners) > 1 + TOLERANCE:
        raise DataError(
            f"{place}: the box {shown(values)} lies outside its picture; check its units"
        )
    x0, y0, x1, y1 = (min(max(v, 0.0), 1.0) for v in corners)
    if [x0, y0, x1, y1] != corners:
        notes.count(CLIPPED, place)
    if x1 <= x0 or y1 <= y0:
        notes.count(DROPPED, place)
        return None
    return x0, y0, x1, y1


def _four(values: Any, place: Place) -> list[float]:
    numbers = isinstance(values, list | tuple) and all(
        isinstance(v, int | float) and not isinstance(v, bool) for v in values
    )
    if not numbers or len(values) != 4 or not all(map(_is_finite, values)):
        raise DataError(f"{place}: a box must be four finite numbers, not {shown(values)}")
    return [float(v) for v in values]


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def read_xml_boxes(path: Path) -> list[tuple[list[int], Place]]:
    """The `bbox` elements of one Flickr-SoundNet annotation, whole numbers on the 256 frame.

    Each holds `xmin`, `ymin`, `xmax`, `ymax`; or five children of any name, the first ignored.
    Document type declarations are refused: entities in them can expand to gigabytes.

    Raises:
        DataError: the file cannot be read, is not well-formed, or a box is incomplete.
        FileNotFoundError: there is no such file.
    """
    reader = _BoxReader(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    if len(data) > MAX_XML_BYTES:
        raise DataError(f"{path}: has {len(data):,} bytes; no annotation is that long")
    return reader.read(data)


class _BoxReader:
    """Collects the children of each `bbox` while expat walks through a file."""

    def __init__(self, path: Path):
        self.path = path
        self.found: list[tuple[list[int], Place]] = []
        self.children: list[tuple[str, str]] | None = None
        self.depth = 0
        self.parser = expat.ParserCreate()
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text

    def read(self, data: bytes) -> list[tuple[list[int], Place]]:
        try:
            self.parser.Parse(data, True)
        except expat.ExpatError as error:
            reason = expat.ErrorString(error.code)
            raise DataError(
                f"{self.path}, line {error.lineno}: cannot be read as XML ({reason})"
            ) from error
        except (ValueError, LookupError) as error:  # an encoding that Python does not know
            raise DataError(f"{self.path}, line 1: cannot be read as XML ({error})") from error
        return self.found

    @property
    def place(self) -> Place:
        return Place(self.path, f"line {self.parser.CurrentLineNumber}")

    def _doctype(self, *_: object) -> None:
        raise DataError(f"{self.place}: declares a document type; take the declaration out")

    def _start(self, name: str, _: dict[str, str]) -> None:
        if self.children is not None:
            self.depth += 1
            if self.depth == 1:
                self.children.append((name, ""))
        elif name == "bbox":
            self.children = []

    def _text(self, text: str) -> None:
        if self.children and self.depth == 1:
            name, before = self.children[-1]
            self.children[-1] = name, before + text

    def _end(self, _: str) -> None:
        if self.children is None:
            return
        if self.depth > 0:
            self.depth -= 1
            return
        self.found.append((self._numbers(dict(self.children), self.children), self.place))
        self.children = None

    def _numbers(self, named: dict[str, str], children: list[tuple[str, str]]) -> list[int]:
        texts = [named[name] for name in XML_NAMES if name in named]
        if len(texts) < 4 and len(children) == 5:
            texts = [text for _, text in children[1:]]
        try:
            numbers = [int(text) for text in texts]
        except ValueError as error:
            raise DataError(f"{self.place}: a bbox must hold whole numbers, not {texts}") from error
        if len(numbers) != 4:
            raise DataError(f"{self.place}: a bbox must hold {', '.join(XML_NAMES)}")
        return numbers
