"""What makes a gradient map usable: reduction, smoothing, normalisation before averaging.

The raw gradient maps of a pair are asked for once; all variants are made of them. So no
wrong-sound control stands here, and the best of many cells is flattered.

Normalisations bring two maps to one scale before they are averaged: to [0, 1] by their own minimum
and maximum (`combined` does this), to mean 0 and deviation 1, to ranks (the share of pixels that
are lower), or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

import soundspot
from paper_scores import GRADIENTS, OWN, SEED
from soundspot import Locator
from soundspot.data.media import picture_of, sound_of
from soundspot.errors import MethodError
from soundspot.maps import FloatMap, gaussian_blur, normalise, resize_map, resize_maps
from soundspot.metrics import (
    as_many_as_truth,
    auc_of_each,
    ciou,
    consensus_map,
    mean_interval,
    paired_difference,
    points_inside,
    truth_mask,
)
from soundspot.similarity import Question, Similarity
from soundspot.types import Sample
from soundspot.watch import frozen

if TYPE_CHECKING:
    from soundspot.metrics.overlap import Truth
    from soundspot.types import Images, Maps

BLURS = (0.0, 0.02, 0.05, 0.08, 0.12)
"""Standard deviations as a share of the shorter side."""
BLUR, REDUCTION = 0.05, "abs_max"
"""The methods' defaults."""
REDUCTIONS = ("abs_max", "abs_mean", "l2", "positive")
LONGEST = 1024
"""Maps are judged at the picture's own size, its longer side at most so many pixels."""


def ranks(maps: Maps) -> Maps:
    """The share of its map's pixels that come before each pixel in order."""
    flat = maps.flatten(1)
    order = flat.argsort(1).argsort(1)
    return (order / (flat.shape[1] - 1)).reshape(maps.shape).to(maps)


def standard(maps: Maps) -> Maps:
    """Each map to mean 0 and deviation 1; a constant map becomes 0."""
    centred = maps - maps.mean((1, 2), keepdim=True)
    return centred / maps.std((1, 2), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)


NORMALISATIONS: dict[str, Callable[[Maps], Maps]] = {
    "min-max": normalise,
    "mean 0, deviation 1": standard,
    "ranks": ranks,
    "none": lambda maps: maps,
}


def levers(model: Similarity, samples: Sequence[Sample], device: str) -> dict[str, Any]:
    """Scores of each variant on the samples that have boxes.

    Returns:
        n, and by variant share, AUC, pointing, and the share's difference from the own map.
    """
    locator = Locator(model, OWN, device=device)
    judged = [s for s in samples if s.boxes or any(s.annotators)]
    found: dict[str, list[list[float]]] = {}
    for sample in tqdm(judged, "variants", unit=" samples"):
        picture = picture_of(sample)
        truth = _truth(sample, *picture.shape[:2])
        sound = sound_of(sample, locator.facts.sample_rate)
        with frozen(model):
            variants = _variants(locator.listen([sound]), locator.look([locator.fit(picture)]))
        for name, maps in variants.items():
            verdict = _verdict(maps[0].float().cpu().numpy(), truth)
            found.setdefault(name, []).append(verdict)
    numbers = list(dict.fromkeys(s.image for s in judged))
    return {
        "n": len(judged),
        "variants": _summed_up(found, [numbers.index(s.image) for s in judged]),
    }


def _variants(question: Question, images: Images) -> dict[str, Maps]:
    """All maps of one pair, by the variant's name."""
    own = soundspot.parse(OWN).explain(question, images).maps
    maps = {OWN: own}
    for gradient in GRADIENTS:
        try:
            raw = _raw(gradient, question, images)
        except MethodError:
            continue
        side = min(images.shape[-2:])
        smoothed = {b: gaussian_blur(raw[REDUCTION], b * side) for b in BLURS}
        maps |= {f"{gradient}: blur {b}": m for b, m in smoothed.items()}
        maps |= {
            f"{gradient}: reduce {r}": gaussian_blur(raw[r], BLUR * side) for r in REDUCTIONS[1:]
        }
        maps |= _averages(gradient, own, smoothed)
    return maps


def _raw(gradient: str, question: Question, images: Images) -> dict[str, Maps]:
    """The method's maps without smoothing, by reduction."""
    return {
        r: soundspot.parse(f"{gradient}(reduce={r!r}, blur=0.0)").explain(question, images).maps
        for r in REDUCTIONS
    }


def _averages(gradient: str, own: Maps, smoothed: dict[float, Maps]) -> dict[str, Maps]:
    """The own map averaged with a gradient map: blurs under min-max, normalisations at one blur."""
    wide = resize_maps(own, (smoothed[BLUR].shape[1], smoothed[BLUR].shape[2]))
    by_blur = {
        f"own + {gradient}: blur {b}": (normalise(wide) + normalise(m)) / 2
        for b, m in smoothed.items()
    }
    by_scale = {
        f"own + {gradient}: {name}": (scale(wide) + scale(smoothed[BLUR])) / 2
        for name, scale in NORMALISATIONS.items()
        if name != "min-max"
    }
    return by_blur | by_scale


def _truth(sample: Sample, height: int, width: int) -> Truth:
    scale = min(1.0, LONGEST / max(height, width))
    size = max(1, round(scale * height)), max(1, round(scale * width))
    if any(sample.annotators):
        return consensus_map(sample.annotators, *size)
    return truth_mask(sample.boxes, *size)


def _verdict(values: FloatMap, truth: Truth) -> list[float]:
    """Whether IoU is at least a half; the part in AUC; whether it points inside."""
    resized = resize_map(values, (truth.shape[0], truth.shape[1]))
    overlap = ciou(as_many_as_truth(resized, truth), truth)
    return [
        float(overlap >= 0.5),
        float(auc_of_each([overlap])[0]),
        float(points_inside(resized, truth)),
    ]


def _summed_up(found: dict[str, list[list[float]]], pictures: list[int]) -> dict[str, Any]:
    columns = {name: np.array(verdicts).T for name, verdicts in found.items()}
    own = columns[OWN][0]
    return {
        name: {
            "scores": [float(part.mean()) for part in parts],
            "interval": list(mean_interval(parts[0], pictures, seed=SEED)),
            "over_own": list(paired_difference(parts[0], own, pictures, seed=SEED)),
        }
        for name, parts in columns.items()
    }


def best_average(found: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Of the averages with the own map, the one with the highest share."""
    averages = {k: v for k, v in found["variants"].items() if k.startswith("own + ")}
    name = max(averages, key=lambda k: averages[k]["scores"][0])
    return name, averages[name]
