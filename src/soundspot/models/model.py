"""What the similarity models of this package share: two towers that keep positions.

Picture: EfficientNet-Lite0 at two strides. The stride-32 features know what a thing is, the
stride-16 features where it ends; each is projected by a 1 x 1 convolution (`coarse`, `fine`), and
their sum lives on the stride-16 grid. Sound: `LogMelCNN`, standardised by the training sounds.

All models start from the same tower weights and differ in what follows: that is what makes their
comparison one of *ideas*. A model says how it hears (`hear`) and how it answers about pictures
(`compare`); being called with pairs, and hearing once for many pictures, follow from these.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soundspot.errors import OptionError
from soundspot.facts import ModelFacts
from soundspot.models.saving import push_model, save_model
from soundspot.towers.efficientnet_lite import (
    HEAD_CHANNELS,
    STRIDE_16_CHANNELS,
    EfficientNetLite0,
    SameConv,
)
from soundspot.towers.logmel_cnn import FEATURES, LogMelCNN
from soundspot.towers.precision import PartlyCast

if TYPE_CHECKING:
    from soundspot.similarity import Evidence
    from soundspot.types import Images, Maps, Similarities, Sounds

START_COARSE, START_FINE = 0.03, 0.01
"""Standard deviations of the projections before training: meaning first, detail grows."""


class SimilarityModel(PartlyCast, ABC):
    """A similarity of pictures and sounds, on the shared towers.

    Args:
        config: a frozen dataclass whose `embedding` is the channels of the projected positions.
        facts: what the model says of itself.

    `notes` is what its checkpoint says besides (`soundspot.card` has the names that cards know).

    In half precision (`model.half()`, `model.bfloat16()`) the towers compute in it, and what is
    made of their features stays in float32: maps and similarities too.

    Shape: images `b 3 H W`, sounds `b samples` -> `b`.
    """

    cast = ("image_tower", "coarse", "fine", "sound_tower")
    exact = (torch.float32, torch.float64)
    Config: ClassVar[type[Any]]
    """The dataclass that builds this model: all that a checkpoint stores beside weights."""
    inner_map = "image_tower.blocks.4"
    """The last features at stride 8."""
    sound_mean: Tensor
    sound_deviation: Tensor

    def __init__(self, config: Any, facts: ModelFacts) -> None:
        super().__init__()
        self.config, self.facts = config, facts
        self.notes: dict[str, Any] = {}
        self.image_tower = EfficientNetLite0().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.coarse = SameConv(HEAD_CHANNELS, config.embedding, 1)
        self.fine = SameConv(STRIDE_16_CHANNELS, config.embedding, 1, bias=False)
        nn.init.normal_(self.coarse.weight, std=START_COARSE)
        nn.init.normal_(self.fine.weight, std=START_FINE)
        self.sound_tower = LogMelCNN().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.register_buffer("sound_mean", torch.zeros(FEATURES))
        self.register_buffer("sound_deviation", torch.ones(()))

    @abstractmethod
    def hear(self, sounds: Sounds) -> tuple[Tensor, ...]:
        """What the model keeps of sounds, `b samples`; every tensor has b rows."""

    @abstractmethod
    def compare(self, images: Images, *heard: Tensor) -> Evidence:
        """The model's own maps of pictures, b h w, and its similarities, b, from one pass."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any], facts: ModelFacts) -> Self:
        """Build an untrained model from what `describe` said."""
        return cls(cls.Config(**config), facts)

    def describe(self) -> dict[str, Any]:
        """The configuration, as a checkpoint stores it."""
        return asdict(self.config)

    def save(
        self, path: str | Path, *, half: bool = True, base: str | None = None, **notes: Any
    ) -> None:
        """Save the model with all it needs to be used again.

        Args:
            path: a file where the name ends in .safetensors; else a folder as hub repositories
                are: weights, their header with a digest as JSON, and a model card.
            half: store float32 weights as float16 (half the size, answers equal to about 1e-3).
            base: an embedded model; what its sound tower has is left out of ours.
            notes: whatever else the header and the card should say (JSON), beside `self.notes`:
                license, labels, trained, figures, limits, or any other name.

        Raises:
            CheckpointError: the model's class is none of ours, its weights do not fit into float16
                (or are not finite), the base is none that is embedded, the folder holds another
                library's files, or the disk refuses.
        """
        save_model(self, path, half=half, base=base, notes=notes)

    def push(
        self, repo: str, *, half: bool = True, private: bool | None = None, **notes: Any
    ) -> str:
        """Upload the model's folder to the Hugging Face Hub; returns its address.

        Args:
            repo: OWNER/NAME; made where missing. A card that it has already is kept.
            half: as `save`.
            private: of a repository that is made; None takes the owner's default.
            notes: as `save`.

        Raises:
            CheckpointError: as `save`; and huggingface_hub is missing, nobody is logged in, or the
                network is down.
        """
        return push_model(self, repo, half=half, private=private, notes=notes)

    def forward(self, images: Images, sounds: Sounds) -> Similarities:
        """One similarity a pair; none of none.

        Raises:
            OptionError: another number of pictures than of sounds.
        """
        if len(images) != len(sounds):
            raise OptionError(f"one sound a picture: got {len(images)} and {len(sounds)}")
        return self.fix_sound(sounds)(images)

    def fix_sound(self, sounds: Sounds) -> Heard:
        """Hear once; the question is about as many pictures as there are sounds."""
        return Heard(self, self.hear(sounds))

    def see(self, images: Images) -> Tensor:
        """Projected features at the positions of the picture: `b 3 H W` -> `b d H/16 W/16`."""
        images = images.contiguous(memory_format=torch.channels_last)
        fine, coarse = self.image_tower(images)
        detail: Tensor = self.fine(fine)
        large = F.interpolate(self.coarse(coarse), detail.shape[-2:], mode="bilinear")
        return self.widen(detail + large)

    def widen(self, features: Tensor) -> Tensor:
        """Features of a tower in the precision of what follows, where the towers have another."""
        dtype = self.sound_mean.dtype
        return features if self.coarse.weight.dtype == dtype else features.to(dtype)

    def standardise(self, features: Tensor) -> Tensor:
        """Embeddings of the sound tower, centred and scaled by those of the training sounds."""
        return (features - self.sound_mean) / self.sound_deviation

    def feature_strength(self, images: Images) -> Maps:
        """Channel mean of the stride-32 features, b H/32 W/32: salience, deaf to the sound."""
        return self.widen(self.image_tower(images)[1]).mean(1)


@dataclass(frozen=True)
class Heard:
    """The question about sounds that a model has heard: as many pictures as rows in `sounds`."""

    model: SimilarityModel
    sounds: tuple[Tensor, ...]

    def __call__(self, images: Images) -> Similarities:
        """Shape: b 3 H W -> b."""
        return self.own_map(images).similarities

    def of(self, rows: Sequence[int]) -> Heard:
        """The question about the sounds in `rows`."""
        return Heard(self.model, tuple(part[list(rows)] for part in self.sounds))

    def own_map(self, images: Images) -> Evidence:
        """The model's own map and, from the same pass, its similarities."""
        return self.model.compare(images, *self.sounds)
