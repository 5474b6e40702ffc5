"""Attention: the sound chooses where to look (Senocak et al., CVPR 2018).

With v(y, x) the picture's features and h = MLP(sound), in one space and both of length 1:

    a(y, x) = softmax over (y, x) of max(0, cos(v(y, x), h)) / t    the attention
    z       = sum of a(y, x) v(y, x)                                what is seen there
    s       = -|z / |z| - h|                                        how near it is to the sound

The map is the attention itself. Two things differ from the paper, both measured
(`docs/choices.md`). There t = 1: a cosine lies in 0..1, so no position can weigh more than e times
another, and whether the attention finds the source hardly matters to z. And there z and the sound
pass through layers of their own before they meet: then z may come from anywhere that betrays the
source, and the attention points beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soundspot.errors import OptionError
from soundspot.facts import ModelFacts
from soundspot.models.model import SimilarityModel
from soundspot.similarity import Evidence
from soundspot.towers.logmel_cnn import FEATURES

if TYPE_CHECKING:
    from soundspot.types import Images, Sounds

SMALLEST_DISTANCE = 1e-6
"""Added to squared distances, so that their root has a gradient everywhere."""
DROPOUT = 0.1
"""Of the sound's features, in training."""


@dataclass(frozen=True)
class AttentionConfig:
    """What a checkpoint must know to build the model again.

    Args:
        embedding: channels of v and h.
        hidden: channels within the sound's projection.
        temperature: t of the attention.
    """

    embedding: int = 256
    hidden: int = 512
    temperature: float = 0.1

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.embedding < 1 or self.hidden < 1:
            raise OptionError("embedding and hidden are at least 1")
        if not self.temperature > 0:
            raise OptionError("temperature is above 0")


class Attention(SimilarityModel):
    """Similarity of a sound and of what it attends to.

    Shape: images `b 3 H W`, sounds `b samples` -> `b`.
    """

    Config = AttentionConfig

    def __init__(self, config: AttentionConfig | None = None, facts: ModelFacts | None = None):
        super().__init__(config or AttentionConfig(), facts or ModelFacts(name="attention"))
        self.dropout = nn.Dropout(DROPOUT)
        self.sound_hidden = nn.Linear(FEATURES, self.config.hidden)
        self.sound_head = nn.Linear(self.config.hidden, self.config.embedding)

    def hear(self, sounds: Sounds) -> tuple[Tensor]:
        """h, `b samples` -> `b d`."""
        return (self.project_sounds(self.sound_tower.embed(sounds)),)

    def project_sounds(self, features: Tensor) -> Tensor:
        """Embeddings of the sound tower to h: `b f` -> `b d`."""
        hidden = F.relu(self.sound_hidden(self.dropout(self.standardise(features))))
        return F.normalize(self.sound_head(hidden), dim=1)

    def compare(self, images: Images, *heard: Tensor) -> Evidence:
        """The attention, b H/16 W/16, and the similarity."""
        (h,) = heard
        v = self.look(images)
        attention = self.weigh(torch.einsum("bdhw,bd->bhw", v, h).flatten(1))
        z = torch.einsum("bdp,bp->bd", v.flatten(2), attention)
        return Evidence(attention.view(len(h), *v.shape[2:]), -distance(F.normalize(z, dim=1), h))

    def look(self, images: Images) -> Tensor:
        """v, of length 1, at the positions of the picture: `b 3 H W` -> `b d H/16 W/16`."""
        return F.normalize(F.relu(self.see(images)), dim=1)

    def weigh(self, match: Tensor) -> Tensor:
        """Cosines to attention, over the last dimension."""
        weights: Tensor = (F.relu(match) / self.config.temperature).softmax(-1)
        return weights


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean, over the last dimension."""
    return ((a - b).square().sum(-1) + SMALLEST_DISTANCE).sqrt()
