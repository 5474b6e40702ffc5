"""What every objective is: a number that falls as a model learns, from pairs alone.

`soundspot.train` knows batches, rates, averages and checkpoints; an objective knows one kind of
model. It says two things apart, so that a batch may be larger than one pass, or one machine:

    embed   what the model makes of each sample, without looking at the others: tensors whose
            first axis is samples (regions, pictures, noises...)
    loss    one number from the parts of the whole batch

`training.learning` may embed piece by piece and hand over the pieces joined (gradient caching), and
under torchrun each rank holds its own rows: where the loss must see those of others it asks
`ranks.gather`, which passes gradients back. The loss is the same number on every rank. Of a matrix
n n of all regions with all sounds, a rank holds the rows of its own regions and no others: what is
shared are means of losses of rows (`ranks.mean_rows`), and sums down columns (`ranks.log_sum_exp`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Generic, TypeAlias, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soundspot.models import SimilarityModel
from soundspot.ranks import Ranks
from soundspot.sound_bank import spread

if TYPE_CHECKING:
    from soundspot.batches import Batch, Batches
    from soundspot.sound_bank import SoundBank

M = TypeVar("M", bound=SimilarityModel)
Parts: TypeAlias = dict[str, Tensor]
"""What a model makes of samples: tensors by name, samples first."""


class Objective(nn.Module, ABC, Generic[M]):
    """The objective of one kind of model; its own parameters are learned with the model's."""

    model: ClassVar[type[SimilarityModel]]
    """The kind of model that it works on."""
    waves: ClassVar[bool] = False
    """Whether it hears waveforms for itself, and not the embeddings of the bank."""

    def start(self, model: M, bank: SoundBank) -> None:
        """Set what the training sounds say about the scale of embeddings."""
        some = spread(bank.whole)
        model.sound_mean.copy_(some.mean(0))
        model.sound_deviation.copy_(some.std(0).mean())

    def prepare(self, model: M, batch: Batch, ranks: Ranks) -> Batch:
        """Settle what concerns a rank's batch as a whole before it may be cut; mostly nothing."""
        return batch

    @abstractmethod
    def embed(self, model: M, batch: Batch) -> Parts:
        """What the model makes of a batch, or of a piece of one: sample by sample."""

    @abstractmethod
    def loss(self, model: M, parts: Parts, ranks: Ranks) -> Tensor:
        """The loss of the whole batch, from this rank's parts and what it gathers."""

    def forward(self, model: M, batch: Batch) -> Tensor:
        """The loss of one batch in one piece on one process."""
        alone = Ranks()
        return self.loss(model, self.embed(model, self.prepare(model, batch, alone)), alone)

    def finish(self, model: M, batches: Batches) -> None:
        """Set what is read out of a trained model, in place; most have nothing to set."""


def both_ways(logits: Tensor, own: Tensor, ranks: Ranks) -> Tensor:
    """InfoNCE of pictures among sounds and of sounds among pictures, over all ranks.

    Args:
        logits: r n, of this rank's pictures with every sound.
        own: r, which sound is each picture's.
        ranks: who has the other rows.
    """
    right = logits.gather(1, own[:, None])[:, 0]
    rows = logits.logsumexp(1) - 2 * right
    return ranks.mean_rows(rows) + ranks.log_sum_exp(logits).mean()


def mean_of_others(losses: Tensor, own: Tensor) -> Tensor:
    """Mean of each row but for one place: `r n`, that place of each row `r` -> `r`."""
    rows = torch.arange(len(own), device=own.device)
    kept = torch.ones_like(losses)
    kept[rows, own] = 0
    return (losses * kept).sum(1) / (losses.shape[1] - 1)


def gate_loss(parts: Parts, ranks: Ranks) -> Tensor:
    """Logistic regression of recordings from noise and silence."""
    return ranks.mean_rows(F.softplus(-parts["audible"]), F.softplus(parts["empty"]))


def first_of_scenes(scenes: Tensor) -> Tensor:
    """The first region of each scene, from the regions' scenes in order."""
    return torch.cat((scenes.new_zeros(1), scenes.diff().nonzero()[:, 0] + 1))
