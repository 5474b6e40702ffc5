"""A loader as the field's repositories have it, to be compared with: files, one by one, in Python.

    one JPEG -> RGB -> resize to 1.1 x side (bicubic) -> random crop -> random flip -> normalised
    one wav  -> mono -> repeated or cut to `seconds` -> scipy.signal.spectrogram -> log, scaled

One JPEG and one wav a sample, opened as they were extracted, each transformed on its own, batches
by `torch.utils.data.DataLoader`. This is the method of the loaders published with LVS (Chen et
al., CVPR 2021: 10 s, windows of 512 samples that overlap by 274), EZ-VSL (Mo & Morgado, ECCV 2022:
3 s from the middle, the same windows) and the several repositories derived from them. Written
anew for this comparison; no code is theirs.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
from PIL import Image
from scipy import signal
from torch import Tensor
from torch.utils.data import Dataset

ENLARGED = 1.1
"""Side that a picture is brought to before the crop, over the side of the crop."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's channels."""
WINDOW, OVERLAP = 512, 274
"""Samples under one window, and in common with the next."""
FLOOR, RANGE = 1e-7, 12.0


class PeerPairs(Dataset[tuple[Tensor, Tensor]]):
    """Pairs of files.

    Args:
        pictures: JPEG files.
        sounds: the wav file of each.
        side: of a picture in pixels.
        seconds: of sound.
    """

    def __init__(
        self, pictures: Sequence[Path], sounds: Sequence[Path], side: int, seconds: float
    ) -> None:
        self.pictures, self.sounds = list(pictures), list(sounds)
        self.side, self.seconds = side, seconds

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        """A picture, 3 side side, and a spectrogram, 1 257 frames."""
        torch.set_num_threads(1)
        with Image.open(self.pictures[number]) as opened:
            picture = opened.convert("RGB")
        return self._picture(picture), self._sound(self.sounds[number])

    def _picture(self, picture: Image.Image) -> Tensor:
        scale = int(self.side * ENLARGED) / min(picture.size)
        width, height = (max(self.side, round(n * scale)) for n in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
        x, y = random.randint(0, width - self.side), random.randint(0, height - self.side)
        picture = picture.crop((x, y, x + self.side, y + self.side))
        if random.random() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().div(255)
        return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(DEVIATION)[:, None, None]

    def _sound(self, path: Path) -> Tensor:
        wave, rate = soundfile.read(path, always_2d=True)
        mono, length = wave.mean(1), round(self.seconds * rate)
        mono = np.tile(mono, -(-length // len(mono)))
        start = max(0, (len(wave) - length) // 2)
        _, _, power = signal.spectrogram(
            mono[start : start + length].clip(-1, 1), rate, nperseg=WINDOW, noverlap=OVERLAP
        )
        return torch.from_numpy(np.log(power + FLOOR) / RANGE).float()[None]
