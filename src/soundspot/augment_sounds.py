"""Endless varied stretches of sound out of few recordings: pure functions with a generator.

Nothing here needs a label: a stretch is cut, sped up or down, coloured, mixed with another,
covered by noise and set to a random level. Values stay in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import fft
from torch import Generator, Tensor

Wave = NDArray[np.float32]

SPEED_SHARE, SPEED_OCTAVES = 0.6, 0.5
"""Share of cuts played faster or slower, and by how much at most (pitch moves along)."""
FILTER_SHARE, FILTER_DB, FILTER_POINTS = 0.4, 8.0, 10
"""Share of stretches filtered; deviation of the random frequency response; its knots."""
ROOM_SHARE, ROOM_SECONDS, ROOM_GAIN = 0.5, (0.02, 0.25), 0.7
"""Share of the filtered ones with reverberation; decay to 1/e; energy beside the direct sound."""
MIX_SHARE, MIX_DB = 0.35, 12.0
"""Share of stretches mixed with another; the other is up to so much louder or softer."""
NOISE_SHARE, NOISE_DB = 0.35, (-5.0, 35.0)
"""Share of stretches under coloured noise; signal-to-noise ratio."""
ONLY_NOISE_SHARE, SILENT_SHARE = 0.03, 0.02
GAIN_DB = (-40.0, 6.0)
"""Range of the final gain; the louder end is drawn more often (square of a uniform)."""
RATE = 16_000
"""Hz."""
FFT_STEP = 4000
"""Samples: spectra are of a multiple of this length, whose factors are small."""
QUIET = 1e-4
"""-80 dBFS: softer ends of a recording are cut off."""


def trim(wave: Wave) -> Wave:
    """Cut off silent ends; a wholly silent recording becomes empty."""
    loud = np.flatnonzero(np.abs(wave) > QUIET)
    return wave[loud[0] : loud[-1] + 1] if len(loud) else wave[:0]


def cut(wave: Wave, length: int, rng: np.random.Generator) -> Wave:
    """Take `length` samples at random speed: the louder of two random places, zeros around."""
    faster = rng.random() < SPEED_SHARE
    speed = 2 ** rng.uniform(-SPEED_OCTAVES, SPEED_OCTAVES) if faster else 1.0
    needed = int(np.ceil(length * speed)) + 1
    starts = rng.integers(0, max(1, len(wave) - needed), 2)
    pieces = [wave[start : start + needed] for start in starts]
    piece = max(pieces, key=lambda x: float(np.dot(x, x)))
    if speed != 1.0:
        places = np.arange(int((len(piece) - 1) / speed) + 1) * speed
        piece = np.interp(places, np.arange(len(piece)), piece).astype(np.float32)
    piece = piece[:length]
    before = rng.integers(0, length - len(piece) + 1)
    return np.pad(piece, (before, length - len(piece) - before))


def draw(waves: Sequence[Wave], count: int, length: int, rng: np.random.Generator) -> Tensor:
    """Cut `count` stretches out of recordings drawn at random: `count length`."""
    picks = rng.integers(0, len(waves), count)
    return torch.from_numpy(np.stack([cut(waves[i], length, rng) for i in picks]))


def uniform(count: int, low: float, high: float, dice: Generator) -> Tensor:
    """A column of random numbers: `count 1`."""
    return low + (high - low) * torch.rand(count, 1, generator=dice)


def decibels(db: Tensor) -> Tensor:
    """The amplitude factor of a level in dB."""
    return torch.exp(db * (math.log(10) / 20))


def rms(x: Tensor) -> Tensor:
    """Root mean square of each row: `b n` -> `b 1`."""
    return x.square().mean(1, keepdim=True).sqrt()


def rfft(x: Tensor, size: int) -> Tensor:
    """The spectrum of each row, zeros behind it: `b n` -> `b size/2+1`, complex.

    SciPy's transform, since that of torch, MKL's, is half as fast on processors of another make.
    """
    return torch.from_numpy(fft.rfft(x.numpy(), size))


def irfft(spectrum: Tensor, size: int) -> Tensor:
    """Rows of a spectrum: `b size/2+1`, whose values may be overwritten -> `b size`."""
    return torch.from_numpy(fft.irfft(spectrum.numpy(), size, overwrite_x=True))


def colour(x: Tensor, dice: Generator) -> Tensor:
    """Give each row a random frequency response and, some, a random room; its RMS is kept.

    A room is the direct sound plus exponentially decaying noise.
    """
    count, length = x.shape
    low, high = ROOM_SECONDS
    tail = int(2 * high * RATE)
    size = -(-(length + tail) // FFT_STEP) * FFT_STEP
    knots = FILTER_DB * torch.randn(count, 1, FILTER_POINTS, generator=dice)
    response = F.interpolate(knots, size=size // 2 + 1, mode="linear", align_corners=True)
    decay = RATE * uniform(count, low, high, dice)
    room = torch.randn(count, tail, generator=dice) * torch.exp(-torch.arange(tail) / decay)
    roomy = (uniform(count, 0, 1, dice) < ROOM_SHARE)[:, 0]
    room = ROOM_GAIN * room / rms(room) / tail**0.5
    room[:, 0] = 1
    spectrum = rfft(x, size) * decibels(response[:, 0])
    if roomy.any():
        spectrum[roomy] *= rfft(room[roomy], size)
    y = irfft(spectrum, size)[:, :length]
    coloured: Tensor = y * (rms(x) / rms(y).clamp(min=1e-9))
    return coloured


def noise(count: int, length: int, dice: Generator) -> Tensor:
    """Noise of unit RMS whose power falls with frequency^-a, a from 0 (white) to 2 (brown).

    The spectrum of white noise is white noise, so it is drawn rather than computed; the values
    at both ends are real, and carry the power of both parts.
    """
    bins = torch.arange(length // 2 + 1.0).clamp(min=1)
    spectrum = torch.randn(count, len(bins), 2, generator=dice)
    spectrum[:, :: length // 2 if length % 2 == 0 else length] *= 2**0.5
    spectrum *= (bins ** (-uniform(count, 0, 2, dice) / 2))[..., None]
    x = irfft(torch.view_as_complex(spectrum), length)
    return x / rms(x)


def some(count: int, share: float, dice: Generator) -> Tensor:
    """Indices of a random share of the rows, one at least."""
    return torch.randperm(count, generator=dice)[: max(1, round(share * count))]


def vary(x: Tensor, dice: Generator) -> Tensor:
    """Colour, mix, cover with noise, silence and scale random rows: `b n` -> `b n`."""
    count, length = x.shape
    x = x.clone()
    rows = some(count, FILTER_SHARE, dice)
    x[rows] = colour(x[rows], dice)
    rows, others = some(count, MIX_SHARE, dice), some(count, MIX_SHARE, dice)
    level = decibels(uniform(len(rows), -MIX_DB, MIX_DB, dice))
    x[rows] = x[rows] + x[others] * level * rms(x[rows]) / rms(x[others]).clamp(min=QUIET)
    rows = some(count, NOISE_SHARE, dice)
    level = decibels(-uniform(len(rows), *NOISE_DB, dice))
    x[rows] = x[rows] + noise(len(rows), length, dice) * level * rms(x[rows])
    rows = some(count, ONLY_NOISE_SHARE, dice)
    x[rows] = noise(len(rows), length, dice) * 0.1
    x[some(count, SILENT_SHARE, dice)] = 0
    top, bottom = GAIN_DB[1], GAIN_DB[0]
    gain = top + (bottom - top) * uniform(count, 0, 1, dice).square()
    return (x * decibels(gain)).clamp(-1, 1)
