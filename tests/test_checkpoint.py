"""Checkpoints: what was saved comes back, and whatever else is handed in gets one clear line."""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import pickle
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from soundspot import checkpoint, embedded
from soundspot.errors import CheckpointError
from soundspot.facts import Calibration, ModelFacts
from soundspot.models import TwoTower

FACTS = ModelFacts(
    name="tiny",
    size=64,
    seconds=1.5,
    calibration=Calibration(2.0, -1.0, 0.6, {"grad_cam": 0.25}),
    method="guided_backprop",
    heard=("bells", "dogs"),
)


@pytest.fixture(scope="module")
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 64, 64, generator=generator)
    return images, 0.2 * torch.randn(2, 16_000, generator=generator)


def refused(path: Path | str, **options: Any) -> str:
    with pytest.raises(CheckpointError) as error:
        checkpoint.load(path, **options)
    text = str(error.value)
    assert "\n" not in text
    assert len(text) < 500
    return text


def test_what_was_saved_comes_back(two_tower: TwoTower, tmp_path: Path, pair: Any) -> None:
    facts, two_tower.facts = two_tower.facts, FACTS
    try:
        checkpoint.save(two_tower, tmp_path / "tiny.safetensors", half=False, trained="never")
    finally:
        two_tower.facts = facts
    loaded = checkpoint.load(tmp_path / "tiny.safetensors")
    assert loaded.facts == FACTS
    assert loaded.config == two_tower.config
    assert not any(module.training for module in loaded.modules())
    for (name, ours), (other, theirs) in zip(
        two_tower.state_dict().items(), loaded.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(ours, theirs), name
    with torch.no_grad():
        assert torch.equal(two_tower(*pair), loaded(*pair))
    header = checkpoint.read_header(tmp_path / "tiny.safetensors")
    assert header["version"] == checkpoint.VERSION
    assert header["notes"] == {"trained": "never"}


def test_half_precision_is_close(two_tower: TwoTower, model_file: Path, pair: Any) -> None:
    loaded = checkpoint.load(model_file)
    assert all(v.dtype == torch.float32 for v in loaded.parameters())
    size = sum(v.numel() * v.element_size() for v in two_tower.state_dict().values())
    assert model_file.stat().st_size < 0.52 * size
    with torch.no_grad():
        torch.testing.assert_close(two_tower(*pair), loaded(*pair), rtol=0, atol=5e-3)


def test_the_name_is_the_files(model_file: Path) -> None:
    assert checkpoint.load(str(model_file)).facts.name == "tiny"


# --- files that are no checkpoint of a model -------------------------------------------------


def with_header(path: Path, header: object, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_files_that_are_not_ours(tmp_path: Path, model_file: Path) -> None:
    whole = model_file.read_bytes()
    path = tmp_path / "x.safetensors"
    for data in (
        b"\x07",
        b"\0" * 8,
        os.urandom(4000),
        b"\xff" * 4000,
        pickle.dumps({"weights": [1, 2, 3]}),
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 99_999_999) + b"{}",
        whole[:1000],
        b"PK\x03\x04" + whole[:100],
        np.random.default_rng(0).bytes(8),
    ):
        path.write_bytes(data)
        assert "not a soundspot checkpoint" in refused(path), data[:20]
    for header in (
        [],
        {},
        "text",
        {"__metadata__": None},
        {"__metadata__": {"soundspot": "not json"}},
        {"__metadata__": {"soundspot": "[]"}},
        {"__metadata__": {"soundspot": {"version": 1}}},
        {"__metadata__": {"other": "{}"}},
        b"[" * 100_000,
        b"\xff\xfe{}",
    ):
        assert "not a soundspot checkpoint" in refused(with_header(path, header)), header


def test_safetensors_of_somebody_else(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors", {"format": "pt"})
    assert "not a soundspot checkpoint" in refused(tmp_path / "other.safetensors")


def test_cut_short(tmp_path: Path, model_file: Path) -> None:
    whole = model_file.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 100_000):
        (tmp_path / "cut.safetensors").write_bytes(whole[:length])
        assert "cut short or damaged" in refused(tmp_path / "cut.safetensors")


def test_nothing_there(tmp_path: Path) -> None:
    assert "neither a model" in refused(tmp_path / "nowhere.safetensors")
    assert "neither a model" in refused("defualt")
    assert "neither a model" in refused("x" * 300)
    assert "neither a model" in refused("nul\0byte")
    assert "folder" in refused(tmp_path)
    (tmp_path / "empty").touch()
    assert "empty" in refused(tmp_path / "empty")
    assert "folder" in refused("")


@pytest.mark.skipif(os.name != "posix", reason="named pipes")
def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "regular file" in refused(tmp_path / "pipe")


GOOD: dict[str, Any] = {
    "version": 1,
    "kind": "model",
    "model": "two_tower",
    "config": {"embedding": 256, "hidden": 512, "pool": "top_share"},
    "facts": {"name": "n", "size": 64},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2"),
        ({"version": "1"}, "version 1"),
        ({"version": None}, "version None"),
        ({"kind": "distillation"}, "holds a 'distillation' checkpoint where a 'model'"),
        ({"kind": None}, "holds a None checkpoint"),
        ({"model": "three_tower"}, "do not fit"),
        ({"model": ["two_tower"]}, "do not fit"),
        ({"config": {"pool": "median"}}, "unknown pool 'median'"),
        ({"config": {"embedding": -5}}, "at least 1"),
        ({"config": {"embedding": "x"}}, "do not fit"),
        ({"config": {"embedding": 2.5}}, "do not fit"),
        ({"config": {"colour": 1}}, "colour"),
        ({"config": [1]}, "do not fit"),
        ({"config": None}, "do not fit"),
        ({"config": {"embedding": 8}}, "do not fit"),
        ({"facts": []}, "do not fit"),
        ({"facts": "x"}, "do not fit"),
        ({"facts": {"size": 0}}, "above zero"),
        ({"facts": {"size": "64"}}, "do not fit"),
        ({"facts": {"heard": 5}}, "do not fit"),
        ({"facts": {"calibration": {"scale": -1}}}, "calibration"),
        ({"facts": {"calibration": [1]}}, "do not fit"),
        ({"facts": {"sice": 64}}, "sice"),
        ({}, "do not fit"),
    ],
)
def test_headers_that_do_not_fit(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    """Right but for one thing each; and the last is all right, but the weights are missing."""
    header = {**GOOD, **change}
    path = tmp_path / "x.safetensors"
    save_file({"weight": torch.zeros(3)}, path, {"soundspot": json.dumps(header)})
    assert message in refused(path)


def test_weights_that_do_not_fit(tmp_path: Path, two_tower: TwoTower) -> None:
    state = two_tower.state_dict()
    state["coarse.bias"] = torch.zeros(7)
    path = tmp_path / "x.safetensors"
    header = {k: v for k, v in GOOD.items() if k != "version"}
    checkpoint.write_checkpoint(path, state, header)
    assert "coarse.bias" in refused(path)


# --- writing ---------------------------------------------------------------------------------


def test_nothing_half_written(
    two_tower: TwoTower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(b"what was there before")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="no space left on device"):
        checkpoint.save(two_tower, path)
    assert path.read_bytes() == b"what was there before"
    assert os.listdir(tmp_path) == ["m.safetensors"]


def test_places_that_cannot_be_written(two_tower: TwoTower, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "m.safetensors", tmp_path / "file", tmp_path / "m.pt"):
        with pytest.raises(CheckpointError):
            checkpoint.save(two_tower, path)
    assert os.listdir(tmp_path) == ["file"]


def test_only_our_models_are_saved(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds one of two_tower, .*, not a Linear"):
        checkpoint.save(nn.Linear(1, 1), tmp_path / "m.safetensors")  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == []


def test_weights_beyond_half_precision_are_refused(two_tower: TwoTower, tmp_path: Path) -> None:
    large = copy.deepcopy(two_tower)
    with torch.no_grad():
        large.coarse.weight[0, 0] = 1e6
    with pytest.raises(CheckpointError, match=r"coarse\.weight is not finite as stored"):
        checkpoint.save(large, tmp_path / "large.safetensors")
    assert not (tmp_path / "large.safetensors").exists()
    checkpoint.save(large, tmp_path / "large.safetensors", half=False)
    assert bool((checkpoint.load(tmp_path / "large.safetensors").coarse.weight[0, 0] == 1e6).all())


# --- what an embedded model already holds ------------------------------------------------------


@pytest.mark.parametrize("name", checkpoint.EMBEDDED)
def test_every_embedded_model_loads(name: str) -> None:
    model = checkpoint.load(name)
    assert model.facts.name == name
    assert model.facts.calibration is not None
    header = checkpoint.read_header(checkpoint.WEIGHTS / f"{name}.safetensors")
    assert header["model"] == ("two_tower" if name == "default" else name)
    assert ("base" in header) == (name != "default")
    assert "trained" in header["notes"]


def test_the_embedded_models_are_small_together() -> None:
    sizes = [path.stat().st_size for path in checkpoint.WEIGHTS.iterdir()]
    assert len(sizes) == len(checkpoint.EMBEDDED)
    assert sum(sizes) < 60e6


def test_a_base_saves_space_and_nothing_else(tmp_path: Path, pair: Any) -> None:
    model = checkpoint.load("attention")
    whole, lean = tmp_path / "whole.safetensors", tmp_path / "lean.safetensors"
    checkpoint.save(model, whole)
    checkpoint.save(model, lean, base="default")
    assert lean.stat().st_size < 0.7 * whole.stat().st_size
    one, other = checkpoint.load(whole), checkpoint.load(lean)
    for (name, a), (_, b) in zip(one.state_dict().items(), other.state_dict().items(), strict=True):
        assert torch.equal(a, b), name
    with torch.no_grad():
        assert torch.equal(one(*pair), other(*pair))


def test_another_base_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lean = tmp_path / "lean.safetensors"
    checkpoint.save(checkpoint.load("attention"), lean, base="default")
    with pytest.raises(CheckpointError, match="no embedded model"):
        checkpoint.save(checkpoint.load(lean), tmp_path / "x.safetensors", base="resnet")
    elsewhere = moved(tmp_path, monkeypatch)
    checkpoint.save(TwoTower(facts=FACTS), elsewhere / "default.safetensors")
    assert "hears with another sound tower" in refused(lean)


def moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the embedded models, which takes their place."""
    elsewhere = tmp_path / "weights"
    shutil.copytree(embedded.WEIGHTS, elsewhere)
    monkeypatch.setattr(embedded, "WEIGHTS", elsewhere)
    return elsewhere


@pytest.mark.parametrize("part", ["image_tower", "sound_tower"])
def test_the_default_is_replaced_and_the_others_stay(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = replace_default()
    before = checkpoint.load("attention").state_dict()
    elsewhere, new = moved(tmp_path, monkeypatch), checkpoint.load()
    with torch.no_grad():
        getattr(new, part).stem.weight.mul_(0.5)
        new.coarse.weight.mul_(0.5)
    checkpoint.save(new, tmp_path / "new.safetensors")
    old = (elsewhere / "attention.safetensors").read_bytes()
    said = script.replace(tmp_path / "new.safetensors")
    same = part == "image_tower"
    assert set(said.values()) == {"replaced", "stands as it is" if same else "written again"}
    assert ((elsewhere / "attention.safetensors").read_bytes() == old) == same
    after = checkpoint.load("attention").state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(checkpoint.load().coarse.weight, new.coarse.weight.half().float())


def replace_default() -> Any:
    """The script, as a module."""
    path = Path(__file__).parents[1] / "scripts/replace_default.py"
    spec = importlib.util.spec_from_file_location("replace_default", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
