"""Interactive localization: does the map follow the sound from one thing to another?

Senocak et al. (IS3; ICCV 2023 and arXiv 2407.13676): a picture holds several things that sound, and
each of its sounds asks where. A picture counts only when *every* sound of it is localized:

    IIoU of a picture = the lowest IoU (or cIoU) of its sounds
    share             = pictures whose IIoU is at or above 0.5
    AUC               = area under that share over thresholds 0, .05 .. 1 (as `overlap.auc`)

A map that ignores the sound finds one thing at most and scores near 0. Each sample is one sound;
its `picture` names the picture (any hashable name), and a picture may have any number of sounds.
IoU may be any of this package's, under any rule (the authors use the middle value and the adaptive
rule).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from soundspot.metrics.overlap import auc, share_at

Name = TypeVar("Name", bound=Hashable)


def iiou_of_each(scores: ArrayLike, pictures: Sequence[Name]) -> dict[Name, float]:
    """Each picture's lowest score, in the order in which pictures first come.

    Raises:
        ValueError: a score is NaN, or there are not as many names as scores.
    """
    values = np.asarray(scores, dtype=np.float64).reshape(-1)
    if values.size != len(pictures) or np.isnan(values).any():
        raise ValueError(
            f"{values.size} scores (none may be NaN) for {len(pictures)} names of pictures"
        )
    lowest: dict[Name, float] = {}
    for value, picture in zip(values.tolist(), pictures, strict=True):
        lowest[picture] = min(value, lowest.get(picture, value))
    return lowest


def iiou_share(scores: ArrayLike, pictures: Sequence[Hashable], threshold: float = 0.5) -> float:
    """Share of pictures all of whose sounds score at or above the threshold; NaN of none."""
    return share_at(list(iiou_of_each(scores, pictures).values()), threshold)


def iiou_auc(scores: ArrayLike, pictures: Sequence[Hashable]) -> float:
    """Area under the share of pictures over thresholds 0, .05 .. 1; NaN of none."""
    return auc(list(iiou_of_each(scores, pictures).values()))
