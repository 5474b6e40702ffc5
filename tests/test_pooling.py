"""Pools: closed forms on a map whose values are known."""

from __future__ import annotations

import pytest
import torch

from soundspot.models.pooling import MASK_CENTRE, MASK_TEMPERATURE, POOLS, TOP_SHARE

MAPS = torch.linspace(0, 1, 100).reshape(1, 10, 10)


def test_closed_forms() -> None:
    mask = torch.sigmoid((MAPS - MASK_CENTRE) / MASK_TEMPERATURE)
    expected = {
        "mean": 0.5,
        "peak": 1.0,
        "top_share": float(MAPS.flatten()[-round(100 * TOP_SHARE) :].mean()),
        "soft_mask": float((mask * MAPS).sum() / mask.sum()),
    }
    assert expected.keys() == POOLS.keys()
    for name, value in expected.items():
        assert float(POOLS[name](MAPS)) == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("name", POOLS)
def test_leading_axes_are_kept_and_order_does_not_matter(name: str) -> None:
    maps = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    pooled = POOLS[name](maps)
    assert pooled.shape == (2, 3)
    torch.testing.assert_close(POOLS[name](maps.flip(-1)), pooled)


def test_a_single_position_is_its_own_pool() -> None:
    for pool in POOLS.values():
        assert float(pool(torch.full((1, 1, 1), 0.7))) == pytest.approx(0.7, abs=1e-6)
