"""Max margin between matched clusters: the objective of the clusters model (Hu et al., CVPR 2019).

    loss = max(0, s(picture, wrong sound) - s(picture, right sound) + margin)

with s the sum of the cosines of the K clusters and, in the authors' code, margin K. Each sound is
heard for itself, position by position, as the clusters need them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from soundspot.losses.objective import Objective, first_of_scenes, mean_of_others
from soundspot.models.clusters import Clusters, centres

if TYPE_CHECKING:
    from torch import Tensor

    from soundspot.batches import Batch
    from soundspot.losses.objective import Parts
    from soundspot.ranks import Ranks


class ClusterMargin(Objective[Clusters]):
    """Right sounds match better than wrong ones, by a margin."""

    model = Clusters
    waves = True

    def embed(self, model: Clusters, batch: Batch) -> Parts:
        """The centres of each scene's clusters, and of the sound of its first tile."""
        first = first_of_scenes(batch.scenes)
        with torch.no_grad():
            heard = model.sound_tower.positions(batch.waves[first])
        sounds = model.hear_positions(heard)
        positions = F.relu(model.see(batch.pixels)).flatten(2)[batch.scenes[first]]
        pictures = centres(*model.cluster(positions))
        return {"pictures": pictures, "sounds": sounds}

    def loss(self, model: Clusters, parts: Parts, ranks: Ranks) -> Tensor:
        """The margin loss of every picture with every sound."""
        sounds = F.normalize(ranks.gather(parts["sounds"]), dim=2)
        matches = torch.einsum("rks,nks->rn", F.normalize(parts["pictures"], dim=2), sounds)
        own = ranks.numbers(parts["sounds"])
        return ranks.mean_rows(margin_losses(matches, own, float(model.config.clusters)))


def margin_losses(matches: Tensor, own: Tensor, margin: float) -> Tensor:
    """The loss of each picture, a mean over the sounds of others.

    Args:
        matches: r n, of pictures with every sound.
        own: r, which sound is each picture's.
        margin: of the right match over wrong ones.
    """
    right = matches.gather(1, own[:, None])
    return mean_of_others(F.relu(matches - right + margin), own)
