"""The answer about one picture and one sound."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundspot.errors import MediaError
from soundspot.files import write_beside
from soundspot.maps import FloatMap, ScoredBox, picture_of_map
from soundspot.media.image import write_picture
from soundspot.render import UNCALIBRATED, overlay

ROUNDING = 4
"""Decimals of scores in the JSON."""


@dataclass(frozen=True, repr=False, eq=False)
class Result:
    """Where a sound comes from in a picture.

    Args:
        picture: uint8, H W 3, upright.
        map: raw evidence, float32, H W: the higher, the more likely the source; the scale is
            the method's own.
        boxes: xyxy in pixels of the picture with a score from 0 to 1, best first; none where
            nothing visible makes the sound.
        peak: (x, y), the pixel of the most evidence.
        confidence: 0 to 1 that a visible source is heard.
        visible: whether the confidence reaches the model's own threshold.
        method: the string that rebuilds the method.
        model: the model's name.
        calibrated: whether the confidence was calibrated on data; else it is a bare sigmoid.
        seconds: time spent on this pair, without reading files.
    """

    picture: NDArray[np.uint8] = field(repr=False)
    map: FloatMap = field(repr=False)
    boxes: list[ScoredBox]
    peak: tuple[int, int]
    confidence: float
    visible: bool
    method: str
    model: str
    calibrated: bool
    seconds: float

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture, in pixels."""
        height, width = self.picture.shape[:2]
        return width, height

    def json(self) -> dict[str, Any]:
        """The answer as plain data; the keys are stable and documented in `docs/formats.md`."""
        return {
            "visible": self.visible,
            "confidence": round(self.confidence, ROUNDING),
            "boxes": [
                {"box": list(map(int, b.box)), "score": round(b.score, ROUNDING)}
                for b in self.boxes
            ],
            "peak": list(self.peak),
            "size": list(self.size),
            "method": self.method,
            "model": self.model,
            "calibrated": self.calibrated,
            "seconds": round(self.seconds, ROUNDING),
        }

    def overlay(self) -> NDArray[np.uint8]:
        """The picture with map and boxes drawn in, uint8, W pixels wide.

        Its first H rows are the picture, pixel by pixel; below them is a strip with the answer in
        words, which very narrow pictures do without.
        """
        return overlay(
            self.picture,
            self.map,
            self.boxes,
            self.confidence,
            self.visible,
            calibrated=self.calibrated,
        )

    def save(self, path: str | Path) -> None:
        """Write the overlay as a picture (.png, .jpg, .webp).

        Raises:
            MediaError: the file cannot be written.
        """
        write_picture(path, self.overlay())

    def save_map(self, path: str | Path) -> None:
        """Write the map: .npy holds the raw float32 values, .png shows them in 16-bit grey.

        Raises:
            MediaError: another suffix, or the file cannot be written.
        """
        suffix = Path(path).suffix.lower()
        if suffix not in {".npy", ".png"}:
            raise MediaError(f"{path}: a map is written as .npy (raw values) or .png (grey)")
        with write_beside(path) as beside, beside.open("wb") as file:
            if suffix == ".npy":
                np.save(file, self.map)
            else:
                picture_of_map(self.map).save(file, format="PNG")

    def __str__(self) -> str:
        """One line for people."""
        sure = f"{self.confidence:.2f}"
        if not self.visible:
            bare = "" if self.calibrated else f", {UNCALIBRATED}"
            return f"no visible source (confidence {sure}{bare})"
        places = ", ".join(
            f"[{', '.join(str(int(v)) for v in b.box)}] ({b.score:.2f})" for b in self.boxes
        )
        x, y = self.peak
        bare = "" if self.calibrated else f" ({UNCALIBRATED})"
        return f"source at {places or f'({x}, {y})'}, confidence {sure}{bare}"

    __repr__ = __str__

    def _repr_png_(self) -> bytes:
        """A notebook shows this picture."""
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(self.overlay()).save(buffer, format="PNG")
        return buffer.getvalue()
