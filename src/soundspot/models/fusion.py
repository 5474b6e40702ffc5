"""Fusion: do this picture and this sound belong together?

After Owens & Efros, "Audio-Visual Scene Analysis with Self-Supervised Multisensory Features",
ECCV 2018.
Picture and sound are joined early: at every position the picture's features stand beside the
sound's embedding, and one network reads both. It ends in the mean over positions and one unit,
"they belong together". There are no two towers whose embeddings could be compared; the map is the
class activation map (Zhou et al., CVPR 2016) of that unit, its weights applied before the mean:

    x(y, x) = network of (v(y, x), f_s)
    s       = mean over (y, x) of x(y, x) . w + b,    map = x(y, x) . w + b

A 1 x 1 convolution of two things side by side is the sum of one of each: that is how it is
written, and why the picture's part can be computed once for many sounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from soundspot.errors import OptionError
from soundspot.facts import ModelFacts
from soundspot.models.model import SimilarityModel
from soundspot.similarity import Evidence
from soundspot.towers.logmel_cnn import FEATURES

if TYPE_CHECKING:
    from soundspot.types import Images, Sounds

DROPOUT = 0.1
"""Of the sound's features, in training."""


@dataclass(frozen=True)
class FusionConfig:
    """What a checkpoint must know to build the model again.

    Args:
        embedding: channels where picture and sound meet.
        hidden: channels of the layers behind.
    """

    embedding: int = 512
    hidden: int = 192

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.embedding < 1 or self.hidden < 1:
            raise OptionError("embedding and hidden are at least 1")


class Fusion(SimilarityModel):
    """A classifier of pairs: right or wrong.

    Shape: images `b 3 H W`, sounds `b samples` -> `b`, a logit.
    """

    Config = FusionConfig

    def __init__(self, config: FusionConfig | None = None, facts: ModelFacts | None = None):
        super().__init__(config or FusionConfig(), facts or ModelFacts(name="fusion"))
        joined, hidden = self.config.embedding, self.config.hidden
        self.dropout = nn.Dropout(DROPOUT)
        self.sound_head = nn.Linear(FEATURES, joined)
        self.narrow = nn.Conv2d(joined, hidden, 1)
        self.first = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.second = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.together = nn.Conv2d(hidden, 1, 1)

    def hear(self, sounds: Sounds) -> tuple[Tensor]:
        """The sound's part of the joint, `b samples` -> `b d`."""
        return (self.project_sounds(self.sound_tower.embed(sounds)),)

    def project_sounds(self, features: Tensor) -> Tensor:
        """The same from embeddings of the sound tower, `b f` -> `b d`."""
        projected: Tensor = self.sound_head(self.dropout(self.standardise(features)))
        return projected

    def compare(self, images: Images, *heard: Tensor) -> Evidence:
        """The class activation map, b H/16 W/16, and the logit."""
        (sound,) = heard
        maps = self.join(self.see(images), sound)
        return Evidence(maps, maps.mean((1, 2)))

    def join(self, positions: Tensor, sound: Tensor) -> Tensor:
        """The class activation map: `b d h w`, `b d` -> `b h w`."""
        x = F.relu(positions + sound[:, :, None, None])
        x = F.relu(self.narrow(x))
        x = F.relu(x + self.second(F.relu(self.first(x))))
        activation: Tensor = self.together(x)
        return activation[:, 0]
