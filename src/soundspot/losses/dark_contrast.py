"""Region contrast that leaves wrong sounds in the dark.

`region_contrast` asks that the right pair match *better* than the others; a picture with one
salient thing may then light up under any sound. Here wrong sounds are also held down in absolute
terms. A position claims a sound as m rises above a cut:

    dark = mean over wrong pairs (r, s) and positions p of softplus(k (m(p, s) - m0))
    loss = region contrast + DARK dark

(the negative half of logistic regression, as in the "tri-map" of Chen et al., CVPR 2021, without
its positives). What it gives and costs is in `docs/choices.md`: the map of a wrong sound falls,
and that of a kind never heard with it. Sounds of other tiles of one canvas are among the wrong
ones, over all of the canvas: their own tiles are held down with the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from soundspot.losses.region_contrast import RegionContrast

if TYPE_CHECKING:
    from torch import Tensor

    from soundspot.losses.objective import Parts
    from soundspot.models.two_tower import TwoTower
    from soundspot.ranks import Ranks

DARK = 0.04
"""Weight of the darkness."""
CLAIM_SLOPE, CLAIM_CUT = 20.0, 0.13
"""k, and m0: the raw value of the similarity map from which a position claims a sound."""


class DarkContrast(RegionContrast):
    """Where each sound is; and under the sounds of others, nothing."""

    def loss(self, model: TwoTower, parts: Parts, ranks: Ranks) -> Tensor:
        """The region contrast, and the claims of wrong pairs."""
        maps = self.maps(parts, ranks)
        claims = F.softplus(CLAIM_SLOPE * (maps - CLAIM_CUT)).mean(2)
        return self.contrast(maps, parts, ranks) + DARK * darkness(ranks.gather(claims))


def darkness(claims: Tensor) -> Tensor:
    """Mean claim of the wrong pairs: n n, where region i was drawn with sound i."""
    wrong = ~torch.eye(len(claims), dtype=torch.bool, device=claims.device)
    return claims[wrong].mean()
