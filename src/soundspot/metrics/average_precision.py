"""Average precision: how pure the chosen stay while a falling threshold lets more in.

With thresholds at every distinct score, from the highest down, R the recall (true ones chosen / all
true ones) and P the precision (true ones chosen / all chosen):

    AP = sum_k (R_k - R_{k-1}) P_k

a step-wise sum, not trapezoids (those are too hopeful between points; Davis & Goadrich, ICML 2006).
Scores that tie are let in together. This is what scikit-learn's `average_precision_score` computes.

* Without envelope, each step has the precision it has.
* `envelope` (Everingham et al., Pascal VOC, IJCV 2010): each step has the best precision at this
  recall or a higher one.

A truth scores 1 on itself. A map that says nothing (constant) scores the truth's share of the
picture. Of pixels (`pixel_ap`), where the truth is above 0 counts as true; no threshold and no
scale comes in. The inverse question (the mask as truth and the truth as score), which one peer's
code asks, is `soundspot.metrics.several.piap_avgn`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from soundspot.metrics.overlap import Map, Truth
from soundspot.metrics.ranked import Ranked, rank


def pixel_ap(map: Map, truth: Truth, *, envelope: bool = False) -> float:
    """Average precision of one map's pixels.

    Raises:
        ValueError: the map holds NaN, or the truth is empty or has another shape.
    """
    return rank(map, truth).pixel_ap(envelope=envelope)


def average_precision(scores: ArrayLike, truths: ArrayLike, *, envelope: bool = False) -> float:
    """Average precision of any scored things, each true or not; NaN where none is true."""
    values = np.asarray(scores, dtype=np.float64).reshape(-1)
    true = np.asarray(truths, dtype=np.bool_).reshape(-1)
    if values.shape != true.shape or np.isnan(values).any():
        raise ValueError("average precision needs as many truths as scores, and no NaN")
    if not true.any():
        return float("nan")
    ranked = Ranked((0.0, 1.0), (np.sort(values[~true]), np.sort(values[true])))
    return ranked.pixel_ap(envelope=envelope)
