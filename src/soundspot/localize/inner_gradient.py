"""The guided gradient at an inner map of the picture: where evidence enters, before it is pixels.

Back-propagation (guided, Springenberg et al. 2015, or plain) stops at the output of an early layer,
and the length of its gradient over channels is the map: sqrt(sum_k (ds/dA_k)^2) at each position.
Layers before it need no gradient, and they are the largest: on the models of this package, stopped
at stride 8, a map costs half to two thirds of what it costs down to the pixels
(`benchmarks/methods.py`). Sources are far larger than 8 pixels, and a map that will be smoothed is
none the worse (`docs/choices.md`).

Compared with CAM-like maps at such a layer (LayerCAM: Jiang et al., IEEE TIP 2021) the activations
are left out, as they are in the input gradient.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from soundspot.errors import MethodError
from soundspot.localize.method import Method, is_number
from soundspot.localize.pixels import gradients_or_refuse
from soundspot.maps import gaussian_blur
from soundspot.similarity import Evidence, OffersInnerMap, Question
from soundspot.watch import guided, is_scripted, uncompiled

if TYPE_CHECKING:
    from soundspot.types import Images, Similarities


@dataclass(frozen=True, repr=False)
class InnerGradient(Method):
    """|d similarity / d features|, by guided back-propagation to one layer.

    Args:
        layer: the name of a submodule whose output (b c h w) is all that the answer knows of the
            picture; empty: the one that the model itself names (`inner_map`).
        guided: pass on only what speaks for the sound.
        blur: standard deviation of a Gaussian over the map, as a fraction of its shorter side.
    """

    name: ClassVar[str] = "inner_gradient"
    summary: ClassVar[str] = "Guided gradient at an early layer: as good as pixels, in less time."
    needs: ClassVar[str] = "an nn.Module that names an early layer, or whose user does"

    layer: str = ""
    guided: bool = True
    blur: float = 0.05

    def __post_init__(self) -> None:
        """Check the ranges."""
        self._require(isinstance(self.layer, str), "layer is the name of a submodule")
        self._require(isinstance(self.guided, bool), "guided is True or False")
        blur = is_number(self.blur) and 0 <= self.blur <= 1
        self._require(blur, "blur is a fraction of the shorter side, 0 to 1")

    def explain(self, question: Question, images: Images) -> Evidence:
        """Maps at the layer's resolution."""
        layer = self._layer_of(question.model)
        refusal = gradients_or_refuse(self.name, question, images)
        # A layer that the user names may be passed by; what goes past it reaches the picture.
        asked = images.detach().requires_grad_(bool(self.layer))
        with refusal, _starting_at(layer) as found:
            with guided() if self.guided else uncompiled() as mode:
                similarities = question(asked)
            if len(found) != 1 or found[0].ndim != 4 or len(found[0]) != len(images):
                raise MethodError(
                    f"inner_gradient needs a layer that runs once a picture and gives b c h w; "
                    f"{self.layer or 'this one'} does not; use guided_backprop"
                )
            seen = mode is None or mode.saw_all(similarities)
            if not similarities.requires_grad or not seen or is_scripted(question.model):
                raise MethodError(
                    "inner_gradient finds no path of gradients, or not every activation of it, "
                    "from the layer to the similarity; use input_gradient"
                )
            gradient, past = _gradients(similarities, found[0], asked)
            if gradient is None or past is not None:
                raise MethodError(
                    f"inner_gradient: {self.layer!r} is not all that the answer knows of the "
                    "picture; name an earlier layer, or use guided_backprop"
                )
        maps = gradient.square().sum(1).sqrt()
        shorter = min(maps.shape[-2:])
        return Evidence(gaussian_blur(maps, self.blur * shorter), similarities.detach())

    def _layer_of(self, model: object) -> nn.Module:
        """The submodule at which gradients stop.

        Raises:
            MethodError: the model has no such layer, or names none.
        """
        name = self.layer or (model.inner_map if isinstance(model, OffersInnerMap) else "")
        if not (isinstance(model, nn.Module) and name):
            raise MethodError(
                "inner_gradient needs an nn.Module that names a layer (inner_map), or its name as "
                "in inner_gradient(layer='layer2'); use guided_backprop, input_gradient or "
                "occlusion"
            )
        try:
            return model.get_submodule(name)
        except AttributeError:
            raise MethodError(
                f"inner_gradient: the model has no submodule {name!r}; use guided_backprop"
            ) from None


def _gradients(
    similarities: Similarities, inner: Tensor, images: Images
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients at the layer, and at the pictures where some path leads past it to them."""
    sources = [inner, images] if images.requires_grad else [inner]
    found = torch.autograd.grad(similarities.sum(), sources, allow_unused=True)
    return found[0], found[1] if len(found) > 1 else None


@contextmanager
def _starting_at(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Within, what a layer gives in this thread is a leaf of the graph, and is listed.

    Others may ask the same model at the same time: what they are given stays as it is.
    """
    found: list[Tensor] = []
    here = threading.get_ident()

    def cut(module: nn.Module, inputs: Any, output: Any) -> Any:
        if threading.get_ident() != here or not isinstance(output, Tensor):
            return output
        found.append(output.detach().requires_grad_())
        return found[-1].clone()  # the next layer may work in place, which a leaf does not allow

    handle = layer.register_forward_hook(cut)
    try:
        yield found
    finally:
        handle.remove()
