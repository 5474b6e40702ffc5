"""Similarity models, one file each; `MODELS` maps the name in a checkpoint to the class."""

from __future__ import annotations

from soundspot.models.two_tower import TwoTower

MODELS: dict[str, type[TwoTower]] = {"two_tower": TwoTower}

__all__ = ["MODELS", "TwoTower"]
