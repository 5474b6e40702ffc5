"""Is the model surer where something visible sounds, and as sure as it is right?

AUROC = P(a positive is above a negative) + P(they tie) / 2, over all pairs. 0.5 is deaf, 1 is
perfect. No threshold and no scale comes in. With weights, a sample of weight w counts as w copies.

Expected calibration error (Naeini et al., AAAI 2015) takes confidences for probabilities: the mean
distance of what is said and what is so, over `BINS` bins of equal width. Positives and negatives
weigh the same together, however many there are of each: 0 is honest, 0.5 is sure and always wrong
about one side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

BINS = 10
"""Of the expected calibration error."""


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


def calibration_error(positives: ArrayLike, negatives: ArrayLike) -> float:
    """Expected calibration error; NaN where one side is missing or a number is no probability.

    Raises:
        ValueError: a confidence is NaN.
    """
    above, below = _scores(positives), _scores(negatives)
    said = np.concatenate((above, below))
    if not (above.size and below.size and said.min() >= 0 and said.max() <= 1):
        return float("nan")
    truth = np.concatenate((np.ones(above.size), np.zeros(below.size)))
    weight = np.where(truth == 1, 0.5 / above.size, 0.5 / below.size)
    gaps = np.zeros(BINS)
    np.add.at(gaps, np.minimum((said * BINS).astype(int), BINS - 1), weight * (said - truth))
    return float(np.abs(gaps).sum())


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
