"""What happens to maps, against scipy, closed forms and hand-made masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scipy import ndimage

from soundspot.maps import (
    MIN_BOX_SHARE,
    boxes,
    gaussian_blur,
    normalise,
    peak,
    picture_of_map,
    resize_map,
    resize_maps,
    standardise,
)

Map = NDArray[np.float32]


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.4])
@pytest.mark.parametrize("shape", [(20, 31), (9, 40), (40, 9)])
def test_blur_is_scipys(sigma: float, shape: tuple[int, int]) -> None:
    maps = noise(2, *shape)
    found = gaussian_blur(maps, sigma)
    radius = int(np.ceil(3 * sigma))
    for values, expected in zip(found, maps, strict=True):
        blurred = ndimage.gaussian_filter(expected.numpy(), sigma, mode="mirror", radius=radius)
        np.testing.assert_allclose(values.numpy(), blurred, rtol=1e-12)


def test_a_wide_blur_is_scipys_within_half_a_per_cent_of_its_range() -> None:
    maps = noise(1, 200, 301) ** 4
    maps[0, 5:30, 100:140] += 5
    expected = ndimage.gaussian_filter(maps[0].numpy(), 20.0, mode="mirror", radius=60)
    error = np.abs(gaussian_blur(maps, 20.0)[0].numpy() - expected)
    assert error.max() < 0.005 * np.ptp(expected)


def test_blur_keeps_what_is_flat_and_does_nothing_at_zero() -> None:
    maps = torch.full((1, 7, 50), 3.0)
    torch.testing.assert_close(gaussian_blur(maps, 30.0), maps)
    assert gaussian_blur(maps, 0) is maps


def test_blur_of_one_row_smooths_along_it() -> None:
    maps = noise(1, 1, 50)
    expected = ndimage.gaussian_filter1d(maps[0, 0].numpy(), 2.0, mode="mirror", radius=6)
    np.testing.assert_allclose(gaussian_blur(maps, 2.0)[0, 0].numpy(), expected, rtol=1e-12)
    assert torch.equal(gaussian_blur(noise(1, 1, 1), 2.0), noise(1, 1, 1))


@pytest.mark.parametrize("size", [(10, 36), (17, 5), (64, 64), (3, 4), (1, 1)])
def test_resize_keeps_ramps_where_pixels_are_areas(size: tuple[int, int]) -> None:
    """Pixel i of n is the area [i, i + 1) / n, so its centre is (i + 1/2) / n."""
    y, x = ((torch.arange(n) + 0.5) / n for n in (8, 12))
    ramp = (2 * y[:, None] + 5 * x)[None]
    found = resize_maps(ramp, size)[0]
    y, x = ((torch.arange(n) + 0.5) / n for n in size)
    expected = 2 * y[:, None] + 5 * x
    # beyond the outermost centres there is nothing to interpolate with
    reach = [max(1 / old, 1 / new) for old, new in zip((8, 12), size, strict=True)]
    rows = (y >= reach[0]) & (y <= 1 - reach[0])
    columns = (x >= reach[1]) & (x <= 1 - reach[1])
    # a triangle of finitely many weights is balanced to within a hundredth of a pixel
    torch.testing.assert_close(
        found[rows][:, columns], expected[rows][:, columns], rtol=0, atol=2e-3
    )
    assert float((found - expected).abs().max()) <= 2 * reach[0] + 5 * reach[1]


def test_resize_by_a_whole_factor() -> None:
    """Two pixels become four: centres at 1/8, 3/8, 5/8, 7/8 between those at 1/4 and 3/4."""
    found = resize_maps(torch.tensor([[[0.0, 1.0]]]), (1, 4))
    assert found.tolist() == [[[0.0, 0.25, 0.75, 1.0]]]


def test_shrinking_skips_no_peak() -> None:
    """Every pixel of a large map counts in a small one."""
    for place in range(40):
        maps = torch.zeros(1, 40, 40)
        maps[0, place, 7] = 1
        small = resize_maps(maps, (4, 4))[0]
        assert small.sum() * 100 == pytest.approx(1, abs=0.5)
        assert int(small.sum(1).argmax()) in {(place - 1) // 10, place // 10, (place + 1) // 10}


@pytest.mark.parametrize("size", [(5, 17), (17, 40), (40, 13), (1, 9), (39, 39), (2, 2)])
def test_shrinking_is_torchs_antialiasing(size: tuple[int, int]) -> None:
    maps = noise(2, 40, 40)
    expected = F.interpolate(maps[:, None], size, mode="bilinear", antialias=True)[:, 0]
    torch.testing.assert_close(resize_maps(maps, size), expected)


def test_shrinking_to_one_column() -> None:
    """Where torch 2.13 answers with rows that are not the picture's."""
    ramp = torch.arange(64.0)[None, :, None].expand(1, 64, 64)
    torch.testing.assert_close(resize_maps(ramp, (64, 1)), ramp[..., :1])


def test_one_map_resizes_as_a_batch_does() -> None:
    maps = noise(1, 7, 9).float()
    for size in ((7, 9), (20, 30), (3, 3)):
        expected = resize_maps(maps, size)[0].numpy()
        np.testing.assert_array_equal(resize_map(maps[0].numpy(), size), expected)


def test_normalise() -> None:
    maps = torch.stack((torch.tensor([[1.0, 3.0], [2.0, 5.0]]), torch.full((2, 2), 7.0)))
    found = normalise(maps)
    assert found[0].tolist() == [[0, 0.5], [0.25, 1]]
    assert found[1].tolist() == [[0, 0], [0, 0]]
    tiny = normalise(maps * 1e-38)
    torch.testing.assert_close(tiny, found)


def test_peak() -> None:
    values = np.zeros((5, 9), np.float32)
    assert peak(values) == (4, 2), "all equal: the middle"
    values[1, 2:5] = 1
    assert peak(values) == (3, 1), "a flat top: its middle"
    values[4, 8] = 2
    assert peak(values) == (8, 4)


# --- boxes -----------------------------------------------------------------------------------


def blank(height: int = 20, width: int = 30) -> Map:
    return np.zeros((height, width), np.float32)


def test_no_box_where_nothing_reaches_the_threshold() -> None:
    assert boxes(blank()) == []


def test_one_box_and_its_score() -> None:
    values = blank()
    values[3:7, 10:20] = 0.6
    values[3, 10] = 1.0
    (found,) = boxes(values)
    assert found.box == (10, 3, 20, 7)
    assert found.score == pytest.approx((39 * 0.6 + 1) / 40)


def test_the_threshold_itself_belongs_to_the_box() -> None:
    values = blank()
    values[2:4, 2:4] = 0.25
    assert [b.box for b in boxes(values, 0.25)] == [(2, 2, 4, 4)]
    assert boxes(values, 0.2501) == []


def test_the_whole_map_may_be_one_box() -> None:
    assert [b.box for b in boxes(blank() + 1)] == [(0, 0, 30, 20)]
    assert [b.box for b in boxes(np.ones((1, 1), np.float32))] == [(0, 0, 1, 1)]


def test_pixels_that_touch_at_a_corner_are_one() -> None:
    values = blank()
    values[2:5, 2:5] = values[5:8, 5:8] = 1
    assert [b.box for b in boxes(values)] == [(2, 2, 8, 8)]


def test_boxes_are_sorted_by_evidence_and_counted() -> None:
    values = blank(40, 100)
    for i in range(8):
        values[1 : 4 + i, 12 * i : 12 * i + 5] = 0.6
    found = boxes(values)
    assert [b.box for b in found] == [(12 * i, 1, 12 * i + 5, 4 + i) for i in (7, 6, 5, 4, 3)]
    assert len(boxes(values, at_most=2)) == 2
    assert len(boxes(values, at_most=100)) == 8


def test_small_components_are_dropped() -> None:
    values = blank(100, 100)
    values[10:14, 10:15] = 1  # 20 pixels: 0.002 of 10,000
    values[50, 50:69] = 1  # 19 pixels
    assert [b.box for b in boxes(values)] == [(10, 10, 15, 14)]
    assert len(boxes(values, min_area=0.0019)) == 2
    values[20:60, 20:50] = 1
    assert [b.box for b in boxes(values, min_area=0)] == [(20, 20, 69, 60)], "under a tenth"
    assert MIN_BOX_SHARE == 0.1


shapes = st.tuples(st.integers(1, 25), st.integers(1, 25))
maps_of_any_kind = shapes.flatmap(
    lambda shape: arrays(
        np.float32, shape, elements=st.sampled_from([0.0, 0.1, 0.4, 0.5, 0.6, 0.75, 1.0])
    )
)


@settings(max_examples=100, deadline=None)
@given(maps_of_any_kind, st.sampled_from([0.05, 0.5, 0.7]), st.integers(1, 5))
def test_every_box_holds_its_component(values: Map, threshold: float, at_most: int) -> None:
    height, width = values.shape
    found = boxes(values, threshold, at_most=at_most, min_area=0.01)
    assert len(found) <= at_most
    assert bool(found) == bool((values >= threshold).any()) or min(values.shape) > 1
    for (x0, y0, x1, y1), score in found:
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        assert threshold <= score <= 1 + 1e-6
        inside = values[y0:y1, x0:x1] >= threshold
        assert inside[0].any()
        assert inside[-1].any()
        assert inside[:, 0].any()
        assert inside[:, -1].any()
        labels, count = ndimage.label(inside, np.ones((3, 3)))
        spans = [labels[s] for s in ndimage.find_objects(labels)]
        assert any(s.shape == inside.shape for s in spans), "one component fills the box"
        assert count >= 1


def test_a_map_as_a_picture() -> None:
    values = np.array([[-1.0, 0.0], [0.5, 3.0]], np.float32)
    assert np.asarray(picture_of_map(values)).tolist() == [[0, 16383], [24575, 65535]]
    assert np.asarray(picture_of_map(blank())).max() == 0


def test_standardised_maps_have_no_mean_and_one_deviation() -> None:
    maps = torch.stack((torch.arange(12.0).view(3, 4), torch.full((3, 4), 0.1)))
    found = standardise(maps)
    assert float(found[0].mean()) == pytest.approx(0, abs=1e-6)
    assert float(found[0].std(correction=0)) == pytest.approx(1, rel=1e-5)
    assert not found[1].any()
