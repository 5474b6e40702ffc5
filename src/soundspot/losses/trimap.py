"""Positive, unsure and negative positions: the trimap of LVS (Chen et al., CVPR 2021, section 3).

With m(p, s) the cosine of position p and sound s, and s' the picture's own sound, masks of the map
itself say which of its positions surely are the source (mu+), and which surely are not (mu-):

    mu+ = sigmoid((m - 0.65) / 0.03),    mu- = 1 - sigmoid((m(., s') - 0.4) / 0.03)
    right(r)     = mean of m(., s') over the positions, weighed by mu+
    hard(r)      = the same, weighed by mu-
    wrong(r, s)  = mean of m(., s) weighed by its own mu+, for the other sounds of the batch
    loss         = cross-entropy of right(r) against all wrong(r, s) and hard(r), over 0.07

as in the authors' code (their paper takes plain means of the wrong maps). A scene of several tiles
is asked about its first. A gate learns beside it, as in `region_contrast`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from soundspot.losses.instance_contrast import embed_scenes
from soundspot.losses.objective import Objective, gate_loss
from soundspot.models.two_tower import TwoTower

if TYPE_CHECKING:
    from soundspot.batches import Batch
    from soundspot.losses.objective import Parts
    from soundspot.ranks import Ranks

SURELY, SURELY_NOT, SOFTNESS = 0.65, 0.4, 0.03
"""Cosines at which a position is the source, or is not; how soft the masks are."""
TEMPERATURE = 0.07


class Trimap(Objective[TwoTower]):
    """Its own sure positions against its background and against other sounds."""

    model = TwoTower

    def embed(self, model: TwoTower, batch: Batch) -> Parts:
        """Each scene's positions, the sound of its first tile, and the gate's two sides."""
        return embed_scenes(model, batch)

    def loss(self, model: TwoTower, parts: Parts, ranks: Ranks) -> Tensor:
        """Every picture meets every sound of the batch; the loss is a mean over pictures."""
        maps = torch.einsum("rdhw,sd->rshw", parts["positions"], ranks.gather(parts["q"]))
        losses = trimap_losses(maps.flatten(2), ranks.numbers(parts["q"]))
        return ranks.mean_rows(losses) + gate_loss(parts, ranks)


def trimap_losses(maps: Tensor, own: Tensor) -> Tensor:
    """The loss of each picture.

    Args:
        maps: r s p, cosines of each picture's positions with every sound.
        own: r, which sound is each picture's.
    """
    rows = torch.arange(len(maps), device=maps.device)
    pooled = masked_mean(maps, ((maps - SURELY) / SOFTNESS).sigmoid())
    mine = maps[rows, own]
    hard = masked_mean(mine, 1 - ((mine - SURELY_NOT) / SOFTNESS).sigmoid())
    logits = torch.cat((pooled, hard[:, None]), 1) / TEMPERATURE
    return F.cross_entropy(logits, own, reduction="none")


def masked_mean(maps: Tensor, mask: Tensor) -> Tensor:
    """Mean over positions, weighed: `... p`, `... p` -> `...`."""
    return (maps * mask).sum(-1) / mask.sum(-1).clamp(min=torch.finfo(mask.dtype).tiny)
