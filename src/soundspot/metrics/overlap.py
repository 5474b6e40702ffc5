"""Overlap of a map's bright part with the truth: IoU, consensus IoU, and their summaries.

From boxes to pixels. A box is fractions (0..1) of width and height; times the size it is a
rectangle in pixels, and it covers

* `touched` (ours): every pixel it touches: floor of left and top, ceiling of right and bottom,
  so that no box is ever empty;
* `truncated` (the field's): `int()` of all four numbers, right and bottom exclusive. This rule
  gives the published numbers of Flickr-SoundNet and VGG-SS; a box thinner than a pixel vanishes.

From a map to a mask. Two rules, named because they answer different questions:

* `top_half`: the pixels at or above the map's middle value, which is the element at N // 2 of
  its sorted values, not an interpolated median. The field's rule. A small truth cannot be hit
  well, whatever the map, and a map whose lowest value fills half the picture is chosen whole.
* `as_many_as_truth`: exactly as many pixels as the truth has. The truth's size is given away, only
  its place is asked.

Consensus (Senocak et al., CVPR 2018). Several people draw; a pixel's truth is
min(people who hold it / 2, 1), and

    cIoU = sum(P * g) / (sum(g) + sum(P * [g == 0]))      P the mask in 0, 1; g the truth in 0..1

which is IoU where g is 0 or 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundspot.types import Box

Map: TypeAlias = NDArray[np.floating[Any]]
Mask: TypeAlias = NDArray[np.bool_]
Truth: TypeAlias = NDArray[np.bool_] | NDArray[np.floating[Any]]
Edges: TypeAlias = Literal["touched", "truncated"]

AGREEMENT = 2
"""This many people make a pixel fully true."""

AUC_THRESHOLDS = np.arange(21) / 20
"""0, 0.05 .. 1."""

PIXEL_SLACK = 1e-6
"""0.29 * 100 is 28.999999999999996: edges this close (in pixels) to a whole number are on it."""

GOLDEN = 0.6180339887498949
"""Fractional part of the golden ratio: multiples of it spread evenly over 0..1."""


def truth_mask(boxes: Sequence[Box], height: int, width: int, *, edges: Edges = "touched") -> Mask:
    """Whether each pixel lies in any box. Boxes are xyxy in fractions (0..1)."""
    mask = np.zeros((height, width), dtype=np.bool_)
    for box in boxes:
        if not all(0 <= v <= 1 for v in box):
            raise ValueError(f"box {box} is not in fractions of width and height (0..1)")
        x0, y0, x1, y1 = np.array(box, dtype=np.float64) * (width, height, width, height)
        if edges == "touched":
            x0, y0 = np.floor((x0 + PIXEL_SLACK, y0 + PIXEL_SLACK))
            x1, y1 = np.ceil((x1 - PIXEL_SLACK, y1 - PIXEL_SLACK))
        mask[int(y0) : int(y1), int(x0) : int(x1)] = True
    return mask


def consensus_map(
    annotators: Sequence[Sequence[Box]], height: int, width: int, *, edges: Edges = "touched"
) -> NDArray[np.float64]:
    """min(people who hold the pixel / 2, 1), each pixel. One tuple of boxes a person.

    People are counted, not boxes: two boxes of one person do not agree with each other. (The
    field's code counts boxes; to repeat it, pass each box as a person.) Someone alone has nobody
    to agree with: their boxes are the truth.
    """
    held = np.zeros((height, width), dtype=np.float64)
    for boxes in annotators:
        held += truth_mask(boxes, height, width, edges=edges)
    return np.minimum(held / max(min(AGREEMENT, len(annotators)), 1), 1)


def top_half(map: Map, *, strict: bool = False) -> Mask:
    """The pixels at or above the map's middle value (`strict`: above it).

    A constant map is all at its middle: everything is chosen (`strict`: nothing).
    """
    check_map(map)
    middle = np.partition(map.ravel(), map.size // 2)[map.size // 2]
    chosen: Mask = map > middle if strict else map >= middle
    return chosen


def as_many_as_truth(map: Map, truth: Truth) -> Mask:
    """Exactly as many pixels as the truth has above 0, the brightest first.

    Pixels that tie for the last places are taken in a fixed order that favours no region (the
    fractional parts of multiples of the golden ratio), so that a flat map gains nothing from
    where its ties happen to lie.
    """
    check_map(map)
    check_truth(truth, map.shape)
    wanted = int(np.count_nonzero(truth))
    flat = map.ravel()
    last = np.partition(flat, flat.size - wanted)[flat.size - wanted]
    chosen: Mask = flat > last
    ties = np.flatnonzero(flat == last)
    missing = wanted - int(np.count_nonzero(chosen))
    chosen[ties[np.argpartition((ties * GOLDEN) % 1, missing - 1)[:missing]]] = True
    return chosen.reshape(map.shape)


def iou(predicted: Mask, truth: Mask) -> float:
    """Intersection over union of two masks. An empty prediction scores 0."""
    if truth.dtype != np.bool_:
        raise ValueError("iou needs a truth of True and False; use ciou for a consensus map")
    return ciou(predicted, truth)


def ciou(predicted: Mask, truth: Truth) -> float:
    """Consensus IoU of a mask with a truth in 0..1. An empty prediction scores 0."""
    if predicted.dtype != np.bool_:
        raise ValueError("the prediction must be a mask; cut the map with a threshold rule first")
    check_truth(truth, predicted.shape)
    inside = np.sum(truth[predicted], dtype=np.float64)
    outside = np.count_nonzero(predicted & (truth == 0))
    return float(inside / (np.sum(truth, dtype=np.float64) + outside))


def share_at(scores: ArrayLike, threshold: float = 0.5) -> float:
    """Share of samples that score at or above the threshold; NaN of no samples."""
    values = _scores(scores)
    return float(np.mean(values >= threshold)) if values.size else float("nan")


def auc(scores: ArrayLike) -> float:
    """Area under share(threshold), thresholds 0, .05 .. 1, by trapezoids; NaN of no samples.

    All samples at 1 give 1, all at 0 give 0.025: at threshold 0 nothing fails.
    """
    values = auc_of_each(scores)
    return float(np.mean(values)) if values.size else float("nan")


def auc_of_each(scores: ArrayLike) -> NDArray[np.float64]:
    """Each sample's part of `auc`, which is their mean (trapezoids are linear in the shares)."""
    passed = _scores(scores)[:, None] >= AUC_THRESHOLDS
    return np.asarray(np.trapezoid(passed.astype(np.float64), AUC_THRESHOLDS, axis=1))


def check_map(map: Map) -> None:
    """Raise ValueError unless the map is h w and finite."""
    if map.ndim != 2 or not map.size:
        raise ValueError(f"a map is h w and not empty; this one has shape {map.shape}")
    if not np.isfinite(map).all():
        raise ValueError("the map holds NaN or infinity")


def check_truth(truth: Truth, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless the truth has this shape, values in 0..1, and something in it."""
    if truth.shape != shape:
        raise ValueError(f"the truth has shape {truth.shape}, the map {shape}; resize the map")
    if truth.dtype != np.bool_ and not ((truth >= 0) & (truth <= 1)).all():
        raise ValueError("the truth must be in 0..1")
    if not truth.any():
        raise ValueError("the truth is empty; there is nothing to find")


def _scores(scores: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(scores, dtype=np.float64).reshape(-1)
    if np.isnan(values).any():
        raise ValueError("scores hold NaN")
    return values
