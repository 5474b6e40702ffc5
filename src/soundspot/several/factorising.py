"""Non-negative factorisation (Lee & Seung, Nature 1999; NIPS 2001), small and deterministic.

    X ~ W H,   X n m, W n k, H k m, none negative

Multiplicative updates for the squared error; it never rises from one round to the next:

    H <- H (W' X) / (W' W H),   W <- W (X H') / (W H H')

Parts start from those columns of X that are farthest from the ones chosen before (after Gonzalez
1985), so that the same X always gives the same parts.
"""

from __future__ import annotations

from torch import Tensor

ROUNDS = 100
SMALLEST = 1e-9
"""Added to denominators."""
START = 1e-2
"""Every part starts with this share of X's mean everywhere: zeros would stay zero."""


def factorise(x: Tensor, parts: int, rounds: int = ROUNDS) -> tuple[Tensor, Tensor]:
    """Factors W `n k` and H `k m` of X `n m`."""
    w = x[:, farthest(x, parts)] + START * x.mean() + SMALLEST
    h = w.T @ x / (w.T @ w).diagonal()[:, None] + START * x.mean() + SMALLEST
    for _ in range(rounds):
        h = h * (w.T @ x) / (w.T @ w @ h + SMALLEST)
        w = w * (x @ h.T) / (w @ (h @ h.T) + SMALLEST)
    return w, h


def farthest(x: Tensor, parts: int) -> list[int]:
    """Columns of X that span it best: the longest, then what is longest apart from those before."""
    left, chosen = x.clone(), []
    for _ in range(parts):
        lengths = left.square().sum(0)
        chosen.append(int(lengths.argmax()))
        direction = left[:, chosen[-1]] / (lengths.max().sqrt() + SMALLEST)
        left = left - direction[:, None] * (direction @ left)
    return chosen
