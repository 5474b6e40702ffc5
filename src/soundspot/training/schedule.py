"""Learning rates over a run: a straight rise, then half a cosine.

With T steps in all, a warm-up of W steps (at most T / 2) and a peak r,

    rate(t) = r min(1, (t + 1) / W) (0.51 + 0.49 cos(pi t / T))

which ends at 2 % of the peak (SGDR's single cosine: Loshchilov & Hutter, ICLR 2017).
"""

from __future__ import annotations

import math

from torch.optim import Optimizer

MIDDLE, SWING = 0.51, 0.49
"""Of the cosine: from 1 down to 0.02."""


def factor(step: int, steps: int, warm_up: int) -> float:
    """What the peak rates are multiplied by at one step, counted from 0."""
    risen = min(1.0, (step + 1) / min(warm_up, steps / 2)) if warm_up else 1.0
    return risen * (MIDDLE + SWING * math.cos(math.pi * step / steps))


def set_rates(optimiser: Optimizer, by: float) -> None:
    """Every group of parameters has its own peak."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * by
