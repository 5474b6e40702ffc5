"""What a model says of itself: the picture and sound it expects, and what its numbers mean.

A checkpoint carries these facts; a plain function may carry them too, as an attribute `facts`.
Without them the defaults hold, and its confidence is called uncalibrated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch

from soundspot.errors import OptionError

if TYPE_CHECKING:
    from soundspot.types import Similarities


@dataclass(frozen=True)
class Calibration:
    """confidence = sigmoid(scale * similarity + bias) (Platt 1999), and where maps are cut.

    Args:
        scale: above 0.
        bias: in the same units as the scaled similarity.
        visible: confidence at and above which a visible source is said to be heard.
        thresholds: for a method (its string), the raw map value at and above which a pixel
            belongs to the source; methods that are not named are cut at half of their range.
    """

    scale: float = 1.0
    bias: float = 0.0
    visible: float = 0.5
    thresholds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not (self.scale > 0 and math.isfinite(self.scale + self.bias)):
            raise OptionError(
                f"calibration: scale is above 0 and both finite, got {self.scale}, {self.bias}"
            )

    def confidence(self, similarities: Similarities) -> torch.Tensor:
        """Similarities to probabilities that a visible source is heard, 0 to 1."""
        return torch.sigmoid(self.scale * similarities.cpu().double() + self.bias)


@dataclass(frozen=True)
class ModelFacts:
    """The facts of one model.

    Args:
        name: what results are labelled with.
        size: side in pixels of the square that pictures are fitted to.
        sample_rate: of the sounds, in Hz.
        seconds: of sound heard at once.
        calibration: what similarities mean; None where nobody measured.
        method: the method that serves this model best; None where nobody measured.
        heard: names of the groups whose sounds and pictures were in training; for reports only.
        keeps_proportions: pictures are fitted to as many pixels as the square has, in their own
            proportions (`media.image.proportions`), instead of being squeezed to it.
    """

    name: str = "unnamed"
    size: int = 224
    sample_rate: int = 16_000
    seconds: float = 10.0
    calibration: Calibration | None = None
    method: str | None = None
    heard: tuple[str, ...] = ()
    keeps_proportions: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not (self.size >= 1 and self.sample_rate >= 1 and self.seconds > 0):
            raise OptionError(
                "facts of a model: size, sample_rate and seconds must be above zero, got "
                f"{self.size}, {self.sample_rate}, {self.seconds}"
            )


@runtime_checkable
class HasFacts(Protocol):
    """A model that describes itself."""

    facts: ModelFacts


def facts_of(model: object) -> ModelFacts:
    """The model's own facts, or the defaults under the name of its class or function."""
    if isinstance(model, HasFacts):
        return model.facts
    return ModelFacts(name=getattr(model, "__name__", type(model).__name__))
