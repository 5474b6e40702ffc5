"""The sound at a pixel: masks keep what they should, and what cannot be asked is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from soundspot.band_mask import BandMask
from soundspot.cli import main
from soundspot.errors import MethodError, OptionError
from soundspot.facts import ModelFacts
from soundspot.media.audio import read_sound, write_sound
from soundspot.separating import apply_mask, separate

RATE = 16_000


def tone(frequency: float, seconds: float = 2.0) -> np.ndarray:
    time = np.arange(round(RATE * seconds)) / RATE
    return (0.2 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


@dataclass(frozen=True)
class LeftIsLow:
    """Says that the left half of any picture makes what is below 1 kHz, the right the rest."""

    facts: ModelFacts = field(default_factory=lambda: ModelFacts(name="left is low", size=32))

    def __call__(self, images: torch.Tensor, sounds: torch.Tensor) -> torch.Tensor:
        return images.mean((1, 2, 3)) * sounds.abs().mean(1)

    def mask_at(
        self, images: torch.Tensor, sounds: torch.Tensor, place: tuple[float, float]
    ) -> list[BandMask]:
        left = place[0] < 0.5
        frequencies, times = np.array([300.0, 990.0, 1010.0, 6000.0]), np.array([0.0, 1.0])
        values = np.repeat(np.array([left, left, not left, not left], np.float32)[:, None], 2, 1)
        return [BandMask(values, frequencies, times) for _ in range(len(images))]


@pytest.fixture
def scene(tmp_path: Path) -> tuple[Path, Path]:
    picture, sound = tmp_path / "picture.png", tmp_path / "sound.wav"
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(picture)
    write_sound(sound, tone(500) + tone(3000), RATE)
    return picture, sound


def test_each_side_gives_its_own_sound(scene: tuple[Path, Path]) -> None:
    for x, wanted in ((10, 500.0), (70, 3000.0)):
        found = separate(LeftIsLow(), *scene, at=(x, 30), rate=RATE)
        middle = slice(4000, -4000)  # away from the ends, where the tones are switched on
        error = np.abs(found.samples - tone(wanted))[middle].max()
        assert error < 0.01
        assert found.share == pytest.approx(0.5, abs=0.02)


def test_a_mask_of_ones_gives_the_sound_back() -> None:
    ones = BandMask(np.ones((2, 2), np.float32), np.array([1.0, 2.0]), np.array([0.0, 1.0]))
    for samples in (7, 100, 5000, 33_333):
        sound = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, samples)).float()
        torch.testing.assert_close(apply_mask(sound, ones, 44_100), sound, rtol=0, atol=1e-5)


def test_masks_are_interpolated_and_constant_beyond_their_ends() -> None:
    mask = BandMask(
        np.array([[0.0, 1.0], [1.0, 1.0]], np.float32), np.array([100.0, 200.0]), np.array([0, 2.0])
    )
    found = mask.at(np.array([0.0, 150.0, 9000.0]), np.array([-1.0, 1.0, 5.0]))
    np.testing.assert_allclose(found, [[0, 0.5, 1], [0.5, 0.75, 1], [1, 1, 1]])


def test_a_pixel_outside_the_picture_is_refused(scene: tuple[Path, Path]) -> None:
    for at in ((80, 0), (0, 60), (-1, 5)):
        with pytest.raises(OptionError, match="outside the picture, which is 80 x 60"):
            separate(LeftIsLow(), *scene, at=at)


@pytest.mark.parametrize("at", [3, (1,), ("1", "2"), (1, 2, 3), None])
def test_what_is_no_pixel_is_refused(scene: tuple[Path, Path], at: object) -> None:
    with pytest.raises(OptionError, match=r"give the pixel's \(x, y\)"):
        separate(LeftIsLow(), *scene, at=at)  # type: ignore[arg-type]


def test_models_that_do_not_separate_name_one_that_does(scene: tuple[Path, Path]) -> None:
    with pytest.raises(MethodError, match="pixel_sound"):
        separate(lambda images, sounds: images.mean((1, 2, 3)), *scene, at=(1, 1))


def test_the_command(
    scene: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, sound = map(str, scene)
    out = tmp_path / "out.wav"
    assert main(["separate", picture, sound, "--at", "10,20", "-o", str(out)]) == 0
    assert "% of the sound's energy" in capsys.readouterr().out
    assert len(read_sound(out, RATE)) == pytest.approx(2 * RATE, abs=2)
    for wrong in (["--at", "10"], ["--at", "a,b"], ["--at", "800,20"]):
        out.unlink(missing_ok=True)
        assert main(["separate", picture, sound, *wrong, "-o", str(out)]) == 2
        assert not out.exists()
        assert capsys.readouterr().err.count("\n") == 1
    assert main(["separate", picture, sound, "--at", "1,1", "-o", picture]) == 2
    default = ["--model", "default", "-o", str(out)]
    assert main(["separate", picture, sound, "--at", "1,1", *default]) == 2
    assert "pixel_sound" in capsys.readouterr().err
