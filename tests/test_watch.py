"""Touch a network only inside `with`; the rest of this is tested through the methods' laws."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from planted import HalfInThread, InThread, Plain, PlantedCNN, TwoTowers, scene, scripted
from soundspot.watch import frozen, guided, is_scripted, layers


def flags(model: nn.Module) -> list[bool]:
    return [m.training for m in model.modules()] + [p.requires_grad for p in model.parameters()]


def test_frozen_and_back() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout())
    model[1].eval()
    model[0].bias.requires_grad_(False)
    before = flags(model)
    with frozen(model):
        assert not any(flags(model))
        with frozen(model):
            assert not any(flags(model))
        assert not any(flags(model))
    assert flags(model) == before
    with pytest.raises(KeyError), frozen(model):
        raise KeyError
    assert flags(model) == before


def test_frozen_parts_of_one_another() -> None:
    inner = nn.Linear(2, 2)
    outer = nn.Sequential(inner, nn.ReLU())
    with frozen(inner):
        assert outer.training
        with frozen(outer):
            assert not any(flags(outer))
        assert not any(flags(inner))
        assert outer.training
    assert all(flags(outer))


def test_frozen_shared_parameters() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    with frozen(model):
        assert not any(flags(model))
    assert all(flags(model))


def test_frozen_takes_anything() -> None:
    with frozen(len), frozen(None):
        pass
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.jit.freeze(torch.jit.script(Plain().eval()))
    pictures = scene()
    with frozen(model):
        model(pictures.images, pictures.sounds)


def test_gradients_can_be_had_inside_inference_mode() -> None:
    with torch.inference_mode(), frozen(None), torch.enable_grad():
        x = torch.ones(2, requires_grad=True)
        assert x.square().sum().requires_grad
    with torch.inference_mode():
        with frozen(None):
            pass
        assert torch.is_inference_mode_enabled()


def seen_of(model: nn.Module) -> bool:
    pictures = scene()
    with frozen(model), guided() as mode:
        answer = model(pictures.images.clone().requires_grad_(), pictures.sounds)
    return mode.saw_all(answer)


def test_all_activations_are_seen_or_it_is_said() -> None:
    for spelling in (F.relu, F.relu6, torch.relu_, F.gelu, torch.celu, nn.ReLU6(inplace=True)):
        assert seen_of(PlantedCNN(spelling))
    assert not seen_of(PlantedCNN(torch.tanh))
    assert not seen_of(InThread())
    assert not seen_of(HalfInThread())
    assert not seen_of(PlantedCNN(torch.ops.aten.relu))


def test_hardtanh_that_squashes_hides_nothing() -> None:
    assert seen_of(PlantedCNN(lambda x: F.hardtanh(F.relu(x))))


def test_activations_of_constants_are_not_counted() -> None:
    with guided() as mode:
        F.relu(torch.ones(3))
    assert mode.seen == 0
    assert not mode.saw_all(torch.ones(3, requires_grad=True) * 2)


def test_guided_ends_with_its_block() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    with guided():
        pass
    (gradient,) = torch.autograd.grad(-F.relu(x).sum(), x)
    assert gradient.tolist() == [-1, -1]
    with pytest.raises(KeyError), guided():
        raise KeyError
    (gradient,) = torch.autograd.grad(-F.relu(x).sum(), x)
    assert gradient.tolist() == [-1, -1]


def test_guided_drops_what_speaks_against() -> None:
    x = torch.tensor([1.0, 2.0, -1.0], requires_grad=True)
    with guided():
        y = F.relu(x)
    (gradient,) = torch.autograd.grad((y * torch.tensor([3.0, -3.0, 3.0])).sum(), x)
    assert gradient.tolist() == [3, 0, 0]


def test_layers_records_what_depends_on_the_picture() -> None:
    model, pictures = TwoTowers(), scene()
    with frozen(model), layers(model) as seen:
        model(pictures.images.clone().requires_grad_(), pictures.sounds)
    assert [name for name, _ in seen] == ["picture.colours", "picture.gather", ""]
    assert not any(module._forward_hooks for module in model.modules())


def test_layers_of_several_outputs() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, None, list[int], Tensor]:
            return x * 2, None, [1], torch.ones(3)

    with layers(Two()) as seen:
        pass
    assert seen == []
    model = Two()
    with layers(model) as seen:
        model(torch.ones(2, requires_grad=True))
    assert [(name, tuple(output.shape)) for name, output in seen] == [("", (2,))]


def test_scripted_parts_are_known() -> None:
    assert is_scripted(scripted())
    assert is_scripted(nn.Sequential(nn.ReLU(), scripted()))
    assert not is_scripted(PlantedCNN())
    assert not is_scripted(len)
    with layers(nn.Sequential(nn.ReLU(), scripted())):
        pass
