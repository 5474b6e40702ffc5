"""Is there a difference at all? Sign flips against all choices, and known distributions."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soundspot import metrics

differences = st.lists(st.integers(-4, 4), min_size=1, max_size=8)


@given(differences)
def test_sign_flips_by_trying_all(values):
    seen = abs(sum(values))
    signs = list(itertools.product((1, -1), repeat=len(values)))
    as_far = sum(abs(sum(s * v for s, v in zip(x, values, strict=True))) >= seen for x in signs)
    got = metrics.sign_flip_test(values, np.zeros(len(values)))
    assert got == pytest.approx(as_far / len(signs))


@pytest.mark.parametrize(("wins", "losses"), [(5, 0), (8, 2), (9, 5), (4, 4)])
def test_of_right_and_wrong_it_is_mcnemars(wins, losses):
    """McNemar 1947, exact: wins are binomial among those who differ."""
    n = wins + losses
    tail = sum(math.comb(n, k) for k in range(max(wins, losses), n + 1)) / 2**n
    a, b = [1] * wins + [0] * losses + [1] * 30, [0] * wins + [1] * losses + [1] * 30
    assert metrics.sign_flip_test(a, b) == pytest.approx(min(1, 2 * tail))


def test_drawn_signs_agree_with_the_normal_distribution():
    rng = np.random.default_rng(0)
    difference = rng.normal(0.1, 1, 400)
    z = difference.sum() / np.sqrt((difference**2).sum())
    expected = math.erfc(z / math.sqrt(2))
    got = metrics.sign_flip_test(difference, np.zeros(400))
    assert got == pytest.approx(expected, abs=0.01)
    assert got == metrics.sign_flip_test(np.zeros(400), difference)
    assert got != metrics.sign_flip_test(difference, np.zeros(400), seed=1)
    assert metrics.sign_flip_test(np.ones(400), np.zeros(400)) == pytest.approx(1 / 10_001)


def test_samples_of_a_cluster_flip_together():
    a, b = [1.0] * 10, [0.0] * 10
    assert metrics.sign_flip_test(a, b) == pytest.approx(2 / 2**10)
    assert metrics.sign_flip_test(a, b, ["x"] * 5 + ["y"] * 5) == 0.5
    assert metrics.sign_flip_test([1, -1], [0, 0], ["x", "x"]) == 1


def test_sums_that_round_apart_are_as_far():
    """0.1 + 0.2 - 0.3 is not 0 in doubles; all choices with the same sum must count."""
    values = [0.1, 0.2, 0.3, 0.6]
    assert metrics.sign_flip_test(values, [0] * 4) == pytest.approx(2 / 16)
    assert metrics.sign_flip_test([0.1, 0.2, -0.3], [0] * 3) == 1


def test_sign_flips_at_their_edges():
    assert metrics.sign_flip_test([0.5, 0.5], [0.5, 0.5]) == 1
    assert math.isnan(metrics.sign_flip_test([], []))
    for bad in ([np.nan], [[0.5]]):
        with pytest.raises(ValueError, match="NaN"):
            metrics.sign_flip_test(bad, np.zeros(np.shape(bad)))
    with pytest.raises(ValueError, match="cluster names"):
        metrics.sign_flip_test([1, 2], [0, 0], ["a"])


def test_it_errs_as_often_as_it_says():
    """Under no difference, p is at or below 0.05 in about 5 of 100 cases."""
    rng = np.random.default_rng(1)
    found = [metrics.sign_flip_test(rng.normal(size=9), rng.normal(size=9)) for _ in range(600)]
    assert np.mean(np.array(found) <= 0.05) == pytest.approx(0.05, abs=0.02)
