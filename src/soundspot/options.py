"""What a training run can be told; light to import, since the command line lists it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from soundspot.errors import OptionError


def _option(default: Any, says: str) -> Any:
    return field(default=default, metadata={"help": says})


@dataclass(frozen=True)
class TrainOptions:
    """Options of `soundspot train`; each field's meaning is its `help`."""

    steps: int = _option(320, "steps in all")
    scenes: int = _option(32, "scenes in a batch")
    side: int = _option(224, "side of a scene in pixels")
    rate: float = _option(1e-3, "learning rate of the projections")
    tower_rate: float = _option(1e-4, "learning rate of the picture tower")
    decay: float = _option(1e-4, "weight decay")
    still: int = _option(8, "first blocks of the picture tower that keep their weights")
    mosaics: float = _option(0.22, "share of scenes that show several pictures")
    gate: int = _option(32, "recordings, and noises or silences, to tell apart in a batch")
    seed: int = _option(0, "of everything random")
    save_every: int = _option(80, "steps between checkpoints")

    def __post_init__(self) -> None:
        """Check the ranges."""
        whole = (self.steps, self.scenes, self.save_every)
        if min(whole) < 1 or self.side < 64 or self.side % 32:
            raise OptionError(
                "train: steps, scenes, save-every are at least 1; side is a multiple of 32 from 64"
            )
        if self.seed < 0:
            raise OptionError("train: seed is 0 or more")
        if self.still < 0 or self.gate < 1:
            raise OptionError("train: still is 0 or more, gate at least 1")
        if not 0 <= self.mosaics <= 1:
            raise OptionError("train: mosaics is a share, 0 to 1")
        if not (self.rate > 0 and self.tower_rate >= 0 and self.decay >= 0):
            raise OptionError("train: rate is above 0; tower-rate and decay are 0 or more")


RECIPES: dict[str, TrainOptions] = {
    "two_tower": TrainOptions(),
    "attention": TrainOptions(steps=240, mosaics=0.3),
    "clusters": TrainOptions(steps=240, mosaics=0.3),
    "fusion": TrainOptions(),
    "pixel_sound": TrainOptions(steps=240),
}
"""The options that each model is trained with unless told otherwise."""
