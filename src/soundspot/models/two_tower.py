"""The two-tower model: a picture tower, a sound tower, and their match at every position.

    z(y, x) = max(0, projected features),  p = z / sqrt(|z|^2 + c^2)
    q = max(0, projected sound) normalised,  |q| = 1
    m(y, x) = <p(y, x), q - a q_mean>             the similarity map
    s = k (pool(m) - e(q)) + log sigmoid(h)       the similarity, a logit

(Arandjelovic & Zisserman, ECCV 2018, and after them most of the field, with |p| = 1, signs,
a = 0, e = 0 and no h.) What differs, each measured (`docs/choices.md`):

- A position where the tower finds little stays small instead of being blown up to unit length,
  and channels only ever speak *for* a match.
- q_mean is the mean of the training sounds: what speaks for any sound is taken off, so the map
  shows what speaks for *this* one.
- e(q) is what this sound scores on training pictures at large (linear, fitted after training).
- h tells whether anything is to be heard at all: silence and noise say so themselves, and the map
  need not bend to them.
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
from soundspot.models.pooling import POOLS
from soundspot.similarity import Evidence
from soundspot.towers.logmel_cnn import FEATURES

if TYPE_CHECKING:
    from soundspot.types import Images, Maps, Sounds

SCALE = 10.0
"""k: brings pooled matches to the units of a logit; calibration sets the rest."""
AUDIBLE_HIDDEN = 64
DROPOUT = 0.1
"""Of the sound's features, in training."""
SMALLEST_SOUND = 1e-4
"""Keeps q defined where every channel is off."""


@dataclass(frozen=True)
class TwoTowerConfig:
    """What a checkpoint must know to build the model again.

    Args:
        embedding: channels of the space where pictures and sounds meet.
        hidden: channels within the sound's projection.
        pool: a name in `models.pooling`.
        softness: c, the length of z at which a position counts for 1 / sqrt(2).
        contrast: a, how much of the mean sound is taken off.
    """

    embedding: int = 256
    hidden: int = 512
    pool: str = "top_share"
    softness: float = 10.0
    contrast: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.pool not in POOLS:
            raise OptionError(f"unknown pool {self.pool!r}; there are {', '.join(POOLS)}")
        if self.embedding < 1 or self.hidden < 1:
            raise OptionError("embedding and hidden are at least 1")
        if self.softness < 0 or self.contrast < 0:
            raise OptionError("softness and contrast are 0 or more")


class TwoTower(SimilarityModel):
    """Similarity of pictures and sounds through a shared space.

    Shape: images `b 3 H W`, sounds `b samples` -> `b`.
    """

    Config = TwoTowerConfig
    mean_sound: Tensor
    expected: Tensor

    def __init__(self, config: TwoTowerConfig | None = None, facts: ModelFacts | None = None):
        super().__init__(config or TwoTowerConfig(), facts or ModelFacts(name="two_tower"))
        self.dropout = nn.Dropout(DROPOUT)
        self.sound_hidden = nn.Linear(FEATURES, self.config.hidden)
        self.sound_head = nn.Linear(self.config.hidden, self.config.embedding)
        self.audible = nn.Sequential(
            nn.Linear(FEATURES, AUDIBLE_HIDDEN), nn.ReLU(), nn.Linear(AUDIBLE_HIDDEN, 1)
        )
        self.register_buffer("mean_sound", torch.zeros(self.config.embedding))
        self.register_buffer("expected", torch.zeros(self.config.embedding + 1))

    def hear(self, sounds: Sounds) -> tuple[Tensor, Tensor]:
        """The q of whole sounds, `b samples` -> `b d`, and h, `b`."""
        return self.project_sounds(self.sound_tower.embed(sounds))

    def compare(self, images: Images, *heard: Tensor) -> Evidence:
        """The match at each position, b H/16 W/16, and the similarity."""
        q, audible = heard
        maps = self.match(self.encode_images(images), q)
        surprise = self.pool(maps) - self.expect(q)
        return Evidence(maps, SCALE * surprise + F.logsigmoid(audible))

    def encode_images(self, images: Images) -> Tensor:
        """p, shorter than 1, at the positions of the picture: `b 3 H W` -> `b d H/16 W/16`."""
        z = F.relu(self.see(images))
        return z / torch.sqrt(z.square().sum(1, keepdim=True) + self.config.softness**2)

    def project_sounds(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings of the sound tower, `b f`, to q, `b d`, and h, `b`."""
        standard = self.dropout(self.standardise(features))
        hidden = F.relu(self.sound_hidden(standard))
        q = F.normalize(F.relu(self.sound_head(hidden)) + SMALLEST_SOUND, dim=1)
        return q, self.audible(standard)[:, 0]

    def match(self, positions: Tensor, q: Tensor) -> Maps:
        """The similarity map: positions `b d h w`, sounds `b d` -> `b h w`."""
        contrasted = q - self.config.contrast * self.mean_sound
        return torch.einsum("bdhw,bd->bhw", positions, contrasted)

    def pool(self, maps: Maps) -> Tensor:
        """Similarity maps `... h w` to one number each `...`."""
        return POOLS[self.config.pool](maps)

    def expect(self, q: Tensor) -> Tensor:
        """e(q), the pooled match of a sound with training pictures at large: `b d` -> `b`."""
        return q @ self.expected[:-1] + self.expected[-1]
