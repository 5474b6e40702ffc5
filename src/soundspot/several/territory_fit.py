"""Which positions belong together, and which moments of the sound speak for them.

Positions i (of one picture, or of all frames of a clip) and sounds t (windows of the mixture, and
all of it), with the match m(i, t). In turn, a few rounds:

1. **Where.** Weighted k-means (Lloyd 1982) of the positions; a position weighs as much as what is
   heard matches there, max(0, m). It is known by its place and by what it looks like:
   (y, x) / sqrt(h w), and its p at unit length. A territory is compact and of one kind.
2. **When.** s_k(t), the model's similarity of sound t with territory k as a picture of its own, and
   what is the territory's alone:  r_k(t) = exp s_k(t) / sum_j exp s_j(t). The voice of k is

       q_k = sum_t w_k(t) q_t,    w_k(t) ~ r_k(t) exp s_k(t)

   so that a moment speaks for k where it matches k and nothing else does. No constant is set:
   similarities are logits.
3. The match of the next round is the best voice's at each position.

Two territories are **distinct** as far as each prefers its own voice to the other's,

    D(j, k) = [s_j(q_j) - s_j(q_k)] + [s_k(q_k) - s_k(q_j)],

in logits; what the voices score at large, and how audible they are, cancels out. One sound over two
things gives 0. The idea of telling by the times at which things sound is as old as Hershey &
Movellan (NIPS 1999); soft clusters of both modalities as in Hu, Nie & Li (CVPR 2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from soundspot.models.two_tower import SCALE
from soundspot.several.space import Heard, SharedSpace, matches, similarities

ROUNDS = 2
LLOYD_ROUNDS = 30
SMALLEST = 1e-6
FEWEST = 3
"""Positions of a frame from which its part of a territory is judged."""


@dataclass(frozen=True, eq=False)
class Territories:
    """What was found, k territories, best first.

    Args:
        labels: b h w, the territory of each position.
        centres: k 2+d.
        voices: q, k d.
        audible: h, k.
        similarities: of each territory with its own voice, k.
        shares: r, k t: whose each sound is.
        distinct: D, k k.
    """

    labels: Tensor
    centres: Tensor
    voices: Tensor
    audible: Tensor
    similarities: Tensor
    shares: Tensor
    distinct: Tensor

    @property
    def least_distinct(self) -> float:
        """The smallest D of two territories; infinite of one alone."""
        count = len(self.voices)
        apart = self.distinct[~torch.eye(count, dtype=torch.bool, device=self.distinct.device)]
        return float(apart.min()) if count > 1 else math.inf


def fit_territories(
    model: SharedSpace, positions: Tensor, heard: Heard, count: int
) -> Territories | None:
    """Fit `count` territories; None where the picture has no room for them.

    Args:
        model: whose space it is.
        positions: p of one picture or of frames, b d h w.
        heard: windows of the sound, all of it last.
        count: how many.
    """
    maps = matches(model, positions, heard.q)
    known, best = describe(positions), maps[-1]
    for _ in range(ROUNDS):
        centres = weighted_means(known, best.clamp(min=0).flatten(), count)
        labels = nearest(known, centres).view(best.shape)
        own = pool_each(model, maps, labels, count)
        if own is None:
            return None
        scores = torch.stack([similarities(model, row, heard.q, heard.audible) for row in own])
        shares = scores.softmax(0)
        weights = (scores + shares.clamp(min=SMALLEST).log()).softmax(1)
        voiced = torch.einsum("kt,tbhw->kbhw", weights, maps)
        best = voiced.amax(0)
    voices, audible = weights @ heard.q, weights @ heard.audible
    pooled = pool_each(model, voiced, labels, count)
    assert pooled is not None
    found = similarities(model, pooled.diagonal(), voices, audible)
    gains = SCALE * (pooled.diagonal()[:, None] - pooled)
    order = found.argsort(descending=True)
    renamed = order.argsort()[labels]
    distinct = (gains + gains.T)[order][:, order]
    return Territories(
        renamed,
        centres[order],
        voices[order],
        audible[order],
        found[order],
        shares[order],
        distinct,
    )


def describe(positions: Tensor) -> Tensor:
    """Place and look of each position, `b d h w` -> `(b h w) 2+d`."""
    count, _, height, width = positions.shape
    side = math.sqrt(height * width)
    y = (torch.arange(height, device=positions.device) / side).view(1, -1, 1)
    x = (torch.arange(width, device=positions.device) / side).view(1, 1, -1)
    shape = (count, height, width)
    look = F.normalize(positions, dim=1).permute(0, 2, 3, 1)
    place = torch.stack((y.expand(shape), x.expand(shape)), 3)
    return torch.cat((place, look), 3).flatten(0, 2)


def weighted_means(known: Tensor, weights: Tensor, count: int) -> Tensor:
    """The centres of weighted k-means, `n d`, `n` -> `k d`.

    It starts from the heaviest position, then from where weight times squared distance is most.
    """
    centres = known[weights.argmax()][None]
    for _ in range(count - 1):
        away = torch.cdist(known, centres).amin(1).square()
        centres = torch.cat((centres, known[(weights * away).argmax()][None]))
    for _ in range(LLOYD_ROUNDS):
        shares = F.one_hot(nearest(known, centres), count) * weights[:, None]
        sums = shares.sum(0)[:, None]
        moved = torch.where(sums > 0, shares.T @ known / sums.clamp(min=SMALLEST), centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    return centres


def nearest(known: Tensor, centres: Tensor) -> Tensor:
    """The number of each position's nearest centre, `n`."""
    return torch.cdist(known, centres).argmin(1)


def pool_each(model: SharedSpace, maps: Tensor, labels: Tensor, count: int) -> Tensor | None:
    """Maps pooled over each territory alone, frames averaged: `t b h w` -> `k t`.

    None where a territory has hardly a position in any frame.
    """
    rows = []
    for number in range(count):
        parts = [
            model.pool(frame[:, mask][:, None])
            for frame, mask in zip(maps.unbind(1), labels == number, strict=True)
            if int(mask.sum()) >= FEWEST
        ]
        if not parts:
            return None
        rows.append(torch.stack(parts).mean(0))
    return torch.stack(rows)
