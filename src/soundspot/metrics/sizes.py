"""How large is the truth? Four buckets, so that a table can show what fails on small sources.

The size of a truth is its share of the picture: sum of the truth / pixels (a pixel of half
agreement counts half). SLAVC (Mo & Morgado, NeurIPS 2022) cuts at 32^2, 96^2 and 144^2 pixels of a
224x224 frame, the first two after COCO (Lin et al., ECCV 2014); as shares of the picture:

| bucket | share |
|---|---|
| small | below 2.04 % |
| medium | 2.04 % to below 18.37 % |
| large | 18.37 % to below 41.33 % |
| huge | 41.33 % and above |

A mask that covers half the picture has IoU below 0.5 with every truth of under 25 %: under
`overlap.top_half` (not `strict`) no small or medium source is ever found, however good the map.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from soundspot.metrics.overlap import Truth, check_truth

Size: TypeAlias = Literal["small", "medium", "large", "huge"]

SIZES: tuple[Size, ...] = ("small", "medium", "large", "huge")
"""From the smallest."""

SIZE_CUTS = tuple(side**2 / 224**2 for side in (32, 96, 144))
"""Shares of the picture at which the next bucket starts."""


def size_share(truth: Truth) -> float:
    """The truth's share of the picture."""
    check_truth(truth, truth.shape)
    return float(np.sum(truth, dtype=np.float64) / truth.size)


def size_of(share: float) -> Size:
    """The bucket of a share of the picture (0..1)."""
    if not 0 <= share <= 1:
        raise ValueError(f"a size is a share of the picture (0..1), not {share}")
    return SIZES[sum(share >= cut for cut in SIZE_CUTS)]
