"""Boxes of large maps, which are cut at every second (third, ...) pixel."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from soundspot import locating
from soundspot.locating import CUT_SIDE, cut
from soundspot.maps import FloatMap, resize_map

COARSE = (48, 64)


def blobs(shape: tuple[int, int], seed: int) -> FloatMap:
    noise = np.random.default_rng(seed).random(COARSE)
    smooth = ndimage.gaussian_filter(noise, 3).astype(np.float32)
    return resize_map(smooth, shape)


@pytest.mark.parametrize("shape", [(1080, 1920), (721, 1281), (2160, 3001), (1500, 400)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_large_map_is_cut_at_fewer_pixels_with_the_same_boxes(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int], seed: int
) -> None:
    values = blobs(shape, seed)
    threshold = float(np.quantile(values, 0.8))
    found = cut(values, threshold, 0.9)
    monkeypatch.setattr(locating, "CUT_SIDE", max(shape))
    exact = cut(values, threshold, 0.9)
    step = -(-max(shape) // CUT_SIDE)
    assert len(found) == len(exact) > 0
    for (box, score), (right, at) in zip(found, exact, strict=True):
        assert np.abs(np.subtract(box, right)).max() <= step
        assert score == pytest.approx(at, abs=0.005)
        assert 0 <= box[0] < box[2] <= shape[1]
        assert 0 <= box[1] < box[3] <= shape[0]
