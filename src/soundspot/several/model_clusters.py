"""The clusters model's own components: deep multimodal clustering tells sources apart by itself.

Hu, Nie & Li (CVPR 2019): cluster k of the picture and cluster k of the sound are about the same
kind of thing. The clusters that match best are the sources; each one's map is its share of the
positions. The confidence is that of the picture as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from soundspot.models.clusters import Clusters
from soundspot.several.approach import Approach, Found, model_of
from soundspot.watch import frozen

if TYPE_CHECKING:
    from soundspot.several.scene import Scene


@dataclass(frozen=True)
class ModelClusters(Approach):
    """The best matching clusters."""

    name: ClassVar[str] = "model_clusters"
    summary: ClassVar[str] = "The best matching clusters of the clusters model."
    model: ClassVar[str] = "clusters"
    separates: ClassVar[bool] = False

    def find(self, scene: Scene, sources: int) -> list[Found]:
        """Assignments of the clusters that match best."""
        model = model_of(scene, Clusters, ModelClusters)
        with frozen(model), torch.no_grad():
            matched, shares = model.assignments(scene.images, *model.hear(scene.sounds))
        best = matched[0].argsort(descending=True)[:sources].tolist()
        whole = float(matched.sum())
        return [Found(shares[0, k].cpu().numpy(), whole) for k in best]
