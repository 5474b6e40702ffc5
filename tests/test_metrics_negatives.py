"""Scores with negatives, against loops that follow their definitions word by word."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundspot import metrics

samples = st.lists(
    st.tuples(st.sampled_from([0.0, 0.4, 0.5, 0.8, 1.0]), st.integers(0, 6), st.booleans()),
    min_size=1,
    max_size=14,
)


def counts(rows, threshold):
    """True and false positives, and visible samples below the threshold."""
    reached = [(score, visible) for score, sure, visible in rows if sure >= threshold]
    true = sum(visible and score >= 0.5 for score, visible in reached)
    below = sum(visible and sure < threshold for _, sure, visible in rows)
    return true, len(reached) - true, below


def authors_point(rows, threshold):
    true, false, below = counts(rows, threshold)
    precision = true / (true + false) if true + false else 1.0
    recall = true / (true + below) if true + below else 1.0
    return precision, recall


def authors_ap(rows):
    rising = sorted(sure for _, sure, _ in rows)
    falling = rising[:-1][:: -max(1, len(rows) // 200)]  # the highest is left out
    points = [authors_point(rows, level) for level in falling]
    area = 0.0
    for i in range(len(points) - 1):
        area += max(p for p, _ in points[i:]) * (points[i + 1][1] - points[i][1])
    return area


def f1(precision, recall):
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@given(samples)
def test_slavc_word_by_word(rows):
    assert metrics.slavc_ap(*zip(*rows, strict=True)) == pytest.approx(authors_ap(rows))
    levels = sorted(sure for _, sure, _ in rows)[:: max(1, len(rows) // 10)]
    best = max(f1(*authors_point(rows, level)) for level in levels)
    assert metrics.slavc_max_f1(*zip(*rows, strict=True)) == pytest.approx(best)


def test_slavc_thins_its_thresholds():
    rng = np.random.default_rng(0)
    rows = list(zip(rng.random(1000), rng.random(1000), rng.random(1000) < 0.6, strict=True))
    assert metrics.slavc_ap(*zip(*rows, strict=True)) == pytest.approx(authors_ap(rows))


@given(samples)
def test_detection_word_by_word(rows):
    columns = tuple(zip(*rows, strict=True))
    visible = sum(seen for *_, seen in rows)
    if not visible:
        assert math.isnan(metrics.detection_ap(*columns))
        assert math.isnan(metrics.detection_max_f1(*columns))
        return
    points = []
    for level in sorted({sure for _, sure, _ in rows}, reverse=True):
        true, false, _ = counts(rows, level)
        points.append((true / (true + false), true / visible))
    area, before = 0.0, 0.0
    for i, (_, recall) in enumerate(points):
        area += max(p for p, _ in points[i:]) * (recall - before)
        before = recall
    assert metrics.detection_ap(*columns) == pytest.approx(area)
    assert metrics.detection_max_f1(*columns) == pytest.approx(max(f1(*p) for p in points))


def test_detection_by_hand():
    """Found, a negative, found, misplaced: precision 1, 1/2, 2/3, 1/2 at recall 1/3, 1/3, 2/3."""
    ciou, sure, seen = [0.9, 0.0, 0.5, 0.1], [4, 3, 2, 1], [True, False, True, True]
    assert metrics.detection_ap(ciou, sure, seen) == pytest.approx(1 / 3 + 1 / 3 * 2 / 3)
    assert metrics.detection_max_f1(ciou, sure, seen) == pytest.approx(2 / 3)
    assert metrics.slavc_ap(ciou, sure, seen) == pytest.approx(
        2 / 3 * (2 / 3 - 1 / 3) + 2 / 3 * (1 - 2 / 3)
    )
    assert metrics.slavc_max_f1(ciou, sure, seen) == pytest.approx(2 * 0.5 / 1.5)


def test_a_perfect_model_and_a_deaf_one():
    ciou, seen = [1.0] * 4 + [0.0] * 4, [True] * 4 + [False] * 4
    assert metrics.detection_ap(ciou, [2] * 4 + [1] * 4, seen) == 1
    assert metrics.detection_max_f1(ciou, [2] * 4 + [1] * 4, seen) == 1
    assert metrics.slavc_max_f1(ciou, [2] * 4 + [1] * 4, seen) == 1
    assert metrics.detection_ap(ciou, [1] * 8, seen) == 0.5
    spread = [8, 7, 6, 5, 4, 3, 2, 1]
    assert (
        metrics.slavc_ap(ciou, spread, seen) == 0.5
    )  # neither the highest threshold nor the area before the next
    assert metrics.detection_ap(ciou, spread, seen) == 1


def test_slavc_at_its_edges():
    for score in (
        metrics.slavc_ap,
        metrics.slavc_max_f1,
        metrics.detection_ap,
        metrics.detection_max_f1,
    ):
        assert math.isnan(score([], [], []))
        with pytest.raises(ValueError, match="NaN"):
            score([0.1], [np.nan], [True])
        with pytest.raises(ValueError, match="NaN"):
            score([np.nan], [0.1], [True])
        with pytest.raises(ValueError, match="as many"):
            score([0.1], [0.1, 0.2], [True])
    nothing = float("nan")  # a negative has no cIoU
    assert metrics.detection_ap([1.0, nothing], [2, 1], [True, False]) == 1


def test_loc_acc_is_strict_and_blind_to_negatives():
    assert metrics.loc_acc([0.5, 0.51, 1.0, 0.0], [True, True, False, True]) == pytest.approx(1 / 3)
    assert math.isnan(metrics.loc_acc([0.5], [False]))
    with pytest.raises(ValueError, match="LocAcc"):
        metrics.loc_acc([np.nan], [True])


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_the_confidence_is_the_mean_of_the_highest_quarter(height, width, seed):
    values = np.random.default_rng(seed).normal(size=(height, width))
    count = -(-values.size // 4)
    expected = np.sort(values.ravel())[-count:].mean()
    assert metrics.top_quarter_mean(values) == pytest.approx(expected)


def test_pia_counts_what_is_above():
    values = np.array([[0.1, 0.5], [0.5, 0.9]])
    assert metrics.lit_share(values, 0.5) == 0.25
    assert metrics.lit_share(values, 0.0) == 1
    assert metrics.lit_share(np.zeros((3, 3)), 0.0) == 0


def test_universal_thresholds():
    got = metrics.universal_thresholds([0.1, 0.2, 0.3, 0.4, 0.5])
    assert got == pytest.approx((0.5, 0.55, 0.4))
    kinds = {"silence": [0.0, 0.1, 0.2], "noise": [0.3, 0.4, 0.9]}
    assert metrics.universal_thresholds_by_kind(kinds) == pytest.approx((0.4, 0.44, 0.65))
    assert all(map(math.isnan, metrics.universal_thresholds([])))
    assert all(map(math.isnan, metrics.universal_thresholds_by_kind({"noise": []})))
    assert all(map(math.isnan, metrics.universal_thresholds_by_kind({})))
    with pytest.raises(ValueError, match="finite"):
        metrics.universal_thresholds([np.nan])
    with pytest.raises(ValueError, match="maxima of noise"):
        metrics.universal_thresholds_by_kind({"noise": [np.inf]})


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_auc_n_mirrors_auc(shares):
    thresholds = [k / 20 for k in range(21)]
    passed = [sum(s <= t for s in shares) / len(shares) for t in thresholds]
    expected = sum((a + b) / 2 * 0.05 for a, b in itertools.pairwise(passed))
    assert metrics.auc_n(shares) == pytest.approx(expected)


def test_auc_n_in_closed_form():
    assert metrics.auc_n([0, 0]) == pytest.approx(1)
    assert metrics.auc_n([1]) == pytest.approx(0.025)
    assert math.isnan(metrics.auc_n([]))
    with pytest.raises(ValueError, match="finite"):
        metrics.auc_n([np.nan])


def test_balanced_scores():
    assert metrics.f_loc(0.2, 0.4) == pytest.approx(2 * 0.2 * 0.6 / 0.8)
    assert metrics.f_auc(0.3, 0.9) == pytest.approx(0.45)
    assert metrics.f_loc(1, 0) == metrics.f_auc(1, 1) == 1
    assert metrics.f_loc(0, 1) == 0
    assert math.isnan(metrics.harmonic_mean(float("nan"), 1))
