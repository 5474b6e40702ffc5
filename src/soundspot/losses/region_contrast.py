"""Contrast regions of scenes with sounds: the objective of the default model.

R regions (the tiles of composed scenes) meet S sounds, one for each tile. With m(p, s) the match
of position p and sound s:

    v(r, s) = mean of the best `TOP_SHARE` of m(p, s) over the positions p of region r
    InfoNCE both ways over v / t          (van den Oord et al. 2018; Radford et al. 2021)

The other tiles of the same canvas are among the negatives, which teaches *where*.

**No false negatives.** Two recordings of one kind of thing would be pushed apart. A pair that was
not drawn together counts as a negative with the weight

    w = sigmoid((LIKE - cos(e, e')) / LIKE_WIDTH)

where e, e' are centred embeddings of the two sounds by the (frozen) sound tower: sounds that
sound alike are not contrasted. No group name is involved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor

TOP_SHARE = 0.08
"""Share of a region's positions that speak for it, at least `TOP_LEAST` positions."""
TOP_LEAST = 3
LIKE, LIKE_WIDTH = 0.7, 0.05
"""Cosine of two sounds from which they count as alike, and how softly."""
SMALLEST_WEIGHT = 1e-6


def pool_regions(maps: Tensor, regions: Tensor) -> Tensor:
    """Mean of the best share of positions in each region.

    Shape: maps `R S P` (each region's own scene), regions `R P` boolean -> `R S`.
    """
    counts = (TOP_SHARE * regions.sum(1)).round().clamp(min=TOP_LEAST).long()
    most = int(counts.max())
    best = maps.masked_fill(~regions[:, None], -1.0).topk(most, 2).values
    kept = (torch.arange(most, device=maps.device) < counts[:, None]).to(maps)
    return (best * kept[:, None]).sum(2) / counts[:, None]


def alike(sounds: Tensor, others: Tensor) -> Tensor:
    """Weights of wrong pairs: near 0 where two sounds are alike, near 1 where they are not.

    Shape: centred unit embeddings `n d`, `m d` -> `n m`.
    """
    return torch.sigmoid((LIKE - sounds @ others.T) / LIKE_WIDTH)


def region_contrast(pooled: Tensor, weights: Tensor, log_sharpness: Tensor) -> Tensor:
    """The loss of one batch.

    Args:
        pooled: n n, from `pool_regions`; region i was drawn with sound i.
        weights: n n, how much each wrong pair counts as wrong, 0 to 1.
        log_sharpness: log of 1 / t.
    """
    right = torch.arange(len(pooled), device=pooled.device)
    weights = weights.clone().fill_diagonal_(1.0).clamp(min=SMALLEST_WEIGHT)
    logits = pooled * log_sharpness.exp() + weights.log()
    return F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)
