"""Spectrograms of the stretch that is heard, and masks over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from soundspot.band_mask import BandMask
from soundspot.separating import Separated, apply_mask

if TYPE_CHECKING:
    from torch import Tensor

    from soundspot.several.scene import Scene

SIZE, HOP = 512, 256
"""Samples of the Hann window and of its step: 32 and 16 ms at 16 kHz."""
SMALLEST = 1e-9


def spectrum(scene: Scene) -> Tensor:
    """Magnitudes of the stretch, `f t`."""
    samples = torch.from_numpy(np.ascontiguousarray(scene.stretch)).to(scene.locator.device)
    short = max(0, SIZE - len(samples))
    padded = torch.nn.functional.pad(samples, (0, short))
    window = torch.hann_window(SIZE, device=samples.device)
    return torch.stft(padded, SIZE, HOP, window=window, return_complex=True).abs()


def moments(scene: Scene, frames: int) -> Tensor:
    """Seconds of the frames of `spectrum`."""
    return torch.arange(frames) * HOP / scene.locator.facts.sample_rate


def wiener(scene: Scene, parts: Tensor) -> list[BandMask]:
    """Each part's share of the power of all, as masks: magnitudes `k f t` -> k masks."""
    power = parts.square()
    shares = ((power + SMALLEST / len(parts)) / (power.sum(0) + SMALLEST)).cpu().numpy()
    frequencies = np.arange(shares.shape[1]) * scene.locator.facts.sample_rate / SIZE
    times = moments(scene, shares.shape[2]).numpy().astype(np.float64)
    return [BandMask(share.astype(np.float32), frequencies, times) for share in shares]


def masked(scene: Scene, mask: BandMask) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """The stretch under a mask, at the model's sample rate."""
    samples = torch.from_numpy(np.ascontiguousarray(scene.stretch))
    heard: np.ndarray[tuple[int], np.dtype[np.float32]] = apply_mask(
        samples, mask, scene.locator.facts.sample_rate
    ).numpy()
    return heard


def separated(scene: Scene, mask: BandMask) -> Separated:
    """What is heard under a mask, and its share of the stretch's energy."""
    samples = masked(scene, mask)
    energy = float(np.square(scene.stretch, dtype=np.float64).sum())
    kept = float(np.square(samples, dtype=np.float64).sum())
    return Separated(samples, scene.locator.facts.sample_rate, kept / energy if energy else 0.0)
