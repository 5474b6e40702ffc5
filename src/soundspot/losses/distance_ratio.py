"""Distance ratio: the objective of the attention model (Senocak et al., CVPR 2018, section 3.3).

With d+ the distance from what a sound attends to in its own picture to that sound, and d- the
distance to another sound (after Hoffer & Ailon's triplet network, 2015):

    (t+, t-) = softmax(d+, d-),    loss = |(t+, t-) - (0, 1)|^2 = 2 sigmoid(d+ - d-)^2

Every other sound of the batch takes its turn as the wrong one, and asks the picture for itself: the
attention is the wrong sound's own, so that the distance learned is the one that the finished model
answers with. (The paper keeps the right sound's attention, which the wrong distance then knows.)
In a scene of several pictures the attention has the whole scene to choose from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from soundspot.losses.objective import Objective, mean_of_others
from soundspot.models.attention import Attention, distance

if TYPE_CHECKING:
    from torch import Tensor

    from soundspot.batches import Batch
    from soundspot.losses.objective import Parts
    from soundspot.ranks import Ranks


class DistanceRatio(Objective[Attention]):
    """Right sounds nearer than wrong ones."""

    model = Attention

    def embed(self, model: Attention, batch: Batch) -> Parts:
        """Make h of each sound and v at each position of its picture."""
        h = model.project_sounds(batch.sounds)
        v = model.look(batch.pixels).flatten(2)[batch.scenes]
        return {"h": h, "v": v}

    def loss(self, model: Attention, parts: Parts, ranks: Ranks) -> Tensor:
        """Every sound asks every picture for itself."""
        h, v = ranks.gather(parts["h"]), parts["v"]
        attention = model.weigh(torch.einsum("rdp,sd->rsp", v, h))
        z = F.normalize(torch.einsum("rdp,rsp->rsd", v, attention), dim=2)
        losses = distance_ratios(distance(z, h[None]), ranks.numbers(parts["h"]))
        return ranks.mean_rows(losses)


def distance_ratios(distances: Tensor, own: Tensor) -> Tensor:
    """The loss of each picture, a mean over the sounds of others.

    Args:
        distances: r n, of pictures from every sound.
        own: r, which sound is each picture's.
    """
    ratio = torch.sigmoid(distances.gather(1, own[:, None]) - distances)
    return mean_of_others(2 * ratio.square(), own)
