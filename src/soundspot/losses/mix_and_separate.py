"""Mix and separate: the objective of the pixel-sound model (Zhao et al., ECCV 2018, section 3.2).

Two recordings are mixed. A picture that goes with one of them must mask the mixture down to it: the
target is 1 where that recording is the louder one, else 0 (their binary masks), and the loss the
cross-entropy, weighed by loudness. Three things are added, without which a picture never learns to
say "none of this is mine":

- every picture of the batch that goes with neither recording must mask everything out; those that
  fail most count most (weights: softmax of their losses);
- now and then a recording comes alone;
- noise and silence come too, and belong to no picture.

Components are pooled over the best positions of each picture.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from soundspot.losses.objective import Objective
from soundspot.losses.region_contrast import pool_regions
from soundspot.models.pixel_sound import PixelSound
from soundspot.sound_bank import nothing

if TYPE_CHECKING:
    from torch import Tensor

    from soundspot.batches import Batch
    from soundspot.losses.objective import Parts
    from soundspot.ranks import Ranks

ALONE = 0.4
"""Share of the recordings that are not mixed with another."""
LEVEL = 0.1
"""Root mean square at which recordings are mixed; the mixture has that of the first."""
NOTHINGS = 8
"""Noises and silences in a batch."""
HARDNESS = 2.0
"""How much more the pictures count that fail to mask a strange sound out."""


class MixAndSeparate(Objective[PixelSound]):
    """What of this sound is mine?"""

    model = PixelSound
    waves = True

    def prepare(self, model: PixelSound, batch: Batch, ranks: Ranks) -> Batch:
        """Say who is mixed with the recording before, and bring noises: dealt over the ranks."""
        mine = ranks.place(batch.waves)
        mixed = torch.rand(sum(ranks.lengths(batch.waves)), device=batch.waves.device) > ALONE
        dice = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        noises = nothing(NOTHINGS, dice).to(batch.waves)
        return replace(
            batch,
            more={"before": ranks.previous(batch.waves), "mixed": mixed[mine]},
            loose={"noises": noises[ranks.number :: ranks.count]},
        )

    def embed(self, model: PixelSound, batch: Batch) -> Parts:
        """What each picture masks of its own sound, and the components of all."""
        own, gain = level(batch.waves), rms(batch.waves) / LEVEL
        mixed, n = batch.more["mixed"], len(own)
        other = level(batch.more["before"]) * mixed[:, None]
        with torch.no_grad():
            target = louder(model, own, other)
            heard = torch.cat(((own + other) / 2 * gain, batch.loose["noises"]))
        components, loud = model.split(model.sound_tower.log_mel(heard))
        mixes = pool_regions(model.look(batch.pixels).flatten(2)[batch.scenes], batch.regions)
        logits = model.masks(mixes[:, None], components[:n])[:, 0]
        mine = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return {
            "mine": (mine * loud[:n]).sum((1, 2)),
            "mixes": mixes,
            "mixed": mixed.float(),
            "components": components[:n],
            "loud": loud[:n],
            "noise components": components[n:],
            "noise loud": loud[n:],
        }

    def loss(self, model: PixelSound, parts: Parts, ranks: Ranks) -> Tensor:
        """Own sounds masked right, and strange ones masked out by every picture of the batch."""
        mixes, n = ranks.gather(parts["mixes"]), len(parts["mine"])
        components = torch.cat((parts["components"], parts["noise components"]))
        loud = torch.cat((parts["loud"], parts["noise loud"]))
        everyone = model.masks(mixes.expand(len(loud), *mixes.shape), components)
        strange = torch.einsum("snft,sft->sn", F.softplus(everyone), loud)
        known = goes_with(ranks.numbers(parts["mine"]), parts["mixed"] > 0, len(mixes))
        losses = strangers_losses(strange, F.pad(known, (0, 0, 0, len(strange) - n)))
        return ranks.mean_rows(parts["mine"], losses)


def goes_with(own: Tensor, mixed: Tensor, pictures: int) -> Tensor:
    """Which pictures go with which sounds: `r n`, boolean.

    Args:
        own: r, each sound's picture.
        mixed: r, whether the sound holds the recording before it too.
        pictures: n.
    """
    rows = torch.arange(len(own), device=own.device)
    known = torch.zeros(len(own), pictures, dtype=torch.bool, device=own.device)
    known[rows, (own - 1) % pictures] = mixed
    known[rows, own] = True
    return known


def strangers_losses(losses: Tensor, known: Tensor) -> Tensor:
    """What pictures fail to mask out of each sound that is not theirs.

    Args:
        losses: s n, of sound i asked of picture j.
        known: s n, whether they go together.
    """
    hardness = (HARDNESS * losses.detach()).masked_fill(known, -torch.inf)
    weights = hardness.softmax(1).nan_to_num()  # a batch of two may hold no stranger
    return (weights * losses).sum(1)


def level(waves: Tensor) -> Tensor:
    """Bring every recording to the same mean power, silence excepted."""
    return LEVEL * waves / rms(waves)


def rms(waves: Tensor) -> Tensor:
    """Root mean square of each row, `n 1`, at least 1e-4."""
    return waves.square().mean(1, keepdim=True).sqrt().clamp(min=1e-4)


def louder(model: PixelSound, own: Tensor, other: Tensor) -> Tensor:
    """1 where the first recording's band is the louder one, else 0: `b f t`."""
    powers = [F.avg_pool2d(model.sound_tower.log_mel(x)[:, None], 2)[:, 0] for x in (own, other)]
    return (powers[0] >= powers[1]).float()
