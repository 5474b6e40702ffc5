"""Max margin between matched clusters: the objective of the clusters model (Hu et al., CVPR 2019).

    loss = max(0, s(picture, wrong sound) - s(picture, right sound) + margin)

with s the sum of the cosines of the K clusters and, in the authors' code, margin K. Each sound is
heard for itself, position by position, as the clusters need them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from soundspot.losses.objective import Objective, first_of_scenes
from soundspot.models.clusters import Clusters, centres

if TYPE_CHECKING:
    from torch import Tensor

    from soundspot.batches import Batch


class ClusterMargin(Objective[Clusters]):
    """Right sounds match better than wrong ones, by a margin."""

    waves = True

    def forward(self, model: Clusters, batch: Batch) -> Tensor:
        """The loss of one batch; a scene of several tiles is asked about its first."""
        first = first_of_scenes(batch.scenes)
        with torch.no_grad():
            heard = model.sound_tower.positions(batch.waves[first])
        sounds = model.hear_positions(heard)
        positions = F.relu(model.see(batch.pixels)).flatten(2)[batch.scenes[first]]
        pictures = centres(*model.cluster(positions))
        matches = torch.einsum(
            "rks,nks->rn", F.normalize(pictures, dim=2), F.normalize(sounds, dim=2)
        )
        return margin_loss(matches, float(model.config.clusters))


def margin_loss(matches: Tensor, margin: float) -> Tensor:
    """The loss of matches n n; row i, column i belong together."""
    others = ~torch.eye(len(matches), dtype=torch.bool, device=matches.device)
    return F.relu(matches - matches.diagonal()[:, None] + margin)[others].mean()
