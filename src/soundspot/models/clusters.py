"""Clusters: deep multimodal clustering (Hu, Nie & Li, CVPR 2019).

Positions of the picture and of the sound (time by frequency) are clustered by the same soft
K-means, written as a few iterations within the network. Cluster k sees position u_i through its
own projection W_k, which both modalities share, so that cluster k of the picture and cluster k of
the sound are about the same thing:

    u_ik = W_k u_i
    c_k  = sum over i of a_ik u_ik,    a_ik = softmax over k of b cos(c_k, u_ik)
    s    = sum over k of cos(c_k of the picture, c_k of the sound)

starting from a_ik = 1 / K, in `rounds` rounds; b is the stiffness of the assignment. Before, a
vector u is shortened to u tanh(|u| / 10) / |u|. (The authors' code has tanh(10 |u|), which brings
all but the weakest to length 1; here positions where the tower finds little stay short.)

The map of a sound is what each position's assignments give to the match with the sound's centres:
sum over k of a_ik u_ik . c_k / |c_k|, c_k the sound's, of which the sum over positions is what the
cosines are made of. The bare assignment to matching clusters marks where a cluster is, whether or
not its positions agree with the sound; as a map it is much weaker (`docs/choices.md`). Cluster by
cluster (`assignments`) it tells several sources apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soundspot.errors import ModelError, OptionError
from soundspot.facts import ModelFacts
from soundspot.models.model import SimilarityModel
from soundspot.similarity import Evidence
from soundspot.towers.logmel_cnn import STAGES

if TYPE_CHECKING:
    from soundspot.types import Images, Sounds

SQUASH = 0.1
"""Vectors longer than about 1 / SQUASH are brought to length 1."""
SHORTEST = 1e-12
"""Added to squared lengths, so that a zero vector has a gradient."""
START_SOUND = 0.05
"""Standard deviation of the sound's projection before training."""


@dataclass(frozen=True)
class ClustersConfig:
    """What a checkpoint must know to build the model again.

    Args:
        embedding: channels of the positions u.
        clusters: K.
        space: channels of each cluster's own projection.
        rounds: of the soft K-means.
        stiffness: b, how sharply positions are assigned.
    """

    embedding: int = 256
    clusters: int = 10
    space: int = 16
    rounds: int = 3
    stiffness: float = 5.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if min(self.embedding, self.space, self.rounds) < 1 or self.clusters < 2:
            raise OptionError("embedding, space and rounds are at least 1, clusters at least 2")
        if not self.stiffness > 0:
            raise OptionError("stiffness is above 0")


class Clusters(SimilarityModel):
    """Similarity of the clusters of a picture and of a sound.

    Shape: images `b 3 H W`, sounds `b samples` -> `b`.
    """

    Config = ClustersConfig

    def __init__(self, config: ClustersConfig | None = None, facts: ModelFacts | None = None):
        super().__init__(config or ClustersConfig(), facts or ModelFacts(name="clusters"))
        channels = STAGES[-1][0]
        self.sound_positions = nn.Conv2d(channels, self.config.embedding, 1)
        nn.init.normal_(self.sound_positions.weight, std=START_SOUND)
        self.project = nn.Linear(
            self.config.embedding, self.config.clusters * self.config.space, bias=False
        )

    def hear(self, sounds: Sounds) -> tuple[Tensor]:
        """The centres of the sound's clusters, `b samples` -> `b K space`."""
        return (self.hear_positions(self.widen(self.sound_tower.positions(sounds))),)

    def hear_positions(self, features: Tensor) -> Tensor:
        """The same from the sound tower's map, `b c f t` (frequency, time)."""
        positions = F.relu(self.sound_positions(features)).flatten(2)
        self._check_room(positions, "sound", "give a longer one")
        return centres(*self.cluster(positions))

    def compare(self, images: Images, *heard: Tensor) -> Evidence:
        """What each position gives to the match, b H/16 W/16, and the similarity."""
        (sound,) = heard
        u, shares, size = self._see_clusters(images)
        directions = F.normalize(sound, dim=2)
        gives = torch.einsum("bkp,bpks,bks->bp", shares, u, directions)
        return Evidence(gives.view(len(u), *size), self._matches(u, shares, sound).sum(1))

    def assignments(self, images: Images, sound: Tensor) -> tuple[Tensor, Tensor]:
        """How well each cluster matches, `b K` (-1 to 1), and what belongs to it, `b K h w`.

        Args:
            images: b 3 H W.
            sound: b K space, from `hear`.
        """
        u, shares, size = self._see_clusters(images)
        return self._matches(u, shares, sound), shares.view(*shares.shape[:2], *size)

    def _see_clusters(self, images: Images) -> tuple[Tensor, Tensor, tuple[int, ...]]:
        """u, `b p K space`, the shares a, `b K p`, and the grid's height and width."""
        positions = F.relu(self.see(images))
        self._check_room(positions.flatten(2), "picture", "give a larger one")
        return *self.cluster(positions.flatten(2)), tuple(positions.shape[2:])

    def _matches(self, u: Tensor, shares: Tensor, sound: Tensor) -> Tensor:
        return F.cosine_similarity(centres(u, shares), sound, dim=2)

    def cluster(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Soft K-means: `b d p` -> u, `b p K space`, and the shares a, `b K p`."""
        config = self.config
        u = self.project(squash(positions.transpose(1, 2)))
        u = u.view(*u.shape[:2], config.clusters, config.space)
        shares = u.new_full((len(u), config.clusters, u.shape[1]), 1 / config.clusters)
        directions = F.normalize(u, dim=3)
        for _ in range(config.rounds - 1):
            towards = F.normalize(centres(u, shares), dim=2)
            nearness = torch.einsum("bks,bpks->bkp", towards, directions)
            shares = (config.stiffness * nearness).softmax(1)
        return u, shares

    def _check_room(self, positions: Tensor, what: str, remedy: str) -> None:
        if positions.shape[2] < self.config.clusters:
            raise ModelError(
                f"clusters: the {what} has {positions.shape[2]} positions, fewer than the "
                f"{self.config.clusters} clusters; {remedy}, or a model with fewer clusters"
            )


def centres(u: Tensor, shares: Tensor) -> Tensor:
    """Sums of positions by their shares: `b p K space`, `b K p` -> `b K space`."""
    return torch.einsum("bkp,bpks->bks", shares, u)


def squash(u: Tensor) -> Tensor:
    """Shorten u to u tanh(|u| / 10) / |u|, over the last dimension."""
    length = (u.square().sum(-1, keepdim=True) + SHORTEST).sqrt()
    return u * torch.tanh(SQUASH * length) / length
