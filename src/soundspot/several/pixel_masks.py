"""Pixel masks: positions that are said to make the same part of the sound are one source.

Pixel sound (Zhao et al., ECCV 2018) gives every position a mask over the spectrogram. Positions,
weighed by the energy that they are said to make, are grouped by k-means of those masks (averaged to
at most `MOMENTS` moments); a group's map is its positions' energy, and its sound is that of the
mask at the group's brightest position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from soundspot.models.pixel_sound import PixelSound
from soundspot.several.approach import Approach, Found, model_of
from soundspot.several.territory_fit import nearest, weighted_means
from soundspot.watch import frozen

if TYPE_CHECKING:
    from torch import Tensor

    from soundspot.band_mask import BandMask
    from soundspot.several.scene import Scene

MOMENTS = 32


@dataclass(frozen=True)
class PixelMasks(Approach):
    """Positions grouped by the sound that they make."""

    name: ClassVar[str] = "pixel_masks"
    summary: ClassVar[str] = "Group positions by the part of the sound they make (pixel_sound)."
    model: ClassVar[str] = "pixel_sound"
    separates: ClassVar[bool] = True

    def find(self, scene: Scene, sources: int) -> list[Found]:
        """The energy of each group's positions."""
        model = model_of(scene, PixelSound, PixelMasks)
        with frozen(model), torch.no_grad():
            heard = model.hear(scene.sounds)
            energy, similarities = model.compare(scene.images, *heard)
            groups = _groups(_masks(model, scene, heard[0]), energy[0].flatten(), sources)
        owners = groups.view(energy.shape[1:])
        found = []
        for k in range(sources):
            values = torch.where(owners == k, energy[0], energy[0].min()).cpu().numpy()
            mask = _mask(model, scene, values) if scene.listen else None
            found.append(Found(values, float(similarities[0]), None, mask))
        return sorted(found, key=lambda one: -float(one.map.max()))


def _masks(model: PixelSound, scene: Scene, components: Tensor) -> Tensor:
    """The mask of every position in few cells, `n f*t`."""
    mixes = model.look(scene.images).flatten(2).transpose(1, 2)
    few = F.adaptive_avg_pool2d(components, (components.shape[2], MOMENTS))
    return model.masks(mixes, few).sigmoid()[0].flatten(1)


def _groups(masks: Tensor, energy: Tensor, count: int) -> Tensor:
    return nearest(masks, weighted_means(masks, energy, count))


def _mask(
    model: PixelSound, scene: Scene, values: np.ndarray[tuple[int, int], np.dtype[np.float32]]
) -> BandMask:
    """The mask at the brightest position."""
    row, column = np.unravel_index(values.argmax(), values.shape)
    place = ((column + 0.5) / values.shape[1], (row + 0.5) / values.shape[0])
    with frozen(model), torch.no_grad():
        sounds = torch.from_numpy(np.ascontiguousarray(scene.stretch))[None]
        (mask,) = model.mask_at(scene.images, sounds.to(scene.locator.device), place)
    return mask
