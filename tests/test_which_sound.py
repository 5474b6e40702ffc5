"""Which sound matters: the script on a planted model, and the page that it wrote."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from red_and_green import FACTS, Planted, positives_in, write_scene
from soundspot import checkpoint
from soundspot.batch import fingerprint
from soundspot.facts import Calibration, ModelFacts
from soundspot.locating import Locator

ROOT = Path(__file__).resolve().parents[1]
LARGEST_FIGURE = 150_000
"""Bytes."""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("which_sound", ROOT / "scripts/which_sound.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["which_sound"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def planted() -> Locator:
    facts = ModelFacts(
        "planted", FACTS.size, FACTS.sample_rate, FACTS.seconds, Calibration(40.0, -10.0)
    )
    return Locator(Planted(facts), "similarity_map", device="cpu")


def test_the_share_is_one_where_the_sound_is_seen(
    script: ModuleType, planted: Locator, tmp_path: Path
) -> None:
    write_scene(tmp_path)
    sample = positives_in(tmp_path)[0]
    picture = np.asarray(Image.open(sample.image).convert("RGB"))
    from soundspot.media.audio import read_sound

    right = read_sound(sample.sound, FACTS.sample_rate)
    heard = {"right": right, "silence": np.zeros_like(right)}
    found = script.ask(planted, picture, sample.boxes, heard)
    assert found[0].share > 0.85
    assert found[0].result.visible
    assert not found[1].result.visible
    chance = 1 / 16
    assert found[1].share == pytest.approx(chance, rel=0.01)  # a flat map looks nowhere


def test_the_page_is_written_by_one_command(
    script: ModuleType, planted: Locator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "DOCS", tmp_path)
    script.write_page(planted)
    text = (tmp_path / "which_sound.md").read_text()
    figures = re.findall(r"\]\((which_sound_\w+\.jpg)\)", text)
    assert len(figures) == 5
    assert all((tmp_path / figure).stat().st_size < LARGEST_FIGURE for figure in figures)
    failed = [int(number) for number in re.findall(r"\| (\d+) of 30 \|", text)]
    assert len(failed) == 1 + len(script.COPIES)
    assert sum(failed) == text.count("\n- ")
    tables = text.partition("## What failed")[0]
    assert tables.count("| silence | 0.00 |") == 5
    assert tables.count("**") == 2 * failed[0]


def test_verdicts(script: ModuleType, planted: Locator) -> None:
    scene = script.scenes()[1]
    (answer,) = script.ask(planted, scene.picture, scene.boxes, {"meow": np.zeros(100, np.float32)})
    assert script.verdict(scene, answer) == "**missed**"
    assert script.verdict(scene, answer._replace(sound="a tone")) == "right: nothing visible"


def test_real_pictures_get_a_table_and_figures(
    script: ModuleType, planted: Locator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only picture 0 has a group that is nowhere in it."""
    write_scene(tmp_path)
    lines = []
    for n, sample in enumerate(positives_in(tmp_path)[:3]):
        boxes = [list(box) for box in sample.boxes]
        lines.append(
            f'{{"id": "p{n}", "image": "{sample.image.name}", "sound": "{sample.sound.name}", '
            f'"boxes": {boxes}, "group": "{sample.group}"}}\n'
        )
    (tmp_path / "some.jsonl").write_text("".join(lines))
    script.real(planted, tmp_path / "some.jsonl", tmp_path / "out", 2)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("p0")]
    chance, right, share, other, elsewhere, *_ = map(float, line.split()[1:])
    assert (chance, right, other) == (0.06, 1.0, 1.0)
    assert share > 0.85
    assert elsewhere < 0.05, "the other tone lights the other square"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["p0.jpg"]
    (tmp_path / "one.jsonl").write_text(lines[0])
    with pytest.raises(SystemExit, match="of two groups or more"):
        script.real(planted, tmp_path / "one.jsonl", tmp_path / "out", 2)


def test_the_page_in_the_docs_is_of_the_default_model_and_has_its_figures() -> None:
    text = (ROOT / "docs" / "which_sound.md").read_text()
    weights = fingerprint(checkpoint.load())
    assert f"(weights {weights})" in text, "run python scripts/which_sound.py"
    figures = re.findall(r"\]\((which_sound_\w+\.jpg)\)", text)
    assert figures
    for figure in figures:
        assert 0 < (ROOT / "docs" / figure).stat().st_size < LARGEST_FIGURE
