"""What tells one run from another: only the same options, model, data and tower go on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from soundspot.errors import TrainingError
from soundspot.options import TrainOptions
from soundspot.training.origin import FILES, Origin

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
    run: Path, kept: Mapping[str, Any], mine: Mapping[str, Any], origin: Origin
) -> None:
    """Refuse to go on with another run.

    Args:
        run: its folder.
        kept: the header of its newest checkpoint.
        mine: what this run is known by.
        origin: what this run learns from.

    Raises:
        TrainingError: naming the first thing that differs.
    """
    theirs = {**asdict(TrainOptions()), **kept["run"]}  # older runs knew fewer options
    for name in sorted(kept["run"].keys() | mine.keys()):
        if theirs.get(name) != mine.get(name) and name not in origin.free:
            what = f"{name} ({theirs.get(name)!r}, now {mine.get(name)!r})"
            if name == "origin":
                what = _other_source(kept.get("sources", {}), origin)
            raise TrainingError(
                f"{run}: belongs to a run with other options or data: another {what}; give the "
                "same ones or another --out"
            )


def _other_source(theirs: Mapping[str, str], origin: Origin) -> str:
    """Which of a run's sources differs; older checkpoints do not say."""
    mine = origin.sources
    differ = [n for n in mine if n in theirs and theirs[n] != mine[n] and n != FILES]
    said = [f"{name} ({theirs[name]}, now {mine[name]}{_files(name, theirs, origin)})"
            for name in differ]  # fmt: skip
    return " and another ".join(said) or "data or sound tower"


def _files(name: str, theirs: Mapping[str, str], origin: Origin) -> str:
    """Which files differ."""
    if name != "data" or FILES not in origin.sources:
        return ""
    if FILES not in theirs:
        return "; or the same files, which earlier versions of soundspot knew by their paths"
    return f": {origin.files.other_than(theirs[FILES])}"
