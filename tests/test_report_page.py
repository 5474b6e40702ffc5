"""Drawings of the report: curves against counts by hand, thumbnails against their truth."""

import re
from dataclasses import replace

import numpy as np
import pytest

from red_and_green import FACTS, Planted, mixtures_in, positives_in, write_scene
from soundspot.benchmark import Settings, judge_all
from soundspot.judging.asking import Answer
from soundspot.judging.exhibits import FRAME_COLOURS, THUMBNAIL, thumbnail
from soundspot.judging.reading import Read
from soundspot.report import Row
from soundspot.report.curves import STEPS, colour_of, curves, success
from soundspot.report.html import html_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_scene(tmp_path_factory.mktemp("scene"))


@pytest.fixture(scope="module")
def report(folder):
    samples = [*positives_in(folder), *mixtures_in(folder)]
    settings = Settings(protocols=("lvs", "soundspot"), exhibits=3)
    return judge_all(samples, {"planted": Planted()}, ["similarity_map"], settings=settings)


def test_a_curve_counts_what_is_at_or_above_each_threshold():
    shares = success(np.array([0.0, 0.5, np.nan, 1.0]))
    assert shares.shape == (STEPS,)
    assert shares[0] == 1
    assert shares[1] == shares[50] == pytest.approx(2 / 3)
    assert shares[51] == shares[100] == pytest.approx(1 / 3)


def test_curves_lie_where_the_shares_are(report):
    row = report.row("centre disc")
    drawn = curves([row], "lvs")
    points = re.search(r'points="([^"]+)"', drawn).group(1).split()
    y = np.array([float(point.split(",")[1]) for point in points])
    shares = success(row.overlaps["lvs"])
    top, bottom = y[shares == 1][0], y[shares == 0][0]
    np.testing.assert_allclose((bottom - y) / (bottom - top), shares, atol=2e-3)


def test_no_overlap_no_curve():
    nothing = Row("a", "method", {}, {}, {}, {}, {"lvs": np.full(3, np.nan)})
    assert curves([nothing], "lvs") == ""
    assert curves([nothing], "other") == ""


def test_a_wrong_sound_has_the_colour_of_its_method(report):
    colours = colour_of(report.rows)
    methods = [row.name for row in report.rows if row.kind == "method"]
    wrong = [name for name in colours if name.endswith(", wrong sound")]
    assert all(colours[name] == colours[name.removesuffix(", wrong sound")] for name in wrong)
    assert len({colours[name] for name in methods}) == len(methods)


def test_the_best_and_the_worst_are_shown_and_none_twice(report):
    overlaps = report.row("similarity_map").overlaps["lvs"]
    best = [e for e in report.exhibits if e.best]
    worst = [e for e in report.exhibits if not e.best]
    assert len(best) == len(worst) == 3
    assert len({e.subject.id for e in report.exhibits}) == 6
    known = sorted(overlaps[~np.isnan(overlaps)])
    assert [e.overlap for e in worst] == known[:3]
    assert [e.overlap for e in best] == known[::-1][:3]


def test_nothing_is_shown_that_is_not_there(report):
    page = html_of(replace(report, exhibits=()))
    assert "Best and worst" not in page
    assert "<img" not in page
    assert html_of(report).count("<img") == 6


def test_a_thumbnail_shows_map_and_truth_side_by_side(folder):
    sample = mixtures_in(folder)[0]
    picture = np.full((100, 200, 3), 128, np.uint8)
    hot = np.zeros((10, 20), np.float32)
    hot[0, 0] = 1
    read = Read(0, sample, picture, {}, {})
    shown = thumbnail(Answer("a", read, (hot, hot)))
    height, width = THUMBNAIL // 2, THUMBNAIL
    assert shown.shape == (height, 2 * width, 3)
    assert tuple(shown[0, 0]) == FRAME_COLOURS[0]
    assert tuple(shown[1, 1]) == FRAME_COLOURS[1]  # the red square's frame, in its corner
    green = shown[-1, 2 * width - 1]
    assert tuple(green) == FRAME_COLOURS[0]  # the green one's, in the second picture
    assert tuple(shown[-1, width - 1]) != FRAME_COLOURS[0]
    assert shown[4:10, 4:10].mean() > shown[60:70, 60:70].mean()


def test_several_models_can_be_heard_of_differently(folder):
    other = Planted(replace(FACTS, name="other", heard=("red",)))
    models = {"planted": Planted(), "other": other}
    report = judge_all(positives_in(folder), models, ["similarity_map"])
    assert any("no groups heard" in note for note in report.notes)
    assert "heard" not in report.row("random").groups
    told = Settings(heard=("red",))
    report = judge_all(positives_in(folder), models, ["similarity_map"], settings=told)
    assert report.row("random").groups["heard"]["n"] == 4
