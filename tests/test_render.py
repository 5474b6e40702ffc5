"""Pictures for people, pixel by pixel."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from soundspot.maps import ScoredBox
from soundspot.render import (
    BANNER_COLOUR,
    BOX_COLOUR,
    HEAT_STOPS,
    MIN_TEXT,
    OPACITY,
    captioned,
    font_of,
    heat,
    overlay,
    wrapped,
)
from soundspot.render_sources import Layer, colour_of, overlay_sources
from soundspot.result import Result

HEIGHT, WIDTH = 120, 160
Picture = NDArray[np.uint8]


@pytest.fixture
def picture() -> Picture:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture
def values() -> NDArray[np.float32]:
    """Evidence in a rectangle, raw and below zero; elsewhere its minimum."""
    values = np.full((HEIGHT, WIDTH), -3.0, np.float32)
    values[30:60, 50:90] = -1.0
    values[40:50, 60:80] = -0.5
    return values


def test_untouched_where_the_map_is_at_its_minimum(
    picture: Picture, values: NDArray[np.float32]
) -> None:
    shown = overlay(picture, values, [], 0.9, True)
    changed = (shown[:HEIGHT] != picture).any(2)
    assert not changed[values == -3.0].any()
    assert changed[values > -3.0].mean() > 0.99
    assert shown.dtype == np.uint8


def test_the_brightest_heat_is_where_the_map_is_highest(
    picture: Picture, values: NDArray[np.float32]
) -> None:
    shown = np.asarray(heat(picture, values)).astype(float)
    expected = (1 - OPACITY) * picture + OPACITY * np.array(HEAT_STOPS[-1][1])
    np.testing.assert_allclose(shown[45, 70], expected[45, 70], atol=2)
    level = (-1.0 + 3.0) / 2.5
    alpha = OPACITY * level
    colour = np.array([np.interp(level, [s for s, _ in HEAT_STOPS], c) for c in
                       zip(*(c for _, c in HEAT_STOPS), strict=True)])  # fmt: skip
    mixed = (1 - alpha) * picture + alpha * colour
    np.testing.assert_allclose(shown[35, 55], mixed[35, 55], atol=4)


@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1.0, 1e30])
def test_any_scale_looks_the_same(
    scale: float, picture: Picture, values: NDArray[np.float32]
) -> None:
    scaled = (values * np.float64(scale)).astype(np.float32)
    expected, found = np.asarray(heat(picture, values)), np.asarray(heat(picture, scaled))
    assert np.abs(expected.astype(int) - found).max() <= 3


def test_a_flat_map_shows_nothing(picture: Picture) -> None:
    flat = np.full((HEIGHT, WIDTH), 0.7, np.float32)
    np.testing.assert_array_equal(np.asarray(heat(picture, flat)), picture)


def test_lightness_rises_with_the_map() -> None:
    """So that it reads in grey, and to all eyes."""
    ramp = np.tile(np.linspace(0, 1, 256, dtype=np.float32), (4, 1))
    shown = np.asarray(heat(np.zeros((4, 256, 3), np.uint8), ramp))[0] @ [0.299, 0.587, 0.114]
    assert (np.diff(shown) >= -1.0).all()
    assert shown[-1] > shown[0] + 100


def test_the_frame_is_exactly_at_the_box(picture: Picture) -> None:
    flat = np.zeros((HEIGHT, WIDTH), np.float32)
    x0, y0, x1, y1 = box = (40, 20, 141, HEIGHT)
    shown = overlay(picture, flat, [ScoredBox(box, 0.5)], 0.9, True)
    frame = (shown == BOX_COLOUR).all(2)
    assert frame[y0, x0:x1].all()
    assert frame[y1 - 1, x0:x1].all()
    assert frame[y0:y1, x0].all()
    assert frame[y0:y1, x1 - 1].all()
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[y0:y1, x0:x1] = False
    assert not (shown[:HEIGHT] != picture).any(2)[outside].any()
    assert not frame[50:90, 45:135].any(), "hollow"


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (7, 9), (30, 3000)])
def test_pictures_of_any_size(size: tuple[int, int]) -> None:
    tiny = np.full((*size, 3), 90, np.uint8)
    box = ScoredBox((0, 0, size[1], size[0]), 1.0)
    shown = overlay(tiny, np.zeros(size, np.float32), [box], 1.0, True)
    assert shown.shape[0] >= size[0]
    assert shown.shape[1:] == (size[1], 3)


@pytest.mark.parametrize("width", [1, 20, 45, 60, 100, 160, 400, 3000])
def test_words_fit_their_strip_or_are_left_out(width: int) -> None:
    """No letter is cut off: the strip's outermost columns are bare."""
    bare = np.full((48, width, 3), 90, np.uint8)
    words = "no visible source, confidence 0.12"
    shown = captioned(bare, (words, "no source 0.12"))
    np.testing.assert_array_equal(shown[:48], bare)
    strip = shown[48:]
    assert (len(strip) > 0) == (width >= 60)
    if len(strip):
        assert (strip[:, [0, -1]] == BANNER_COLOUR).all()
        assert (strip[[0, -1]] == BANNER_COLOUR).all()
        assert (strip > 200).any()


def test_lines_hold_all_words_in_their_order() -> None:
    words = "sources 1: 0.83, 2: no visible source"
    for width in (100, 150, 400):
        lines = wrapped(words, MIN_TEXT, width)
        assert " ".join(lines) == words
        assert all(font_of(MIN_TEXT).getlength(line) <= width for line in lines)
    assert wrapped("confidence", MIN_TEXT, 30) == []


def test_larger_pictures_have_larger_letters() -> None:
    heights = [
        len(captioned(np.zeros((side, side, 3), np.uint8), ("source",))) - side
        for side in (300, 1000, 2000)
    ]
    assert heights == [17, 55, 111]


def test_sources_that_are_not_visible_are_named(picture: Picture) -> None:
    """In words: the caption of a source that was asked for is not that of one that was not."""
    there = np.zeros((8, 8), np.uint8)
    there[2:4, 2:4] = 255
    layer = Layer(1, there, [ScoredBox((30, 20, 90, HEIGHT), 0.7)], 0.8)
    wide = np.concatenate([picture] * 3, 1)
    alone, named = (overlay_sources(wide, [layer], unseen) for unseen in ((), (2,)))
    np.testing.assert_array_equal(alone[:HEIGHT], named[:HEIGHT])
    assert (named[HEIGHT:] > 200).sum() > 2 * (alone[HEIGHT:] > 200).sum()
    assert (named[HEIGHT - 1, 30:90] == colour_of(1)).all(), "the box's lower edge is seen"
    nothing = overlay_sources(wide, [], (1, 2))
    np.testing.assert_array_equal(nothing[:HEIGHT], wide)


def test_an_uncalibrated_confidence_is_called_so(
    picture: Picture, values: NDArray[np.float32]
) -> None:
    for visible in (True, False):
        sure = result(picture, values, visible)
        bare = replace(sure, calibrated=False)
        assert "uncalibrated" in str(bare)
        assert "uncalibrated" not in str(sure)
        wide = [
            overlay(np.tile(picture, (1, 4, 1)), np.tile(values, 4), [], 0.1, visible, calibrated=c)
            for c in (False, True)
        ]
        letters, fewer = ((shown[HEIGHT:] > 200).sum() for shown in wide)
        assert letters > fewer
    assert str(bare) == "no visible source (confidence 0.10, uncalibrated)"


def result(picture: Picture, values: NDArray[np.float32], visible: bool) -> Result:
    boxes = [ScoredBox((50, 30, 90, 60), 0.8)] if visible else []
    return Result(
        picture, values, boxes, (70, 45), 0.8 if visible else 0.1, visible, "grad_cam", "m",
        True, 0.01,
    )  # fmt: skip


def test_a_bare_picture_when_nothing_is_visible(
    picture: Picture, values: NDArray[np.float32]
) -> None:
    shown = result(picture, values, visible=False).overlay()
    np.testing.assert_array_equal(shown[:HEIGHT], picture)
    assert (shown[HEIGHT:] > 200).any(), "but it says so"


def test_the_picture_itself_is_left_alone(picture: Picture, values: NDArray[np.float32]) -> None:
    before = picture.copy()
    overlay(picture, values, [ScoredBox((50, 30, 90, 60), 0.8)], 0.9, True)
    np.testing.assert_array_equal(picture, before)


def test_notebooks_show_the_overlay(picture: Picture, values: NDArray[np.float32]) -> None:
    found = result(picture, values, visible=True)
    shown = Image.open(io.BytesIO(found._repr_png_()))
    assert shown.format == "PNG"
    np.testing.assert_array_equal(np.asarray(shown), found.overlay())
