"""How a step is computed: what changes its speed and memory, and not what is learned.

- `bf16`: towers and projections in bfloat16 (`torch.autocast`); weights, losses and updates stay in
  float32. The one setting here that changes digits for more than rounding, so a run is known by it.
- `compile`: `torch.compile` of the two towers; the first step takes a minute.
- `checkpoint`: the picture tower's blocks keep only their inputs and are computed again on the way
  back (Chen, Xu, Zhang & Guestrin, "Training Deep Nets with Sublinear Memory Cost", 2016): about
  half the memory for a third more time.

Pictures and convolution weights are always laid out channels-last.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from soundspot.errors import OptionError

if TYPE_CHECKING:
    from soundspot.models import SimilarityModel


@dataclass(frozen=True)
class Computing:
    """How a step is computed."""

    bf16: bool = False
    compile: bool = False
    checkpoint: bool = False

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """In which samples are embedded."""
        return torch.autocast(device.type, torch.bfloat16) if self.bf16 else nullcontext()

    def apply(self, model: SimilarityModel) -> None:
        """Set a model up, in place; names and values of its weights stay.

        Raises:
            OptionError: checkpointing a tower that is no list of blocks.
        """
        if self.checkpoint:
            _checkpoint(model.image_tower)
        if self.compile:
            for tower in (model.image_tower, model.sound_tower):
                tower.compile()


def _checkpoint(tower: nn.Module) -> None:
    """Let every block of a tower's lists forget what is within it until the way back."""
    lists = [m for m in tower.children() if isinstance(m, nn.ModuleList | nn.Sequential)]
    if not lists:
        raise OptionError(
            f"train: --checkpoint works on towers made of blocks, which {type(tower).__name__} "
            "is not; leave it out"
        )
    for block in (block for blocks in lists for block in blocks):
        block.forward = _forgetful(block.forward)


def _forgetful(forward: Callable[..., Any]) -> Callable[..., Any]:
    return partial(checkpoint, forward, use_reentrant=False)
