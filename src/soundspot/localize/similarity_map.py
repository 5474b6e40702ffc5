"""The model's own map: the similarity of the sound with each position of the picture.

Every two-tower model of the field computes it before pooling (Arandjelovic & Zisserman 2018,
"Objects that Sound"; Senocak et al. 2018). Coarse, free of charge, and signed: raw values carry
an absolute scale that one threshold can serve.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from soundspot.errors import MethodError
from soundspot.localize.method import Method
from soundspot.similarity import Evidence, OffersMap, Question

if TYPE_CHECKING:
    from soundspot.types import Images


@dataclass(frozen=True, repr=False)
class SimilarityMap(Method):
    """The map that the model itself offers."""

    name: ClassVar[str] = "similarity_map"
    summary: ClassVar[str] = "The model's own map, one forward pass: coarse and quick."
    needs: ClassVar[str] = "a model with a map of its own"

    def explain(self, question: Question, images: Images) -> Evidence:
        """Maps at the model's own resolution."""
        if not isinstance(question, OffersMap):
            raise MethodError(
                "similarity_map needs a model with a map of its own, and this one has none; "
                "use input_gradient or occlusion"
            )
        with torch.no_grad():
            maps, similarities = question.own_map(images)
        return Evidence(maps.detach(), similarities.detach())
