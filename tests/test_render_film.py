"""Films drawn: a scale that holds, colours that stay, a curve that only grows, the right places."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from soundspot.errors import OptionError
from soundspot.maps import ScoredBox
from soundspot.render_curve import DASH_COLOUR, FILL_COLOUR, STRIP_COLOUR, Curve
from soundspot.render_film import (
    CUT_LEVEL,
    Look,
    Painter,
    Scale,
    colour_of,
    levels,
    strength,
    warm,
)
from soundspot.result import Result
from soundspot.streaming import Moment, TrackedBox

SIZE = (160, 120)
BOX = (40, 30, 100, 90)
PLAIN = Look(boxes=False)


def hill(height=1.0, size=SIZE):
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    far = ((x - 70) / 30) ** 2 + ((y - 60) / 30) ** 2
    return (height * np.exp(-far)).astype(np.float32)


def moment(time=0.0, confidence=0.9, values=None, *, size=SIZE, boxes=True, repeated=False):
    visible = confidence >= 0.5
    found = [ScoredBox(BOX, 0.8)] if visible and boxes else []
    result = Result(
        picture=np.full((size[1], size[0], 3), 90, np.uint8),
        map=hill(size=size) if values is None else values,
        boxes=found,
        peak=(70, 60),
        confidence=confidence,
        visible=visible,
        method="m",
        model="m",
        calibrated=True,
        seconds=0.0,
    )
    tracks = tuple(TrackedBox(1, b.box, b.score) for b in found)
    return Moment(time, 0, result, tracks, repeated, {})


def painter(look=PLAIN, scale=None, size=SIZE):
    return Painter(look, size, scale or Scale.for_cut(0.3), 0.5, (0.0, 10.0))


def test_one_scale_for_the_whole_film():
    scale = Scale.for_cut(0.3)
    for height in (0.3, 0.6, 0.9):
        assert scale.after(1.0, hill(height)) == scale
        assert levels(hill(height), scale).max() == pytest.approx(
            255 * CUT_LEVEL * height / 0.3, abs=2
        )
    faint, full = (painter().see(moment(values=hill(h)))() for h in (0.1, 0.9))
    assert full[60, 70, 0] > faint[60, 70, 0] + 40


def test_a_scale_that_follows_rises_at_once_and_falls_slowly():
    scale = Scale.for_cut(None).after(0.0, hill(1.0))
    assert (scale.low, scale.high) == pytest.approx((0.0, 1.0), abs=0.01)
    assert scale.after(0.1, hill(3.0)).high == pytest.approx(3.0, abs=0.01)
    fallen = scale.after(2.0, hill(0.0))
    assert fallen.high == pytest.approx(np.exp(-1), abs=0.01)
    assert Scale(**fallen.json()) == fallen
    assert levels(hill(0.0), Scale()).max() == 0


def test_heat_follows_the_confidence_without_jumps():
    assert [strength(c, 0.5) for c in (0.0, 0.5, 0.75, 1.0)] == [0.0, 0.0, 1.0, 1.0]
    steps = np.diff([strength(c, 0.5) for c in np.arange(0, 1.0, 0.01)])
    assert steps.min() >= 0
    assert steps.max() < 0.07


def test_no_visible_source_leaves_the_picture_as_it_was():
    shown = moment(confidence=0.2)
    drawn = painter(Look()).see(shown)()
    assert np.array_equal(drawn[:90], shown.result.picture[:90])
    assert not np.array_equal(drawn[90:], shown.result.picture[90:])  # the verdict in words


def test_heat_is_where_the_map_is():
    picture = np.zeros((120, 160, 3), np.uint8)
    drawn = np.asarray(warm(picture, levels(hill(), Scale(0.0, 1.0, fixed=True)), 1.0))
    light = drawn.sum(2, dtype=int)
    rows, columns = np.nonzero(light > light.max() * 0.8)
    assert (rows.mean(), columns.mean()) == pytest.approx((60, 70), abs=1)
    assert np.array_equal(
        np.asarray(warm(picture, levels(hill(), Scale(0, 1, fixed=True)), 0)), picture
    )


@pytest.mark.parametrize("size", [(160, 120), (161, 119), (1000, 700), (33, 47)])
def test_coarse_heat_lies_as_the_full_map_does(size):
    values = np.zeros((size[1], size[0]), np.float32)
    values[size[1] // 4 : size[1] // 2, size[0] // 4 : size[0] // 2] = 1
    heat = levels(values, Scale(0.0, 1.0, fixed=True))
    assert max(heat.shape) <= 256
    drawn = np.asarray(warm(np.zeros((*values.shape, 3), np.uint8), heat, 1.0)).sum(2) > 300
    assert (drawn == (values > 0.5)).mean() > 0.97


def test_a_track_keeps_its_colour_and_neighbours_differ():
    colours = [colour_of(n) for n in range(1, 9)]
    assert len(set(colours)) == 8
    assert colour_of(3) == colours[2]
    near = [np.abs(np.subtract(a, b)).sum() for a, b in itertools.pairwise(colours)]
    assert min(near) > 120
    drawn = painter(Look(opacity=0)).see(moment())()
    assert tuple(drawn[89, 70]) == colour_of(1) == tuple(drawn[60, 40])
    assert tuple(drawn[60, 70]) == (90, 90, 90)
    bare = painter(PLAIN).see(moment(boxes=True))()
    assert tuple(bare[89, 40]) != colour_of(1)


def test_boxes_at_the_border_keep_their_labels():
    shown = moment()
    for box in ((0, 0, 160, 120), (150, 110, 160, 120), (0, 119, 1, 120)):
        one = replace(shown, tracks=(TrackedBox(2, box, 0.5),))
        assert painter(Look()).see(one)().shape == (120, 160, 3)


def test_the_layout():
    look = Look(side_by_side=True, curve=True, opacity=0.0, boxes=False)
    width, height = look.canvas(SIZE)
    assert (width, height) == (320, 120 + look.strip(SIZE))
    shown = moment(time=5.0)
    drawn = painter(look).see(shown)()
    assert drawn.shape == (height, width, 3)
    assert np.array_equal(drawn[:120, :160], shown.result.picture)
    other = moment(size=(80, 60))  # a film whose pictures change their size
    assert painter(look).see(other)().shape == (height, width, 3)


def test_the_curve_says_how_sure_it_was():
    curve = Curve(101, 45, 0.5, (0.0, 10.0))
    for time, confidence in ((0.0, 1.0), (4.0, 1.0), (5.0, 0.0)):
        curve.add(time, confidence)
    strip = curve.picture(8.0)
    assert tuple(strip[40, 30]) == FILL_COLOUR  # full up to the current time
    assert tuple(strip[5, 30]) == FILL_COLOUR
    assert tuple(strip[35, 50]) == STRIP_COLOUR
    assert tuple(strip[40, 70]) == STRIP_COLOUR  # nothing is known yet
    assert tuple(strip[5, 80]) == (255, 255, 255)  # now
    row = 2 + 20
    assert tuple(strip[row, 72]) == DASH_COLOUR


def test_a_curve_taken_up_again_is_the_same():
    rng = np.random.default_rng(0)
    points = [(t, float(rng.uniform())) for t in np.linspace(0, 10, 300)]
    whole, again = (painter(Look(curve=True)) for _ in range(2))
    for time, confidence in points:
        whole.see(moment(time, confidence))()
    for time, confidence in points[:200]:
        again.remember(round(time, 6), round(confidence, 4))
    for time, confidence in points[200:]:
        last = again.see(moment(time, confidence))()
    assert np.array_equal(last, whole.see(moment(*points[-1]))())


def test_what_is_repeated_is_drawn_on_its_own_picture():
    first = moment(0.0)
    artist = painter(PLAIN)
    artist.see(first)()
    picture = np.full_like(first.result.picture, 10)
    again = replace(first, repeated=True, time=0.1, result=replace(first.result, picture=picture))
    drawn = artist.see(again)()
    assert tuple(drawn[2, 2]) == (10, 10, 10)
    assert drawn[60, 70].sum() > 100


def test_options_out_of_range():
    for opacity in (-0.1, 1.1, float("nan")):
        with pytest.raises(OptionError, match="opacity="):
            Look(opacity=opacity)
