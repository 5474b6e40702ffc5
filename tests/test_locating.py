"""The whole road: a square that is painted into a picture comes back at its own pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import soundspot
from planted import COLOURS, RATE, detached, pixelwise, tone
from soundspot.batch import locate_all
from soundspot.errors import MediaError, MethodError, ModelError, OptionError
from soundspot.facts import Calibration, ModelFacts, facts_of
from soundspot.locating import Locator, cut, fit_sound, locate, pick_device
from soundspot.media.audio import write_sound
from soundspot.result import Result
from soundspot.types import Sample

SIDE = 64


class Model:
    """Any callable with facts of its own; every pixel speaks for itself."""

    def __init__(self, **facts: Any) -> None:
        given = {"name": "planted", "size": SIDE, "sample_rate": RATE, "seconds": 0.1, **facts}
        self.facts = ModelFacts(**given)

    def __call__(self, images: Tensor, sounds: Tensor) -> Tensor:
        return pixelwise(images, sounds)


SURE = Calibration(scale=100.0, bias=2.0)
SOUND = (tone(0).numpy(), RATE)


def painted(width: int, height: int, *boxes: tuple[int, int, int, int], colour: int = 0) -> Any:
    picture = np.full((height, width, 3), 128, np.uint8)
    for x0, y0, x1, y1 in boxes:
        picture[y0:y1, x0:x1] = np.round(255 * COLOURS[colour].numpy())
    return picture


@pytest.mark.parametrize(
    ("width", "height", "box"),
    [
        (64, 64, (10, 20, 30, 44)),
        (200, 50, (120, 10, 180, 40)),
        (50, 200, (5, 20, 30, 90)),
        (61, 47, (7, 9, 29, 31)),
        (400, 303, (0, 0, 100, 80)),
        (400, 303, (310, 200, 400, 303)),
        (1024, 640, (500, 300, 800, 500)),
        (9, 7, (2, 1, 6, 5)),
        (1, 50, (0, 10, 1, 30)),
        (50, 1, (20, 0, 40, 1)),
        (2, 2, (0, 0, 1, 1)),
    ],
)
def test_a_painted_box_comes_back(width: int, height: int, box: Any) -> None:
    method = "input_gradient(blur=0)"
    result = locate(Model(calibration=SURE), painted(width, height, box), SOUND, method)
    assert result.visible
    assert result.size == (width, height)
    assert result.map.shape == (height, width)
    found, score = result.boxes[0]
    assert len(result.boxes) == 1
    for place, truth, side in zip(found, box, (width, height) * 2, strict=True):
        assert abs(place - truth) <= 2 * max(1, side / SIDE), (found, box)
        assert 0 <= place <= side
    x0, y0, x1, y1 = box
    assert x0 <= result.peak[0] < x1
    assert y0 <= result.peak[1] < y1
    assert 0 < score <= 1


def test_a_picture_of_one_pixel() -> None:
    result = locate(Model(calibration=SURE), painted(1, 1, (0, 0, 1, 1)), SOUND)
    assert result.peak == (0, 0)
    assert result.overlay().shape == (1, 1, 3)


def test_two_boxes_and_the_sound_that_chooses() -> None:
    picture = painted(120, 80, (10, 10, 40, 40), (70, 30, 110, 70))
    picture[60:75, 20:50] = np.round(255 * COLOURS[2].numpy())
    model = Model(calibration=SURE)
    red = locate(model, picture, SOUND, "input_gradient(blur=0)")
    assert len(red.boxes) == 2
    assert red.boxes[0].box == pytest.approx((70, 30, 110, 70), abs=4), "the larger one first"
    blue = locate(model, picture, (tone(2).numpy(), RATE), "input_gradient(blur=0)")
    assert [b.box for b in blue.boxes] == [pytest.approx((20, 60, 50, 75), abs=4)]


def test_files_pictures_and_arrays_are_the_same(tmp_path: Any) -> None:
    picture = painted(70, 50, (10, 10, 40, 40))
    Image.fromarray(picture).save(tmp_path / "p.png")
    write_sound(tmp_path / "s.wav", SOUND[0], RATE)
    model = Model()
    expected = locate(model, picture, SOUND)
    for image in (tmp_path / "p.png", str(tmp_path / "p.png"), Image.fromarray(picture)):
        found = locate(model, image, SOUND)
        np.testing.assert_array_equal(found.map, expected.map)
    found = locate(model, picture, tmp_path / "s.wav")
    np.testing.assert_allclose(found.map, expected.map, atol=1e-3 * expected.map.max())


def test_a_row_is_its_own_in_a_batch() -> None:
    locator = Locator(Model(), "input_gradient")
    pictures = [painted(70, 50, (10, 10, 40, 40)), painted(33, 90, (1, 2, 20, 30), colour=1)]
    sounds = [tone(0).numpy(), tone(1).numpy()]
    together = locator.locate(pictures, sounds)
    for picture, sound, result in zip(pictures, sounds, together, strict=True):
        (alone,) = locator.locate([picture], [sound])
        np.testing.assert_allclose(alone.map, result.map, rtol=1e-4, atol=1e-7)
        assert alone.json() | {"seconds": 0} == result.json() | {"seconds": 0}


def test_no_pairs_have_no_answers() -> None:
    locator = Locator(Model())
    assert locator.evidence([], []) == locator.locate([], []) == []


def test_one_sound_for_many_pictures_is_heard_once() -> None:
    heard: list[int] = []

    class Hearing(Model):
        def __call__(self, images: Tensor, sounds: Tensor) -> Tensor:
            heard.append(len(sounds))
            assert torch.equal(sounds[0], sounds[-1])
            return super().__call__(images, sounds)

    locator = Locator(Hearing(), "input_gradient")
    sound = tone(0).numpy()
    assert locator.listen([sound]).of([0, 0, 0])  # what `evidence` does with one array, three times
    found = locator.evidence([painted(20, 20)] * 3, [sound] * 3)
    assert len(found) == 3
    assert heard == [3]


@pytest.mark.parametrize("samples", [1600, 800, 799, 801, 4000])
def test_the_loudest_stretch_is_heard(samples: int) -> None:
    sound = np.zeros(samples, np.float32)
    place = max(0, samples - 900)
    sound[place : place + 100] = 0.5
    fitted = fit_sound(sound, 800, 80)
    assert len(fitted) == 800
    assert float(np.square(fitted).sum()) == pytest.approx(25)
    if samples <= 800:
        np.testing.assert_array_equal(fitted[:samples], sound)


@pytest.mark.parametrize("level", [0.0, 9e-5])
def test_silence_is_heard_as_such(level: float) -> None:
    """However sure the model is, nothing can be heard in silence."""
    model = Model(calibration=Calibration(scale=1.0, bias=50.0))
    picture = painted(40, 40, (5, 5, 20, 20))
    assert locate(model, picture, SOUND).visible
    result = locate(model, picture, (np.full(800, level, np.float32), RATE))
    assert not result.visible
    assert result.confidence == 0
    assert result.boxes == []
    assert str(result) == "no visible source (confidence 0.00)"
    assert result.json()["boxes"] == []


def test_confidence_is_the_calibrated_sigmoid() -> None:
    picture = painted(40, 40, (5, 5, 20, 20))
    bare = locate(Model(), picture, SOUND)
    assert not bare.calibrated
    similarity = float(np.log(bare.confidence / (1 - bare.confidence)))
    sure = locate(Model(calibration=Calibration(scale=3.0, bias=-1.0)), picture, SOUND)
    assert sure.calibrated
    assert sure.confidence == pytest.approx(1 / (1 + np.exp(1 - 3 * similarity)), rel=1e-4)


def test_an_absolute_threshold_cuts_raw_values() -> None:
    picture = painted(64, 64, (10, 20, 30, 44))
    method = "input_gradient(blur=0)"
    high = locate(Model(calibration=SURE), picture, SOUND, method).map.max()
    for factor, count in ((1.01, 0), (0.9, 1)):
        calibration = Calibration(100.0, 2.0, thresholds={method: float(high * factor)})
        result = locate(Model(calibration=calibration), picture, SOUND, method)
        assert len(result.boxes) == count
        assert result.visible
    assert cut(np.zeros((4, 4), np.float32), None, 1.0) == []


def test_a_given_threshold_overrides_the_calibrated_one() -> None:
    picture = painted(64, 64, (10, 20, 30, 44))
    method = "input_gradient(blur=0)"
    high = float(locate(Model(calibration=SURE), picture, SOUND, method).map.max())
    calibration = Calibration(100.0, 2.0, thresholds={method: 1.01 * high})
    model = Model(calibration=calibration)
    assert not locate(model, picture, SOUND, method).boxes
    found = locate(model, picture, SOUND, method, threshold=0.9 * high)
    assert len(found.boxes) == 1
    assert locate(Model(), picture, SOUND, method, threshold=2 * high).boxes == []
    assert Locator(model, method).threshold == 1.01 * high
    assert Locator(Model(), method).threshold is None


def test_a_given_confidence_overrides_the_models_own() -> None:
    picture = painted(64, 64, (10, 20, 30, 44))
    sure = locate(Model(calibration=SURE), picture, SOUND)
    strict = locate(Model(calibration=SURE), picture, SOUND, visible=1.0)
    assert sure.visible
    assert 0.5 < sure.confidence == strict.confidence < 1
    assert not strict.visible
    assert strict.boxes == []
    assert locate(Model(calibration=SURE), picture, (np.zeros(800), RATE), visible=0.0).visible
    for name, wrong in (
        *(("threshold", value) for value in (float("nan"), float("inf"), "a")),
        *(("visible", value) for value in (1.5, -0.1, float("nan"), "0.5")),
    ):
        with pytest.raises(OptionError, match=rf"^{name} is .*, got {wrong!r}$"):
            locate(Model(), picture, SOUND, **{name: wrong})
    assert locate(Model(), picture, SOUND, threshold=np.float32(0.5)).visible


def test_results_cut_elsewhere_do_not_go_into_the_same_folder(tmp_path: Any) -> None:
    Image.fromarray(painted(40, 30, (5, 5, 20, 20))).save(tmp_path / "a.png")
    write_sound(tmp_path / "a.wav", SOUND[0], RATE)
    samples = [Sample("a", tmp_path / "a.png", tmp_path / "a.wav")]
    out = tmp_path / "out"
    for _ in range(2):
        locate_all(Locator(Model(), threshold=0.5), samples, out, ["json"])
    for other in ({}, {"threshold": 0.25}, {"threshold": 0.5, "visible": 0.9}):
        with pytest.raises(OptionError, match="choose another --out-dir"):
            locate_all(Locator(Model(), **other), samples, out, ["json"])


# --- what is refused -------------------------------------------------------------------------


def test_methods_by_object_name_and_facts() -> None:
    method = soundspot.parse("occlusion(patch=16, stride=16)")
    assert Locator(Model(), method).method is method
    assert repr(Locator(Model()).method) == "input_gradient"
    assert repr(Locator(Model(method="grad_cam")).method) == "grad_cam"
    for wrong in ("", "magic"):
        with pytest.raises(OptionError):
            Locator(Model(), wrong)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("default", r"'default' is a model's name; give the model: soundspot.load\('default'\)"),
        (Path("m.safetensors"), r"give the model: soundspot.load\('m.safetensors'\)"),
        (None, r"of type NoneType; give what soundspot.load\(\) returns"),
        (Model, "Model is a class; give a model made of it"),
    ],
)
def test_what_is_no_model_is_refused_everywhere(model: Any, message: str) -> None:
    picture = painted(10, 10)
    calls: list[Callable[[], object]] = [
        lambda: locate(model, picture, SOUND),
        lambda: soundspot.locate_sources(model, picture, SOUND),
        lambda: soundspot.separate(model, picture, SOUND, (1, 1)),
        lambda: soundspot.evaluate(model, [], ["occlusion"]),
    ]
    if model is not None:  # a stream takes the default model
        calls.append(lambda: soundspot.stream([(0.0, picture)], SOUND, model))
    for call in calls:
        with pytest.raises(ModelError, match=message) as error:
            call()
        assert "\n" not in str(error.value)


def test_methods_of_another_kind() -> None:
    for wrong in (3, soundspot.METHODS["occlusion"]):
        with pytest.raises(OptionError, match="give a string such as 'occlusion'"):
            Locator(Model(), wrong)  # type: ignore[arg-type]


def test_what_a_model_raises_is_said_in_one_line() -> None:
    class Broken(Model):
        def __call__(self, images: Tensor, sounds: Tensor) -> Tensor:
            raise RuntimeError("mat1 and mat2\ncannot be multiplied")

    message = "planted: asked by input_gradient, it raised RuntimeError: mat1 and mat2 cannot be"
    picture = painted(10, 10)
    for call in (
        lambda: locate(Broken(), picture, SOUND),
        lambda: list(soundspot.stream([(0.0, picture)], SOUND, Broken())),
        lambda: soundspot.locate_sources(Broken(), picture, SOUND, 2, "two_blobs"),
    ):
        with pytest.raises(ModelError, match=message) as error:
            call()
        assert "\n" not in str(error.value)
        assert isinstance(error.value.__cause__, RuntimeError)


def test_a_swapped_pair_is_called_so(tmp_path: Any) -> None:
    picture, sound = tmp_path / "a.png", tmp_path / "a.wav"
    Image.fromarray(painted(10, 10)).save(picture)
    write_sound(sound, SOUND[0], RATE)
    swapped = r"a\.wav is given as the picture and is none, .*a\.png as the sound and is a picture;"
    with pytest.raises(MediaError, match=swapped):
        locate(Model(), sound, picture)
    with pytest.raises(
        MediaError, match=r"of type tuple is given as the picture.*; give the picture first"
    ):
        locate(Model(), SOUND, painted(10, 10))  # type: ignore[arg-type]
    with pytest.raises(MediaError) as error:
        locate(Model(), sound, sound)
    assert "first" not in str(error.value)


def test_a_model_without_gradients() -> None:
    picture = painted(40, 40, (5, 5, 20, 20))
    with pytest.raises(MethodError, match="use occlusion"):
        locate(detached, picture, SOUND)
    result = locate(detached, picture, SOUND, "occlusion(patch=56, stride=28)")
    assert result.model == "detached"


def test_not_a_number_is_no_answer() -> None:
    class Broken(Model):
        def __call__(self, images: Tensor, sounds: Tensor) -> Tensor:
            return super().__call__(images, sounds) * float("nan")

    with pytest.raises(ModelError, match="planted: the answer or its map holds NaN"):
        locate(Broken(), painted(10, 10), SOUND)


def test_media_errors_come_through() -> None:
    with pytest.raises(MediaError):
        locate(Model(), "nowhere.jpg", SOUND)
    with pytest.raises(MediaError):
        locate(Model(), painted(10, 10), (np.zeros(0, np.float32), RATE))


@pytest.mark.parametrize("name", ["tpu", "cuda:99", "cpu:first", "cpu:7", "", "cuda:-1", "mps:3"])
def test_unknown_devices(name: str) -> None:
    with pytest.raises(OptionError) as error:
        pick_device(name)
    assert "\n" not in str(error.value)


def test_known_devices() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type in {"cpu", "cuda", "mps"}


def test_facts_of_anything() -> None:
    assert facts_of(pixelwise).name == "pixelwise"
    assert facts_of(Model()).size == SIDE
    for wrong in ({"size": 0}, {"seconds": float("nan")}, {"sample_rate": -1}):
        with pytest.raises(OptionError):
            ModelFacts(**wrong)
    for scale, bias in ((0.0, 0.0), (-1.0, 0.0), (float("nan"), 0.0), (1.0, float("inf"))):
        with pytest.raises(OptionError):
            Calibration(scale=scale, bias=bias)


def test_the_result_says_what_it_is() -> None:
    result = locate(Model(calibration=SURE), painted(64, 64, (10, 20, 30, 44)), SOUND,
                    "input_gradient(blur=0)")  # fmt: skip
    assert isinstance(result, Result)
    answer = result.json()
    assert list(answer) == [
        *("visible", "confidence", "boxes", "peak", "size"),
        *("method", "model", "calibrated", "seconds"),
    ]
    assert answer["method"] == "input_gradient(blur=0)"
    assert answer["model"] == "planted"
    assert answer["boxes"] == [{"box": [10, 20, 30, 44], "score": pytest.approx(1, abs=0.1)}]
    assert str(result).startswith("source at [10, 20, 30, 44] (")
    assert repr(result) == str(result)
