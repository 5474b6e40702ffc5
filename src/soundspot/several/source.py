"""The answer about one of several sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from soundspot.media.image import write_picture
from soundspot.render_sources import Layer, overlay_sources, own_range

if TYPE_CHECKING:
    from soundspot.result import Result
    from soundspot.separating import Separated


@dataclass(frozen=True, repr=False, eq=False)
class SourceResult:
    """Where one of several sources is, and what it sounds like.

    Args:
        number: 1 for the surest, and so on.
        result: its map, boxes, confidence and visible.
        approach: the name of the approach that told it apart.
        sound: what it sounds like, where that was asked for and the approach separates.
        voice: its sound in the model's space, where the approach tells.
    """

    number: int
    result: Result
    approach: str
    sound: Separated | None = None
    voice: NDArray[np.float32] | None = None

    def json(self) -> dict[str, Any]:
        """The answer as plain data; the keys are documented in `docs/formats.md`."""
        share = {} if self.sound is None else {"sound_share": round(self.sound.share, 4)}
        return {"source": self.number, "approach": self.approach, **self.result.json(), **share}

    def __str__(self) -> str:
        """One line for people."""
        return f"{self.number}: {self.result}"

    __repr__ = __str__


def draw(picture: NDArray[np.uint8], sources: Sequence[SourceResult]) -> NDArray[np.uint8]:
    """The picture with every visible source in a colour of its own, uint8, and words below it."""
    layers = [
        Layer(one.number, own_range(one.result.map), one.result.boxes, one.result.confidence)
        for one in sources
        if one.result.visible
    ]
    unseen = [one.number for one in sources if not one.result.visible]
    calibrated = all(one.result.calibrated for one in sources)
    return overlay_sources(picture, layers, unseen, calibrated=calibrated)


def save(path: str | Path, picture: NDArray[np.uint8], sources: Sequence[SourceResult]) -> None:
    """Write what `draw` gives (.png, .jpg, .webp).

    Raises:
        MediaError: the file cannot be written.
    """
    write_picture(path, draw(picture, sources))
