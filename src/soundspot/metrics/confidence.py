"""Is the model surer where something visible sounds? AUROC of its confidence.

AUROC = P(a positive is above a negative) + P(they tie) / 2, over all pairs. 0.5 is deaf, 1 is
perfect. No threshold and no scale comes in. With weights, a sample of weight w counts as w copies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def auroc(
    positives: ArrayLike,
    negatives: ArrayLike,
    positive_weights: ArrayLike | None = None,
    negative_weights: ArrayLike | None = None,
) -> float:
    """Area under the receiver operating characteristic; NaN where one side is missing.

    Raises:
        ValueError: a score is NaN, or the weights do not match.
    """
    above, below = _scores(positives), _scores(negatives)
    w_above = _weights(positive_weights, above.size)
    w_below = _weights(negative_weights, below.size)
    pairs = w_above.sum() * w_below.sum()
    if pairs == 0:
        return float("nan")
    order = np.argsort(below, kind="stable")
    mass = np.concatenate([[0.0], np.cumsum(w_below[order])])  # of the k lowest negatives
    beaten = mass[np.searchsorted(below[order], above, side="left")]
    beaten_or_tied = mass[np.searchsorted(below[order], above, side="right")]
    return float(np.sum(w_above * (beaten + beaten_or_tied)) / 2 / pairs)


def _scores(values: ArrayLike) -> NDArray[np.float64]:
    scores = np.asarray(values, dtype=np.float64).reshape(-1)
    if np.isnan(scores).any():
        raise ValueError("a confidence is NaN")
    return scores


def _weights(values: ArrayLike | None, size: int) -> NDArray[np.float64]:
    if values is None:
        return np.ones(size)
    weights = np.asarray(values, dtype=np.float64).reshape(-1)
    if weights.size != size or not (weights >= 0).all():
        raise ValueError(f"weights must be {size} numbers, none negative or NaN")
    return weights
