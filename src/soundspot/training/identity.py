"""What tells one run from another: only the same options, model, data and tower go on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from soundspot.errors import TrainingError
from soundspot.options import TrainOptions

CHANGEABLE = ("save_every",)
"""Options that change nothing about what is learned."""


def identity_of(
    options: TrainOptions, model: str, origin: str, free: Collection[str]
) -> dict[str, Any]:
    """What a run is known by.

    Args:
        options: of the run.
        model: its name, with its options.
        origin: a digest of data and sound tower.
        free: options that do not matter for these data.
    """
    known = {k: v for k, v in asdict(options).items() if k not in {*CHANGEABLE, *free}}
    return {**known, "model": model, "origin": origin}


def require_same(
    run: Path,
    kept: Mapping[str, Any],
    mine: Mapping[str, Any],
    sources: Mapping[str, str],
    free: Collection[str],
) -> None:
    """Refuse to go on with another run.

    Args:
        run: its folder.
        kept: the header of its newest checkpoint.
        mine: what this run is known by.
        sources: in words, what its data and sound tower are.
        free: options that do not matter for these data.

    Raises:
        TrainingError: naming the first thing that differs.
    """
    theirs = {**asdict(TrainOptions()), **kept["run"]}  # older runs knew fewer options
    for name in sorted(kept["run"].keys() | mine.keys()):
        if theirs.get(name) != mine.get(name) and name not in free:
            what = f"{name} ({theirs.get(name)!r}, now {mine.get(name)!r})"
            if name == "origin":
                what = _other_source(kept.get("sources", {}), sources)
            raise TrainingError(
                f"{run}: belongs to a run with other options or data: another {what}; give the "
                "same ones or another --out"
            )


def _other_source(theirs: Mapping[str, str], mine: Mapping[str, str]) -> str:
    """Which of a run's sources differs; older checkpoints do not say."""
    differ = [name for name in mine if name in theirs and theirs[name] != mine[name]]
    said = [f"{name} ({theirs[name]}, now {mine[name]})" for name in differ]
    return " and another ".join(said) or "data or sound tower"
