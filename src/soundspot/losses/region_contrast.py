"""Contrast regions of scenes with sounds: the objective of the default model.

n regions (the tiles of composed scenes) meet n sounds, one drawn for each. With m(p, s) the match
of position p and sound s:

    v(r, s) = mean of the best `TOP_SHARE` of m(p, s) over the positions p of region r
    InfoNCE both ways over v / t          (van den Oord et al. 2018; Radford et al. 2021)

The other tiles of the same canvas are among the negatives, which teaches *where*. Two regions of
one kind of thing are negatives too, now and then, since nothing here knows kinds: a guard that
spared sounds which sound alike was tried and did not help (`docs/choices.md`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from soundspot.models.pooling import TOP_SHARE

if TYPE_CHECKING:
    from torch import Tensor

TOP_LEAST = 3
"""Positions that speak for a region, however small: else the share that `pooling` reads."""


def pool_regions(maps: Tensor, regions: Tensor) -> Tensor:
    """Mean of the best share of positions in each region.

    Shape: maps `R S P` (each region's own scene), regions `R P` boolean -> `R S`.
    """
    counts = (TOP_SHARE * regions.sum(1)).round().clamp(min=TOP_LEAST).long()
    most = int(counts.max())
    best = maps.masked_fill(~regions[:, None], -1.0).topk(most, 2).values
    kept = (torch.arange(most, device=maps.device) < counts[:, None]).to(maps)
    return (best * kept[:, None]).sum(2) / counts[:, None]


def region_contrast(pooled: Tensor, log_sharpness: Tensor) -> Tensor:
    """The loss of one batch.

    Args:
        pooled: n n, from `pool_regions`; region i was drawn with sound i.
        log_sharpness: log of 1 / t.
    """
    right = torch.arange(len(pooled), device=pooled.device)
    logits = pooled * log_sharpness.exp()
    return F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)
