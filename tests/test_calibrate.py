"""Calibration: the fit recovers a known logistic, and the cut meets known masks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.special import expit

from soundspot import checkpoint, cli
from soundspot.calibrate import FEW, Answers, Fit, calibrate, covered, fit_logistic, mean_iou
from soundspot.errors import ManifestError
from soundspot.facts import Calibration
from soundspot.locating import Locator, locate
from soundspot.media.audio import write_sound
from soundspot.metrics import calibration_error
from test_video import film


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
    assert calibration_error(said[truth], said[~truth]) < 0.01
    assert calibration_error(np.full(50, 0.99), np.full(50, 0.99)) == pytest.approx(0.49)
    assert calibration_error([1.0, 1.0], [0.0]) == 0
    assert np.isnan(calibration_error([1.5], [0.0]))
    assert np.isnan(calibration_error([], [0.0]))


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


def test_silence_counts_as_locate_answers_it() -> None:
    said = Answers(np.array([2.0, 5.0]), np.array([True, False])).confidences(1.5, -1.0)
    assert said == pytest.approx([expit(2.0), 0.0])


# --- from manifests to a calibrated model ----------------------------------------------------


@pytest.fixture
def data(tmp_path: Path, model_file: Path) -> dict[str, dict[str, Any]]:
    """Six pairs, one of them a film; those that the model likes best are called positive."""
    rng = np.random.default_rng(0)
    entries: dict[str, dict[str, Any]] = {}
    for n in range(5):
        picture = rng.integers(0, 255, (8, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(picture).save(tmp_path / f"{n}.png")
        tone = 0.3 * np.sin(np.arange(16_000) * 0.05 * (n + 1))
        write_sound(tmp_path / f"{n}.wav", tone.astype(np.float32), 16_000)
        entries[f"{n}"] = {"id": f"{n}", "image": f"{n}.png", "sound": f"{n}.wav"}
    film(tmp_path / "film.mp4", [k / 25 for k in range(25)], sound=1.0)
    entries["film"] = {"id": "film", "video": "film.mp4", "time": 0.5}
    write_sound(tmp_path / "silence.wav", np.zeros(16_000, np.float32), 16_000)
    model = checkpoint.load(model_file)
    said = {
        name: locate(model, tmp_path / f"{name}.png", tmp_path / f"{name}.wav").confidence
        for name in entries if name != "film"
    }  # fmt: skip
    best = sorted(said, key=said.__getitem__)
    for name in entries:
        if name in best[:2]:
            entries[name]["kind"] = "noise"
        else:
            entries[name]["boxes"] = [[0, 0, 0.5, 0.5]]
    return entries


def manifest(path: Path, entries: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def silences(count: int) -> list[dict[str, Any]]:
    rest = {"image": "0.png", "sound": "silence.wav", "kind": "silence"}
    return [{"id": f"silence-{n}", **rest} for n in range(count)]


def test_films_are_read_and_silence_does_not_bend_the_fit(
    data: dict[str, dict[str, Any]], tmp_path: Path, model_file: Path
) -> None:
    few = manifest(tmp_path / "few.jsonl", [*data.values(), *silences(1)])
    many = manifest(tmp_path / "many.jsonl", [*data.values(), *silences(20)])
    one = calibrate(model_file, [few], tmp_path / "a.safetensors", method="similarity_map")
    other = calibrate(model_file, [many], tmp_path / "b.safetensors", method="similarity_map")
    assert one.calibration.scale == other.calibration.scale
    assert one.calibration.bias == other.calibration.bias
    assert other.expected_error < one.expected_error, "silence is always answered rightly"
    model = checkpoint.load(tmp_path / "a.safetensors")
    assert model.facts.calibration == one.calibration
    assert model.notes["calibrated"]["pairs"] == 4
    assert model.notes["calibrated"]["negatives"] == 3
    seen = Locator(model).facts.calibration
    assert seen is not None
    assert "similarity_map" in seen.thresholds


def test_silence_alone_is_no_negative(
    data: dict[str, dict[str, Any]], tmp_path: Path, model_file: Path
) -> None:
    positives = [entry for entry in data.values() if "boxes" in entry]
    path = manifest(tmp_path / "m.jsonl", [*positives, *silences(2)])
    with pytest.raises(ManifestError, match="not silent"):
        calibrate(model_file, [path], tmp_path / "a.safetensors", method="similarity_map")
    assert cli.main(["calibrate", str(model_file), str(path), "--out", str(tmp_path / "a")]) == 2


def test_a_manifest_in_the_place_of_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["calibrate", "pairs.jsonl", "negatives.jsonl", "--out", "m"]) == 2
    assert "pairs.jsonl is a manifest, and a model is missing before it" in capsys.readouterr().err


def test_few_samples_are_called_few() -> None:
    fit = Fit(Calibration(), 0.02, 0.5, "similarity_map", FEW, FEW)
    assert "\n" not in str(fit)
    assert f"{FEW - 1} pairs and {FEW} negatives: so few" in str(replace(fit, pairs=FEW - 1))
