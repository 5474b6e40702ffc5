"""Separate first: factorise the mixture's spectrogram, group its parts, locate each group.

Blind to the picture until the end. Parts of a factorisation of the magnitudes (Smaragdis & Brown,
WASPAA 2003) belong to one source if they *sound like one thing*: each is resynthesised alone, heard
by the model, and grouped by k-means of the voices, weighed by the part's energy. Each group's mask
gives a sound, which is heard and located like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from soundspot.models.model import Heard as Question
from soundspot.several.approach import Approach, Found
from soundspot.several.factorising import factorise
from soundspot.several.space import SharedSpace, shared_space
from soundspot.several.spectra import masked, spectrum, wiener
from soundspot.several.territory_fit import nearest, weighted_means
from soundspot.watch import frozen

if TYPE_CHECKING:
    from torch import Tensor

    from soundspot.band_mask import BandMask
    from soundspot.models.model import SimilarityModel
    from soundspot.several.scene import Scene

PARTS = 12


@dataclass(frozen=True)
class SeparateFirst(Approach):
    """Separate, then locate."""

    name: ClassVar[str] = "separate_first"
    summary: ClassVar[str] = "Factorise the spectrogram, group its parts, locate each group."
    scaled: ClassVar[bool] = True
    separates: ClassVar[bool] = True

    def find(self, scene: Scene, sources: int) -> list[Found]:
        """The scene's method on each separated sound."""
        shared = shared_space(scene, self.name)
        model: SimilarityModel = scene.locator.model  # type: ignore[assignment]
        with frozen(model):
            masks = _groups(shared, scene, sources)
            q, audible = _hear(shared, scene, masks)
            question = Question(model, (q, audible))
            images = scene.images.expand(len(masks), -1, -1, -1)
            maps, scores = scene.locator.method.explain(question, images)
        return [
            Found(maps[k].cpu().numpy(), float(scores[k]), q[k].cpu().numpy(), masks[k])
            for k in scores.argsort(descending=True).tolist()
        ]


def _groups(model: SharedSpace, scene: Scene, count: int) -> list[BandMask]:
    """Masks of the groups of parts."""
    magnitudes = spectrum(scene)
    w, h = factorise(magnitudes, min(PARTS, *magnitudes.shape))
    each = torch.einsum("fc,ct->cft", w, h)
    voices, _ = _hear(model, scene, wiener(scene, each))
    voices = F.normalize(voices, dim=1)
    centres = weighted_means(voices, each.square().sum((1, 2)).to(voices), count)
    owners = F.one_hot(nearest(voices, centres), count).to(each)
    return wiener(scene, torch.einsum("ck,cft->kft", owners, each))


@torch.no_grad()
def _hear(model: SharedSpace, scene: Scene, masks: list[BandMask]) -> tuple[Tensor, Tensor]:
    """The q and h of the sound under each mask."""
    length = scene.sounds.shape[1]
    sounds = [masked(scene, mask) for mask in masks]
    padded = np.stack([np.pad(sound, (0, length - len(sound))) for sound in sounds])
    return model.hear(torch.from_numpy(padded).to(scene.sounds.device))
