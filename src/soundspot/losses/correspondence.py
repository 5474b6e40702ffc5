"""Correspondence: right pairs from wrong ones, yes or no (Owens & Efros, ECCV 2018).

Each picture of a batch is shown with its own sound and with `WRONG` others; the network's logit
learns by cross-entropy, both sides with equal weight. The first layer's picture part is computed
once for all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from soundspot.losses.objective import Objective, first_of_scenes
from soundspot.models.fusion import Fusion

if TYPE_CHECKING:
    from torch import Tensor

    from soundspot.batches import Batch

WRONG = 3
"""Wrong sounds for each picture."""


class Correspondence(Objective[Fusion]):
    """Do they belong together?"""

    def forward(self, model: Fusion, batch: Batch) -> Tensor:
        """The loss of one batch; a scene of several tiles is asked about its first."""
        first = first_of_scenes(batch.scenes)
        positions = model.see(batch.pixels)[batch.scenes[first]]
        sounds = model.project_sounds(batch.sounds[first])
        n = len(first)
        shifts = torch.randperm(n - 1)[:WRONG] + 1 if n > 1 else torch.empty(0)
        right = model.join(positions, sounds).mean((1, 2))
        wrong = [model.join(positions, sounds.roll(int(s), 0)).mean((1, 2)) for s in shifts]
        return F.softplus(-right).mean() + F.softplus(torch.cat(wrong)).mean()
