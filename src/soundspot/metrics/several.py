"""Several sources in one picture: one map a source, and who belongs to whom.

By class (Hu et al., NeurIPS 2020, DSOL): a map for each class. Over the classes that sound,

    class-aware cIoU = mean of cIoU(map > 0.2 max, truth); success from 0.3 (`overlap.share_at`)
    NSA              = mean over the *silent* classes of the share of pixels kept dark (<= 0.2)

The authors' 0.2 of NSA is absolute, on their maps; give your own for maps of another scale. They
cut synthetic pairs at 0.5 max and solos at 0.1 max.

CAP, class-aware average precision: mean of the pixel AP of each class's map (`cap`).

Without classes nobody says which map belongs to which truth:

* `piap`, permutation-invariant AP: the assignment with the highest mean pixel AP counts.
* `matched_ciou`: the same of cIoU, under any rule from map to mask.
* `noprior_matches` (Kim et al., CVPR 2024, NoPrior) to the letter: maps are cut strictly above the
  middle value; in their order each takes, of the truths not yet taken, the one of the highest cIoU,
  and its AP is that of the cut mask. A map that overlaps none of them goes to the first truth (AP 0
  if that is taken). Too few maps: zeros for the missing; too many: zeros for those left over; none
  at all: the picture is not counted.

In the corrected forms a truth without a map scores 0, maps left over score nothing, and a picture
always counts. The scores come one a truth; CAP, PIAP, shares and AUC are then taken over truths.

* `piap_avgn` (Mo & Tian, CVPR 2023, AVGN) to the letter: score and truth are swapped, so that the
  cut mask is taken for the truth and the truth (0, 0.5 or 1) for the score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from soundspot.metrics.average_precision import average_precision, pixel_ap
from soundspot.metrics.overlap import Map, Mask, Truth, check_truth, ciou, top_half
from soundspot.metrics.ranked import Scores
from soundspot.metrics.thresholds import fraction_of_maximum, min_max

DSOL_SUCCESS = 0.3
"""Class-aware cIoU from which a picture counts as solved."""

DSOL_DUET_FRACTION = 0.2
"""Of the highest value of a class's map."""

DARK = 0.2
"""A pixel of a silent class's map up to this value is dark."""

MOST_TRUTHS = 12
"""Assignments are searched among all subsets of truths: 4,096 at most."""


def class_aware_ciou(
    maps: Sequence[Map], truths: Sequence[Truth], fraction: float = DSOL_DUET_FRACTION
) -> float:
    """Mean cIoU over the classes that sound; the i-th map is the i-th truth's class."""
    _same_number(maps, truths)
    cut = [fraction_of_maximum(map, fraction) for map in maps]
    return float(np.mean([ciou(mask, truth) for mask, truth in zip(cut, truths, strict=True)]))


def nsa(silent_maps: Sequence[Map], threshold: float = DARK) -> float:
    """Mean share of pixels at or below the threshold, over the silent classes; NaN of none."""
    if any(not map.size or not np.isfinite(map).all() for map in silent_maps):
        raise ValueError("a map of a silent class is empty, or holds NaN or infinity")
    dark = [np.mean(map <= threshold) for map in silent_maps]
    return float(np.mean(dark)) if dark else float("nan")


def cap(maps: Sequence[Map | None], truths: Sequence[Truth]) -> float:
    """Mean pixel AP over classes; the i-th map is the i-th truth's class, None scores 0."""
    _same_number(maps, truths)
    pairs = zip(maps, truths, strict=True)
    return float(np.mean([0.0 if map is None else pixel_ap(map, truth) for map, truth in pairs]))


def piap(maps: Sequence[Map], truths: Sequence[Truth]) -> float:
    """Mean pixel AP over truths under the best assignment of maps; a truth without a map has 0."""
    return float(np.mean(_best(maps, truths, pixel_ap)))


def piap_avgn(mask: Mask, truth: Truth) -> float:
    """AVGN's: how well the truth's values rank the pixels of the mask; 0 of an empty mask."""
    if mask.dtype != np.bool_:
        raise ValueError("the prediction must be a mask; cut the map with a threshold rule first")
    check_truth(truth, mask.shape)
    return average_precision(truth, mask) if mask.any() else 0.0


def matched_ciou(
    maps: Sequence[Map], truths: Sequence[Truth], cut: Callable[[Map], Mask] = top_half
) -> Scores:
    """Each truth's cIoU under the assignment of maps with the highest sum; 0 where none is left."""
    return _best(maps, truths, lambda map, truth: ciou(cut(map), truth))


class NopriorMatches(NamedTuple):
    """One cIoU and one AP a map, in the maps' order, then zeros for missing maps."""

    ciou: tuple[float, ...]
    ap: tuple[float, ...]


def noprior_matches(maps: Sequence[Map], truths: Sequence[Truth]) -> NopriorMatches:
    """NoPrior's greedy matching; both empty where there is no map."""
    left: list[Truth | None] = list(truths)
    ious: list[float] = []
    precisions: list[float] = []
    for mask in [_above_middle(map) for map in maps]:
        found = [0.0 if truth is None else ciou(mask, truth) for truth in left]
        taken = int(np.argmax(found))
        truth = left[taken]
        ious.append(found[taken])
        precisions.append(0.0 if truth is None else pixel_ap(mask.astype(np.float32), truth))
        left[taken] = None
    missing = (0.0,) * max(0, len(truths) - len(maps)) if maps else ()
    return NopriorMatches((*ious, *missing), (*precisions, *missing))


def best_assignment(scores: Scores) -> tuple[int | None, ...]:
    """Which map each truth gets so that the sum is highest; None for a truth that gets none.

    Args:
        scores: maps x truths, none negative.
    """
    maps, truths = scores.shape
    if truths > MOST_TRUTHS:
        raise ValueError(f"{truths} truths in one picture; {MOST_TRUTHS} at most can be matched")
    best: dict[int, tuple[float, tuple[int | None, ...]]] = {0: (0.0, (None,) * truths)}
    for row in range(maps):
        after = dict(best)
        for taken, (total, owners) in best.items():
            for truth in range(truths):
                key = taken | 1 << truth
                sum_ = total + float(scores[row, truth])
                if key != taken and sum_ > after.get(key, (-1.0,))[0]:
                    after[key] = (sum_, (*owners[:truth], row, *owners[truth + 1 :]))
        best = after
    return max(best.values(), key=lambda found: found[0])[1]


def _best(
    maps: Sequence[Map], truths: Sequence[Truth], score: Callable[[Map, Truth], float]
) -> NDArray[np.float64]:
    if not truths:
        raise ValueError("no truth; there is nothing to find")
    table = np.array([[score(map, truth) for truth in truths] for map in maps], dtype=np.float64)
    owners = best_assignment(table.reshape(len(maps), len(truths)))
    return np.array([0.0 if m is None else table[m, t] for t, m in enumerate(owners)])


def _above_middle(map: Map) -> Mask:
    """Strictly above the middle value; where that is the highest value, the highest pixels."""
    chosen: Mask = top_half(map, strict=True) | (min_max(map) == 1)
    return chosen


def _same_number(maps: Sequence[Map | None], truths: Sequence[Truth]) -> None:
    if not truths or len(maps) != len(truths):
        raise ValueError(f"{len(maps)} maps for {len(truths)} truths; give one map a class")
