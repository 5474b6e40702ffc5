"""Bad input to `evaluate`, `train`, `distill` and `calibrate`: one line, exit code 2."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from soundspot import checkpoint, cli
from soundspot.media.audio import write_sound
from soundspot.models import TwoTower

Refused = Callable[..., str]


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run, expect exit code 2 and one line that names `about`."""

    def run(*arguments: object, about: str) -> str:
        try:
            code = cli.main([str(a) for a in arguments])
        except SystemExit as stopped:
            code = stopped.code if isinstance(stopped.code, int) else 1
        said = capsys.readouterr().err
        lines = [line for line in said.splitlines() if line.startswith("soundspot:")]
        assert code == 2, said
        assert len(lines) == 1, said
        assert "Traceback" not in said
        assert about in lines[0]
        return lines[0]

    return run


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A manifest of one pair with a box."""
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "a.png")
    write_sound(tmp_path / "a.wav", np.ones(8000, np.float32) * 0.1, 16_000)
    entry = {"id": "a", "image": "a.png", "sound": "a.wav", "boxes": [[0, 0, 0.5, 0.5]]}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(entry) + "\n")
    return tmp_path / "pairs.jsonl"


def test_train_refuses(refused: Refused, pair: Path, tmp_path: Path, model_file: Path) -> None:
    tower = ("--sound-tower", model_file)
    out = ("--out", tmp_path / "run")
    refused("train", tmp_path / "none", *tower, *out, about="images/SET and sounds/SET")
    refused("train", pair, *tower, *out, about="two or more")
    refused("train", pair, *tower, *out, "--side", "100", about="multiple of 32")
    refused("train", pair, *tower, *out, "--seed", "-1", about="seed")
    refused("train", pair, *tower, "--out", pair, about="cannot be written")


def test_a_set_without_sounds_is_named(refused: Refused, tmp_path: Path, model_file: Path) -> None:
    for folder in ("images/dog", "images/cat", "sounds/dgo", "sounds/cat"):
        (tmp_path / folder).mkdir(parents=True)
        name = "a.png" if "images" in folder else "a.wav"
        (tmp_path / folder / name).write_bytes(b"x")
    tower = ("--sound-tower", model_file)
    refused("train", tmp_path, *tower, "--out", tmp_path / "run", about="'dgo' has no pictures")


def test_a_check_of_what_is_not_there_says_so(refused: Refused, pair: Path, tmp_path: Path) -> None:
    refused("data", "check", tmp_path / "nothere", about="nothere does not exist")
    refused("data", "check", pair, about="is no folder; give a folder of shards")


def test_distill_refuses(refused: Refused, tmp_path: Path, pair: Path, model_file: Path) -> None:
    rest = ("--teacher", model_file, "--out", tmp_path / "run")
    refused("distill", tmp_path / "none", *rest, about="no such folder")
    refused("distill", tmp_path, *rest, "--steps", "0", about="steps is at least 1")
    refused("distill", tmp_path, *rest, about=model_file.name)
    refused("distill", tmp_path, "--teacher", model_file, "--out", pair, about="cannot be written")


def test_evaluate_and_calibrate_refuse(
    refused: Refused, pair: Path, tmp_path: Path, model_file: Path
) -> None:
    model = ("--model", model_file)
    refused("evaluate", tmp_path / "none.jsonl", *model, about="none.jsonl")
    refused("evaluate", pair, *model, "--json", pair, about="is read from")
    refused("evaluate", pair, *model, "--json", tmp_path / "a.png", about="is read from")
    refused("evaluate", pair, *model, "--methods", "magic", about="unknown method 'magic'")
    refused("calibrate", model_file, pair, "--out", tmp_path / "c", about="negatives")
    refused("calibrate", model_file, pair, "--out", pair, about="is read from")


def test_locate_never_writes_over_what_it_reads(
    refused: Refused, pair: Path, tmp_path: Path, model_file: Path
) -> None:
    picture, sound, model = tmp_path / "a.png", tmp_path / "a.wav", ("--model", model_file)
    before = picture.read_bytes()
    refused("locate", picture, sound, *model, "-o", picture, about="is read from")
    refused("locate", picture, sound, *model, "--json", model_file, about="is read from")
    twice = tmp_path / "twice.png"
    refused("locate", picture, sound, *model, "-o", twice, "--map", twice, about="twice")
    refused("locate", pair, *model, "--out-dir", tmp_path, about="choose another --out-dir")
    refused("locate", picture, sound, *model, "--save", "map", about="--save goes with a manifest")
    assert picture.read_bytes() == before


def test_another_model_of_the_same_name_is_told_apart(
    refused: Refused, pair: Path, tmp_path: Path, two_tower: TwoTower
) -> None:
    other = copy.deepcopy(two_tower)
    with torch.no_grad():
        other.fine.weight.add_(1.0)
    for name, model in (("first", two_tower), ("second", other)):
        (tmp_path / name).mkdir()
        checkpoint.save(model, tmp_path / name / "m.safetensors")
    run = ("locate", pair, "--out-dir", tmp_path / "out", "--method", "similarity_map")
    code = cli.main([*map(str, run), "--model", str(tmp_path / "first" / "m.safetensors")])
    assert code == 0
    refused(
        *run, "--model", tmp_path / "second" / "m.safetensors", about="choose another --out-dir"
    )
