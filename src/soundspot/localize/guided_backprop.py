"""Guided back-propagation of the similarity to the pixels.

Springenberg et al., "Striving for Simplicity", ICLR 2015 workshop: on the way back each
activation passes on only positive gradients, so the map keeps what *speaks for* the sound being
there and drops what would cancel it. Cleaner than the plain gradient on networks of rectifiers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from soundspot.errors import MethodError
from soundspot.localize.pixels import PixelGradient
from soundspot.watch import guided, is_scripted

if TYPE_CHECKING:
    from soundspot.similarity import Question
    from soundspot.types import Images, Similarities


@dataclass(frozen=True, repr=False)
class GuidedBackprop(PixelGradient):
    """|d similarity / d pixel|, by guided back-propagation."""

    name: ClassVar[str] = "guided_backprop"
    summary: ClassVar[str] = "Back-propagate only what speaks for the sound: cleaner maps."
    needs: ClassVar[str] = "a differentiable model whose activations run as torch operations"

    def _ask(self, question: Question, images: Images) -> Similarities:
        with guided() as mode:
            similarities = question(images)
        seen = mode.saw_all(similarities) and not is_scripted(question.model)
        if similarities.requires_grad and not seen:
            raise MethodError(
                "guided_backprop does not see every activation between the picture and the "
                "similarity (a traced or scripted model, a custom autograd function, vmap, a "
                "thread, or none there); use input_gradient"
            )
        return similarities
