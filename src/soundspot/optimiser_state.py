"""An optimiser's state as named tensors, so that it can be kept without pickle."""

from __future__ import annotations

from collections.abc import Mapping

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
    """Put back what `pack_optimiser` gave; other names in `tensors` are ignored."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(PREFIX):
            number, key = name.removeprefix(PREFIX).split(".")
            state.setdefault(int(number), {})[key] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": state, "param_groups": groups})
