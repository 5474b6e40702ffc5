"""`soundspot locate --threshold T --visible P`: the model's own thresholds, overridden."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from soundspot import cli
from soundspot.media.audio import write_sound


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8)).save(tmp_path / "a.png")
    tone = 0.2 * np.sin(np.arange(16_000) * 0.1)
    write_sound(tmp_path / "a.wav", tone.astype(np.float32), 16_000)
    return [str(tmp_path / "a.png"), str(tmp_path / "a.wav")]


def test_of_a_picture(
    pair: list[str], model_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def located(*options: str) -> dict[str, object]:
        assert cli.main(["locate", *pair, "--model", str(model_file), "--json", "-", *options]) == 0
        answer = json.loads(capsys.readouterr().out)
        del answer["seconds"]
        return dict(answer)

    usual = located("--visible", "0")
    assert usual["boxes"]
    assert located("--visible", "0", "--threshold", "1e9") == {**usual, "boxes": []}
    assert located("--visible", "1") == {**usual, "visible": False, "boxes": []}


def test_of_several_sources(
    pair: list[str], model_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def located(*options: str) -> list[dict[str, object]]:
        words = ["--model", str(model_file), "--sources", "2", "--json", "-", *options]
        assert cli.main(["locate", *pair, *words]) == 0
        return [
            {"visible": one["visible"], "boxes": bool(one["boxes"])}
            for one in json.loads(capsys.readouterr().out)["sources"]
        ]

    assert (
        located("--visible", "0", "--threshold", "1e9") == [{"visible": True, "boxes": False}] * 2
    )
    assert located("--visible", "0", "--threshold=-1e9") == [{"visible": True, "boxes": True}] * 2
    assert not any(one["visible"] for one in located("--visible", "1"))


def test_of_a_manifest(
    pair: list[str], model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {"id": "a", "image": "a.png", "sound": "a.wav"}
    (tmp_path / "m.jsonl").write_text(json.dumps(entry) + "\n")
    command = ["locate", str(tmp_path / "m.jsonl"), "--model", str(model_file), "--save", "json"]
    command += ["--out-dir", str(tmp_path / "out")]
    assert cli.main([*command, "--visible", "0", "--threshold", "1e9"]) == 0
    answer = json.loads((tmp_path / "out" / "a.json").read_text())
    assert answer["visible"]
    assert answer["boxes"] == []
    capsys.readouterr()
    assert cli.main([*command, "--visible", "0"]) == 2
    assert "choose another --out-dir" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "about"),
    [
        (["--threshold", "nan"], "finite raw map value"),
        (["--visible", "1.2"], "in 0..1"),
        (
            ["--threshold", "0.5", "--sources", "2", "--approach", "channels"],
            "its thresholds do not fit them; these take one: territories, separate_first, two_b",
        ),
    ],
)
def test_what_is_refused(
    pair: list[str],
    model_file: Path,
    options: list[str],
    about: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["locate", *pair, "--model", str(model_file), *options]) == 2
    said = capsys.readouterr().err
    assert about in said
    assert said.count("\n") == 1
