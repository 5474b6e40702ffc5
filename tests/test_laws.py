"""Every method on every network: it works and finds the planted source, or refuses and helps."""

from __future__ import annotations

import re
import threading
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from planted import DEAF, NETWORKS, PlantedCNN, Scene, TwoTowers, WithBatchNorm, hear, scene
from soundspot.errors import MethodError, ModelError, OptionError
from soundspot.localize import METHODS, parse
from soundspot.maps import gaussian_blur, normalise, peak, resize_maps, standardise
from soundspot.models import TwoTower
from soundspot.watch import frozen

METHOD_STRINGS = (
    "similarity_map",
    "input_gradient",
    "input_gradient(samples=2, reduce='l2')",
    "guided_backprop",
    "guided_backprop(reduce='positive')",
    "inner_gradient",
    "inner_gradient(guided=False)",
    "grad_cam",
    "occlusion(patch=8, stride=4)",
    "combined(input_gradient, occlusion(patch=8, stride=8))",
    "combined(similarity_map, guided_backprop)",
    "multi_scale(input_gradient, scales=(1.0, 2.0))",
)
NO_GRADIENT = {"detached", "by_numpy"}
FUNCTIONS = {"pixelwise", "smooth", "detached", "by_numpy", "closure"}
UNSEEN = {"smooth", "in_thread", "half_in_thread", "scripted", "traced", "partly_scripted"}
ONE_SIZE = {"perceptron", "mixer"}
NO_MAP = FUNCTIONS | NO_GRADIENT | {"perceptron", "scripted", "traced", "partly_scripted"}


def refuses(method: str, network: str) -> bool:
    return (
        ("similarity_map" in method and network != "two_towers")
        or ("inner_gradient" in method and network != "two_towers")
        or (("gradient" in method or "guided" in method) and network in NO_GRADIENT)
        or ("guided" in method and network in UNSEEN)
        or ("grad_cam" in method and network in NO_MAP)
        or ("multi_scale" in method and network in ONE_SIZE)
    )


CASES = list(product(METHOD_STRINGS, NETWORKS))
WORKING = [case for case in CASES if not refuses(*case)]
REFUSING = [case for case in CASES if refuses(*case)]


@pytest.fixture(scope="module")
def planted() -> Scene:
    return scene()


def inside(maps: Tensor, boxes: tuple[Any, ...], margin: int = 0) -> Tensor:
    """The mean of each map within its box."""
    return torch.stack(
        [
            m[max(y0 - margin, 0) : y1 + margin, max(x0 - margin, 0) : x1 + margin].mean()
            for m, (x0, y0, x1, y1) in zip(maps, boxes, strict=True)
        ]
    )


def test_every_method_is_tried() -> None:
    assert set(METHODS) == {parse(text).name for text in METHOD_STRINGS}


@pytest.mark.parametrize(("method", "network"), WORKING)
def test_finds_the_source(method: str, network: str, planted: Scene) -> None:
    model = NETWORKS[network]()
    found = parse(method)(model, planted.images, planted.sounds)
    assert found.similarities.shape == (3,)
    assert found.maps.shape[0] == 3
    assert torch.isfinite(found.maps).all()
    assert not found.maps.requires_grad
    assert not found.similarities.requires_grad
    maps = gaussian_blur(resize_maps(found.maps, planted.images.shape[-2:]), 1.0)
    if isinstance(model, nn.Module):
        model.eval()
    answers = model(planted.images, planted.sounds).detach()
    torch.testing.assert_close(found.similarities, answers, rtol=1e-4, atol=1e-6)
    if network not in DEAF:
        source, other = inside(maps, planted.sources), inside(maps, planted.distractors)
        rest = maps.flatten(1).median(1).values
        assert (source - rest > 3 * (other - rest)).all(), (source, other, rest)
        for values, (x0, y0, x1, y1) in zip(maps, planted.sources, strict=True):
            x, y = peak(values.numpy())
            assert x0 - 2 <= x < x1 + 2
            assert y0 - 2 <= y < y1 + 2


@pytest.mark.parametrize(("method", "network"), REFUSING)
def test_refuses_and_names_a_method_that_can(method: str, network: str, planted: Scene) -> None:
    model = NETWORKS[network]()
    with pytest.raises(MethodError) as refusal:
        parse(method)(model, planted.images, planted.sounds)
    text = str(refusal.value)
    assert "\n" not in text
    advice = re.findall("|".join(METHODS), text.split("; use ")[-1])
    assert [name for name in advice if not refuses(name, network)], text
    cheap = [n for n in advice if not refuses(n, network) and n != "occlusion"]
    for name in cheap:
        parse(name)(model, planted.images, planted.sounds)


@pytest.mark.parametrize("method", METHOD_STRINGS)
def test_the_sound_decides(method: str, planted: Scene) -> None:
    """With the distractor's tone the distractor is the source."""
    other = planted.sounds.roll(-1, 0)
    maps = parse(method)(TwoTowers(), planted.images, other).maps
    maps = resize_maps(maps, planted.images.shape[-2:])
    assert (inside(maps, planted.distractors) > 3 * inside(maps, planted.sources)).all()


# --- nothing is left behind ------------------------------------------------------------------


def state(model: nn.Module) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, module in model.named_modules():
        kept[f"{name} training"] = module.training
        kept[f"{name} hooks"] = (
            len(module._forward_hooks),
            len(module._forward_pre_hooks),
            len(module._backward_hooks),
        )
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        kept[name] = (tensor.requires_grad, tensor.grad, tensor._version, tensor.sum().item())
    return kept


def mixed_up(model: nn.Module) -> nn.Module:
    """Some modules in training mode and some not, some parameters frozen and some not."""
    for i, module in enumerate(model.modules()):
        module.training = i % 2 == 0
    for i, parameter in enumerate(model.parameters()):
        parameter.requires_grad_(i % 3 != 0)
    return model


@pytest.mark.parametrize("method", METHOD_STRINGS)
@pytest.mark.parametrize("network", ["batch_norm", "vit", "two_towers", "in_thread", "perceptron"])
def test_model_is_left_as_it_was(method: str, network: str, planted: Scene) -> None:
    model = mixed_up(NETWORKS[network]())
    before = state(model)
    try:
        parse(method)(model, planted.images, planted.sounds)
    except MethodError:
        assert refuses(method, network)
    assert state(model) == before


class Failing(WithBatchNorm):
    inner_map = "colours"

    def forward(self, images: Tensor, sounds: Tensor) -> Tensor:
        self.features(images)
        raise ZeroDivisionError


@pytest.mark.parametrize("method", [m for m in METHOD_STRINGS if "similarity_map" not in m])
def test_model_is_left_as_it_was_after_an_error(method: str, planted: Scene) -> None:
    model = mixed_up(Failing())
    before = state(model)
    with pytest.raises(ZeroDivisionError):
        parse(method)(model, planted.images, planted.sounds)
    assert state(model) == before


@pytest.mark.parametrize("method", METHOD_STRINGS)
def test_pictures_are_left_as_they_were(method: str, planted: Scene) -> None:
    images = planted.images.clone().requires_grad_()
    sounds = planted.sounds.clone()
    parse(method)(TwoTowers(), images, sounds)
    assert images.grad is None
    assert images._version == 0
    assert torch.equal(images, planted.images)
    assert torch.equal(sounds, planted.sounds)


# --- rows, repetition, callers ---------------------------------------------------------------


@pytest.mark.parametrize("method", METHOD_STRINGS)
@pytest.mark.parametrize("network", ["two_towers", "batch_norm", "vit", "mixer", "pixelwise"])
def test_a_row_is_its_own(method: str, network: str, planted: Scene) -> None:
    if refuses(method, network):
        return
    model, explain = NETWORKS[network](), parse(method)
    together = explain(model, planted.images, planted.sounds)
    again = explain(model, planted.images, planted.sounds)
    assert torch.equal(together.maps, again.maps)
    assert torch.equal(together.similarities, again.similarities)
    for i in range(3):
        alone = explain(model, planted.images[i : i + 1], planted.sounds[i : i + 1])
        scale = float(together.maps[i].abs().max())
        torch.testing.assert_close(together.maps[i], alone.maps[0], rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.parametrize("method", METHOD_STRINGS)
def test_callers_without_gradients(method: str, planted: Scene) -> None:
    explain, model = parse(method), TwoTowers()
    expected = explain(model, planted.images, planted.sounds).maps
    with torch.no_grad():
        assert torch.equal(explain(model, planted.images, planted.sounds).maps, expected)
    with torch.inference_mode():
        images, sounds = planted.images.clone(), planted.sounds.clone()
        assert images.is_inference()
        found = explain(model, images, sounds)
    assert torch.equal(found.maps, expected)
    assert not found.maps.is_inference()


@pytest.mark.parametrize("method", METHOD_STRINGS)
@pytest.mark.parametrize("network", ["two_towers", "pixelwise", "vit"])
def test_precision_and_memory_format(method: str, network: str, planted: Scene) -> None:
    if refuses(method, network):
        return
    model, explain = NETWORKS[network](), parse(method)
    expected = explain(model, planted.images, planted.sounds).maps
    last = planted.images.to(memory_format=torch.channels_last)
    torch.testing.assert_close(explain(model, last, planted.sounds).maps, expected)
    double = model.double() if isinstance(model, nn.Module) else model
    found = explain(double, planted.images.double(), planted.sounds.double()).maps
    assert found.dtype == torch.float64
    scale = float(expected.abs().max())
    if "samples" not in method:  # noise is drawn in float32 and added in the pictures' precision
        torch.testing.assert_close(found.float(), expected, rtol=1e-3, atol=1e-3 * scale)


@pytest.mark.parametrize("size", [(32, 48), (48, 32), (33, 47)])
@pytest.mark.parametrize("method", METHOD_STRINGS)
def test_any_proportions(method: str, size: tuple[int, int]) -> None:
    pictures = scene(*size)
    found = parse(method)(TwoTowers(), pictures.images, pictures.sounds)
    maps = resize_maps(found.maps, pictures.images.shape[-2:])
    assert (inside(maps, pictures.sources) > 3 * inside(maps, pictures.distractors)).all()


# --- what Grad-CAM takes for a map -----------------------------------------------------------


def cam_size(network: str, size: tuple[int, int] = (32, 32)) -> tuple[int, ...]:
    pictures = scene(*size)
    found = parse("grad_cam")(NETWORKS[network](), pictures.images, pictures.sounds)
    return tuple(found.maps.shape[-2:])


@pytest.mark.parametrize("network", ["vit", "vit_with_registers", "mixer"])
def test_grad_cam_takes_tokens_and_not_attention(network: str) -> None:
    """17 x 17 attention weights would be a map of stride 2; the tokens are 4 x 4."""
    assert cam_size(network) == (4, 4)


def test_grad_cam_on_a_wide_vit() -> None:
    assert cam_size("vit", (32, 64)) == (4, 8)
    assert cam_size("vit_with_registers", (64, 32)) == (8, 4)


class Peak(PlantedCNN):
    """The score is one position's: its gradient is zero at all others."""

    def forward(self, images: Tensor, sounds: Tensor) -> Tensor:
        return super().features(images).square().amax((1, 2, 3))


class ChannelsLast(nn.Module):
    """Swin and ConvNeXt hold their maps as b h w c."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = PlantedCNN()
        self.widen = nn.Linear(3, 5)
        with torch.no_grad():
            self.widen.weight.copy_(torch.eye(5)[:, :3])
            self.widen.bias.zero_()

    def forward(self, images: Tensor, sounds: Tensor) -> Tensor:
        return self.widen(self.cnn.features(images).permute(0, 2, 3, 1)).square().mean((1, 2, 3))


class FullResolution(nn.Module):
    """No stride at all, behind a normalisation that is a module."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise = nn.BatchNorm2d(3)
        self.convolve = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, images: Tensor, sounds: Tensor) -> Tensor:
        return self.convolve(self.normalise(images)).relu().square().mean((1, 2, 3))


def test_grad_cam_on_a_peak_uses_the_last_layer(planted: Scene) -> None:
    found = parse("grad_cam")(Peak(nn.ReLU()), planted.images, planted.sounds)
    features = Peak().features(planted.images)
    flat = features.square().flatten(1).argmax(1)
    channel = flat // features[0, 0].numel()
    expected = torch.stack([f[c] for f, c in zip(features, channel, strict=True)])
    expected = 2 * expected.amax((1, 2), keepdim=True) / expected[0].numel() * expected
    torch.testing.assert_close(found.maps, expected.detach())


def test_grad_cam_reads_channels_last(planted: Scene) -> None:
    found = parse("grad_cam")(ChannelsLast(), planted.images, planted.sounds).maps
    features = PlantedCNN().features(planted.images).detach()
    gradient = 2 * features / (5 * features[0, 0].numel())
    weights = gradient.mean((2, 3), keepdim=True)
    torch.testing.assert_close(found, (weights * features).sum(1))


def test_grad_cam_at_full_resolution(planted: Scene) -> None:
    torch.manual_seed(0)
    model = FullResolution()
    assert parse("grad_cam")(model, planted.images, planted.sounds).maps.shape == (3, 32, 32)
    model.convolve = nn.Conv2d(3, 1, 32)
    with pytest.raises(MethodError, match="finds no layer"):
        parse("grad_cam")(model, planted.images, planted.sounds)


def test_a_dead_picture_does_not_stop_the_others(planted: Scene) -> None:
    images = planted.images.clone()
    images[1] = 0.5  # grey: behind every rectifier the gradient is zero
    found = parse("grad_cam")(PlantedCNN(), images, planted.sounds)
    assert found.maps[1].abs().max() == 0
    together = parse("grad_cam")(PlantedCNN(), planted.images, planted.sounds)
    torch.testing.assert_close(found.maps[::2], together.maps[::2])


# --- the rest --------------------------------------------------------------------------------


def test_combined_parts_may_nest(planted: Scene) -> None:
    """The inner method needs a gradient at pictures that the outer one has asked about."""
    flat = parse("combined(similarity_map, guided_backprop, input_gradient)")
    nested = parse("combined(input_gradient, combined(similarity_map, guided_backprop))")
    for method in (flat, nested):
        maps = method(TwoTowers(), planted.images, planted.sounds).maps
        assert (inside(maps, planted.sources) > 3 * inside(maps, planted.distractors)).all()


def test_combined_is_the_mean_of_normalised_maps(planted: Scene) -> None:
    model = TwoTowers()
    parts = [
        parse(text)(model, planted.images, planted.sounds).maps
        for text in ("similarity_map", "input_gradient")
    ]
    expected = torch.zeros_like(parts[1])
    for part in parts:
        large = resize_maps(part, (32, 32))
        low, high = large.amin((1, 2), keepdim=True), large.amax((1, 2), keepdim=True)
        expected += (large - low) / (high - low) / 2
    combined = parse("combined(similarity_map, input_gradient)")
    found = combined(model, planted.images, planted.sounds)
    torch.testing.assert_close(found.maps, expected)


def test_sounds_are_heard_once(planted: Scene) -> None:
    model = TwoTowers()
    parse("occlusion(patch=8, stride=4)")(model, planted.images, planted.sounds)
    assert model.heard == 1


def test_as_many_sounds_as_pictures(planted: Scene) -> None:
    with pytest.raises(OptionError, match="one sound a picture: got 3 and 1"):
        parse("input_gradient")(TwoTowers(), planted.images, planted.sounds[:1])


def test_a_matrix_of_similarities_is_refused(planted: Scene) -> None:
    """All pictures with all sounds, as contrastive models answer: the rows would mix."""

    def matrix(images: Tensor, sounds: Tensor) -> Tensor:
        return images.mean((1, 2, 3))[:, None] * sounds.square().mean(1)

    for method in ("input_gradient", "occlusion(patch=16, stride=16)"):
        with pytest.raises(ModelError, match=r"shape \(3,\): got \(3, 3\)"):
            parse(method)(matrix, planted.images, planted.sounds)


def test_gradient_that_never_reaches_the_picture(planted: Scene) -> None:
    """The answer has a gradient, but only through what a plain function keeps within."""
    net = PlantedCNN()

    def blind(images: Tensor, sounds: Tensor) -> Tensor:
        return net(images.detach(), sounds)

    with pytest.raises(MethodError, match="no gradient reaches it; use occlusion"):
        parse("input_gradient")(blind, planted.images, planted.sounds)


def test_frozen_threads_may_overlap() -> None:
    """The first one in saves, the last one out restores; in between the model stays frozen."""
    model = WithBatchNorm()
    before = state(model)
    inside_first, leave_first = threading.Event(), threading.Event()

    def first() -> None:
        with frozen(model):
            inside_first.set()
            assert leave_first.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    assert inside_first.wait(10)
    with frozen(model):
        leave_first.set()
        thread.join(10)
        assert not any(module.training for module in model.modules())
        assert not any(parameter.requires_grad for parameter in model.parameters())
    assert state(model) == before


def test_threads_find_the_same_as_one(planted: Scene) -> None:
    """Also where one watches, or cuts, what the others compute with."""
    model = TwoTowers()
    methods = (
        parse("combined(similarity_map, guided_backprop, grad_cam)"),
        parse("combined(similarity_map, inner_gradient)"),
        parse("inner_gradient(guided=False)"),
    )
    expected = [explain(model, planted.images, planted.sounds).maps for explain in methods]
    results: list[list[Tensor]] = [[] for _ in methods]

    def work(number: int) -> None:
        explain = methods[number]
        results[number] += (explain(model, planted.images, planted.sounds).maps for _ in range(5))

    threads = [threading.Thread(target=work, args=(i % 3,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for found, wanted in zip(results, expected, strict=True):
        assert len(found) == 10
        assert all(torch.equal(maps, wanted) for maps in found)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_layer_after_the_inner_map_may_work_in_place(planted: Scene) -> None:
    in_place, model = PlantedCNN(), PlantedCNN()
    in_place.activation = nn.ReLU(inplace=True)
    explain = parse("inner_gradient(layer='colours')")
    found = explain(in_place, planted.images, planted.sounds)
    torch.testing.assert_close(found, explain(model, planted.images, planted.sounds))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiled_models(planted: Scene) -> None:
    model = PlantedCNN()
    compiled = torch.compile(model)
    inner = "inner_gradient(layer='colours', guided=False)"
    for text in ("input_gradient", "guided_backprop", "guided_backprop", inner):
        explain = parse(text)
        found = explain(compiled, planted.images, planted.sounds).maps
        expected = explain(model, planted.images, planted.sounds).maps
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ["input_gradient", "guided_backprop", "grad_cam"])
def test_a_question_may_be_explained_under_no_grad(name: str, two_tower: TwoTower) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 64, 64, generator=generator)
    with torch.no_grad():
        question = two_tower.fix_sound(0.1 * torch.randn(2, 16_000, generator=generator))
    method = parse(name)
    with frozen(two_tower):
        expected = method.explain(question, images).maps
        with torch.no_grad():
            assert torch.equal(method.explain(question, images).maps, expected)


# --- methods made of others -------------------------------------------------------------------


def test_combined_is_the_weighed_mean_of_scaled_maps(planted: Scene) -> None:
    text = "combined(similarity_map, input_gradient, weights=(1, 3), scaling='deviation')"
    model, asked = TwoTowers(), (planted.images, planted.sounds)
    parts = [parse(name)(model, *asked).maps for name in ("similarity_map", "input_gradient")]
    parts = [standardise(resize_maps(maps, parts[1].shape[-2:])) for maps in parts]
    found = parse(text)(model, *asked).maps
    torch.testing.assert_close(found, 0.25 * parts[0] + 0.75 * parts[1])


def test_multi_scale_is_the_mean_of_maps_at_each_size(planted: Scene) -> None:
    model, method = TwoTowers(), parse("input_gradient")
    large = F.interpolate(planted.images, (64, 64), mode="bicubic", antialias=True)
    found = parse("multi_scale(input_gradient, scales=(1.0, 2.0))")(
        model, planted.images, planted.sounds
    )
    small, wide = (method(model, x, planted.sounds) for x in (planted.images, large.clamp(0, 1)))
    expected = (resize_maps(normalise(small.maps), (64, 64)) + normalise(wide.maps)) / 2
    torch.testing.assert_close(found.maps, expected)
    assert torch.equal(found.similarities, small.similarities)


def test_inner_gradient_is_the_length_of_the_gradient_at_its_layer(planted: Scene) -> None:
    model = PlantedCNN()
    found = parse("inner_gradient(layer='colours', guided=False, blur=0)")(
        model, planted.images, planted.sounds
    )
    inside = model.colours(planted.images).detach().requires_grad_()
    features = model.activation(model.gather(model.activation(inside)))
    heard = hear(planted.sounds)[:, :, None, None]
    answers = 10 * (heard * features.square()).sum(1).mean((1, 2))
    (gradient,) = torch.autograd.grad(answers.sum(), inside)
    torch.testing.assert_close(found.maps, gradient.square().sum(1).sqrt())
    torch.testing.assert_close(found.similarities, answers.detach())


@pytest.mark.parametrize("layer", ["nothing", "dropout", "norm.weight"])
def test_a_layer_that_is_none_is_refused(layer: str, planted: Scene) -> None:
    with pytest.raises(MethodError, match=r"inner_gradient.*; use "):
        parse(f"inner_gradient(layer={layer!r})")(PlantedCNN(), planted.images, planted.sounds)


class WithShortcut(PlantedCNN):
    """The answer reads the picture past its layers, too."""

    def forward(self, images: Tensor, sounds: Tensor) -> Tensor:
        return super().forward(images, sounds) + images.mean((1, 2, 3))


def test_a_layer_that_is_passed_by_is_refused(planted: Scene) -> None:
    method = parse("inner_gradient(layer='colours')")
    method(PlantedCNN(), planted.images, planted.sounds)
    with pytest.raises(MethodError, match="not all that the answer knows of the picture; name an"):
        method(WithShortcut(), planted.images, planted.sounds)
