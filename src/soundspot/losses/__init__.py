"""Objectives, one file each; `OBJECTIVES` maps a model's name to what it learns by."""

from __future__ import annotations

from typing import Any

from soundspot.losses.cluster_margin import ClusterMargin
from soundspot.losses.correspondence import Correspondence
from soundspot.losses.distance_ratio import DistanceRatio
from soundspot.losses.mix_and_separate import MixAndSeparate
from soundspot.losses.objective import Objective
from soundspot.losses.region_contrast import RegionContrast

OBJECTIVES: dict[str, type[Objective[Any]]] = {
    "two_tower": RegionContrast,
    "attention": DistanceRatio,
    "clusters": ClusterMargin,
    "fusion": Correspondence,
    "pixel_sound": MixAndSeparate,
}

__all__ = ["OBJECTIVES", "Objective"]
