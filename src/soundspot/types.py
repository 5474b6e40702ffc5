"""Shapes, units and frames of reference, said once.

| name | shape | meaning |
|---|---|---|
| `Images` | b 3 H W | RGB in [0, 1], row 0 at the top |
| `Sounds` | b samples | mono waveforms in [-1, 1] at the model's sample rate |
| `Similarities` | b | one number a pair, higher = belongs together; no fixed scale |
| `Maps` | b h w | raw evidence at the method's own resolution, over the whole picture |
| `Box` | x0 y0 x1 y1 | left, top, right, bottom; right and bottom exclusive |

Boxes are in pixels of the original picture in results, and in fractions of its width and
height (0..1) in manifests and `Sample`; each place says which.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

    Images: TypeAlias = Tensor
    Sounds: TypeAlias = Tensor
    Similarities: TypeAlias = Tensor
    Maps: TypeAlias = Tensor

Box: TypeAlias = tuple[float, float, float, float]
Kind: TypeAlias = Literal["positive", "silence", "noise", "offscreen", "mixture"]


@dataclass(frozen=True)
class Source:
    """One of several things that sound in a picture; boxes in fractions (0..1).

    `mask`, where people drew pixels: a grey picture file, not black where the source is.
    `image`, where each source was filmed apart: its own picture; the sample's picture is then all
    of them side by side, in their order, and the boxes are fractions of that.
    """

    boxes: tuple[Box, ...]
    group: str | None = None
    sound: Path | None = None
    mask: Path | None = None
    image: Path | None = None


@dataclass(frozen=True)
class Sample:
    """One picture with one sound, and where people say the sound comes from.

    Args:
        id: unique within its data set; becomes a file name in results.
        image: the picture's file.
        sound: the sound's file.
        boxes: true boxes, xyxy in fractions of width and height (0..1); empty for negatives.
        group: what kind of thing sounds; for reports only, never read by training.
        kind: "positive", or why nothing visible sounds.
        annotators: one tuple of boxes a person, where several people drew.
        sources: several sources with their own boxes and clean sounds.
        ambiguous: another thing in the picture may make this sound too.
        mask: where people drew pixels and no boxes: a grey picture file, not black where the
            source is; a file that is all black says that nothing visible sounds.
        video: the film that picture and sound come from; `image` and `sound` then name it too.
        time: seconds from the film's start at which the picture is taken; None: its middle.
        broken: why what people said of it cannot be used: whoever judges it fails. (No part of the
            `repr`, by which a half-done evaluation knows its samples.)
    """

    id: str
    image: Path
    sound: Path
    boxes: tuple[Box, ...] = ()
    group: str | None = None
    kind: Kind = "positive"
    annotators: tuple[tuple[Box, ...], ...] = ()
    sources: tuple[Source, ...] = ()
    ambiguous: bool = False
    mask: Path | None = None
    video: Path | None = None
    time: float | None = None
    broken: str | None = field(default=None, repr=False)
