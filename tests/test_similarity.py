"""The three laws: good models pass in silence, each kind of bad one hears its law's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from planted import NETWORKS, PlantedCNN, Scene, TwoTowers, WithBatchNorm, pixelwise, scene
from soundspot.errors import ModelError
from soundspot.models.two_tower import TwoTower, TwoTowerConfig
from soundspot.similarity import (
    AskedAnew,
    FixesSound,
    OffersFeatureStrength,
    OffersMap,
    check_model,
    fix_sound,
)


@pytest.fixture(scope="module")
def planted() -> Scene:
    return scene()


WITHOUT_GRADIENT = {"detached", "by_numpy"}


@pytest.mark.parametrize("network", NETWORKS)
def test_good_models_pass(network: str, planted: Scene) -> None:
    model = NETWORKS[network]()
    if isinstance(model, nn.Module):
        model.eval()
    check_model(model, planted.images, planted.sounds, gradients=network not in WITHOUT_GRADIENT)


def test_our_own_model_passes(two_tower: TwoTower) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 3, 64, 64, generator=generator)
    sounds = 0.1 * torch.randn(3, 16_000, generator=generator)
    check_model(two_tower, images, sounds)


def over_the_batch(images: Tensor, sounds: Tensor) -> Tensor:
    return pixelwise(images, sounds).softmax(0)


def neighbours(images: Tensor, sounds: Tensor) -> Tensor:
    return pixelwise(images, sounds) + pixelwise(images.roll(1, 0), sounds)


def by_place(images: Tensor, sounds: Tensor) -> Tensor:
    return pixelwise(images, sounds) * torch.arange(1.0, len(images) + 1)


def noisy(images: Tensor, sounds: Tensor) -> Tensor:
    return pixelwise(images, sounds) + torch.rand(len(images))


def deaf_to_pixels(images: Tensor, sounds: Tensor) -> Tensor:
    return 0 * images.sum((1, 2, 3)) + sounds.square().sum(1)


def infinite_slope(images: Tensor, sounds: Tensor) -> Tensor:
    return (images - images.detach()).sum((1, 2, 3)).sqrt() + pixelwise(images, sounds)


def one_dead_row(images: Tensor, sounds: Tensor) -> Tensor:
    red_there = (images[:, 0, 12, 4] > 0.7).float()
    return pixelwise(images, sounds) * red_there


def not_a_number(images: Tensor, sounds: Tensor) -> Tensor:
    return pixelwise(images, sounds) / 0 - float("inf")


class Counting:
    """Answers differently each time it is asked."""

    calls = 0

    def __call__(self, images: Tensor, sounds: Tensor) -> Tensor:
        self.calls += 1
        return pixelwise(images, sounds) * self.calls


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (over_the_batch, "law 1 broken"),
        (neighbours, "law 1 broken"),
        (by_place, "law 1 broken"),
        (noisy, "law 2 broken"),
        (Counting(), "law 2 broken"),
        (NETWORKS["detached"](), "law 3 broken: no gradient.*`occlusion`"),
        (NETWORKS["by_numpy"](), "law 3 broken: no gradient.*`occlusion`"),
        (deaf_to_pixels, "law 3 broken: the gradient.*`occlusion`"),
        (infinite_slope, "law 3 broken: the gradient"),
        (one_dead_row, "law 3 broken: the gradient"),
        (not_a_number, "NaN or infinity"),
        (lambda images, sounds: pixelwise(images, sounds)[:, None], r"shape \(3,\): got \(3, 1\)"),
        (lambda images, sounds: pixelwise(images, sounds).sum(), r"shape \(3,\): got \(\)"),
        (lambda images, sounds: pixelwise(images, sounds).tolist(), "got list"),
        (lambda images, sounds: pixelwise(images, sounds).detach().numpy(), "got ndarray"),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_each_broken_law_is_named(model: Callable[..., Any], message: str, planted: Scene) -> None:
    with pytest.raises(ModelError, match=message) as error:
        check_model(model, planted.images, planted.sounds)
    assert "\n" not in str(error.value)


def test_training_mode_breaks_a_law(planted: Scene) -> None:
    torch.manual_seed(0)
    model = WithBatchNorm().train()
    with pytest.raises(ModelError, match=r"law 2 broken.*training mode"):
        check_model(model, planted.images, planted.sounds)
    model.dropout.eval()
    model.norm.momentum = 0.0
    with pytest.raises(ModelError, match=r"law 1 broken.*training mode"):
        check_model(model, planted.images, planted.sounds)
    check_model(model.eval(), planted.images, planted.sounds)


def test_a_check_needs_two_pairs(planted: Scene) -> None:
    for images, sounds in ((1, 1), (3, 2), (0, 0)):
        with pytest.raises(ModelError, match="at least 2"):
            check_model(pixelwise, planted.images[:images], planted.sounds[:sounds])


def test_a_check_leaves_the_model_and_the_pictures(planted: Scene) -> None:
    model, images = PlantedCNN(), planted.images.clone()
    check_model(model, images, planted.sounds)
    assert model.training
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert images.grad is None
    assert torch.equal(images, planted.images)


# --- questions -------------------------------------------------------------------------------


def test_questions_of_any_model(planted: Scene) -> None:
    question = fix_sound(pixelwise, planted.sounds)
    assert isinstance(question, AskedAnew)
    assert not isinstance(question, OffersMap)
    expected = pixelwise(planted.images, planted.sounds)
    assert torch.equal(question(planted.images), expected)
    rows = [2, 0, 2, 2]
    assert torch.equal(question.of(rows)(planted.images[rows]), expected[rows])


def test_questions_of_models_that_hear_once(planted: Scene, two_tower: TwoTower) -> None:
    model = TwoTowers()
    assert isinstance(model, FixesSound)
    question = fix_sound(model, planted.sounds)
    expected = model(planted.images, planted.sounds)
    model.heard = 0
    rows = [2, 0, 2]
    assert torch.equal(question(planted.images), expected)
    torch.testing.assert_close(question.of(rows)(planted.images[rows]), expected[rows])
    assert model.heard == 0
    ours = fix_sound(two_tower, torch.rand(1, 16_000))
    assert isinstance(ours, OffersMap)
    assert isinstance(two_tower, OffersFeatureStrength)


def test_our_models_map_and_similarity_follow_their_formulas() -> None:
    """Position by position, as the docstring of `models.two_tower` writes them."""
    torch.manual_seed(0)
    model = TwoTower(TwoTowerConfig(softness=20.0, contrast=0.5)).eval()
    model.mean_sound.uniform_(0, 0.1)
    model.expected.normal_(0, 0.1)
    images = torch.rand(2, 3, 64, 96)
    sounds = 0.1 * torch.randn(2, 16_000)
    with torch.no_grad():
        question = model.fix_sound(sounds)
        maps, similarities = question.own_map(images)
        fine, coarse = model.image_tower(images)
        context = torch.nn.functional.interpolate(
            model.coarse(coarse), size=(4, 6), mode="bilinear", align_corners=False
        )
        z = (model.fine(fine) + context).clamp(min=0)
        features = model.sound_tower.embed(sounds)
        hidden = model.sound_hidden(features).clamp(min=0)
        q = model.sound_head(hidden).clamp(min=0) + 1e-4
        q = q / q.norm(dim=1, keepdim=True)
        audible = model.audible(features)[:, 0]
        strength = model.feature_strength(images)
    assert maps.shape == (2, 4, 6)
    assert strength.shape == (2, 2, 3)
    for row in range(2):
        for y in range(4):
            for x in range(6):
                p = z[row, :, y, x] / torch.sqrt(z[row, :, y, x].square().sum() + 400.0)
                match = p @ (q[row] - 0.5 * model.mean_sound)
                assert float(maps[row, y, x]) == pytest.approx(float(match), abs=1e-5)
        best = maps[row].flatten().sort(descending=True).values[:2].mean()
        expected = q[row] @ model.expected[:-1] + model.expected[-1]
        logit = 10 * (best - expected) + audible[row].sigmoid().log()
        assert float(similarities[row]) == pytest.approx(float(logit), abs=1e-4)
