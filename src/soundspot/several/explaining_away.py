"""Explaining away: take what the strongest place explains off the sound, and look again.

What a place with mean features u (unit length, over its brightest positions) says of the sound q
is the part of each channel that it can account for, e_c = min(q_c, (q . u) u_c); the rest,
q - e, is asked about next. Matching pursuit (Mallat & Zhang, IEEE Trans. Signal Processing 1993)
with the picture's own features as the dictionary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F

from soundspot.several.approach import Approach, Found
from soundspot.several.space import encode, similarities

if TYPE_CHECKING:
    from torch import Tensor

    from soundspot.several.scene import Scene

BRIGHTEST = 0.02
"""Share of the positions that make the place."""


@dataclass(frozen=True)
class ExplainingAway(Approach):
    """One place after another."""

    name: ClassVar[str] = "explaining_away"
    summary: ClassVar[str] = "Take what the strongest place explains off the sound; look again."
    separates: ClassVar[bool] = False

    def find(self, scene: Scene, sources: int) -> list[Found]:
        """The map of what is left, time after time."""
        model, positions, heard = encode(scene, self.name)
        left, found = heard.q[-1], []
        for _ in range(sources):
            asked = F.normalize(left, dim=0)
            values = model.match(positions, asked[None])
            explained = _explained(positions[0], values[0], left)
            score = similarities(model, model.pool(values), asked[None], heard.audible[-1:])
            voice = F.normalize(explained, dim=0).cpu().numpy()
            found.append(Found(values[0].cpu().numpy(), float(score[0]), voice))
            left = (left - explained).clamp(min=0)
        return found


def _explained(positions: Tensor, values: Tensor, q: Tensor) -> Tensor:
    """What the brightest positions account for: `d h w`, `h w`, `d` -> `d`."""
    count = max(1, round(BRIGHTEST * values.numel()))
    place = positions.flatten(1)[:, values.flatten().topk(count).indices].mean(1)
    u = F.normalize(place, dim=0)
    return torch.minimum(q, (q @ u) * u)
