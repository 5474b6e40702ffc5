"""Scores for the paper's table: each method on each model, judged by `soundspot.evaluate`.

A judged model is plain data (it is kept as JSON):

    {"n": 114, "pictures": [0, 0, 1, ...], "notes": [...], "refused": {method: why},
     "conventions": {topic: text},
     "rows": {name: {"kind", "scores", "intervals", "values"}}}

`values` holds each pair's part of a score, so that any two rows can be compared pair by pair.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

import soundspot
from soundspot.data.media import picture_of, sound_of
from soundspot.errors import MediaError, MethodError
from soundspot.facts import facts_of
from soundspot.judging.blind import sample_rng
from soundspot.localize import Combined
from soundspot.metrics import Difference, paired_difference
from soundspot.similarity import Similarity
from soundspot.types import Sample

Judged: TypeAlias = dict[str, Any]

OWN = "similarity_map"
INPUT_GRADIENT = "input_gradient"
GUIDED = "guided_backprop"
GRADIENTS = (INPUT_GRADIENT, GUIDED)
OCCLUSION = "occlusion"
SHARE, AUC, POINTING = "as_truth/share_0.5", "as_truth/auc", "pointing"
HALF_SHARE, HALF_AUC = "top_half/share_0.5", "top_half/auc"
KEYS = (SHARE, AUC, POINTING, HALF_SHARE, HALF_AUC)
PICTURE_ONLY = "picture only"
WRONG_SOUND = ", wrong sound"
SEED = 0
RATE = 16_000
"""Hz at which a sound is read to see whether it can be."""

PATCHES = 4
"""Occlusion's patch is the model's side over this, its stride half of that: 7 x 7 patches."""


def combined(*parts: str) -> str:
    """The string of a combined method."""
    return f"combined({', '.join(parts)})"


def cheap_methods() -> list[str]:
    """Each gradient method, the own map, and the own map combined with each."""
    return [OWN, *GRADIENTS, *(combined(OWN, gradient) for gradient in GRADIENTS)]


def occlusion_of(model: object) -> str:
    """Occlusion with patches of a quarter of the model's side, as the string of its object."""
    patch = max(2, facts_of(model).size // PATCHES)
    return repr(soundspot.parse(f"{OCCLUSION}(patch={patch}, stride={patch // 2})"))


def slow_methods(model: object) -> list[str]:
    """Occlusion, the own map combined with it, and the own map, to compare on the same pairs."""
    occlusion = occlusion_of(model)
    return [OWN, occlusion, combined(OWN, occlusion)]


def wrong_sound_name(method: str) -> str:
    """The row of a method that hears a wrong sound."""
    return method + WRONG_SOUND


def label(method: str) -> str:
    """A method's name in the tables."""
    right = method.removesuffix(WRONG_SOUND)
    if right != method:
        return label(right) + WRONG_SOUND
    if method.startswith("combined("):
        built = soundspot.parse(method)
        assert isinstance(built, Combined)
        return " + ".join(label(repr(part)) for part in built.methods)
    known = {OWN: "own map", INPUT_GRADIENT: "input gradient", GUIDED: "guided back-propagation"}
    return known.get(method, method)


def positives(samples: Iterable[Sample]) -> list[Sample]:
    """The samples in which somebody said what sounds."""
    return [s for s in samples if s.kind == "positive" and (s.boxes or any(s.annotators) or s.mask)]


def one_clip(samples: Iterable[Sample]) -> list[Sample]:
    """The first sample of each picture and group."""
    first: dict[object, Sample] = {}
    for sample in samples:
        first.setdefault((sample.image, sample.time, sample.group or sample.id), sample)
    return list(first.values())


def subset(samples: Sequence[Sample], count: int) -> list[Sample]:
    """So many samples, drawn by seed, in their own order."""
    chosen = sample_rng("subset", SEED).permutation(len(samples))[:count]
    return [samples[i] for i in sorted(chosen)]


def readable(samples: Iterable[Sample]) -> list[Sample]:
    """The samples whose files can be read; `judge` counts the others."""
    found = []
    for sample in samples:
        with contextlib.suppress(MediaError):
            picture_of(sample), sound_of(sample, RATE)
            found.append(sample)
    return found


def judge(
    model: Similarity,
    samples: Sequence[Sample],
    methods: Sequence[str],
    device: str,
    ledger: Path | None = None,
) -> Judged:
    """Judge methods; one that cannot work on the model is named and left out.

    Args:
        model: any similarity model.
        samples: with boxes.
        methods: as strings.
        device: "auto" or a torch device name.
        ledger: a file from which a judgement that was cut short goes on.
    """
    refused = refusals(model, methods, device)
    usable = [method for method in methods if method not in refused]
    report = soundspot.evaluate(
        model, samples, usable, device=device, seed=SEED, progress=True, ledger=ledger
    )
    return _plain(report, refused)


def refusals(model: Similarity, methods: Sequence[str], device: str) -> dict[str, str]:
    """The methods that cannot work on this model, and what they say."""
    facts = facts_of(model)
    rng = sample_rng("noise", SEED)
    picture = rng.integers(0, 256, (facts.size, facts.size, 3)).astype(np.uint8)
    hiss = 0.1 * rng.standard_normal(round(facts.seconds * facts.sample_rate), np.float32)
    refused = {}
    for method in methods:
        try:
            soundspot.Locator(model, method, device=device).evidence([picture], [hiss])
        except MethodError as error:
            refused[method] = str(error)
    return refused


def _plain(report: soundspot.Report, refused: dict[str, str]) -> Judged:
    numbers = {picture: i for i, picture in enumerate(dict.fromkeys(report.pictures))}
    return {
        "n": report.positives,
        "pictures": [numbers[picture] for picture in report.pictures],
        "unread": len(report.failures),
        "notes": list(report.notes),
        "refused": refused,
        "conventions": dict(report.conventions),
        "rows": {
            row.name: {
                "kind": row.kind,
                "scores": {key: row.scores[key] for key in KEYS},
                "intervals": {key: list(row.intervals[key]) for key in KEYS},
                "values": {key: row.values[key].tolist() for key in KEYS},
            }
            for row in report.rows
        },
    }


def score(judged: Judged, name: str, key: str = SHARE) -> float:
    """A row's score; NaN where there is no such row."""
    row = judged["rows"].get(name)
    return math.nan if row is None else float(row["scores"][key])


def difference(judged: Judged, a: str, b: str, key: str = SHARE) -> Difference:
    """How far row `a` is above row `b` on the pairs that both answered."""
    rows = judged["rows"]
    if a not in rows or b not in rows:
        return Difference(math.nan, math.nan, math.nan, math.nan)
    first, second = (np.array(rows[name]["values"][key], dtype=np.float64) for name in (a, b))
    both = ~(np.isnan(first) | np.isnan(second))
    pictures = [p for p, known in zip(judged["pictures"], both, strict=True) if known]
    return paired_difference(first[both], second[both], pictures, seed=SEED)


def difference_together(judged: Iterable[Judged], a: str, b: str, key: str = SHARE) -> Difference:
    """The same over the pairs of several models at once; a picture is drawn with all its models."""
    first, second, pictures = [], [], []
    for one in judged:
        if a in one["rows"] and b in one["rows"]:
            first += one["rows"][a]["values"][key]
            second += one["rows"][b]["values"][key]
            pictures += one["pictures"]
    return paired_difference(first, second, pictures, seed=SEED)


def over_wrong_sound(judged: Judged, name: str, key: str = SHARE) -> Difference:
    """How far a method is above itself with a wrong sound."""
    return difference(judged, name, wrong_sound_name(name), key)
