"""An optimiser's state as named tensors, so that it can be kept without pickle."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim import Optimizer

PREFIX = "optimiser."


def pack_optimiser(optimiser: Optimizer) -> dict[str, Tensor]:
    """Name each tensor `optimiser.PARAMETER.FIELD`."""
    return {
        f"{PREFIX}{number}.{name}": value
        for number, state in optimiser.state_dict()["state"].items()
        for name, value in state.items()
    }


def unpack_optimiser(optimiser: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `pack_optimiser` gave; other names in `tensors` are ignored.

    What has a weight's shape is laid out in memory as the weight is. Files keep no such order (a
    convolution's may be channels-last), and torch's fused optimisers go through memory as it lies.
    """
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(PREFIX):
            number, key = name.removeprefix(PREFIX).split(".")
            state.setdefault(int(number), {})[key] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})
    for weight, kept in optimiser.state.items():
        for name in [name for name, value in kept.items() if value.shape == weight.shape]:
            kept[name] = torch.empty_like(weight, dtype=kept[name].dtype).copy_(kept[name])
