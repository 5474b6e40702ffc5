"""Masks drawn pixel by pixel: the scores of AVSBench (Zhou et al., ECCV 2022).

The map is logits; the mask is sigmoid(map) > 0.5 (`sounding`).

    mIoU = mean over frames of |P and G| / |P or G|
    F(t) = 1.3 p(t) r(t) / (0.3 p(t) + r(t))         beta^2 = 0.3; 0 where p = r = 0
    F    = max over t of the mean over frames of F(t), t = 0, 1/254 .. 1, P(t): sigmoid(map) >= t

p and r are precision and recall of one frame's pixels. A frame whose truth is empty (nothing
sounds) is scored on the background in mIoU: the share of the picture that the mask leaves free. In
F it is left out.

The authors take the maximum of each mini-batch and average those, so that F grows as the batch
shrinks, and a batch without any truth counts 0 (`max_f_in_batches`, batches of five frames of one
video as they run it). `max_f` takes one maximum over the whole data set. Their mIoU adds 1e-7 to
the denominator and stops just short of 1; here a truth scores 1 on itself. Their last threshold,
1 - 1e-10, is 1 in single precision.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from soundspot.metrics.overlap import Map, Mask, check_map, iou
from soundspot.metrics.ranked import F_THRESHOLDS, Scores, rank, sigmoid

HALF = 0.5
"""Probability above which a pixel sounds."""


def sounding(map: Map) -> Mask:
    """The pixels of a map of logits whose probability is above a half."""
    check_map(map)
    chosen: Mask = sigmoid(map) > HALF
    return chosen


def mask_iou(predicted: Mask, truth: Mask) -> float:
    """IoU of two masks; of an empty truth the share of the picture that is left free."""
    if truth.dtype != np.bool_ or predicted.dtype != np.bool_:
        raise ValueError("mask_iou needs masks of True and False")
    if truth.shape != predicted.shape or not truth.size:
        raise ValueError(f"the truth has shape {truth.shape}, the mask {predicted.shape}")
    if not truth.any():
        return float(np.mean(~predicted))
    return iou(predicted, truth)


def f_curve(probabilities: Map, truth: Mask) -> Scores:
    """F of one frame at each of the 255 thresholds; all NaN where the truth is empty.

    Raises:
        ValueError: the map leaves 0..1, holds NaN, or has another shape than the truth.
    """
    if truth.dtype == np.bool_ and truth.shape == probabilities.shape and not truth.any():
        check_map(probabilities)
        return np.full(F_THRESHOLDS.size, np.nan)
    return rank(probabilities, truth).f_curve()


def max_f(curves: ArrayLike) -> float:
    """F over the whole set: maximum of the mean curve; NaN where every truth is empty.

    Args:
        curves: frames x 255; a row of NaN is left out.
    """
    table = np.asarray(curves, dtype=np.float64).reshape(-1, F_THRESHOLDS.size)
    kept = table[~np.isnan(table).any(axis=1)]
    return float(np.max(np.mean(kept, axis=0))) if kept.size else float("nan")


def max_f_in_batches(batches: Sequence[ArrayLike]) -> float:
    """The authors' F: mean over batches of each batch's own maximum; NaN of no batches."""
    peaks = [0.0 if np.isnan(peak) else peak for peak in map(max_f, batches)]
    return float(np.mean(peaks)) if peaks else float("nan")
