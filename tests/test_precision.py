"""Models cast to another precision answer nearly as before."""

from __future__ import annotations

from copy import deepcopy
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor

import soundspot
from soundspot.batch import fingerprint
from soundspot.checkpoint import EMBEDDED
from soundspot.facts import ModelFacts
from soundspot.localize import parse
from soundspot.media.audio import read_sound
from soundspot.media.image import read_picture
from soundspot.models import MODELS, TwoTower
from soundspot.towers.logmel_cnn import SAMPLE_RATE, LogMel, LogMelCNN

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
SIDE, SECONDS = 128, 2
CLOSE = {torch.bfloat16: 0.99, torch.float16: 0.98, torch.float64: 0.999999}
"""Least correlation with the map in float32: float16 loses the smallest gradients."""
NEAR = {torch.bfloat16: 0.1, torch.float16: 0.02, torch.float64: 1e-4}
"""Most difference of a similarity, in the units of a logit."""


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor]:
    picture = torch.from_numpy(read_picture(SAMPLES / "chelsea.png")).permute(2, 0, 1)[None]
    images = torch.nn.functional.interpolate(picture.float() / 255, (SIDE, SIDE), mode="area")
    sound = read_sound(SAMPLES / "meow.flac", SAMPLE_RATE)[: SECONDS * SAMPLE_RATE]
    return images, torch.from_numpy(sound)[None]


def alike(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack((a.flatten().double(), b.flatten().double())))[0, 1])


@pytest.mark.parametrize(("name", "dtype"), list(product(EMBEDDED, CLOSE)))
def test_a_cast_model_answers_nearly_the_same(
    name: str, dtype: torch.dtype, pair: tuple[Tensor, Tensor]
) -> None:
    method = parse("combined(similarity_map, inner_gradient)")
    model = soundspot.load(name)
    before, own = method(model, *pair), parse("similarity_map")(model, *pair)
    model = model.to(dtype)
    after, cast = method(model, *pair), parse("similarity_map")(model, *pair)
    for was, now in ((before, after), (own, cast)):
        assert alike(was.maps, now.maps) > CLOSE[dtype]
        assert float((was.similarities - now.similarities).abs()) < NEAR[dtype]
    wide = torch.promote_types(dtype, torch.float32)
    assert cast.maps.dtype == cast.similarities.dtype == wide
    assert model(*pair).dtype == wide


@pytest.mark.parametrize("cast", ["bfloat16", "double"])
def test_locating_gives_maps_in_float32(cast: str) -> None:
    files = SAMPLES / "chelsea.png", SAMPLES / "meow.flac"
    expected = soundspot.locate(soundspot.load(), *files, "similarity_map")
    found = soundspot.locate(getattr(soundspot.load(), cast)(), *files, "similarity_map")
    assert found.map.dtype == expected.map.dtype == "float32"
    assert found.confidence == pytest.approx(expected.confidence, abs=0.02)
    assert found.visible


@pytest.mark.parametrize("method", ["guided_backprop", "grad_cam", "occlusion(patch=64,stride=64)"])
def test_methods_work_in_half_precision(method: str, pair: tuple[Tensor, Tensor]) -> None:
    model = soundspot.load()
    expected = parse(method)(model, *pair).maps
    assert alike(parse(method)(model.bfloat16(), *pair).maps, expected) > 0.97


@pytest.mark.parametrize("dtype", CLOSE)
def test_several_sources_are_told_apart_in_another_precision(
    dtype: torch.dtype, two_tower: TwoTower
) -> None:
    model = deepcopy(two_tower).to(dtype)
    files = SAMPLES / "chelsea.png", SAMPLES / "meow.flac"
    for approach in ("territories", "separate_first"):
        found = soundspot.locate_sources(model, *files, 2, approach, "similarity_map")
        assert {one.result.map.dtype.name for one in found} == {"float32"}


@pytest.mark.parametrize("kind", MODELS)
def test_what_is_cast_and_what_is_not(kind: str) -> None:
    model = MODELS[kind].from_config({}, ModelFacts(name="new")).half()
    assert model.image_tower.stem.weight.dtype == torch.float16
    assert model.sound_tower.stem.weight.dtype == torch.float16
    assert model.sound_tower.log_mel.filters.dtype == torch.float32
    assert model.sound_mean.dtype == torch.float32
    model.double()
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert model.sound_tower.log_mel.filters.dtype == torch.float32
    assert {t.dtype for t in model.float().state_dict().values()} == {torch.float32}


def test_the_spectrogram_loses_nothing_on_the_way() -> None:
    tower, exact = LogMelCNN().half().float(), LogMel()
    assert torch.equal(tower.log_mel.filters, exact.filters)
    assert torch.equal(tower.log_mel.window, exact.window)


@pytest.mark.parametrize("half", [True, False])
def test_a_cast_model_is_saved_and_loaded(half: bool, tmp_path: Path) -> None:
    model = soundspot.load().bfloat16()
    model.save(tmp_path / "cast.safetensors", half=half)
    again = soundspot.load(tmp_path / "cast.safetensors")
    assert {p.dtype for p in again.parameters()} == {torch.float32}
    assert torch.equal(again.coarse.weight, model.coarse.weight.float())


def test_cast_models_are_told_apart() -> None:
    casts = [soundspot.load(), soundspot.load().half(), soundspot.load().bfloat16()]
    assert len({fingerprint(model) for model in casts}) == 3


def test_a_model_moves_between_devices_in_the_precision_it_has() -> None:
    model = soundspot.load().half().to("meta")
    assert model.image_tower.stem.weight.dtype == torch.float16
    assert model.sound_mean.dtype == torch.float32
    assert {t.device.type for t in model.state_dict().values()} == {"meta"}
