"""Territories: divide the picture by what is heard, and the sound by who is seen. The default.

`territory_fit` divides positions and moments together; each source then has a voice q_k of its own,
the map of the chosen method is made for that voice (guided gradients included), and it counts only
within the source's territory. The mixture's own map knows two things at best as two heights of one
hill; a voice of the moments in which one thing sounds alone finds it better.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F

from soundspot.models.model import Heard as Question
from soundspot.several.approach import Approach, Found
from soundspot.several.space import encode
from soundspot.several.territory_fit import Territories as Fitted
from soundspot.several.territory_fit import fit_territories
from soundspot.several.time_shares import masks_of_shares
from soundspot.several.two_blobs import mixture_map
from soundspot.watch import frozen

if TYPE_CHECKING:
    from torch import Tensor

    from soundspot.maps import FloatMap
    from soundspot.models.model import SimilarityModel
    from soundspot.several.scene import Scene

OUTSIDE = 0.1
"""Of a source's evidence that is left outside its territory: order is kept, no threshold is met."""


@dataclass(frozen=True)
class Territories(Approach):
    """Positions and moments divided together."""

    name: ClassVar[str] = "territories"
    summary: ClassVar[str] = "Divide the picture by what is heard, the sound by who is seen."
    scaled: ClassVar[bool] = True
    separates: ClassVar[bool] = True

    def find(self, scene: Scene, sources: int) -> list[Found]:
        """One map a territory, by the scene's method; of one source the ordinary map."""
        if sources == 1:
            return [Found(*mixture_map(scene))]
        model, positions, heard = encode(scene, self.name)
        fitted = fit_territories(model, positions, heard, sources)
        if fitted is None:
            return []
        return found_in(scene, fitted, heard.times)


def found_in(scene: Scene, fitted: Fitted, times: Tensor) -> list[Found]:
    """What the territories of a scene of one picture look and sound like."""
    count = len(fitted.voices)
    maps = voiced_maps(scene, fitted, scene.images)
    masks = masks_of_shares(scene, fitted.shares, times) if scene.listen else [None] * count
    return [
        Found(maps[k], float(fitted.similarities[k]), fitted.voices[k].cpu().numpy(), masks[k])
        for k in range(count)
    ]


def voiced_maps(scene: Scene, fitted: Fitted, images: Tensor) -> list[FloatMap]:
    """The method's map of each voice on one picture, 1 3 h w, faint outside its territory."""
    locator, count = scene.locator, len(fitted.voices)
    model: SimilarityModel = locator.model  # type: ignore[assignment]
    question = Question(model, (fitted.voices, fitted.audible))
    with frozen(model):
        maps, _ = locator.method.explain(question, images.expand(count, -1, -1, -1))
    inside = territory_masks(fitted.labels[0], count, maps.shape[1:])
    lowest = maps.amin((1, 2), keepdim=True)
    faint = lowest + OUTSIDE * (maps - lowest)
    return list(torch.where(inside, maps, faint).float().cpu().numpy())


def territory_masks(labels: Tensor, count: int, size: tuple[int, int] | torch.Size) -> Tensor:
    """Labels `h w` as masks at another size, `k H W`; every pixel lies in one."""
    shares = F.one_hot(labels, count).permute(2, 0, 1)[None].float()
    finest = F.interpolate(shares, size=tuple(size), mode="bilinear")[0]
    return finest.argmax(0) == torch.arange(count, device=labels.device)[:, None, None]
