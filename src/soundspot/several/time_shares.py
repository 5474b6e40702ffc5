"""From "whose is each moment" to "whose is each cell of the spectrogram".

The spectrogram is factorised (`factorising`); part c has a spectrum W_c and a loudness over time
H_c. It belongs to source k as far as it is loud when k is,

    g_kc = sum_t H_c(t) r_k(t) / sum_t H_c(t),

r_k the share of moment t that is k's, sharpened to g^4 / sum_j g_j^4 (`SHARPNESS`): shares stay
near one half where two sounds last all the while. The masks are Wiener's, of the magnitudes
sum_c g_kc W_c H_c. Two sources that always sound together cannot be told apart so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from soundspot.several.factorising import factorise
from soundspot.several.spectra import moments, spectrum, wiener

if TYPE_CHECKING:
    from torch import Tensor

    from soundspot.band_mask import BandMask
    from soundspot.several.scene import Scene

PARTS = 16
SHARPNESS = 4.0
SMALLEST = 1e-9


def masks_of_shares(scene: Scene, shares: Tensor, times: Tensor) -> list[BandMask]:
    """Masks of the sources.

    Args:
        scene: whose stretch is separated.
        shares: r, k t, of which the last t is of the whole sound.
        times: seconds of the middles, t.
    """
    magnitudes = spectrum(scene)
    if len(times) < 2 or not bool(magnitudes.any()):
        return wiener(scene, torch.ones(len(shares), *magnitudes.shape))
    w, h = factorise(magnitudes, min(PARTS, *magnitudes.shape))
    over_time = spread(shares[:, :-1], times[:-1], moments(scene, magnitudes.shape[1])).to(h)
    owned = (over_time @ h.T) / (h.sum(1) + SMALLEST)
    owned = (owned + SMALLEST) ** SHARPNESS
    owned = owned / owned.sum(0)
    return wiener(scene, torch.einsum("kc,fc,ct->kft", owned, w, h))


def spread(shares: Tensor, times: Tensor, at: Tensor) -> Tensor:
    """Shares `k t` at other times, interpolated linearly and constant beyond the ends."""
    rows = [np.interp(at.numpy(), times.cpu().numpy(), row.cpu().numpy()) for row in shares]
    return torch.from_numpy(np.stack(rows)).float()
