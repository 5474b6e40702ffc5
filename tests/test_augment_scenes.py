"""Scenes: what was laid out is where the tiles say it is."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from soundspot.augment_scenes import _middle, compose, halves, layouts, quarters, resized
from soundspot.media.image import Picture

SIDE = 96


def coloured(rng: np.random.Generator) -> tuple[int, Picture]:
    number = int(rng.integers(0, 5))
    pixels = rng.integers(0, 255, (int(rng.integers(20, 90)), int(rng.integers(20, 90)), 3))
    return number, pixels.astype(np.uint8)


@pytest.mark.parametrize("seed", range(40))
def test_tiles_lie_on_the_canvas(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = compose(rng, lambda: coloured(rng), SIDE, layouts(0.22))
    assert scene.pixels.shape == (SIDE, SIDE, 3)
    assert scene.pixels.dtype == np.uint8
    assert 1 <= len(scene.tiles) <= 4
    for _, (x0, y0, x1, y1) in scene.tiles:
        assert 0 <= x0 < x1 <= SIDE
        assert 0 <= y0 < y1 <= SIDE


@pytest.mark.parametrize("layout", [halves, quarters])
def test_layouts_tile_the_canvas(layout: object) -> None:
    for seed in range(20):
        covered = np.zeros((SIDE, SIDE), int)
        for x0, y0, x1, y1 in layout(np.random.default_rng(seed), SIDE):  # type: ignore[operator]
            covered[y0:y1, x0:x1] += 1
        assert (covered == 1).all()


def test_a_black_picture_lands_where_its_tile_says() -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        pictures = iter([np.full((64, 64, 3), level, np.uint8) for level in (0, 255) * 4])
        scene = compose(rng, lambda p=pictures: (0, next(p)), SIDE, layouts(0.22))  # type: ignore[misc]
        if len(scene.tiles) != 2:
            continue
        means = [scene.pixels[y0:y1, x0:x1].mean() for _, (x0, y0, x1, y1) in scene.tiles]
        assert means[0] < 20
        assert means[1] > 90


def test_the_same_dice_give_the_same_scene() -> None:
    scenes = []
    for _ in range(2):
        rng = np.random.default_rng(7)
        scenes.append(compose(rng, lambda r=rng: coloured(r), SIDE, layouts(0.22)))  # type: ignore[misc]
    assert np.array_equal(scenes[0].pixels, scenes[1].pixels)
    assert scenes[0].tiles == scenes[1].tiles


@pytest.mark.parametrize("size", [(40, 30), (224, 224), (61, 180)])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_a_resized_picture_is_pillow_s(size: tuple[int, int], mode: str) -> None:
    _, picture = coloured(np.random.default_rng(3))
    expected = Image.fromarray(picture).resize(size, Image.Resampling[mode.upper()])
    assert np.abs(resized(picture, *size, mode).astype(int) - np.asarray(expected)).max() <= 2


def test_contrast_turns_about_the_mean_grey() -> None:
    _, picture = coloured(np.random.default_rng(4))
    tile = Image.fromarray(picture)
    flat = ImageEnhance.Contrast(tile).enhance(0)
    assert np.asarray(flat).min() == np.asarray(flat).max() == _middle(tile)
