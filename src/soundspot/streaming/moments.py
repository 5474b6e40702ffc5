"""What is known about one frame of a film, and what is needed to go on behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soundspot.result import Result
    from soundspot.types import Box


@dataclass(frozen=True)
class TrackedBox:
    """A box that keeps its number as long as the same thing sounds.

    Args:
        id: from 1, in the order of appearance; never given to anything else.
        box: xyxy in pixels of the frame.
        score: 0 to 1, as the result's box has it.
    """

    id: int
    box: Box
    score: float


@dataclass(frozen=True, eq=False)
class Moment:
    """The answer about one frame.

    Args:
        time: of the frame, seconds from the film's time 0.
        index: running number of the judged frame, from 0; repeated frames carry that of the
            frame whose answer they repeat.
        result: picture, map (raw evidence, smoothed over time), boxes, confidence, visible.
        tracks: the result's boxes, in their order, with ids.
        repeated: the frame was not judged itself (`every`); map, boxes and confidence are those
            of the last judged one, the picture is its own.
        state: plain data (JSON); `stream(..., resume=state)` goes on with the frame after this.
    """

    time: float
    index: int
    result: Result
    tracks: tuple[TrackedBox, ...]
    repeated: bool
    state: dict[str, Any] = field(repr=False)
