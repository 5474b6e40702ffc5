"""Pixel sound: how much of the sound does each pixel make?

After "The Sound of Pixels" (Zhao et al., ECCV 2018). A U-Net splits the spectrogram of what is
heard into K components s_k(t, f); the picture says at each position how much of each it has,
i_k(y, x). Together they mask the spectrogram:

    m(y, x, t, f) = sigmoid(sum over k of w_k i_k(y, x) s_k(t, f) + b)
    E(y, x)       = sum over (t, f) of m P / sum over (t, f) of P       P: loudness of (t, f)

The map is E: the share of the sound's energy that the position is said to make. The similarity is
the logit of the same share for the picture as a whole, whose i_k are pooled over positions.
Applied to the waveform's spectrogram, the mask gives the separated sound (`soundspot.separating`).

The descending half of the U-Net is the shared sound tower, so this model too starts from the same
weights; spectrograms are log-mel. As with pictures, what a sound *is* comes straight from the
tower's last features, one vector every 0.16 s, and where it begins and ends from the ascending
half; both are summed. Masks live on half of the tower's grid: 32 bands, 20 ms. Both i and s are
rectified and shortened, z / sqrt(|z|^2 + c^2): components only ever speak *for* a place, and one
where little is found is left to b.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from soundspot.band_mask import BandMask
from soundspot.errors import OptionError
from soundspot.facts import ModelFacts
from soundspot.models.model import SimilarityModel
from soundspot.models.pooling import top_share
from soundspot.similarity import Evidence
from soundspot.towers.logmel_cnn import (
    FEATURES,
    HOP,
    LOG_MEAN,
    LOG_RANGE,
    MEL_FLOOR,
    SAMPLE_RATE,
    STAGES,
    STEM_CHANNELS,
    WINDOW,
    band_centres,
)

if TYPE_CHECKING:
    from soundspot.types import Images, Sounds

WIDTHS = (64, 48, 32, 32)
"""Channels of the ascending half, from the deepest up."""
LOUDNESS_POWER = 0.25
"""P is the power of a band to this power: soft parts count too."""
SMALLEST_SHARE = 1e-2
"""Shares are kept this far from 0 and 1: their logit is finite, and rounding stays small in it."""
SMALLEST_LOUDNESS = 1e-4
"""Added to P, so that silence too has a sum."""


SOUND_SOFTNESS = 1.0
"""c of the sound's components."""
START_WEIGHT, START_BIAS = 10.0, -2.0
"""w and b before training."""


@dataclass(frozen=True)
class PixelSoundConfig:
    """What a checkpoint must know to build the model again.

    Args:
        components: K.
        softness: c, the length of z at which a position counts for 1 / sqrt(2).
    """

    components: int = 64
    softness: float = 10.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.components < 1 or self.softness < 0:
            raise OptionError("components is at least 1, softness 0 or more")

    @property
    def embedding(self) -> int:
        """Channels of the projected positions: one a component."""
        return self.components


class Ascent(nn.Module):
    """The ascending half of the U-Net: from the sound tower's maps to K components."""

    def __init__(self, components: int) -> None:
        super().__init__()
        skips = [STEM_CHANNELS, *(channels for channels, _, _ in STAGES)]
        below, layers = skips.pop(), []
        for width in WIDTHS:
            layers.append(nn.Conv2d(below + skips.pop(), width, 3, padding=1))
            below = width
        self.layers = nn.ModuleList(layers)
        self.last = nn.Conv2d(below, components, 1)
        nn.init.zeros_(self.last.weight)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Maps from the finest down -> `b K f t` on the grid of the finest."""
        x = maps[-1]
        for layer, skip in zip(self.layers, reversed(maps[:-1]), strict=True):
            x = F.interpolate(x, skip.shape[-2:], mode="nearest")
            x = F.relu(layer(torch.cat((x, skip), 1)))
        components: Tensor = self.last(x)
        return components


class PixelSound(SimilarityModel):
    """The share of a sound that a picture makes, as a logit.

    Shape: images `b 3 H W`, sounds `b samples` -> `b`.
    """

    Config = PixelSoundConfig

    def __init__(self, config: PixelSoundConfig | None = None, facts: ModelFacts | None = None):
        super().__init__(config or PixelSoundConfig(), facts or ModelFacts(name="pixel_sound"))
        components = self.config.components
        self.ascent = Ascent(components)
        self.sound_kind = nn.Conv1d(FEATURES, components, 1)
        self.weight = nn.Parameter(torch.full((components,), START_WEIGHT))
        self.bias = nn.Parameter(torch.tensor(START_BIAS))

    def hear(self, sounds: Sounds) -> tuple[Tensor, Tensor]:
        """Components s, `b samples` -> `b K f t`, and loudness P, `b f t`, which sums to 1."""
        return self.split(self.sound_tower.log_mel(sounds))

    def split(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """The same from a normalised log-mel spectrogram, `b 64 frames`."""
        maps = self.sound_tower.maps(log_mel)
        detail = self.ascent([self.widen(one) for one in maps])
        kind = self.sound_kind(self._standard(self.sound_tower.collapsed(maps[-1])))
        kind = F.interpolate(kind, detail.shape[-1], mode="linear")
        components = shorten(F.relu(detail + kind[:, :, None]), SOUND_SOFTNESS)
        loud = F.avg_pool2d(loudness(log_mel).to(self.weight.dtype)[:, None], 2)[:, 0]
        return components, loud / loud.sum((1, 2), keepdim=True)

    def _standard(self, features: Tensor) -> Tensor:
        """Features of the sound tower at positions in time, `b f t`, centred and scaled."""
        return self.standardise(features.transpose(1, 2)).transpose(1, 2)

    def look(self, images: Images) -> Tensor:
        """i, shorter than 1, at the positions of the picture: `b 3 H W` -> `b K H/16 W/16`."""
        return shorten(F.relu(self.see(images)), self.config.softness)

    def masks(self, mixes: Tensor, components: Tensor) -> Tensor:
        """Logits of m: i of n places, `b n K`, and s, `b K f t` -> `b n f t`."""
        return torch.einsum("bnk,bkft->bnft", mixes * self.weight, components) + self.bias

    def share(self, mixes: Tensor, components: Tensor, loud: Tensor) -> Tensor:
        """E of n places: `b n K`, `b K f t`, `b f t` -> `b n`."""
        return torch.einsum("bnft,bft->bn", self.masks(mixes, components).sigmoid(), loud)

    def mask_at(self, images: Images, sounds: Sounds, place: tuple[float, float]) -> list[BandMask]:
        """How much of each sound comes from one place of its picture.

        Args:
            images: b 3 H W.
            sounds: b samples, of any length.
            place: x and y in fractions of width and height, 0 to 1 (exclusive).
        """
        mixes = self.look(images)
        height, width = mixes.shape[2:]
        column, row = int(place[0] * width), int(place[1] * height)
        masks = self.masks(mixes[:, None, :, row, column], self.hear(sounds)[0]).sigmoid()[:, 0]
        frequencies, times = self._grid(masks.shape[2])
        return [BandMask(mask, frequencies, times) for mask in masks.cpu().numpy()]

    def _grid(self, moments: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Hz and seconds of the middles of the mask's cells."""
        bands = band_centres().reshape(-1, 2).mean(1)
        times = ((np.arange(moments) * 2 + 0.5) * HOP + WINDOW / 2) / SAMPLE_RATE
        return bands, times

    def compare(self, images: Images, *heard: Tensor) -> Evidence:
        """E at each position, b H/16 W/16, and the logit of the whole picture's."""
        components, loud = heard
        mixes = self.look(images)
        shares = self.share(mixes.flatten(2).transpose(1, 2), components, loud)
        whole = self.share(top_share(mixes)[:, None], components, loud)[:, 0]
        kept = SMALLEST_SHARE + (1 - 2 * SMALLEST_SHARE) * whole
        return Evidence(shares.view(len(shares), *mixes.shape[2:]), kept.logit())


def shorten(z: Tensor, softness: float) -> Tensor:
    """Bring vectors along dimension 1 to z / sqrt(|z|^2 + softness^2), shorter than 1."""
    return z / torch.sqrt(z.square().sum(1, keepdim=True) + softness**2)


def loudness(log_mel: Tensor) -> Tensor:
    """P before it is brought to a sum of 1, of a normalised log-mel spectrogram."""
    power = torch.exp(log_mel * LOG_RANGE + LOG_MEAN) - MEL_FLOOR
    return power.clamp(min=0) ** LOUDNESS_POWER + SMALLEST_LOUDNESS
