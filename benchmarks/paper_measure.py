"""All that the paper's table holds, part by part; each part is kept when it is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from paper_cost import cost
from paper_levers import levers
from paper_scores import (
    SEED,
    Judged,
    cheap_methods,
    judge,
    readable,
    slow_methods,
    subset,
)
from paper_sharpness import SIZES, plant, sharpness
from paper_store import Store, fingerprint_of_model, log
from soundspot.errors import SoundspotError
from soundspot.facts import facts_of
from soundspot.similarity import Similarity
from soundspot.types import Sample

PICTURES = 200
"""At most so many are kept at hand for the figure and for planted sources."""
FULL: dict[str, Any] = {
    "pairs": None,
    "occluded": 30,
    "levers": 38,
    "trials": 20,
    "sizes": SIZES,
    "rounds": 5,
}
"""How much is measured; `pairs` None: all."""
QUICK: dict[str, Any] = {
    "pairs": 6,
    "occluded": 2,
    "levers": 2,
    "trials": 2,
    "sizes": (256, 64),
    "rounds": 1,
}


@dataclass(frozen=True)
class Plan:
    """What is asked for.

    Args:
        models: by the name given, loaded.
        data: by label, the pairs to judge.
        digests: by label, of the manifest.
        amounts: FULL or QUICK.
        store: where results are kept.
        device: "auto" or a torch device name.
    """

    models: dict[str, Similarity]
    data: dict[str, list[Sample]]
    digests: dict[str, str]
    amounts: dict[str, Any]
    store: Store
    device: str


def measure(plan: Plan) -> dict[str, Any]:
    """All results, by part, then by data set where there are several, then by model."""
    first = next(iter(plan.data))
    found: dict[str, Any] = {"scores": {}, "slow": {}, "cost": {}, "sharp": {}, "levers": {}}
    for label in plan.data:
        for part in ("scores", "slow"):
            found[part][label] = {name: _scores(plan, part, label, name) for name in plan.models}
    for name in plan.models:
        found["cost"][name] = _cost(plan, name)
        found["sharp"][name] = _sharp(plan, name, first)
        found["levers"][name] = _levers(plan, name, first)
    return found


def _scores(plan: Plan, part: str, label: str, name: str) -> Judged:
    model, samples = plan.models[name], plan.data[label]
    methods = cheap_methods()
    if part == "slow":
        samples, methods = subset(samples, plan.amounts["occluded"]), slow_methods(model)
    settings = {**_settings(plan, name, label), "ids": [s.id for s in samples], "methods": methods}

    def find() -> Judged:
        ledger = plan.store.ledger(settings)
        judged = judge(model, samples, methods, plan.device, ledger)
        ledger.unlink(missing_ok=True)
        return judged

    judged: Judged = plan.store.take(f"{part}, {label}, {name}", settings, find)
    return judged


def _cost(plan: Plan, name: str) -> Any:
    rounds = plan.amounts["rounds"]
    settings = {
        "weights": fingerprint_of_model(plan.models[name]),
        "rounds": rounds,
        "threads": torch.get_num_threads(),
    }
    loadable = plan.amounts["names"][name]
    return plan.store.take(
        f"cost, {name}", settings, lambda: cost(plan.models[name], loadable, rounds)
    )


def _sharp(plan: Plan, name: str, label: str) -> Any:
    heard, sizes = heard_by_all(plan), list(plan.amounts["sizes"])
    samples, count = plan.data[label], plan.amounts["trials"]
    settings = {**_settings(plan, name, label), "heard": heard, "sizes": sizes, "trials": count}

    def find() -> Any:
        try:
            trials = plant(readable(subset(samples, PICTURES)), heard, sizes, count)
        except SoundspotError as error:
            log(f"no sharpness: {error}")
            return {}
        return sharpness(plan.models[name], trials, plan.device)

    return plan.store.take(f"sharpness, {label}, {name}", settings, find)


def _levers(plan: Plan, name: str, label: str) -> Any:
    samples = subset(plan.data[label], plan.amounts["levers"])
    settings = {**_settings(plan, name, label), "ids": [s.id for s in samples]}
    return plan.store.take(
        f"variants, {label}, {name}",
        settings,
        lambda: levers(plan.models[name], readable(samples), plan.device),
    )


def _settings(plan: Plan, name: str, label: str) -> dict[str, Any]:
    return {
        "weights": fingerprint_of_model(plan.models[name]),
        "data": plan.digests[label],
        "pairs": len(plan.data[label]),
        "seed": SEED,
    }


def heard_by_all(plan: Plan) -> list[str]:
    """Groups that every model met in training; all groups where that leaves none."""
    groups = {str(s.group) for s in next(iter(plan.data.values())) if s.group is not None}
    heard = groups.intersection(*(facts_of(model).heard for model in plan.models.values()))
    return sorted(heard or groups)
