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
    from soundspot.losses.objective import Parts
    from soundspot.ranks import Ranks

WRONG = 3
"""Wrong sounds for each picture."""


class Correspondence(Objective[Fusion]):
    """Do they belong together?"""

    model = Fusion

    def embed(self, model: Fusion, batch: Batch) -> Parts:
        """Each scene's positions and the sound of its first tile, before they are joined."""
        first = first_of_scenes(batch.scenes)
        positions = model.see(batch.pixels)[batch.scenes[first]]
        return {"positions": positions, "sounds": model.project_sounds(batch.sounds[first])}

    def loss(self, model: Fusion, parts: Parts, ranks: Ranks) -> Tensor:
        """Each picture with its own sound, and with others of the whole batch."""
        positions, sounds, mine = parts["positions"], parts["sounds"], ranks.place(parts["sounds"])
        everyone = ranks.gather(sounds)
        n = len(everyone)
        shifts = torch.randperm(n - 1)[:WRONG] + 1 if n > 1 else torch.empty(0)
        right = model.join(positions, sounds).mean((1, 2))
        wrong = [model.join(positions, everyone.roll(int(s), 0)[mine]).mean((1, 2)) for s in shifts]
        return ranks.mean_rows(F.softplus(-right), F.softplus(torch.cat(wrong)))
