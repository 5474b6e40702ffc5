"""Sharpness for the paper's table: how small may a source be for the map's peak to find it?

The size of a map says little: a map of 384 x 384 pixels may be as blurred as one of 24 x 24. So a
source is planted. The true box of a picture is cut out, shrunk, and pasted at a random place of a
canvas that shows no source; the sound is the right one. A map finds it where its whole peak lies
in the pasted box (`metrics.points_inside`). Trial t is the same crop, ground and sound at every
size; only the room to move differs.

Grounds alternate: a colour gradient with a little noise, and another picture, blurred until
nothing in it can be told, which shows nothing of the source's group.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from paper_scores import (
    GRADIENTS,
    OWN,
    PICTURE_ONLY,
    SEED,
    cheap_methods,
    combined,
    wrong_sound_name,
)
from soundspot import Locator
from soundspot.data.media import picture_of, sound_of
from soundspot.errors import MethodError, SoundspotError
from soundspot.judging.blind import sample_rng
from soundspot.maps import FloatMap, normalise, resize_map, resize_maps
from soundspot.metrics import points_inside, truth_mask
from soundspot.similarity import OffersFeatureStrength, Similarity
from soundspot.types import Box, Sample
from soundspot.watch import frozen

CANVAS = 448
"""Side of the picture that is asked about, in pixels; the model fits it to its own side."""
SIZES = (256, 192, 128, 96, 64, 48, 32, 24, 16, 12, 8)
"""Square root of the pasted area, in pixels."""
SMALLEST_CROP = 96
"""Shorter side of the true box, in pixels of its picture, so that there is something to shrink."""
LONGEST_ASPECT = 2.0
BLUR = CANVAS / 14
NOISE = 4.0
"""Standard deviation, of 255."""
ENOUGH = 0.5
"""Share of trials from which a size counts as found."""
BATCH = 8

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Planted:
    """A source on a canvas without others: picture, box (xyxy in fractions), whose it was."""

    picture: Picture
    box: Box
    source: Sample


def sharpness(
    model: Similarity, trials: Sequence[Sequence[Planted]], device: str
) -> dict[str, list[list[bool]]]:
    """For each method, whether each trial was found, by size and trial; then with wrong sounds."""
    locators = _usable(model, trials[0][:1], device)
    found = [_found(locators, planted) for planted in trials]
    hits = {method: [row[method] for row in found] for method in found[0]}
    deaf = [_found(locators, wrongly(planted)) for planted in trials]
    hits |= {wrong_sound_name(m): [row[m] for row in deaf] for m in deaf[0]}
    salience = [_salient(Locator(model, device=device), planted) for planted in trials]
    return hits | ({PICTURE_ONLY: salience} if all(map(len, salience)) else {})


def wrongly(planted: Sequence[Planted]) -> list[Planted]:
    """The same pictures, each with the sound of the next trial, which is of another group."""
    return [
        replace(p, source=planted[(t + 1) % len(planted)].source) for t, p in enumerate(planted)
    ]


def _usable(model: Similarity, planted: Sequence[Planted], device: str) -> dict[str, Locator]:
    """The own map and the gradient methods, without those that refuse the model."""
    locators = {}
    for method in (OWN, *GRADIENTS):
        locator = Locator(model, method, device=device)
        with contextlib.suppress(MethodError):
            _maps(locator, planted)
            locators[method] = locator
    return locators


def _found(locators: dict[str, Locator], planted: Sequence[Planted]) -> dict[str, list[bool]]:
    hits: dict[str, list[bool]] = {}
    for start in range(0, len(planted), BATCH):
        batch = planted[start : start + BATCH]
        maps = {method: _maps(locator, batch) for method, locator in locators.items()}
        for gradient in set(GRADIENTS) & set(maps):
            if OWN in maps:
                maps[combined(OWN, gradient)] = averaged(maps[OWN], maps[gradient])
        for method in (m for m in cheap_methods() if m in maps):
            told = [inside(values, p) for values, p in zip(maps[method], batch, strict=True)]
            hits.setdefault(method, []).extend(told)
    return hits


def _maps(locator: Locator, planted: Sequence[Planted]) -> list[FloatMap]:
    sounds = [sound_of(p.source, locator.facts.sample_rate) for p in planted]
    return [e.map for e in locator.evidence([p.picture for p in planted], sounds)]


def averaged(own: Sequence[FloatMap], fine: Sequence[FloatMap]) -> list[FloatMap]:
    """What `combined` says of maps that are already there."""
    finer = torch.from_numpy(np.stack(fine))
    wide = resize_maps(torch.from_numpy(np.stack(own)), (finer.shape[1], finer.shape[2]))
    return list(((normalise(wide) + normalise(finer)) / 2).numpy())


@torch.no_grad()
def _salient(locator: Locator, planted: Sequence[Planted]) -> list[bool]:
    """The same of the model's picture-only map; empty where it offers none."""
    hits: list[bool] = []
    silence = np.zeros(round(locator.facts.seconds * locator.facts.sample_rate), np.float32)
    with frozen(locator.model):
        question = locator.listen([silence])
        for p in planted:
            tower: object = locator.model
            tower = tower if isinstance(tower, OffersFeatureStrength) else question
            if not isinstance(tower, OffersFeatureStrength):
                return []
            maps = tower.feature_strength(locator.look([locator.fit(p.picture)]))
            hits.append(inside(maps[0].float().cpu().numpy(), p))
    return hits


def inside(values: FloatMap, planted: Planted) -> bool:
    """Whether the map's whole peak lies in the pasted box."""
    truth = truth_mask([planted.box], CANVAS, CANVAS)
    return points_inside(resize_map(values, (CANVAS, CANVAS)), truth)


def smallest_found(shares: Sequence[float], sizes: Sequence[int]) -> int | None:
    """The smallest size found in at least half of the trials, as is every larger size."""
    smallest = None
    for size, share in sorted(zip(sizes, shares, strict=True), reverse=True):
        if share < ENOUGH:
            break
        smallest = size
    return smallest


def plant(
    samples: Sequence[Sample], heard: Sequence[str], sizes: Sequence[int], count: int
) -> list[list[Planted]]:
    """The trials, by size: sources of heard groups (none named: any), one after another."""
    pictures = {s.id: picture_of(s) for s in samples}
    fitting = [s for s in samples if _suits(s, pictures[s.id])]
    sources = [s for s in fitting if not heard or s.group in heard]
    if not sources:
        raise SoundspotError("no true box is large enough to plant sources from")
    return [
        [_planted(_draw(samples, sources, t), pictures, size, t) for t in range(count)]
        for size in sizes
    ]


def _suits(sample: Sample, picture: Picture) -> bool:
    """Whether there is one large true box, not too narrow, and nothing else that may sound."""
    if sample.ambiguous or len(true_boxes(sample)) != 1:
        return False
    crop = _crop(sample, picture)
    short, long = sorted(crop.size)
    return short >= SMALLEST_CROP and long <= LONGEST_ASPECT * short


def true_boxes(sample: Sample) -> tuple[Box, ...]:
    """The boxes; where several people drew, those of the first."""
    return sample.boxes or next(filter(None, sample.annotators), ())


def _crop(sample: Sample, picture: Picture) -> Image.Image:
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = (round(v) for v in np.multiply(true_boxes(sample)[0], (width, height) * 2))
    return Image.fromarray(picture).crop((x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)))


def _draw(
    samples: Sequence[Sample], sources: Sequence[Sample], trial: int
) -> tuple[Sample, Sample | None]:
    """The source of a trial and the picture of its ground; every other ground is none."""
    rng = sample_rng(f"source {trial}", SEED)
    groups = sorted({str(s.group) for s in sources})
    group = groups[trial % len(groups)]
    own = [s for s in sources if str(s.group) == group]
    source = own[int(rng.integers(len(own)))]
    showing = {s.image for s in samples if str(s.group) == group}
    others = [s for s in samples if s.image not in showing]
    plain = not others or (trial // len(groups)) % 2 == 0
    return source, None if plain else others[int(rng.integers(len(others)))]


def _planted(
    drawn: tuple[Sample, Sample | None], pictures: dict[str, Picture], size: int, trial: int
) -> Planted:
    source, other = drawn
    rng = sample_rng(f"ground {trial}", SEED)
    ground = smooth(rng) if other is None else blurred(pictures[other.id])
    crop = _crop(source, pictures[source.id])
    picture, box = paste(ground, crop, size, (rng.random(), rng.random()))
    return Planted(picture, box, source)


def smooth(rng: np.random.Generator) -> Picture:
    """A gradient between four corner colours, with a little noise."""
    corners = rng.uniform(60, 200, (2, 2, 3)).astype(np.uint8)
    wide = Image.fromarray(corners).resize((CANVAS, CANVAS), Image.Resampling.BICUBIC)
    noisy = np.asarray(wide, np.float64) + NOISE * rng.standard_normal((CANVAS, CANVAS, 3))
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def blurred(picture: Picture) -> Picture:
    """A picture in which nothing can be told."""
    fitted = Image.fromarray(picture).resize((CANVAS, CANVAS), Image.Resampling.BILINEAR)
    return np.asarray(fitted.filter(ImageFilter.GaussianBlur(BLUR)))


def paste(
    ground: Picture, crop: Image.Image, size: int, place: tuple[float, float]
) -> tuple[Picture, Box]:
    """Lay a crop of area size * size, its proportions kept, on a canvas.

    Args:
        ground: CANVAS CANVAS 3.
        crop: the source.
        size: square root of its new area, in pixels.
        place: fractions of the room that is left, from the left and from the top.
    """
    scale = size / (crop.width * crop.height) ** 0.5
    width, height = (min(CANVAS, max(1, round(scale * side))) for side in crop.size)
    x, y = (round(f * (CANVAS - side)) for f, side in zip(place, (width, height), strict=True))
    canvas = Image.fromarray(ground)
    canvas.paste(crop.resize((width, height), Image.Resampling.LANCZOS), (x, y))
    box = (x / CANVAS, y / CANVAS, (x + width) / CANVAS, (y + height) / CANVAS)
    return np.asarray(canvas), box


def shares(found: dict[str, Any], method: str) -> list[float]:
    """The share of trials found, by size."""
    return [float(np.mean(row)) for row in found[method]]
