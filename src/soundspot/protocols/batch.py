"""Shots judged together, and what several protocols share: views, truths and sorted pixels.

A *unit* is what gets one map: the sample, or each of its `sources`. A *view* is a unit's map in a
protocol's frame, through its interpolation. Views, truths and ranked pixels (one sort answers every
threshold: `soundspot.metrics.ranked`) are computed once a batch, whoever asks first; a map that has
the frame's size already is the same view to all, and shares one sort.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from soundspot.maps import FloatMap, resize_map
from soundspot.metrics import consensus_map, truth_mask
from soundspot.metrics.overlap import Truth
from soundspot.metrics.ranked import Ranked, rank
from soundspot.protocols.protocol import Shot
from soundspot.protocols.resizing import Interpolation, resample, taps
from soundspot.protocols.truths import (
    SIDE,
    WHOLE,
    Frame,
    centre,
    consensus,
    drawn,
    is_empty,
    united,
)
from soundspot.types import Box

T = TypeVar("T")

SOUNDING = ("positive", "mixture")
"""Kinds of samples in which something visible sounds."""
JUDGED_SIDE = 1024
"""At their own size, pictures are judged with their longer side at most this many pixels."""


class View(NamedTuple):
    """How a protocol looks at maps: interpolation, and whether only at the central square."""

    interpolation: Interpolation
    cropped: bool = False


class Rule(NamedTuple):
    """How a protocol makes a truth: in which frame, whether it counts people instead of boxes."""

    cropped: bool = False
    people: bool = False


class Unit(NamedTuple):
    """One map of one shot, by their numbers."""

    shot: int
    map: int


class Batch:
    """Shots, and what protocols ask about them.

    Raises:
        ValueError: a shot's maps do not fit its sample, or one is not h w or not finite; the
            message names the sample.
    """

    def __init__(self, shots: Sequence[Shot]):
        self.shots = tuple(shots)
        self._maps = [tuple(_checked(shot)) for shot in self.shots]
        self._kept: dict[Hashable, Truth | None] = {}
        self._views: dict[Hashable, FloatMap] = {}
        self._ranked: dict[Hashable, Ranked] = {}
        self._made: dict[Hashable, object] = {}

    def __len__(self) -> int:
        return len(self.shots)

    def units(self, shot: int) -> list[Unit]:
        """The units of a shot in which something visible sounds and people said where; else none.

        A source without boxes or mask (a silent one) is no unit.
        """
        sample = self.shots[shot].sample
        if sample.kind not in SOUNDING:
            return []
        if sample.sources:
            spoken = [bool(source.boxes or source.mask) for source in sample.sources]
        else:
            spoken = [bool(sample.boxes or any(sample.annotators) or sample.mask)]
        return [Unit(shot, n) for n, is_there in enumerate(spoken) if is_there]

    def raw(self, unit: Unit) -> FloatMap:
        """The map as it was handed in."""
        return self._maps[unit.shot][unit.map]

    def view(self, unit: Unit, view: View) -> FloatMap:
        """The map in the peers' frame. Read only."""
        key = self._view_key(unit, view)
        if key not in self._views:
            self._views[key] = self._resampled(unit, view)
        return self._views[key]

    def truth(self, unit: Unit, rule: Rule = Rule()) -> Truth | None:  # noqa: B008
        """The truth in the peers' frame; None where it is empty there."""
        key = self._truth_key(unit, rule)
        if key not in self._kept:
            truth = self._truth(unit, rule)
            self._kept[key] = None if is_empty(truth) else truth
        return self._kept[key]

    def ranked(self, unit: Unit, view: View, rule: Rule | None) -> Ranked | None:
        """The view's pixels, sorted apart by truth; None of an empty truth. No rule: no truth."""
        truth = None if rule is None else self.truth(unit, rule)
        if rule is not None and truth is None:
            return None
        seen = self._view_key(unit, view)
        key = (seen, None if rule is None else self._truth_key(unit, rule))
        if key not in self._ranked:
            self._ranked[key] = rank(self.view(unit, view), truth)
        return self._ranked[key]

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, made once a batch; for protocols that share more than views."""
        if key not in self._made:
            self._made[key] = make()
        return cast("T", self._made[key])

    def own_size(self, shot: int) -> tuple[int, int]:
        """Height and width at which the picture itself is judged."""
        height, width = self.shots[shot].height, self.shots[shot].width
        scale = min(1.0, JUDGED_SIDE / max(height, width))
        return max(1, round(scale * height)), max(1, round(scale * width))

    def own_view(self, unit: Unit) -> FloatMap:
        """The map at the picture's own size, bilinear with half-pixel centres. Read only."""
        size = self.own_size(unit.shot)
        if self.raw(unit).shape == size:
            return self.raw(unit)
        key = ("own", unit)
        if key not in self._views:
            self._views[key] = resize_map(self.raw(unit), size)
        return self._views[key]

    def own_truth(self, unit: Unit) -> Truth | None:
        """Every pixel that a box touches, at the picture's own size; people are counted."""
        key = ("own", unit)
        if key not in self._kept:
            truth = self._own_truth(unit)
            self._kept[key] = None if is_empty(truth) else truth
        return self._kept[key]

    def own_ranked(self, unit: Unit) -> Ranked | None:
        """The pixels of `own_view`, sorted apart by `own_truth`; None of an empty truth."""
        truth = self.own_truth(unit)
        if truth is None:
            return None
        key = ("own", unit)
        if key not in self._ranked:
            self._ranked[key] = rank(self.own_view(unit), truth)
        return self._ranked[key]

    def _frame(self, shot: int, cropped: bool) -> Frame:
        return centre(self.shots[shot].height, self.shots[shot].width) if cropped else WHOLE

    def _view_key(self, unit: Unit, view: View) -> Hashable:
        frame = self._frame(unit.shot, view.cropped)
        if self.raw(unit).shape == (SIDE, SIDE) and frame == WHOLE:
            return unit
        return unit, view.interpolation, frame

    def _resampled(self, unit: Unit, view: View) -> FloatMap:
        values, frame = self.raw(unit), self._frame(unit.shot, view.cropped)
        if values.shape == (SIDE, SIDE) and frame == WHOLE:
            return values
        height, width = values.shape
        rows = taps(height, frame.height, view.interpolation, frame.top, SIDE)
        columns = taps(width, frame.width, view.interpolation, frame.left, SIDE)
        return resample(values, rows, columns)

    def _truth_key(self, unit: Unit, rule: Rule) -> Hashable:
        people = self.shots[unit.shot].sample.annotators
        differs = rule.people and (len(people) < 2 or any(len(boxes) > 1 for boxes in people))
        return unit, self._frame(unit.shot, rule.cropped), differs and any(people)

    def _truth(self, unit: Unit, rule: Rule) -> Truth:
        sample, frame = self.shots[unit.shot].sample, self._frame(unit.shot, rule.cropped)
        if not sample.sources and any(sample.annotators):
            return _agreed(sample.annotators, frame, rule.people)
        boxes, mask = self._boxes(unit), self._mask(unit)
        return united(boxes, frame) if mask is None else drawn(mask, frame)

    def _own_truth(self, unit: Unit) -> Truth:
        sample, (height, width) = self.shots[unit.shot].sample, self.own_size(unit.shot)
        if not sample.sources and any(sample.annotators):
            return consensus_map(sample.annotators, height, width)
        mask = self._mask(unit)
        if mask is None:
            return truth_mask(self._boxes(unit), height, width)
        rows, columns = (np.arange(n) for n in (height, width))
        rows = (rows * 2 + 1) * mask.shape[0] // (2 * height)
        columns = (columns * 2 + 1) * mask.shape[1] // (2 * width)
        return np.ascontiguousarray(mask[rows[:, None], columns])

    def _boxes(self, unit: Unit) -> tuple[Box, ...]:
        sample = self.shots[unit.shot].sample
        return sample.sources[unit.map].boxes if sample.sources else sample.boxes

    def _mask(self, unit: Unit) -> NDArray[np.bool_] | None:
        """What people drew, where they drew pixels."""
        sample = self.shots[unit.shot].sample
        path = sample.sources[unit.map].mask if sample.sources else sample.mask
        if path is None:
            return None
        from soundspot.data.media import mask_of  # films need PyAV, which most batches do not

        return mask_of(path)


def _agreed(people: Sequence[Sequence[Box]], frame: Frame, count_people: bool) -> Truth:
    if not count_people:
        return consensus([[box] for boxes in people for box in boxes], frame)
    if len(people) == 1:
        return united(people[0], frame)
    return consensus(people, frame)


def _checked(shot: Shot) -> list[FloatMap]:
    """The shot's maps as single precision."""
    name, wanted = repr(shot.sample.id), max(1, len(shot.sample.sources))
    if len(shot.maps) != wanted:
        raise ValueError(
            f"sample {name} needs {wanted} map(s), one a source; it has {len(shot.maps)}"
        )
    if min(shot.height, shot.width) < 1:
        raise ValueError(f"sample {name}: its picture is {shot.width} x {shot.height} pixels")
    said = (*shot.confidences, *(v for v in (shot.cut, shot.visible) if v is not None))
    if len(shot.confidences) not in (0, wanted) or any(value != value for value in said):
        raise ValueError(f"sample {name} needs a confidence a map, and no NaN for it or the cuts")
    maps = []
    for values in shot.maps:
        if values.ndim != 2 or not values.size:
            raise ValueError(f"sample {name}: a map is h w and not empty, not of {values.shape}")
        single = np.ascontiguousarray(values, dtype=np.float32)
        if not np.isfinite(single).all():
            raise ValueError(f"sample {name}: its map holds NaN or infinity")
        maps.append(single)
    return maps
