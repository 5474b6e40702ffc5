"""Several trained models made one by averaging their weights.

Wortsman et al., "Model soups", ICML 2022: runs from the same start end near enough to one another
that the mean of their weights is about as good a model as their ensemble, at the cost of one. Here
it also evens out what a single run happened to forget; `docs/choices.md` has what it gave.

Only runs from one start belong together (`soundspot train` with the same `--seed`): the mean of
models that began at different random weights is no model at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from soundspot.checkpoint import load, save
from soundspot.errors import CheckpointError
from soundspot.files import one_line
from soundspot.models import SimilarityModel


def average(checkpoints: Sequence[str | Path], out: str | Path) -> None:
    """Save the mean of models' weights; all else is the first one's.

    Args:
        checkpoints: two or more models of one kind and configuration.
        out: where the mean goes: a file, or a folder.

    Raises:
        CheckpointError: one cannot be read, or they do not fit together.
    """
    if len(checkpoints) < 2:
        raise CheckpointError("averaging needs two or more models")
    models = [load(checkpoint) for checkpoint in checkpoints]
    first = models[0]
    for name, model in zip(checkpoints, models, strict=True):
        if type(model) is not type(first) or model.describe() != first.describe():
            raise CheckpointError(
                f"{one_line(name)}: another kind or configuration than {one_line(checkpoints[0])}; "
                "average runs of one model"
            )
    first.load_state_dict(mean_of(models))
    save(first, out, averaged=[Path(checkpoint).name for checkpoint in checkpoints])


def mean_of(models: Sequence[SimilarityModel]) -> dict[str, torch.Tensor]:
    """The mean of each tensor; one that all share stays as it is, to the bit."""
    states = [model.state_dict() for model in models]
    return {
        name: value
        if all(torch.equal(value, state[name]) for state in states)
        else torch.stack([state[name] for state in states]).mean(0)
        for name, value in states[0].items()
    }
