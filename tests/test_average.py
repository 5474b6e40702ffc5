"""The mean of several models' weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from soundspot.averaging import average
from soundspot.checkpoint import load, save
from soundspot.cli import main
from soundspot.errors import CheckpointError
from soundspot.models import TwoTower
from soundspot.models.two_tower import TwoTowerConfig


def _saved(path: Path, seed: int, **config: float) -> Path:
    torch.manual_seed(seed)
    save(TwoTower(TwoTowerConfig(**config)), path, half=False)  # type: ignore[arg-type]
    return path


def test_each_weight_is_the_mean(tmp_path: Path) -> None:
    paths = [_saved(tmp_path / f"{seed}.safetensors", seed) for seed in range(3)]
    out = tmp_path / "mean.safetensors"
    assert main(["average", *map(str, paths), "--out", str(out)]) == 0
    found, parts = load(out).state_dict(), [load(path).state_dict() for path in paths]
    for name, value in found.items():
        expected = sum(part[name].double() for part in parts) / 3
        torch.testing.assert_close(value.double(), expected, rtol=1e-3, atol=1e-3)


def test_what_all_share_stays_to_the_bit(tmp_path: Path) -> None:
    path = _saved(tmp_path / "a.safetensors", 0)
    average([path, path, path], tmp_path / "mean.safetensors")
    before, after = load(path).state_dict(), load(tmp_path / "mean.safetensors").state_dict()
    assert all(torch.equal(before[name].half().float(), after[name]) for name in before)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    one = _saved(tmp_path / "a.safetensors", 0)
    other = _saved(tmp_path / "b.safetensors", 0, softness=20.0)
    with pytest.raises(CheckpointError, match="another kind or configuration"):
        average([one, other], tmp_path / "mean.safetensors")
    with pytest.raises(CheckpointError, match="two or more"):
        average([one], tmp_path / "mean.safetensors")
    assert not (tmp_path / "mean.safetensors").exists()
