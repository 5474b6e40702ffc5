"""Contrast regions of scenes with sounds: the objective of the default model.

n regions (the tiles of composed scenes) meet n sounds, one drawn for each. With m(p, s) the match
of position p and sound s:

    v(r, s) = mean of the best `TOP_SHARE` of m(p, s) over the positions p of region r
    InfoNCE both ways over v / t          (van den Oord et al. 2018; Radford et al. 2021)

The other tiles of the same canvas are among the negatives, which teaches *where*. Two regions of
one kind of thing are negatives too, now and then, since nothing here knows kinds: a guard that
spared sounds which sound alike was tried and did not help (`docs/choices.md`).

Beside it a gate learns recordings from noise and silence, by logistic regression.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from soundspot.batches import in_unit_range
from soundspot.losses.objective import Objective, both_ways, gate_loss
from soundspot.models.pooling import TOP_SHARE
from soundspot.models.two_tower import TwoTower
from soundspot.sound_bank import spread

if TYPE_CHECKING:
    from torch import Tensor

    from soundspot.batches import Batch, Batches
    from soundspot.losses.objective import Parts
    from soundspot.ranks import Ranks

TOP_LEAST = 3
"""Positions that speak for a region, however small: else the share that `pooling` reads."""
SHARPNESS_START = 30.0
"""1 / t before training."""
READ_SOFTNESS, READ_CONTRAST = 20.0, 0.5
"""c and a of the finished model (`models.two_tower`); training itself uses 10 and 0."""
LOOKED_AT, LOOKED_AT_MOST = 4, 128
"""Batches on which the expected score of a sound is fitted, and most scenes of them."""
RIDGE = 1e-2


class RegionContrast(Objective[TwoTower]):
    """Where each sound is, and whether there is anything to hear at all."""

    model = TwoTower

    def __init__(self) -> None:
        super().__init__()
        self.log_sharpness = nn.Parameter(torch.tensor(SHARPNESS_START).log())

    def embed(self, model: TwoTower, batch: Batch) -> Parts:
        """Make q of sounds, p at each position of their scenes, h of recordings and noises."""
        q, _ = model.project_sounds(batch.sounds)
        positions = model.encode_images(batch.pixels).flatten(2)
        return {
            "q": q,
            "positions": positions[batch.scenes],
            "regions": batch.regions,
            "audible": model.project_sounds(batch.audible)[1],
            "empty": model.project_sounds(batch.empty)[1],
        }

    def loss(self, model: TwoTower, parts: Parts, ranks: Ranks) -> Tensor:
        """Every region meets every sound of the batch; the gate learns beside it."""
        return self.contrast(self.maps(parts, ranks), parts, ranks)

    def maps(self, parts: Parts, ranks: Ranks) -> Tensor:
        """The match of each of this rank's regions with every sound: `r n P`."""
        return torch.einsum("rdp,sd->rsp", parts["positions"], ranks.gather(parts["q"]))

    def contrast(self, maps: Tensor, parts: Parts, ranks: Ranks) -> Tensor:
        """InfoNCE of regions and sounds, and the gate's logistic regression."""
        logits = pool_regions(maps, parts["regions"]) * self.log_sharpness.exp()
        return both_ways(logits, ranks.numbers(parts["q"]), ranks) + gate_loss(parts, ranks)

    @torch.no_grad()
    def finish(self, model: TwoTower, batches: Batches) -> None:
        """Read the model out as it will be used: softer, contrasted, and knowing e(q)."""
        config = replace(model.config, softness=READ_SOFTNESS, contrast=READ_CONTRAST)
        model.config = config
        device, bank = model.mean_sound.device, batches.bank
        own = spread(bank.whole[: batches.own]).to(device)
        model.mean_sound.copy_(model.project_sounds(own)[0].mean(0))
        heard = (bank.whole, bank.views.flatten(0, 1), bank.empty)
        every = torch.cat([spread(rows) for rows in heard]).to(device)
        q, _ = model.project_sounds(every)
        pixels = scenes_behind(batches)
        pieces = (in_unit_range(x.to(device)) for x in torch.split(pixels, 16))
        positions = torch.cat([model.encode_images(piece) for piece in pieces])
        contrasted = q - config.contrast * model.mean_sound
        scores = torch.cat(
            [
                model.pool(torch.einsum("bdhw,jd->bjhw", positions, some)).mean(0)
                for some in torch.split(contrasted, 32)
            ]
        )
        inputs = torch.cat((q, torch.ones_like(q[:, :1])), 1)
        ridge = RIDGE * torch.eye(inputs.shape[1], device=device)
        model.expected.copy_(torch.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ scores))


def scenes_behind(batches: Batches) -> Tensor:
    """The first scenes that no step of the run meets: as many in however many blocks."""
    options = batches.options
    pixels: list[Tensor] = []
    for step, block in itertools.product(range(LOOKED_AT), range(options.parts)):
        if step * options.scenes + batches.share(block).first < LOOKED_AT_MOST:
            pixels.append(batches.make(options.steps + step, block).pixels)
    return torch.cat(pixels)[:LOOKED_AT_MOST]


def pool_regions(maps: Tensor, regions: Tensor) -> Tensor:
    """Mean of the best share of positions in each region.

    Shape: maps `R S P` (each region's own scene), regions `R P` boolean -> `R S`.
    """
    counts = (TOP_SHARE * regions.sum(1)).round().clamp(min=TOP_LEAST).long()
    most = int(counts.max())
    best = maps.masked_fill(~regions[:, None], -1.0).topk(most, 2).values
    kept = (torch.arange(most, device=maps.device) < counts[:, None]).to(maps)
    return (best * kept[:, None]).sum(2) / counts[:, None]
