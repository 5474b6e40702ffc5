"""Two factorisations of the similarity volume: by channels, and by moments.

Channels. Every channel of the space speaks for a kind of thing, and the match at position i is a
sum over channels, sum_c p_ic q_c. Factorise those terms (positions x channels): a part is a group
of channels that speak together, and its map is where they speak,

    p_ic q_c ~ sum_k W_ik H_kc,    map_k(i) = W_ik sum_c H_kc

Moments. What matches at position i at moment t, max(0, m(i, t)) (positions x windows), is
factorised the same way: a part is what is matched at the same times (after Casanovas et al., IEEE
Trans. Multimedia 2010; Parekh et al., ICASSP 2017).

Parts may overlap in the picture; nothing keeps them apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch.nn.functional as F

from soundspot.several.approach import Approach, Found
from soundspot.several.factorising import factorise
from soundspot.several.space import SharedSpace, encode, matches, similarities

if TYPE_CHECKING:
    from torch import Tensor

    from soundspot.several.scene import Scene


@dataclass(frozen=True)
class Channels(Approach):
    """Channels that speak together."""

    name: ClassVar[str] = "channels"
    summary: ClassVar[str] = "Factorise what each channel says at each position."
    separates: ClassVar[bool] = False

    def find(self, scene: Scene, sources: int) -> list[Found]:
        """Maps of the parts; a part's voice is the mixture's in the part's channels."""
        model, positions, heard = encode(scene, self.name)
        terms = (positions * heard.q[-1][None, :, None, None]).clamp(min=0)[0].flatten(1).T
        w, h = factorise(terms, sources)
        voices = heard.q[-1] * h / h.sum(0).clamp(min=1e-9)
        maps = (w * h.sum(1)).T.view(sources, *positions.shape[2:])
        return parts(model, positions, maps, voices, heard.audible[-1:].expand(sources))


@dataclass(frozen=True)
class Moments(Approach):
    """Positions that are matched at the same times."""

    name: ClassVar[str] = "moments"
    summary: ClassVar[str] = "Factorise what matches at each position and moment."
    separates: ClassVar[bool] = False

    def find(self, scene: Scene, sources: int) -> list[Found]:
        """Maps of the parts; a part's voice is the mean of the moments, weighed by the part."""
        model, positions, heard = encode(scene, self.name)
        maps = matches(model, positions, heard.q)[:, 0]
        audible = heard.audible.sigmoid()
        volume = (maps.clamp(min=0) * audible[:, None, None]).flatten(1).T
        w, h = factorise(volume, sources)
        weights = h / h.sum(1, keepdim=True).clamp(min=1e-9)
        found = (w * h.sum(1)).T.view(sources, *maps.shape[1:])
        return parts(model, positions, found, weights @ heard.q, weights @ heard.audible)


def parts(
    model: SharedSpace, positions: Tensor, maps: Tensor, voices: Tensor, audible: Tensor
) -> list[Found]:
    """What was found, best first; a part is as sure as the match of its voice with the picture."""
    asked = F.normalize(voices, dim=1)
    scores = similarities(model, model.pool(matches(model, positions, asked)[:, 0]), asked, audible)
    return [
        Found(maps[k].cpu().numpy(), float(scores[k]), asked[k].cpu().numpy())
        for k in scores.argsort(descending=True).tolist()
    ]
