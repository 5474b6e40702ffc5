"""Which box is which: the same thing keeps its number from frame to frame.

Boxes of one frame are assigned to the tracks alive so that the sum of their overlaps (IoU) is the
largest possible (the Hungarian method, Kuhn 1955, as SORT does: Bewley et al., ICIP 2016); pairs
that overlap less than `MIN_IOU` are no pairs. What then remains on both sides may be a thing that
moved by more than its size: it is assigned by the distance of centres, up to `MAX_DISTANCE` box
sizes. A box that still has no track opens one, with the next number. A track that no box continued
for `LIFETIME` seconds is over, and so are all of them at a cut.

Time is what the film's clock says, so that the same film at half the frame rate, or at a rate that
varies, keeps its tracks equally long. There is no motion model: boxes come from maps that are
smoothed over time already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from soundspot.streaming.moments import TrackedBox

if TYPE_CHECKING:
    from soundspot.maps import ScoredBox
    from soundspot.types import Box

MIN_IOU = 0.2
"""Least overlap of a box with the box that it continues."""
MAX_DISTANCE = 0.5
"""Of centres, in mean box sizes (the root of the area), where boxes do not overlap enough."""
LIFETIME = 1.0
"""Seconds that a track lives without a box."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Track:
    """A number, and where it was last seen and when."""

    id: int
    box: Box
    time: float


@dataclass(frozen=True)
class Tracks:
    """The tracks alive and the next number; `follow` gives the tracks after one more frame."""

    alive: tuple[Track, ...] = ()
    next: int = 1

    def follow(
        self, time: float, boxes: Sequence[ScoredBox], *, cut: bool = False
    ) -> tuple[Self, tuple[TrackedBox, ...]]:
        """Number the boxes of one frame.

        Args:
            time: of the frame, seconds.
            boxes: of the frame.
            cut: a new scene begins: nothing continues.

        Returns:
            The tracks from now on, and the boxes in their order with their ids.
        """
        alive = [] if cut else [t for t in self.alive if time - t.time <= LIFETIME]
        continued = assign([t.box for t in alive], [b.box for b in boxes])
        ids, new = [], self.next
        for place in range(len(boxes)):
            ids.append(alive[continued[place]].id if place in continued else new)
            new += place not in continued
        seen = tuple(Track(i, b.box, time) for i, b in zip(ids, boxes, strict=True))
        unseen = tuple(t for t in alive if t.id not in ids)
        numbered = tuple(TrackedBox(i, b.box, b.score) for i, b in zip(ids, boxes, strict=True))
        return type(self)(seen + unseen, new), numbered

    def json(self) -> dict[str, Any]:
        """Plain data from which `from_json` makes the same tracks."""
        alive = [{"id": t.id, "box": [*map(float, t.box)], "time": t.time} for t in self.alive]
        return {"next": self.next, "alive": alive}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The tracks that `json` described."""
        alive = (Track(t["id"], tuple(t["box"]), t["time"]) for t in data["alive"])
        return cls(tuple(alive), data["next"])


def assign(old: Sequence[Box], new: Sequence[Box]) -> dict[int, int]:
    """Pairs {place in new: place in old}: by overlap first, then by distance of centres."""
    if not old or not new:
        return {}
    a, b = np.asarray(new, np.float64), np.asarray(old, np.float64)
    pairs = _best(overlaps(a, b), MIN_IOU)
    rows = [i for i in range(len(a)) if i not in pairs]
    columns = [j for j in range(len(b)) if j not in pairs.values()]
    if rows and columns:
        near = _best(-distances(a[rows], b[columns]), -MAX_DISTANCE)
        pairs |= {rows[i]: columns[j] for i, j in near.items()}
    return pairs


def _best(gain: Matrix, least: float) -> dict[int, int]:
    """Rows to columns with the largest sum of gains; pairs below `least` are left out.

    A pair below `least` gains nothing in the sum, so it never takes a place from a true one.
    """
    rows, columns = linear_sum_assignment(np.where(gain >= least, gain - least + 1, 0.0), True)
    kept = zip(rows.tolist(), columns.tolist(), strict=True)
    return {i: j for i, j in kept if gain[i, j] >= least}


def overlaps(a: Matrix, b: Matrix) -> Matrix:
    """Intersection over union of each of n boxes with each of m: n m."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = (high - low).clip(0).prod(2)
    union: Matrix = (_area(a)[:, None] + _area(b)[None] - common).clip(np.finfo(float).tiny)
    ratio: Matrix = common / union
    return ratio


def distances(a: Matrix, b: Matrix) -> Matrix:
    """Of centres, in units of the two boxes' mean size: n m."""
    apart = (a[:, None, :2] + a[:, None, 2:] - b[None, :, :2] - b[None, :, 2:]) / 2
    size = (np.sqrt(_area(a))[:, None] + np.sqrt(_area(b))[None]) / 2
    away: Matrix = np.hypot(apart[..., 0], apart[..., 1]) / size.clip(np.finfo(float).tiny)
    return away


def _area(boxes: Matrix) -> Matrix:
    area: Matrix = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return area
