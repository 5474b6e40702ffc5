"""Objectives, one file each; `OBJECTIVES` maps a model's name to what it learns by."""

from __future__ import annotations

from typing import Any

from soundspot.errors import OptionError
from soundspot.losses.cluster_margin import ClusterMargin
from soundspot.losses.correspondence import Correspondence
from soundspot.losses.dark_contrast import DarkContrast
from soundspot.losses.distance_ratio import DistanceRatio
from soundspot.losses.instance_contrast import InstanceContrast
from soundspot.losses.mix_and_separate import MixAndSeparate
from soundspot.losses.objective import Objective
from soundspot.losses.region_contrast import RegionContrast
from soundspot.losses.trimap import Trimap

OBJECTIVES: dict[str, type[Objective[Any]]] = {
    "two_tower": RegionContrast,
    "attention": DistanceRatio,
    "clusters": ClusterMargin,
    "fusion": Correspondence,
    "pixel_sound": MixAndSeparate,
}

BY_NAME: dict[str, type[Objective[Any]]] = {
    "region_contrast": RegionContrast,
    "dark_contrast": DarkContrast,
    "distance_ratio": DistanceRatio,
    "cluster_margin": ClusterMargin,
    "correspondence": Correspondence,
    "mix_and_separate": MixAndSeparate,
    "instance_contrast": InstanceContrast,
    "trimap": Trimap,
}
"""Every objective, by the name of its file."""

__all__ = ["BY_NAME", "OBJECTIVES", "Objective", "objective_of"]


def objective_of(model: str, name: str = "") -> type[Objective[Any]]:
    """What a model learns by: its own objective, or another one that works on it.

    Raises:
        OptionError: no such objective, or one for another model.
    """
    if not name:
        return OBJECTIVES[model]
    if name not in BY_NAME:
        raise OptionError(f"unknown objective {name!r}; there are {', '.join(BY_NAME)}")
    if BY_NAME[name].model is not OBJECTIVES[model].model:
        raise OptionError(f"the objective {name} does not work on the model {model}")
    return BY_NAME[name]
