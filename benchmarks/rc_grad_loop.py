"""A gradient peer asked frame by frame, as its authors' code asks it; `video.py` times it.

It stands for RC-Grad (Wu, Fuentes, Seetharaman and Bello, "How to Listen? Rethinking Visual Sound
Localization", Interspeech 2022), and for the loop that a user would write around any such model.
Written anew from the paper and the shape of the public network; weights are random, because only
its cost is looked at.

- Picture: ResNet-18 (He et al. 2016) whose last stage keeps its resolution, 14 x 14 at 224 px.
- Sound: ResNet-18 with one input channel, on a log spectrogram (512 points, hop 353, 16 kHz).
- Map: Grad-CAM (Selvaraju et al., ICCV 2017) of the last stage. The dot product of the two
  embeddings is back-propagated *into all parameters of the picture network*, whose gradients are
  thrown away; the mean gradients weigh the activations; what is above 0 is brought to the
  picture's size, and what is below the median is cut off.

One frame, one window of sound, one forward and one backward pass; nothing is kept between frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTHS = (64, 128, 256, 512)
"""Channels of the four stages."""
POINTS, HOP = 512, 353
"""Of the spectrogram."""
FLOOR = 1e-7


class Block(nn.Module):
    """Two convolutions and a short cut."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
        )
        same = before == width and stride == 1
        self.short_cut = nn.Sequential() if same else nn.Sequential(
            nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Shape: b c h w -> b width h/stride w/stride."""
        return F.relu(self.body(x) + self.short_cut(x))


def resnet18(channels: int, last_stride: int) -> nn.Sequential:
    """Stem and four stages of two blocks: b channels h w -> b 512 h' w'."""
    stages: list[nn.Module] = [
        nn.Conv2d(channels, WIDTHS[0], 7, 2, 3, bias=False),
        nn.BatchNorm2d(WIDTHS[0]),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    ]
    before = WIDTHS[0]
    for width, stride in zip(WIDTHS, (1, 2, 2, last_stride), strict=True):
        stages += [Block(before, width, stride), Block(width, width, 1)]
        before = width
    return nn.Sequential(*stages)


class RcGradLike:
    """The peer: two networks in evaluation mode, their parameters requiring gradients."""

    def __init__(self) -> None:
        self.pictures = resnet18(3, last_stride=1).eval()
        self.sounds = resnet18(1, last_stride=2).eval()
        self.window = torch.hann_window(POINTS)

    def map_of(self, picture: Tensor, sound: Tensor) -> Tensor:
        """The map of one frame, H W, from its picture (3 H W) and its window (samples)."""
        heard = self.hear(sound)
        activations = self.pictures(picture[None])
        activations.retain_grad()
        self.pictures.zero_grad()
        activations.mean((2, 3)).backward(heard)
        weights = activations.grad.mean((2, 3), keepdim=True)
        coarse = F.relu((weights * activations).sum(1, keepdim=True).detach())
        found = F.interpolate(coarse, size=picture.shape[1:], mode="bilinear")[0, 0]
        span = (found.max() - found.min()).clamp(min=FLOOR)
        scaled = (found - found.min()) / span
        return scaled.where(scaled >= scaled.median(), torch.zeros(()))

    def hear(self, sound: Tensor) -> Tensor:
        """The embedding of one window, 1 512."""
        spectrum = torch.stft(
            sound, POINTS, HOP, window=self.window, center=True, return_complex=True
        )
        levels = torch.log(spectrum.abs().square() + FLOOR)
        standard = (levels - levels.mean()) / (levels.std() + FLOOR)
        embedded: Tensor = self.sounds(standard[None, None]).mean((2, 3))
        return embedded

    def maps_of(self, pictures: Sequence[Tensor], sounds: Sequence[Tensor]) -> list[Tensor]:
        """The plain loop: frame after frame."""
        return [self.map_of(p, s) for p, s in zip(pictures, sounds, strict=True)]
