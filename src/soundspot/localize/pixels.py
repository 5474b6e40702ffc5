"""From the gradient at each pixel's three colours to one map: what the gradient methods share.

The founding paper's map is the input gradient of the similarity. Two choices make a usable map
of it, and both are options: how three colour gradients become one number (`reduce`), and how the
grain is smoothed (`blur`, a Gaussian; `samples`, SmoothGrad).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from soundspot.activations import is_flat, nodes_behind
from soundspot.errors import MethodError
from soundspot.files import one_line
from soundspot.localize.method import Method, is_number, is_whole
from soundspot.maps import gaussian_blur
from soundspot.similarity import Evidence, Question

if TYPE_CHECKING:
    from torch import Tensor

    from soundspot.types import Images, Maps, Similarities

Reduction = Literal["abs_max", "abs_mean", "l2", "positive"]

REDUCTIONS: dict[str, Callable[[Tensor], Maps]] = {
    "abs_max": lambda g: g.abs().amax(1),
    "abs_mean": lambda g: g.abs().mean(1),
    "l2": lambda g: g.square().sum(1).sqrt(),
    "positive": lambda g: g.sum(1).clamp(min=0),
}


@contextmanager
def gradients_or_refuse(method: str, question: Question, images: Images) -> Iterator[None]:
    """Ask for gradients within; a model that fails at it and can answer without is refused.

    Raises:
        MethodError: the model answers, but not with gradients (it calls numpy, say).
    """
    try:
        with torch.enable_grad():
            yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        with torch.no_grad():
            question(images.detach())  # an error of the model's own is raised here again
        raise MethodError(
            f"{method} needs a model that is differentiable in the picture, and this one fails "
            f"when asked for a gradient ({one_line(error)}); use occlusion, which needs none"
        ) from error


@dataclass(frozen=True, repr=False)
class PixelGradient(Method):
    """Options and steps common to `input_gradient` and `guided_backprop`.

    Args:
        reduce: over RGB: largest magnitude, mean magnitude, Euclidean length, or the positive
            part of the sum.
        blur: standard deviation of a Gaussian over the map, as a fraction of the picture's
            shorter side; 0 leaves the grain.
        samples: noisy copies to average over (SmoothGrad, Smilkov et al. 2017); 0 asks once,
            about the picture itself.
        noise: standard deviation of SmoothGrad's noise, in units of the pixel range [0, 1].
    """

    reduce: Reduction = "abs_max"
    blur: float = 0.05
    samples: int = 0
    noise: float = 0.1

    def __post_init__(self) -> None:
        """Check the ranges."""
        known = isinstance(self.reduce, str) and self.reduce in REDUCTIONS
        self._require(known, f"reduce is one of {', '.join(REDUCTIONS)}")
        blur = is_number(self.blur) and 0 <= self.blur <= 1
        self._require(blur, "blur is a fraction of the shorter side, 0 to 1")
        samples = is_whole(self.samples) and 0 <= self.samples <= 1000
        self._require(samples, "samples is a whole number, 0 to 1000")
        noise = is_number(self.noise) and 0 < self.noise <= 1
        self._require(noise, "noise is above 0 and at most 1 (the pixel range)")

    def explain(self, question: Question, images: Images) -> Evidence:
        """Maps of the pictures' own size."""
        if self.samples == 0:
            gradient, similarities = self._gradient(question, images)
            maps = REDUCTIONS[self.reduce](gradient)
        else:
            with torch.no_grad():
                similarities = question(images).detach()
            noisy = (self._gradient(question, copy)[0] for copy in self._noisy_copies(images))
            maps = sum((REDUCTIONS[self.reduce](g) for g in noisy), torch.zeros(()).to(images))
            maps = maps / self.samples
        shorter = min(images.shape[-2:])
        return Evidence(gaussian_blur(maps, self.blur * shorter), similarities)

    def _gradient(self, question: Question, images: Images) -> tuple[Tensor, Similarities]:
        """The gradient at the pixels, b 3 H W, and the similarities; one backward pass.

        Rows do not depend on one another (law 1), so the sum's gradient holds each row's own.
        """
        asked = images.detach().requires_grad_()
        with gradients_or_refuse(self.name, question, images):
            similarities = self._ask(question, asked)
            gradient: Tensor | None = None
            if similarities.requires_grad:
                total = similarities.sum()
                (gradient,) = torch.autograd.grad(total, asked, allow_unused=True)
        if gradient is None:
            raise MethodError(
                f"{self.name} needs a model that is differentiable in the picture, and no "
                "gradient reaches it; use occlusion, which needs none"
            )
        if not gradient.any() and any(map(is_flat, nodes_behind(similarities))):
            raise MethodError(
                f"{self.name} needs a slope, and this model rounds what depends on the picture; "
                "use occlusion, which needs none"
            )
        return gradient, similarities.detach()

    def _ask(self, question: Question, images: Images) -> Similarities:
        """One forward pass; a method may watch it."""
        return question(images)

    def _noisy_copies(self, images: Images) -> Iterator[Images]:
        """The same noise at every call, so that asking twice gives the same map."""
        generator = torch.Generator().manual_seed(0)
        for _ in range(self.samples):
            noise = torch.randn(images.shape[1:], generator=generator).to(images)
            yield images + self.noise * noise
