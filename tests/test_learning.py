"""The optimiser's state through a file, and what moves a step: against torch's plain AdamW."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from soundspot.checkpoint import read_checkpoint, write_checkpoint
from soundspot.optimiser_state import pack_optimiser, unpack_optimiser

STEPS, STOP = 6, 3


def weights() -> list[nn.Parameter]:
    """A number, a matrix, and a convolution that is laid out channels-last."""
    torch.manual_seed(0)
    shapes = (), (5, 3), (8, 4, 3, 3)
    some = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    some[2].data = some[2].data.contiguous(memory_format=torch.channels_last)
    return some


def trained(folder: Path | None, before: bool, after: bool) -> list[Tensor]:
    """Weights after some steps of AdamW, fused or not; in between, through a file in a folder."""
    some = weights()
    optimiser = torch.optim.AdamW(some, lr=0.1, fused=before)
    for step in range(STEPS):
        if folder is not None and step == STOP:
            write_checkpoint(folder / "kept", pack_optimiser(optimiser), {"kind": "kept"})
            optimiser = torch.optim.AdamW(some, lr=0.1, fused=after)
            unpack_optimiser(optimiser, read_checkpoint(folder / "kept", "kept")[1])
            assert optimiser.param_groups[0]["fused"] == after
        torch.manual_seed(step)
        loss = torch.stack([(torch.randn(w.shape) * w).sum() for w in some]).sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return [w.detach() for w in some]


@pytest.mark.parametrize("before", [True, False])
def test_an_optimiser_goes_on_from_a_file(before: bool, tmp_path: Path) -> None:
    """Also from what one that was not fused has written."""
    plain, found = trained(None, False, False), trained(tmp_path, before, True)
    for one, other in zip(plain, found, strict=True):
        torch.testing.assert_close(other, one, rtol=0, atol=1e-5)


def test_to_stop_changes_no_bit(tmp_path: Path) -> None:
    whole, parts = trained(None, True, True), trained(tmp_path, True, True)
    assert all(torch.equal(one, other) for one, other in zip(whole, parts, strict=True))
