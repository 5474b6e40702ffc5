"""LogMelCNN: a small sound tower that keeps time positions.

A log-mel spectrogram (`LogMel`) is read by a plain residual network of 3 x 3 convolutions and
ReLU (He et al., CVPR 2016), halved in time four times and in frequency five times. Beside the
spectrogram the first convolution sees a second channel, the height of the band: a convolution
alone cannot tell a low sound from a high one.

There is no normalisation layer: `soundspot.distill` trains with batch norm after every
convolution and folds it in at the end, so here no row of a batch can influence another.

A clip often holds half a second of sound and then digital silence, and a plain mean over time
would drown the sound. `pool` weighs each position by a softmax over time of one learned number
(attention pooling; Ilse, Tomczak & Welling, ICML 2018).
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from soundspot.towers.precision import PartlyCast

SAMPLE_RATE = 16_000
"""Hz."""
WINDOW = 400
"""Samples under one Hann window: 25 ms."""
HOP = 160
"""Samples from one frame to the next: 10 ms."""
FFT_SIZE = 512
BANDS = 64
LOWEST, HIGHEST = 125.0, 7500.0
"""Hz: the outer corners of the first and the last band."""
TOGETHER = 16
"""Bands computed at once, from the stretch of bins that they weigh: a quarter of the work."""
MEL_FLOOR = 1e-5
"""Added to each band's power before the logarithm, so that silence is finite.

White noise of -75 dBFS is about as loud as the floor."""
LOG_MEAN, LOG_RANGE = -3.0, 4.0
"""Brings log powers of everyday sounds near zero mean and unit variance."""

POSITION_FRAMES = 16
POSITION_SECONDS = POSITION_FRAMES * HOP / SAMPLE_RATE
"""One position of the features every 0.16 s."""
STEM_CHANNELS = 24
STAGES = ((48, (2, 2), 0), (96, (2, 2), 1), (160, (2, 2), 1), (256, (2, 1), 1))
"""Channels, stride (frequency, time) and residual pairs of the stages behind the stem."""
FEATURES = 512


def hz_to_mel(hz: Tensor) -> Tensor:
    """Mel of a frequency in Hz, after the HTK book: 1127 ln(1 + hz / 700)."""
    return 1127.0 * torch.log1p(hz / 700.0)


def mel_filters(bands: int, lowest: float, highest: float, fft_size: int, rate: int) -> Tensor:
    """Triangles on the mel axis that weigh the bins of a spectrum.

    The `bands + 2` corners are equally spaced in mel; band i rises from corner i to a weight
    of 1 at corner i + 1 and falls to 0 at corner i + 2. Bin 0 (the mean) weighs nothing.

    Shape: `bands fft_size/2+1`.
    """
    ends = hz_to_mel(torch.tensor([lowest, highest], dtype=torch.float64))
    corners = torch.linspace(float(ends[0]), float(ends[1]), bands + 2, dtype=torch.float64)
    bins = hz_to_mel(torch.arange(fft_size // 2 + 1, dtype=torch.float64) * rate / fft_size)
    width = corners[1] - corners[0]
    weights = 1 - (bins[None] - corners[1:-1, None]).abs() / width
    weights[:, 0] = 0
    return weights.clamp(min=0).float()


def spans_of(filters: Tensor, size: int) -> list[tuple[slice, slice]]:
    """Groups of `size` bands, each with the stretch of bins that any of them weighs."""
    spans = []
    for first in range(0, len(filters), size):
        bands = slice(first, first + size)
        weighed = filters[bands].any(0).nonzero()
        spans.append((bands, slice(int(weighed[0]), int(weighed[-1]) + 1)))
    return spans


def band_centres() -> NDArray[np.float64]:
    """Hz at which each of the `BANDS` triangles peaks."""
    ends = hz_to_mel(torch.tensor([LOWEST, HIGHEST], dtype=torch.float64))
    corners = torch.linspace(float(ends[0]), float(ends[1]), BANDS + 2, dtype=torch.float64)
    centres: NDArray[np.float64] = (700 * torch.expm1(corners[1:-1] / 1127)).numpy()
    return centres


class LogMel(nn.Module):
    """Waveform in [-1, 1] at 16 kHz to a normalised log-mel spectrogram.

    Shape: `b samples` -> `b 64 frames`. Zeros are added at the end until the frames fill whole
    positions of `POSITION_FRAMES`, so every sample counts and any length works.
    The value is (log(power + MEL_FLOOR) - LOG_MEAN) / LOG_RANGE.
    """

    window: Tensor
    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(WINDOW))
        self.register_buffer("filters", mel_filters(BANDS, LOWEST, HIGHEST, FFT_SIZE, SAMPLE_RATE))
        self.spans = spans_of(self.filters, TOGETHER)

    def forward(self, sounds: Tensor) -> Tensor:
        """Frame i covers samples 160 i to 160 i + 400; float32, also under autocast.

        On a processor sounds are taken one by one: what lies between two steps fits its caches.
        """
        if torch.compiler.is_compiling():
            return self._bands(sounds)  # a graph for any number
        some = sounds if len(sounds) else sounds.new_zeros(1, sounds.shape[-1])  # no FFT of nothing
        one_by_one = sounds.device.type == "cpu" and len(sounds) > 1
        rows = torch.split(some, 1) if one_by_one else [some]
        return torch.cat([self._bands(row) for row in rows])[: len(sounds)]

    def _bands(self, sounds: Tensor) -> Tensor:
        with torch.autocast(sounds.device.type, enabled=False):
            samples = whole_positions(sounds.shape[-1])
            margin = (FFT_SIZE - WINDOW) // 2
            x = F.pad(sounds.float(), (margin, samples - sounds.shape[-1] + margin))
            spectrum = torch.stft(
                x, FFT_SIZE, HOP, WINDOW, self.window, center=False, return_complex=True
            ).mT  # as the transform lays it out: frames, then frequencies
            power = spectrum.real.square() + spectrum.imag.square()
            weighed = [power[..., bins] @ self.filters[bands, bins].T for bands, bins in self.spans]
            bands = torch.log(torch.cat(weighed, -1) + MEL_FLOOR)
            return ((bands - LOG_MEAN) / LOG_RANGE).mT.contiguous()


def whole_positions(samples: int) -> int:
    """The length in samples, at least `samples`, whose frames fill whole positions."""
    frames = 1 + max(0, samples - WINDOW) / HOP
    return (math.ceil(frames / POSITION_FRAMES) * POSITION_FRAMES - 1) * HOP + WINDOW


class Residual(nn.Module):
    """Two 3 x 3 convolutions whose result is added to what they were given."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Shape: b c f t -> b c f t."""
        return F.relu(x + self.second(F.relu(self.first(x))))


class Stage(nn.Module):
    """A strided 3 x 3 convolution, then residual pairs."""

    def __init__(
        self, channels_in: int, channels_out: int, stride: tuple[int, int], pairs: int
    ) -> None:
        super().__init__()
        self.shrink = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1)
        self.pairs = nn.Sequential(*(Residual(channels_out) for _ in range(pairs)))

    def forward(self, x: Tensor) -> Tensor:
        """Shape: b c_in f t -> b c_out f/stride t/stride, sizes rounded up."""
        y: Tensor = self.pairs(F.relu(self.shrink(x)))
        return y


class LogMelCNN(PartlyCast):
    """Waveform in [-1, 1] at 16 kHz to features at time positions, one every 0.16 s.

    Shape: `b samples` -> `b 512 t`; position i starts at 0.16 i seconds.
    """

    cast = ("stem", "stages", "collapse", "attention")
    sample_rate = SAMPLE_RATE
    features = FEATURES
    height: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.log_mel = LogMel()
        self.register_buffer("height", torch.linspace(-1, 1, BANDS)[:, None])
        self.stem = nn.Conv2d(2, STEM_CHANNELS, 3, 2, padding=1)
        stages, channels, bands = [], STEM_CHANNELS, BANDS // 2
        for out, stride, pairs in STAGES:
            stages.append(Stage(channels, out, stride, pairs))
            channels, bands = out, bands // stride[0]
        self.stages = nn.Sequential(*stages)
        self.collapse = nn.Conv2d(channels, FEATURES, (bands, 1))
        self.attention = nn.Conv1d(FEATURES, 1, 1)

    def forward(self, sounds: Tensor) -> Tensor:
        """Features of each position, zero or above."""
        return self.collapsed(self.positions(sounds))

    def collapsed(self, positions: Tensor) -> Tensor:
        """From two heights to one: `b 256 2 t` -> `b 512 t`."""
        features: Tensor = F.relu(self.collapse(positions)).squeeze(2)
        return features

    def positions(self, sounds: Tensor) -> Tensor:
        """Features at two heights and every 0.16 s: `b samples` -> `b 256 2 t`."""
        return self.maps(self.log_mel(sounds))[-1]

    def maps(self, log_mel: Tensor) -> list[Tensor]:
        """The maps of the stem and of each stage, from a normalised log-mel spectrogram.

        Shape: `b 64 frames` -> (`b 24 32 frames/2`, ..., `b 256 2 frames/16`).
        """
        x = torch.stack((log_mel, self.height.expand_as(log_mel)), 1)
        maps: list[Tensor] = [F.relu(self.stem(x.to(self.attention.weight.dtype)))]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps

    def pool(self, features: Tensor) -> Tensor:
        """One embedding for a stretch of positions: their mean, weighed by learned attention.

        Shape: b 512 t -> b 512.
        """
        weights: Tensor = self.attention(features).float().softmax(-1)
        return (features * weights).sum(-1)

    def embed(self, sounds: Tensor) -> Tensor:
        """One embedding for each sound: `b samples` -> `b 512`."""
        return self.pool(self(sounds))
