"""Objectives of two towers: closed forms of what EZ-VSL and LVS lower."""

from __future__ import annotations

import math

import pytest
import torch

from soundspot.errors import OptionError
from soundspot.losses import OBJECTIVES, objective_of
from soundspot.losses.trimap import SURELY, TEMPERATURE, masked_mean, trimap_losses


def test_a_trimap_where_everything_is_known() -> None:
    """Half of the own map at 1, half at 0, other maps at 0: right is 1, hard and wrong are 0."""
    maps = torch.zeros(3, 3, 8)
    for i in range(3):
        maps[i, i, :4] = 1.0
    losses = trimap_losses(maps, torch.arange(3))
    wanted = math.log1p(3 * math.exp(-1 / TEMPERATURE))
    assert losses.tolist() == pytest.approx([wanted] * 3, rel=1e-3, abs=1e-6)


def test_a_trimap_that_cannot_tell_is_a_guess() -> None:
    """Everything at the same value: right, hard and each wrong one are equally likely."""
    losses = trimap_losses(torch.full((4, 4, 8), SURELY), torch.arange(4))
    assert losses.tolist() == pytest.approx([math.log(5)] * 4)


def test_a_masked_mean_of_nothing_is_nothing() -> None:
    values = torch.ones(2, 3)
    assert masked_mean(values, torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])).tolist() == [1, 0]


def test_objectives_go_with_their_model() -> None:
    for name, kind in OBJECTIVES.items():
        assert objective_of(name) is kind
    assert objective_of("two_tower", "trimap").__name__ == "Trimap"
    with pytest.raises(OptionError, match="does not work on the model attention"):
        objective_of("attention", "trimap")
    with pytest.raises(OptionError, match="unknown objective 'magic'; there are region_contrast"):
        objective_of("attention", "magic")
