"""The same maps as captum, on networks that captum can watch; and where it cannot."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from planted import PlantedCNN, Scene, pixelwise, relu_in_place, scene
from soundspot.localize import GradCam, GuidedBackprop, InputGradient, Occlusion
from soundspot.watch import guided

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # on import: about matplotlib's and its own deprecations
    from captum import attr


@pytest.fixture(scope="module")
def planted() -> Scene:
    return scene(29, 35)


def rough(activation: Callable[[Tensor], Tensor]) -> PlantedCNN:
    """Random weights: gradients of both signs everywhere."""
    model = PlantedCNN(activation)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 5)
    return model


REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "abs_max": lambda g: g.abs().max(1).values,
    "abs_mean": lambda g: g.abs().sum(1) / 3,
    "l2": lambda g: torch.linalg.vector_norm(g, dim=1),
    "positive": lambda g: g.sum(1).relu(),
}


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_input_gradient_is_saliency(reduce: str, planted: Scene) -> None:
    model = rough(nn.ReLU())
    saliency = attr.Saliency(model)
    expected = saliency.attribute(
        planted.images.clone().requires_grad_(), abs=False, additional_forward_args=planted.sounds
    )
    found = InputGradient(reduce=reduce, blur=0)(model, planted.images, planted.sounds)
    torch.testing.assert_close(found.maps, REDUCTIONS[reduce](expected), rtol=1e-5, atol=1e-7)


def captum_guided(model: nn.Module, planted: Scene) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that it sets hooks
        return attr.GuidedBackprop(model).attribute(
            planted.images.clone().requires_grad_(), additional_forward_args=planted.sounds
        )


def test_guided_backprop_on_modules(planted: Scene) -> None:
    model = rough(nn.ReLU())
    found = GuidedBackprop(blur=0)(model, planted.images, planted.sounds).maps
    expected = captum_guided(model, planted).abs().amax(1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    plain = InputGradient(blur=0)(model, planted.images, planted.sounds).maps
    assert (found - plain).abs().max() > 0.1 * plain.max()


class PositiveGradient(torch.autograd.Function):
    """The definition: forward nothing happens, backward the negative part is dropped."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient * (gradient > 0)


SPELLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "F.relu": F.relu,
    "F.relu in place": lambda x: F.relu(x, inplace=True),
    "torch.relu": torch.relu,
    "Tensor.relu": lambda x: x.relu(),
    "relu_": relu_in_place,
    "torch.relu_": torch.relu_,
    "F.relu6": F.relu6,
    "clamp": lambda x: x.clamp(0, 6),
    "clamp by name": lambda x: torch.clamp(input=x, min=0.0),
    "clamp_": lambda x: x.clamp_(min=0),
    "clamp_min": lambda x: x.clamp_min(0),
    "F.hardtanh": lambda x: F.hardtanh(x, 0.0, 6.0),
    "F.leaky_relu": F.leaky_relu,
    "F.elu": F.elu,
    "torch.selu": torch.selu,
    "F.gelu": F.gelu,
    "F.silu": F.silu,
    "F.mish": F.mish,
    "F.softplus": F.softplus,
    "F.hardswish": F.hardswish,
    "F.threshold": lambda x: F.threshold(x, 0.0, 0.0),
    "torch.threshold": lambda x: torch.threshold(x, 0.0, 0.0),
    "F.prelu": lambda x: F.prelu(x, torch.full((1,), 0.1)),
    "nn.ReLU6": nn.ReLU6(inplace=True),
    "nn.PReLU": lambda x: nn.PReLU()(x),
    "nn.Hardtanh": nn.Hardtanh(0.0, 6.0),
    "part of a tensor in place": lambda x: torch.cat((x[:, :2].relu(), x[:, 2:].relu()), 1),
    "changed in place afterwards": lambda x: F.gelu(x).mul_(2).add_(1),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_guided(spelling: str, planted: Scene) -> None:
    activation = SPELLINGS[spelling]
    if spelling == "changed in place afterwards":
        reference = rough(lambda x: PositiveGradient.apply(F.gelu(x)) * 2 + 1)
    else:
        reference = rough(lambda x: PositiveGradient.apply(activation(x)))
    expected = InputGradient(blur=0)(reference, planted.images, planted.sounds).maps
    model = rough(activation)
    found = GuidedBackprop(blur=0)(model, planted.images, planted.sounds).maps
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)
    plain = InputGradient(blur=0)(model, planted.images, planted.sounds).maps
    assert (found - plain).abs().max() > 0.01 * plain.max()


def test_captum_cannot_see_functional_relu(planted: Scene) -> None:
    """The reason for a function mode: hooks on modules miss it and give the plain gradient."""
    model = rough(F.relu)
    theirs = captum_guided(model, planted).abs().amax(1)
    plain = InputGradient(blur=0)(model, planted.images, planted.sounds).maps
    torch.testing.assert_close(theirs, plain)
    ours = GuidedBackprop(blur=0)(model, planted.images, planted.sounds).maps
    assert (ours - theirs).abs().max() > 0.1 * plain.max()


@pytest.mark.parametrize(
    "squash",
    [torch.sigmoid, torch.tanh, F.hardtanh, lambda x: x.clamp(-1, 1), lambda x: x.clamp_min(1e-6)],
)
def test_what_does_not_rectify_is_left_alone(squash: Callable[[Tensor], Tensor]) -> None:
    x = torch.randn(10, requires_grad=True)
    with guided() as mode:
        squash(x)
    assert mode.seen == 0


@pytest.mark.parametrize("fill", [0.5, 0.0, 1])
@pytest.mark.parametrize(("patch", "stride"), [(8, 4), (7, 5), (16, 16), (6, 6), (40, 8), (3, 2)])
def test_occlusion(patch: int, stride: int, fill: float, planted: Scene) -> None:
    """29 x 35 pixels: most of these windows do not tile it, and one is larger than it."""
    if patch <= 29:
        occlusion = attr.Occlusion(lambda images, sounds: pixelwise(images, sounds))
        expected = occlusion.attribute(
            planted.images, (3, patch, patch), (3, stride, stride), baselines=float(fill),
            additional_forward_args=planted.sounds,
        )[:, 0]  # fmt: skip
    else:
        covered = torch.full_like(planted.images, fill)
        fall = pixelwise(planted.images, planted.sounds) - pixelwise(covered, planted.sounds)
        expected = fall[:, None, None].expand(-1, 29, 35)
    method = Occlusion(patch=patch, stride=stride, fill=fill)
    found = method(pixelwise, planted.images, planted.sounds).maps
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


class Watched(PlantedCNN):
    """The same network with a module for each activation, as captum asks for."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.ReLU(), nn.ReLU()

    def features(self, images: Tensor) -> Tensor:
        return self.last(self.gather(self.first(self.colours(images))))


def test_grad_cam(planted: Scene) -> None:
    """Ours finds the layer; and activations in place, after the layer was recorded, do no harm."""
    model = rough(F.relu)
    watched = Watched()
    watched.load_state_dict(model.state_dict())
    expected = attr.LayerGradCam(watched, watched.last).attribute(
        planted.images, additional_forward_args=planted.sounds, relu_attributions=True
    )
    for network in (watched, rough(nn.ReLU()), rough(nn.ReLU(inplace=True))):
        found = GradCam()(network, planted.images, planted.sounds).maps
        torch.testing.assert_close(found, expected[:, 0], rtol=1e-5, atol=1e-8)
