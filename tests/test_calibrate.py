"""Calibration: the fit recovers a known logistic, and the cut meets known masks."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from soundspot.calibrate import covered, expected_error, fit_logistic, mean_iou


def test_the_fit_recovers_a_known_logistic() -> None:
    rng = np.random.default_rng(0)
    similarity = rng.normal(0, 2, 200_000)
    truth = rng.random(len(similarity)) < expit(1.7 * similarity - 0.6)
    scale, bias = fit_logistic(similarity[truth], similarity[~truth])
    prior = np.log(truth.mean() / (1 - truth.mean()))
    assert scale == pytest.approx(1.7, rel=0.05)
    assert bias == pytest.approx(-0.6 - prior, abs=0.1)


def test_sides_that_never_meet_stay_finite() -> None:
    scale, bias = fit_logistic(np.full(10, 5.0), np.full(10, -5.0))
    assert np.isfinite([scale, bias]).all()
    assert expit(scale * 5 + bias) > 0.95


def test_expected_error_of_honest_and_of_boastful_confidences() -> None:
    rng = np.random.default_rng(1)
    said = rng.random(200_000)
    truth = rng.random(len(said)) < said
    assert expected_error(said[truth], said[~truth]) < 0.01
    assert expected_error(np.full(50, 0.99), np.full(50, 0.99)) == pytest.approx(0.49)


def test_mean_iou_of_half_a_mask() -> None:
    truth = np.zeros((1, 4, 4), bool)
    truth[0, :, :2] = True
    half = truth.copy()
    half[0, 2:] = False
    assert mean_iou(half, truth) == pytest.approx(0.5)
    assert mean_iou(truth, truth) == 1.0


def test_the_covered_area_is_that_of_the_boxes() -> None:
    values = np.zeros((20, 30), np.float32)
    values[5:10, 4:8] = 1.0
    values[5, 8:20] = 1.0
    expected = np.zeros((20, 30), bool)
    expected[5:10, 4:20] = True
    assert np.array_equal(covered(values, 0.5), expected)
