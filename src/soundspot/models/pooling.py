"""From the similarity at each position to one number a pair: the choice that names a model.

Every two-tower model of the field is a choice of towers and one pool over the map `... h w`:

- `mean`: plain average (no localization pressure at all);
- `peak`: the best position (EZ-VSL: Mo & Morgado, ECCV 2022);
- `top_share`: the mean of the best share of positions, a peak that noise moves less;
- `soft_mask`: the mean weighed by a sigmoid of the map itself (LVS: Chen et al., CVPR 2021).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

TOP_SHARE = 0.08
"""Share of the positions that `top_share` averages, at least one position."""
MASK_CENTRE, MASK_TEMPERATURE = 0.3, 0.07
"""LVS: mask = sigmoid((similarity - centre) / temperature)."""


def mean(maps: Tensor) -> Tensor:
    """Shape: ... h w -> ..."""
    return maps.mean((-2, -1))


def peak(maps: Tensor) -> Tensor:
    """Shape: ... h w -> ..."""
    return maps.amax((-2, -1))


def top_share(maps: Tensor) -> Tensor:
    """Shape: ... h w -> ..."""
    positions = maps.flatten(-2)
    count = max(1, round(TOP_SHARE * positions.shape[-1]))
    return positions.topk(count, -1).values.mean(-1)


def soft_mask(maps: Tensor) -> Tensor:
    """Shape: ... h w -> ..."""
    mask = ((maps - MASK_CENTRE) / MASK_TEMPERATURE).sigmoid()
    return (mask * maps).sum((-2, -1)) / mask.sum((-2, -1))


POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": mean,
    "peak": peak,
    "top_share": top_share,
    "soft_mask": soft_mask,
}
