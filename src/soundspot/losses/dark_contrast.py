"""Region contrast that leaves wrong sounds in the dark.

`region_contrast` asks that the right pair match *better* than the others; a picture with one
salient thing may then light up under any sound. Here wrong sounds are also held down in absolute
terms. A position claims a sound as m rises above a cut:

    dark = mean over wrong pairs (r, s) and positions p of softplus(k (m(p, s) - m0))
    loss = region contrast + DARK dark

where p runs over the scene of region r, less the tile of s where that stands in the same scene
(the negative half of logistic regression, as in the "tri-map" of Chen et al., CVPR 2021, without
its positives). What it gives and costs is in `docs/choices.md`: the map of a wrong sound falls,
and that of a kind never heard with it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from soundspot.losses.objective import mean_of_others
from soundspot.losses.region_contrast import RegionContrast

if TYPE_CHECKING:
    from torch import Tensor

    from soundspot.batches import Batch
    from soundspot.losses.objective import Parts
    from soundspot.models.two_tower import TwoTower
    from soundspot.ranks import Ranks

DARK = 0.04
"""Weight of the darkness."""
CLAIM_SLOPE, CLAIM_CUT = 20.0, 0.13
"""k, and m0: the raw value of the similarity map from which a position claims a sound."""


class DarkContrast(RegionContrast):
    """Where each sound is; and under the sounds of others, nothing."""

    def prepare(self, model: TwoTower, batch: Batch, ranks: Ranks) -> Batch:
        """Keep the scenes' numbers through a cut of the batch, which counts anew."""
        return replace(batch, more={**batch.more, "scene": batch.scenes})

    def embed(self, model: TwoTower, batch: Batch) -> Parts:
        """As the region contrast; and the scene of each region."""
        return {**super().embed(model, batch), "scene": batch.more["scene"]}

    def loss(self, model: TwoTower, parts: Parts, ranks: Ranks) -> Tensor:
        """The region contrast, and the claims of wrong pairs."""
        maps = self.maps(parts, ranks)
        mine = ranks.place(parts["scene"])
        claims = claims_elsewhere(maps, parts["scene"], parts["regions"], mine)
        dark = mean_of_others(claims, ranks.numbers(parts["scene"]))
        return self.contrast(maps, parts, ranks) + DARK * ranks.mean_rows(dark)


def claims_elsewhere(maps: Tensor, scene: Tensor, regions: Tensor, mine: slice) -> Tensor:
    """How much each region's scene claims each sound, where the sound has no tile.

    Args:
        maps: r n P, the match of each region's scene with every sound.
        scene: r, of each region.
        regions: r P boolean, its positions.
        mine: where the regions' own sounds stand among the n; the others are of other scenes.

    Shape: -> r n; 0 where a sound's tile is all of the scene.
    """
    own = (scene[:, None] == scene)[:, :, None] & regions
    free = torch.ones_like(maps, dtype=torch.bool)
    free[:, mine] = ~own
    claims = F.softplus(CLAIM_SLOPE * (maps - CLAIM_CUT))
    return (claims * free).sum(2) / free.sum(2).clamp(min=1)
