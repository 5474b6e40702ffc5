"""The work of `peer_loader.py` and nothing more, on shards: what their layout alone is worth.

    one sample of a shard -> random crop, 1 / 1.1 of the shorter side -> random flip -> normalised
                          -> `seconds` of sound

The random resolutions, colours, blurs and varied sounds of training are left out; pictures are
cropped before they are resized, and normalised a batch at a time.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from peer_loader import DEVIATION, ENLARGED, MEAN
from soundspot.augment_scenes import resized
from soundspot.clip_batches import wave_of
from soundspot.locating import fit_sound
from soundspot.media.image import Picture
from soundspot.shards import Shards
from soundspot.sound_bank import STEP
from soundspot.towers.logmel_cnn import SAMPLE_RATE


def same_work(
    shards: Shards, numbers: Sequence[int], side: int, seconds: float
) -> tuple[Tensor, Tensor]:
    """A batch of pictures, `b 3 side side`, and of sounds, `b samples`."""
    length = round(seconds * SAMPLE_RATE)
    pictures, waves = list[Picture](), list[Tensor]()
    for number in numbers:
        raw = shards.raw(number)
        pictures.append(_cropped(raw.picture(at_least=(side, side)), side))
        waves.append(torch.from_numpy(fit_sound(wave_of(raw), length, STEP)))
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().div_(255)
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
    return pixels.sub_(mean).div_(deviation), torch.stack(waves)


def _cropped(picture: Picture, side: int) -> Picture:
    height, width = picture.shape[:2]
    crop = int(min(height, width) / ENLARGED)
    x, y = random.randint(0, width - crop), random.randint(0, height - crop)
    tile = resized(picture[y : y + crop, x : x + crop], side, side, "bicubic")
    return tile[:, ::-1] if random.random() < 0.5 else tile
