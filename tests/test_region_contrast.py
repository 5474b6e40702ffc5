"""The objective: closed forms, and what lowers it."""

from __future__ import annotations

import pytest
import torch

from soundspot.losses.dark_contrast import CLAIM_CUT, CLAIM_SLOPE, claims_elsewhere
from soundspot.losses.objective import both_ways, mean_of_others
from soundspot.losses.region_contrast import TOP_LEAST, pool_regions
from soundspot.models.pooling import TOP_SHARE
from soundspot.ranks import Ranks
from soundspot.sound_bank import TELLING, spread

SHARPNESS = 15.0


def loss_of(pooled: torch.Tensor) -> torch.Tensor:
    return both_ways(SHARPNESS * pooled, torch.arange(len(pooled)), Ranks())


def test_a_region_is_pooled_from_its_own_best_positions() -> None:
    positions = 100
    maps = torch.linspace(-1, 1, positions).expand(1, 1, positions)
    region = torch.zeros(1, positions, dtype=torch.bool)
    region[0, :60] = True
    count = max(TOP_LEAST, round(TOP_SHARE * 60))
    expected = maps[0, 0, 60 - count : 60].mean()
    assert pool_regions(maps, region)[0, 0] == pytest.approx(float(expected), abs=1e-6)


def test_a_small_region_uses_at_least_three_positions() -> None:
    maps = torch.tensor([[[0.9, 0.6, 0.3, 1.0, 1.0]]])
    region = torch.tensor([[True, True, True, False, False]])
    assert float(pool_regions(maps, region)) == pytest.approx(0.6)


def test_closed_form_of_two_pairs() -> None:
    pooled = torch.tensor([[0.8, 0.1], [0.2, 0.6]])
    logits = SHARPNESS * pooled
    rows = -torch.log_softmax(logits, 1).diagonal().mean()
    columns = -torch.log_softmax(logits, 0).diagonal().mean()
    loss = loss_of(pooled)
    assert float(loss) == pytest.approx(float(rows + columns), abs=1e-5)


def test_right_above_wrong_is_better() -> None:
    right, wrong = torch.eye(3), 1 - torch.eye(3)
    good, bad = (loss_of(p) for p in (right, wrong))
    assert float(good) < float(bad)


def test_a_sound_is_held_down_everywhere_but_in_its_own_tile() -> None:
    """Scene 0 has two tiles of four positions, scene 1 one of all eight."""
    scene = torch.tensor([0, 0, 1])
    left = torch.arange(8) < 4
    regions = torch.stack((left, ~left, torch.ones(8, dtype=torch.bool)))
    maps = torch.full((3, 5, 8), -1e3)
    maps[0, 1, 4:] = 1e3  # sound 1 in its own tile, asked about from the tile beside it
    maps[1, 1, :4] = CLAIM_CUT + 1  # sound 1 where sound 0 is
    maps[2, 0] = CLAIM_CUT + 1  # sound 0 in a scene without it
    claims = claims_elsewhere(maps, scene, regions, slice(0, 3))
    wanted = torch.zeros(3, 5)
    wanted[1, 1] = wanted[2, 0] = CLAIM_SLOPE
    assert torch.allclose(claims, wanted, atol=1e-4)


def test_only_wrong_pairs_are_dark() -> None:
    claims = torch.tensor([[9.0, 1.0], [3.0, 9.0]])
    assert float(mean_of_others(claims, torch.arange(2)).mean()) == 2


def test_a_large_bank_is_looked_at_in_part() -> None:
    few, many = torch.arange(5), torch.arange(3 * TELLING)
    assert spread(few) is few
    kept = spread(many)
    assert len(kept) == TELLING
    assert (int(kept[0]), int(kept[-1])) == (0, 3 * TELLING - 1)
