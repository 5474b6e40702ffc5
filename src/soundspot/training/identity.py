"""What tells one run from another: only the same options, model, data and tower go on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundspot.errors import TrainingError

if TYPE_CHECKING:
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
    run: Path, kept: Mapping[str, Any], mine: Mapping[str, Any], free: Collection[str]
) -> None:
    """Refuse to go on with another run.

    Raises:
        TrainingError: naming the first thing that differs.
    """
    for name in sorted(kept.keys() | mine.keys()):
        if kept.get(name) != mine.get(name) and name not in free:
            what = f"{name} ({kept.get(name)!r}, now {mine.get(name)!r})"
            raise TrainingError(
                f"{run}: belongs to a run with other options or data: another "
                f"{'data or sound tower' if name == 'origin' else what}; give the same ones or "
                "another --out"
            )
