"""What every objective is: a number that falls as a model learns, from pairs alone.

`soundspot.train` knows batches, rates, averages and checkpoints; an objective knows one kind of
model: what is read from a batch, what is set before the first step and after the last.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import torch
from torch import nn

from soundspot.models import SimilarityModel

if TYPE_CHECKING:
    from torch import Tensor

    from soundspot.batches import Batch, Batches
    from soundspot.sound_bank import SoundBank

M = TypeVar("M", bound=SimilarityModel)


class Objective(nn.Module, ABC, Generic[M]):
    """The objective of one kind of model; its own parameters are learned with the model's."""

    waves: ClassVar[bool] = False
    """Whether it hears waveforms for itself, and not the embeddings of the bank."""

    def start(self, model: M, bank: SoundBank) -> None:
        """Set what the training sounds say about the scale of embeddings."""
        model.sound_mean.copy_(bank.whole.mean(0))
        model.sound_deviation.copy_(bank.whole.std(0).mean())

    @abstractmethod
    def forward(self, model: M, batch: Batch) -> Tensor:
        """The loss of one batch."""

    def finish(self, model: M, batches: Batches) -> None:
        """Set what is read out of a trained model, in place; most have nothing to set."""


def first_of_scenes(scenes: Tensor) -> Tensor:
    """The first region of each scene, from the regions' scenes in order."""
    return torch.cat((scenes.new_zeros(1), scenes.diff().nonzero()[:, 0] + 1))
