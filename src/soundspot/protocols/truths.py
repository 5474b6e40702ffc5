"""From boxes and drawn masks to the truth in the judged frame, as the field does it.

A box is fractions (0..1); times the frame's sides, all four numbers are cut to whole pixels with
`int()`, right and bottom exclusive, and clipped to the frame. (A box thinner than a pixel vanishes;
numbers within a millionth of a pixel of a whole one are that whole one.)

Several annotators: g = min(boxes that hold the pixel / 2, 1), *boxes, not people*, so that two
boxes of one person reach consensus; that is what every peer's code does. `people` counts people (as
`soundspot.metrics.consensus_map`). Boxes without annotators are united.

The peers' frame is 224 x 224 pixels. `whole`: the whole picture, squashed. `centre`: the picture's
shorter side becomes 224 and the central square is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from soundspot.metrics.overlap import AGREEMENT, PIXEL_SLACK, Truth
from soundspot.types import Box

SIDE = 224
"""Pixels of the peers' frame."""


class Frame(NamedTuple):
    """The picture scaled to `height` x `width`, of which `SIDE` x `SIDE` pixels are kept.

    The first kept are row `top` and column `left`.
    """

    height: int
    width: int
    top: int
    left: int


WHOLE = Frame(SIDE, SIDE, 0, 0)


def centre(height: int, width: int) -> Frame:
    """The frame of a centre crop, rounded as torchvision's `Resize` and `CenterCrop` do."""
    short = min(height, width)
    tall, wide = int(SIDE * height / short), int(SIDE * width / short)
    return Frame(tall, wide, round((tall - SIDE) / 2), round((wide - SIDE) / 2))


def united(boxes: Sequence[Box], frame: Frame) -> NDArray[np.bool_]:
    """Whether each pixel of the frame lies in any box."""
    mask = np.zeros((SIDE, SIDE), dtype=np.bool_)
    for box in boxes:
        x0, y0, x1, y1 = _pixels(box, frame)
        mask[y0:y1, x0:x1] = True
    return mask


def consensus(people: Sequence[Sequence[Box]], frame: Frame) -> NDArray[np.float64]:
    """min(people who hold the pixel / 2, 1); to count boxes, pass each as a person."""
    held = np.zeros((SIDE, SIDE), dtype=np.float64)
    for boxes in people:
        held += united(boxes, frame)
    return np.minimum(held / AGREEMENT, 1)


def drawn(mask: NDArray[np.bool_], frame: Frame) -> NDArray[np.bool_]:
    """A drawn mask in the frame: each pixel is the one under its centre."""
    rows = _under(mask.shape[0], frame.height, frame.top)
    columns = _under(mask.shape[1], frame.width, frame.left)
    return np.ascontiguousarray(mask[rows[:, None], columns])


def is_empty(truth: Truth) -> bool:
    """Whether there is nothing to find."""
    return not truth.any()


def _pixels(box: Box, frame: Frame) -> tuple[int, int, int, int]:
    sides = np.array((frame.width, frame.height, frame.width, frame.height))
    corner = np.array((frame.left, frame.top, frame.left, frame.top))
    scaled = np.floor(np.clip(box, 0, 1) * sides + PIXEL_SLACK).astype(int)
    x0, y0, x1, y1 = np.clip(scaled - corner, 0, SIDE).tolist()
    return x0, y0, x1, y1


def _under(old: int, new: int, start: int) -> NDArray[np.intp]:
    at = np.arange(start, start + SIDE)
    return ((at + 0.5) * old / new).astype(np.intp)
