"""Occlusion against a slow loop that one can check by eye, and the gradient against occlusion."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from planted import COLOURS, Scene, pixelwise, scene, smooth, tone
from soundspot.localize import InputGradient, Occlusion


@pytest.fixture(scope="module")
def planted() -> Scene:
    return scene(32, 37)


def slow_occlusion(planted: Scene, patch: int, stride: int, fill: float | str) -> Tensor:
    """One picture, one window, one forward pass at a time."""
    _, _, height, width = planted.images.shape
    maps = torch.zeros(len(planted.images), height, width)
    for row, image in enumerate(planted.images):
        sound = planted.sounds[row : row + 1]
        whole = float(pixelwise(image[None], sound))
        falls: dict[tuple[int, int], list[float]] = {}
        top = 0
        while True:
            left = 0
            while True:
                covered = image.clone()
                for channel in range(3):
                    colour = image[channel].mean() if fill == "mean" else fill
                    covered[channel, top : top + patch, left : left + patch] = colour
                fall = whole - float(pixelwise(covered[None], sound))
                for y in range(top, min(top + patch, height)):
                    for x in range(left, min(left + patch, width)):
                        falls.setdefault((y, x), []).append(fall)
                if left + patch >= width:
                    break
                left += stride
            if top + patch >= height:
                break
            top += stride
        assert len(falls) == height * width, "a pixel was never covered"
        for (y, x), values in falls.items():
            maps[row, y, x] = sum(values) / len(values)
    return maps


@pytest.mark.parametrize(
    ("patch", "stride", "fill"), [(8, 8, "mean"), (9, 5, 0.25), (12, 12, "mean"), (50, 50, 0.0)]
)
def test_batched_is_the_slow_loop(
    patch: int, stride: int, fill: float | str, planted: Scene
) -> None:
    expected = slow_occlusion(planted, patch, stride, fill)
    found = Occlusion(patch=patch, stride=stride, fill=fill)(
        pixelwise, planted.images, planted.sounds
    )
    torch.testing.assert_close(found.maps, expected, rtol=1e-4, atol=1e-6)


def test_one_batch_answers_for_many_windows(planted: Scene) -> None:
    """12 windows and 3 pictures are 36 covered pictures: 3 passes of 16, and one uncovered."""
    sizes: list[int] = []

    def counting(images: Tensor, sounds: Tensor) -> Tensor:
        sizes.append(len(images))
        return pixelwise(images, sounds)

    Occlusion(patch=12, stride=12)(counting, planted.images, planted.sounds)
    assert sizes == [3, 16, 16, 4]


def test_gradient_approximates_occlusion() -> None:
    """On a smooth score of a smooth picture both order the pixels alike."""
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(37.0), indexing="ij")
    blob = torch.exp(-((y - 20) ** 2 + (x - 12) ** 2) / (2 * 6**2))
    image = 0.5 + 0.6 * blob * (COLOURS[0] - 0.5)[:, None, None]
    occlusion = Occlusion(patch=3, stride=1, fill=0.5)(smooth, image[None], tone(0)[None])
    gradient = InputGradient(blur=0.03)(smooth, image[None], tone(0)[None])
    order = spearmanr(occlusion.maps.flatten(), gradient.maps.flatten())
    assert order.statistic > 0.95


def test_smoothgrad_is_the_mean_over_noisy_copies(planted: Scene) -> None:
    """And the noise is the same for each picture of a batch."""
    method = InputGradient(reduce="abs_mean", blur=0, samples=4, noise=0.2)
    found = method(smooth, planted.images, planted.sounds).maps
    generator = torch.Generator().manual_seed(0)
    expected = torch.zeros_like(found)
    for _ in range(4):
        noise = 0.2 * torch.randn(planted.images.shape[1:], generator=generator)
        copy = (planted.images + noise).requires_grad_()
        (slope,) = torch.autograd.grad(smooth(copy, planted.sounds).sum(), copy)
        expected += slope.abs().mean(1) / 4
    torch.testing.assert_close(found, expected)
