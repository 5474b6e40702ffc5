"""Similarity models, one file each; `MODELS` maps the name in a checkpoint to the class."""

from __future__ import annotations

from soundspot.models.attention import Attention
from soundspot.models.clusters import Clusters
from soundspot.models.fusion import Fusion
from soundspot.models.model import SimilarityModel
from soundspot.models.pixel_sound import PixelSound
from soundspot.models.two_tower import TwoTower

MODELS: dict[str, type[SimilarityModel]] = {
    "two_tower": TwoTower,
    "attention": Attention,
    "clusters": Clusters,
    "fusion": Fusion,
    "pixel_sound": PixelSound,
}

__all__ = [
    "MODELS",
    "Attention",
    "Clusters",
    "Fusion",
    "PixelSound",
    "SimilarityModel",
    "TwoTower",
]
