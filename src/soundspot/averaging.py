"""Several trained models made one by averaging their weights.

Wortsman et al., "Model soups", ICML 2022: runs from the same start end near enough to one another
that the mean of their weights is about as good a model as their ensemble, at the cost of one. Here
it also evens out what a single run happened to forget; `docs/choices.md` has what it gave.

What a picture tower learned from few kinds of things can also be taken back in part, towards the
ImageNet weights that it started from (Wortsman et al., "Robust fine-tuning of zero-shot models",
CVPR 2022):

    tower = ImageNet + kept (mean of runs - ImageNet)

The tower then knows more of what training never showed; `docs/choices.md` has what that gave.

Only runs from one start belong together (`soundspot train` with the same `--seed`): the mean of
models that began at different random weights is no model at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from soundspot.checkpoint import load, save
from soundspot.errors import CheckpointError, OptionError
from soundspot.files import one_line
from soundspot.models import SimilarityModel
from soundspot.towers.efficientnet_lite import EfficientNetLite0, load_imagenet


def average(checkpoints: Sequence[str | Path], out: str | Path, *, tower_kept: float = 1.0) -> None:
    """Save the mean of models' weights; all else is the first one's, but for the calibration.

    Args:
        checkpoints: two or more models of one kind and configuration; one, where its tower is
            taken back.
        out: where the mean goes: a file, or a folder.
        tower_kept: how much of what the picture tower learned is kept, 0 to 1; below 1 the
            ImageNet weights must be installed (`soundspot[train]`).

    Raises:
        CheckpointError: one cannot be read, or they do not fit together.
        OptionError: `tower_kept` out of range.
        TrainingError: the ImageNet weights are missing.
    """
    if not 0 <= tower_kept <= 1:
        raise OptionError(f"average: what is kept of the tower is in 0..1, got {tower_kept}")
    if len(checkpoints) < 2 and tower_kept == 1:
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
    first.facts = replace(first.facts, calibration=None)
    if tower_kept < 1:
        take_back(first.image_tower, tower_kept)
    names = [Path(*Path(checkpoint).parts[-2:]).as_posix() for checkpoint in checkpoints]
    save(first, out, averaged=names, tower_kept=tower_kept)


def mean_of(models: Sequence[SimilarityModel]) -> dict[str, torch.Tensor]:
    """The mean of each tensor; one that all share stays as it is, to the bit."""
    states = [model.state_dict() for model in models]
    return {
        name: value
        if all(torch.equal(value, state[name]) for state in states)
        else torch.stack([state[name] for state in states]).mean(0)
        for name, value in states[0].items()
    }


def take_back(tower: EfficientNetLite0, kept: float) -> None:
    """Bring a tower towards the ImageNet weights, in place.

    Raises:
        TrainingError: the ImageNet weights are missing.
    """
    start = EfficientNetLite0()
    load_imagenet(start)
    learned = tower.state_dict()
    tower.load_state_dict(
        {name: value.lerp(learned[name], kept) for name, value in start.state_dict().items()}
    )
