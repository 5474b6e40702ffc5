"""Interpolations against torch's, and geometry against closed forms."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from soundspot.protocols.resizing import resample, taps
from soundspot.protocols.truths import SIDE, WHOLE, centre, consensus, drawn, united

MODES = {
    "bilinear": ("bilinear", False),
    "bilinear_corners": ("bilinear", True),
    "cubic": ("bicubic", False),
    "cubic_corners": ("bicubic", True),
}


def resized(values, height, width, kind, top=0, left=0, side=None):
    rows = taps(values.shape[0], height, kind, top, side)
    return resample(values, rows, taps(values.shape[1], width, kind, left, side))


@pytest.mark.parametrize("kind", MODES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 3), (7, 7), (14, 9), (224, 224), (300, 500)])
def test_torch_agrees(kind, shape):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    mode, corners = MODES[kind]
    double = torch.from_numpy(values).double()[None, None]  # in single, torch rounds places too
    expected = F.interpolate(double, (224, 224), mode=mode, align_corners=corners)[0, 0].numpy()
    np.testing.assert_allclose(resized(values, 224, 224, kind), expected, atol=1e-5)


@pytest.mark.parametrize("kind", MODES)
def test_the_same_size_is_the_same_map(kind):
    values = np.random.default_rng(1).random((224, 224), np.float32)
    np.testing.assert_allclose(resized(values, 224, 224, kind), values, atol=1e-6)


@pytest.mark.parametrize("kind", MODES)
def test_a_flat_map_stays_flat_to_the_last_bit(kind):
    for shape in ((1, 1), (7, 7), (9, 14), (500, 31)):
        for value in np.float32((0.3, 0.7, -1 / 3, 1e-20, 12345.678)):
            assert (resized(np.full(shape, value), 224, 224, kind) == value).all()


def test_plateaus_stay_exact():
    """Past the outermost centres a map is constant: pixels there must tie."""
    values = np.random.default_rng(2).random((7, 7), np.float32)
    big = resized(values, 224, 224, "bilinear")
    for corner, value in ((big[:16, :16], values[0, 0]), (big[-16:, -16:], values[-1, -1])):
        assert (corner == value).all()
    assert (big[:16] == big[:1]).all()
    assert (big[-16:] == big[-1:]).all()


@pytest.mark.parametrize("kind", MODES)
def test_a_crop_is_a_part_of_the_whole(kind):
    values = np.random.default_rng(3).random((9, 14), np.float32)
    frame = centre(240, 427)
    whole = resized(values, frame.height, frame.width, kind)
    part = resized(values, frame.height, frame.width, kind, frame.top, frame.left, SIDE)
    np.testing.assert_array_equal(
        part, whole[frame.top : frame.top + SIDE, frame.left : frame.left + SIDE]
    )


def test_the_centre_of_a_picture():
    assert centre(224, 224) == WHOLE
    assert centre(256, 256) == WHOLE
    assert centre(360, 640) == (224, 398, 0, 87)
    assert centre(640, 360) == (398, 224, 87, 0)


def test_boxes_are_cut_to_whole_pixels():
    assert united([(0, 0, 0.5, 0.25)], WHOLE).sum() == 112 * 56
    for k in range(SIDE + 1):
        assert united([(0, 0, k / SIDE, 1)], WHOLE).sum() == SIDE * k
    odd = [(0.503125, 0.403125, 0.646875, -2.9e16), (0.26875, 1.0, 0.753125, 1.0)]
    assert not united(odd, WHOLE).any()
    assert united([(-0.5, -1, 2, 3)], WHOLE).all()


def test_boxes_go_through_the_crop():
    frame = centre(200, 400)
    assert united([(0.25, 0, 0.75, 1)], frame).all()
    assert united([(0.5, 0, 1, 1)], frame).sum() == SIDE * SIDE // 2
    assert not united([(0, 0, 0.25, 1)], frame).any()


def test_consensus_takes_two():
    left, all_ = (0.0, 0.0, 0.5, 1.0), (0.0, 0.0, 1.0, 1.0)
    g = consensus([[left], [all_], [left]], WHOLE)
    assert g[0, 0] == 1
    assert g[0, -1] == 0.5


def test_drawn_masks_are_looked_at_under_each_pixels_centre():
    mask = np.zeros((100, 200), np.bool_)
    mask[:50] = True
    assert drawn(mask, WHOLE).sum() == SIDE * SIDE // 2
    mask[:, 50:] = False
    assert not drawn(mask, centre(100, 200)).any()
