"""Distillation: resumable to the last bit, exact folding, and a teacher read as published."""

from __future__ import annotations

import importlib.util
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Generator, nn

from soundspot import augment_sounds, distill
from soundspot.errors import CheckpointError, TrainingError
from soundspot.media.audio import write_sound
from soundspot.towers.logmel_cnn import LogMelCNN
from soundspot.towers.yamnet import WINDOW, YAMNet, read_yamnet

DATA = Path(os.environ.get("SOUNDSPOT_DATA", Path(__file__).parents[1] / "../shared/data"))
TEACHER = DATA / "teacher" / "yamnet.safetensors"

RATE = 16_000


@pytest.fixture(scope="module", autouse=True)
def small_rounds() -> Iterator[None]:
    """One batch a round, learned from three times: a run of four steps has two rounds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distill, "POOL", 1)
        patch.setattr(distill, "PASSES", 3)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # on a busy machine threads wait for each other
        yield
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings in nested folders: a tone, a sweep, and a burst of noise in silence."""
    folder = tmp_path_factory.mktemp("sounds")
    time = np.arange(RATE) / RATE
    burst = np.zeros(RATE * 3)
    burst[RATE : RATE + 4000] = np.random.default_rng(0).uniform(-0.5, 0.5, 4000)
    waves = {
        "a/tone": np.sin(2764.6 * time) / 2,
        "b/sweep": np.sin(900 * time**2),
        "b/c/burst": burst,
    }
    for name, wave in waves.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_sound(folder / f"{name}.wav", wave.astype(np.float32), RATE)
    return folder


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """YAMNet's file format with random weights."""
    torch.manual_seed(0)
    renamed = {}
    for name, value in YAMNet().state_dict().items():
        short = name.replace(".weight", ".w").replace(".bias", ".b") if "body" in name else name
        renamed[short] = torch.rand_like(value) if name == "mel" else value
    path = tmp_path_factory.mktemp("teacher") / "yamnet.safetensors"
    save_file(renamed, path)
    return path


def run(sounds: Path, teacher: Path, out: Path) -> Path:
    return distill.distill(
        sounds=[sounds], teacher=teacher, out=out, steps=4, seed=5, batch=2, save_every=2
    )


@pytest.fixture(scope="module")
def finished(sounds: Path, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished")
    run(sounds, teacher, out)
    return out


def test_a_run_cut_short_ends_with_the_same_weights(
    sounds: Path, teacher: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate = distill.learning_rate

    def interrupted(step: int, steps: int) -> float:
        if step == 3:
            raise KeyboardInterrupt
        return rate(step, steps)

    with monkeypatch.context() as patch:
        patch.setattr(distill, "learning_rate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(sounds, teacher, tmp_path)
    run(sounds, teacher, tmp_path)
    for name in ("training.safetensors", "sound_tower.safetensors", "log.jsonl"):
        assert (tmp_path / name).read_bytes() == (finished / name).read_bytes(), name


def test_the_log_has_each_step_once_with_finite_losses(finished: Path) -> None:
    lines = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2, 3]
    assert all(math.isfinite(line["embedding"] + line["scores"]) for line in lines)


def test_the_written_tower_is_a_plain_logmel_cnn(finished: Path) -> None:
    tower = LogMelCNN()
    state = load_file(finished / "sound_tower.safetensors")
    tower.load_state_dict({name: value.float() for name, value in state.items()})
    assert tower.embed(torch.randn(1, RATE) * 0.1).isfinite().all()


def test_a_damaged_save_is_named(
    sounds: Path, teacher: Path, finished: Path, tmp_path: Path
) -> None:
    whole = (finished / "training.safetensors").read_bytes()
    (tmp_path / "training.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"training\.safetensors: cut short or damaged"):
        run(sounds, teacher, tmp_path)


def test_another_run_is_not_overwritten(sounds: Path, teacher: Path, finished: Path) -> None:
    with pytest.raises(TrainingError, match="use another out"):
        distill.distill(sounds=[sounds], teacher=teacher, out=finished, steps=4, seed=6, batch=2)


def test_no_sounds_and_no_teacher_are_named(sounds: Path, teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=f"{tmp_path}: no sound"):
        distill.distill(sounds=[tmp_path], teacher=teacher, out=tmp_path, steps=1)
    with pytest.raises(CheckpointError, match="not a readable YAMNet file"):
        distill.distill(sounds=[sounds], teacher=sounds / "a/tone.wav", out=tmp_path, steps=1)


def test_lessons_can_be_entered_anywhere(teacher: Path) -> None:
    waves = [np.sin(np.arange(RATE) * 0.1).astype(np.float32)]
    master = read_yamnet(teacher)
    from_start = distill.endless_lessons(waves, master, 1, 3, 0)
    for _ in range(5):  # two steps into the second round
        fifth = next(from_start)
    assert torch.equal(
        next(distill.endless_lessons(waves, master, 1, 3, 4)).stretches, fifth.stretches
    )


def test_folding_changes_no_answer() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Sequential(nn.Conv2d(6, 3, 3, 2)))
    distill.add_batch_norm(net)
    for _ in range(5):
        net(torch.randn(8, 2, 16, 16) * 3 + 1)
    x = torch.randn(4, 2, 16, 16)
    expected = net.eval()(x)
    distill.fold(net)
    assert {type(m) for m in net.modules()} == {nn.Sequential, nn.Conv2d, nn.ReLU}
    torch.testing.assert_close(net(x), expected, atol=1e-5, rtol=1e-5)


def test_student_positions_and_teacher_windows_cover_the_same_time() -> None:
    assert LogMelCNN()(torch.zeros(1, distill.STRETCH)).shape[2] == 2 * distill.WINDOW_POSITIONS
    assert distill.STRETCH == distill.WINDOW_STEP + WINDOW


def test_learning_rate_rises_then_falls_to_zero() -> None:
    rates = [distill.learning_rate(step, 4000) for step in range(4000)]
    assert rates.index(max(rates)) == pytest.approx(distill.WARM_UP, abs=2)
    assert max(rates) == pytest.approx(distill.LEARNING_RATE, rel=0.01)
    assert rates[-1] < 1e-8


# --- augmentation --------------------------------------------------------------------------


def test_trim_cuts_silent_ends_only() -> None:
    wave = np.array([0, 1e-6, 0.5, 0, -0.5, 0, 0], np.float32)
    np.testing.assert_array_equal(augment_sounds.trim(wave), wave[2:5])
    assert len(augment_sounds.trim(np.zeros(9, np.float32))) == 0


@pytest.mark.parametrize("length", [200, 5000, 50_000])
def test_cuts_have_the_length_asked_for_and_keep_the_sound(length: int) -> None:
    wave = np.random.default_rng(0).uniform(-1, 1, 5000).astype(np.float32)
    for seed in range(20):
        piece = augment_sounds.cut(wave, length, np.random.default_rng(seed))
        assert piece.shape == (length,)
        assert np.abs(piece).max() > 0.5


def test_speed_moves_pitch() -> None:
    wave = np.sin(2 * np.pi * 1000 * np.arange(4 * RATE) / RATE).astype(np.float32)
    peaks = []
    for seed in range(40):
        piece = augment_sounds.cut(wave, RATE, np.random.default_rng(seed))
        peaks.append(np.abs(np.fft.rfft(piece)).argmax())  # 1 s: bins are Hz
    assert min(peaks) < 800 < 1000 < 1250 < max(peaks)
    assert min(peaks) > 706
    assert max(peaks) < 1415


def test_brown_noise_falls_by_its_exponent() -> None:
    noise = augment_sounds.noise(200, 4096, Generator().manual_seed(0))
    torch.testing.assert_close(augment_sounds.rms(noise), torch.ones(200, 1))
    power = torch.fft.rfft(noise).abs().square()
    octaves = (power[:, 400:800].mean(1) / power[:, 50:100].mean(1)).log2() / 3
    assert -2.2 < octaves.min() < -1.6  # brown: -2 an octave of power
    assert -0.3 < octaves.max() < 0.3  # white: 0


def test_colouring_keeps_the_level() -> None:
    x = torch.randn(6, 20_000, generator=Generator().manual_seed(0)) * 0.1
    y = augment_sounds.colour(x, Generator().manual_seed(1))
    torch.testing.assert_close(augment_sounds.rms(y), augment_sounds.rms(x), rtol=1e-3, atol=0)
    assert (x - y).abs().amax(1).min() > 0.01


def test_variation_is_bounded_finite_and_a_function_of_its_dice() -> None:
    x = torch.randn(40, 8000, generator=Generator().manual_seed(0))
    x[:5] = 0
    y = augment_sounds.vary(x, Generator().manual_seed(1))
    assert y.isfinite().all()
    assert y.abs().max() <= 1
    assert torch.equal(y, augment_sounds.vary(x, Generator().manual_seed(1)))
    assert not torch.equal(y, augment_sounds.vary(x, Generator().manual_seed(2)))


# --- the teacher ---------------------------------------------------------------------------


@pytest.mark.skipif(not TEACHER.exists(), reason=f"{TEACHER} is absent; set SOUNDSPOT_DATA")
@torch.no_grad()
def test_our_yamnet_says_what_the_published_reader_says() -> None:
    spec = importlib.util.spec_from_file_location("published", TEACHER.with_name("yamnet.py"))
    assert spec is not None
    assert spec.loader is not None
    published = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(published)
    sounds = torch.randn(2, 40_000, generator=Generator().manual_seed(0)) * 0.1
    sounds[1, 20_000:] = 0
    embeddings, scores = published.load(TEACHER)(sounds)
    ours = read_yamnet(TEACHER)
    features = ours(sounds)
    torch.testing.assert_close(features.transpose(1, 2), embeddings, atol=1e-5, rtol=1e-5)
    said = ours.logits(features).sigmoid().transpose(1, 2)
    torch.testing.assert_close(said, scores, atol=1e-5, rtol=1e-5)
