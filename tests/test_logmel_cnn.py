"""The sound tower and its front end: formulas, laws, and sounds of every length and level."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from soundspot.towers import logmel_cnn
from soundspot.towers.logmel_cnn import LogMel, LogMelCNN, hz_to_mel, mel_filters, whole_positions

RATE = logmel_cnn.SAMPLE_RATE


@pytest.fixture(scope="module")
def tower() -> LogMelCNN:
    torch.manual_seed(0)
    return LogMelCNN().eval()


def tone(hz: float, seconds: float = 1.0, amplitude: float = 0.1) -> Tensor:
    return amplitude * torch.sin(2 * math.pi * hz * torch.arange(int(RATE * seconds)) / RATE)[None]


def test_known_mels() -> None:
    # 1000 Hz is 1000 mel by definition (to the rounding of the constants)
    mels = hz_to_mel(torch.tensor([0.0, 1000.0, 700.0 * (math.e - 1)], dtype=torch.float64))
    torch.testing.assert_close(
        mels, torch.tensor([0.0, 1000.0, 1127.0]).double(), atol=0.02, rtol=0
    )


def test_filters_equal_the_slow_formula() -> None:
    filters = mel_filters(64, 125.0, 7500.0, 512, RATE)
    low, high = 1127 * math.log(1 + 125 / 700), 1127 * math.log(1 + 7500 / 700)
    corners = [low + i * (high - low) / 65 for i in range(66)]
    for band in (0, 7, 31, 63):
        left, centre, right = corners[band : band + 3]
        for i in range(1, 257):
            mel = 1127 * math.log(1 + i * RATE / 512 / 700)
            slope = min((mel - left) / (centre - left), (right - mel) / (right - centre))
            assert filters[band, i].item() == pytest.approx(max(0.0, slope), abs=1e-5)


def test_neighbouring_triangles_add_up_to_one() -> None:
    filters = mel_filters(64, 125.0, 7500.0, 512, RATE)
    hz = torch.arange(257) * RATE / 512
    inside = (hz > 250) & (hz < 7000)
    torch.testing.assert_close(filters[:, inside].sum(0), torch.ones(int(inside.sum())))


@pytest.mark.parametrize("hz", [300.0, 1000.0, 5000.0])
def test_a_tone_is_loudest_in_its_band(hz: float) -> None:
    spectrogram = LogMel()(tone(hz))[0]
    ends = hz_to_mel(torch.tensor([logmel_cnn.LOWEST, logmel_cnn.HIGHEST, hz]))
    expected = (ends[2] - ends[0]) / (ends[1] - ends[0]) * (logmel_cnn.BANDS + 1) - 1
    middle = spectrogram[:, 20:80].mean(1)
    assert abs(middle.argmax().item() - expected.item()) <= 1


def test_a_spectrogram_is_that_of_a_plain_dft() -> None:
    sound = torch.randn(1, 2000, generator=torch.Generator().manual_seed(1)) * 0.1
    frame = sound[0, 3 * 160 : 3 * 160 + 400].double()
    n = torch.arange(400, dtype=torch.float64)
    window = 0.5 - 0.5 * torch.cos(2 * math.pi * n / 400)
    waves = torch.exp(-2j * math.pi * torch.arange(257)[:, None] * n / 512)
    power = (waves @ (frame * window).to(waves.dtype)).abs() ** 2
    bands = LogMel().filters.double() @ power
    expected = (
        torch.log(bands + logmel_cnn.MEL_FLOOR) - logmel_cnn.LOG_MEAN
    ) / logmel_cnn.LOG_RANGE
    torch.testing.assert_close(LogMel()(sound)[0, :, 3].double(), expected, atol=1e-4, rtol=1e-4)


def test_many_sounds_are_as_each_alone_and_bands_as_all_together() -> None:
    log_mel = LogMel()
    sounds = 0.1 * torch.randn(3, 9000, generator=torch.Generator().manual_seed(3))
    together = log_mel(sounds)
    assert torch.equal(together, torch.cat([log_mel(sound[None]) for sound in sounds]))
    groups = [bands for bands, _ in log_mel.spans]
    assert sum(log_mel.filters[bands].shape[0] for bands in groups) == logmel_cnn.BANDS
    for bands, bins in log_mel.spans:
        rest = log_mel.filters[bands].clone()
        rest[:, bins] = 0
        assert not rest.any()
    log_mel.spans = [(slice(None), slice(None))]
    torch.testing.assert_close(log_mel(sounds), together, atol=1e-6, rtol=0)


def test_an_exported_spectrogram_takes_any_number_of_sounds() -> None:
    """One by one is for running as it is written: a graph must not hold a number of sounds."""
    tower = LogMelCNN().eval()
    sounds = 0.1 * torch.randn(5, 9000, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        exported = torch.export.export(
            tower.log_mel, (sounds[:2],), dynamic_shapes=({0: torch.export.Dim("n")},)
        )
        torch.testing.assert_close(exported.module()(sounds), tower.log_mel(sounds))
        assert tower.embed(sounds[:0]).shape == (0, 512)


def test_silence_is_the_floor() -> None:
    floor = (math.log(logmel_cnn.MEL_FLOOR) - logmel_cnn.LOG_MEAN) / logmel_cnn.LOG_RANGE
    torch.testing.assert_close(LogMel()(torch.zeros(1, 8000)), torch.full((1, 64, 64), floor))


def test_ten_times_the_gain_adds_twenty_decibels_above_the_floor() -> None:
    noise = torch.randn(1, 4000, generator=torch.Generator().manual_seed(2)) * 0.05
    step = (LogMel()(noise * 10) - LogMel()(noise))[..., :20]
    expected = torch.full_like(step, math.log(100) / logmel_cnn.LOG_RANGE)
    torch.testing.assert_close(step, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("samples", "positions"),
    [(2, 1), (1600, 1), (2800, 1), (2801, 2), (15_600, 6), (30_960, 12), (160_000, 63)],
)
def test_every_sample_counts(tower: LogMelCNN, samples: int, positions: int) -> None:
    assert samples <= whole_positions(samples) < samples + 2960
    features = tower(torch.zeros(1, samples))
    assert features.shape == (1, logmel_cnn.FEATURES, positions)
    assert features.isfinite().all()
    assert (features >= 0).all()
    impulse = torch.zeros(1, samples)
    impulse[0, -min(200, samples - 1)] = 1.0  # the first sample of a Hann window weighs nothing
    assert not torch.equal(tower(impulse), features)


def test_zeros_at_the_end_of_a_short_sound_change_nothing(tower: LogMelCNN) -> None:
    short = tone(440, 0.1)
    longer = torch.cat((short, torch.zeros(1, 2800 - short.shape[1])), 1)
    torch.testing.assert_close(tower(short), tower(longer))


@torch.no_grad()
def test_a_row_depends_on_itself_alone_and_answers_the_same_twice(tower: LogMelCNN) -> None:
    sounds = torch.randn(4, 16_000, generator=torch.Generator().manual_seed(3)) * 0.1
    together = tower.embed(sounds)
    torch.testing.assert_close(together, torch.cat([tower.embed(row[None]) for row in sounds]))
    torch.testing.assert_close(tower.train().embed(sounds), together)  # no layer has a mode
    assert torch.equal(tower.eval().embed(sounds), together)


@torch.no_grad()
def test_positions_move_with_the_sound(tower: LogMelCNN) -> None:
    burst = torch.zeros(1, 80_000)
    burst[:, 32_000:36_000] = tone(700, 0.25)
    later = burst.roll(4 * 2560, 1)
    here, there = tower(burst), tower(later)
    torch.testing.assert_close(here[..., 8:20], there[..., 12:24], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_pooling_lies_between_its_positions_and_follows_attention(tower: LogMelCNN) -> None:
    features = torch.rand(2, logmel_cnn.FEATURES, 7)
    pooled = tower.pool(features)
    assert (pooled >= features.amin(-1)).all()
    assert (pooled <= features.amax(-1)).all()
    torch.testing.assert_close(tower.pool(features[..., :1]), features[..., 0])
    weights = tower.attention(features)[:, 0].softmax(-1)
    torch.testing.assert_close(pooled, torch.einsum("bdt,bt->bd", features, weights))


def test_gradients_reach_even_silence_and_stay_finite(tower: LogMelCNN) -> None:
    sounds = torch.stack((torch.zeros(8000), tone(440, 0.5)[0])).requires_grad_()
    (gradient,) = torch.autograd.grad(tower.embed(sounds).sum(), sounds)
    assert gradient.isfinite().all()
    assert gradient[1].abs().max() > 0


@torch.no_grad()
def test_autocast_keeps_the_spectrogram_in_full_precision(tower: LogMelCNN) -> None:
    sound = tone(440)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(tower.log_mel(sound), tower.log_mel(sound))
        assert tower.log_mel(sound).dtype == torch.float32
        rough = tower.embed(sound)
    exact = tower.embed(sound)
    assert torch.cosine_similarity(rough.float(), exact).item() > 0.99


def test_small_enough_to_embed(tower: LogMelCNN) -> None:
    assert sum(p.numel() for p in tower.parameters()) < 3_000_000
