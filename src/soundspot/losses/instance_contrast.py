"""Contrast whole pictures with sounds: multiple-instance InfoNCE (EZ-VSL: Mo & Morgado, ECCV 2022).

A picture is a bag of positions of which one, at least, shows the source. With m(p, s) the match of
position p and sound s, and the model's own pool over positions (EZ-VSL: the peak),

    v(r, s) = pool over p of m(p, s)
    InfoNCE both ways over v / t          (van den Oord et al. 2018), t = 0.03

Nothing says where to look but the pool. A scene of several tiles is asked about its first.
Beside it, as in `region_contrast`, a gate learns recordings from noise and silence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from soundspot.losses.objective import Objective, both_ways, first_of_scenes, gate_loss
from soundspot.models.two_tower import TwoTower

if TYPE_CHECKING:
    from soundspot.batches import Batch
    from soundspot.losses.objective import Parts
    from soundspot.ranks import Ranks

TEMPERATURE = 0.03
"""The authors' t."""


class InstanceContrast(Objective[TwoTower]):
    """Which sound goes with which picture."""

    model = TwoTower

    def embed(self, model: TwoTower, batch: Batch) -> Parts:
        """Each scene's positions, the sound of its first tile, and the gate's two sides."""
        return embed_scenes(model, batch)

    def loss(self, model: TwoTower, parts: Parts, ranks: Ranks) -> Tensor:
        """Every picture meets every sound of the batch."""
        maps = torch.einsum("rdhw,sd->rshw", parts["positions"], ranks.gather(parts["q"]))
        logits = model.pool(maps) / TEMPERATURE
        return both_ways(logits, ranks.numbers(parts["q"]), ranks) + gate_loss(parts, ranks)


def embed_scenes(model: TwoTower, batch: Batch) -> Parts:
    """Make p of each scene, q of its first tile's sound, h of recordings and of noises."""
    first = first_of_scenes(batch.scenes)
    return {
        "q": model.project_sounds(batch.sounds[first])[0],
        "positions": model.encode_images(batch.pixels)[batch.scenes[first]],
        "audible": model.project_sounds(batch.audible)[1],
        "empty": model.project_sounds(batch.empty)[1],
    }
