"""Combined: the mean of the normalised maps of two or more methods.

The founding paper's recipe for beating every baseline: a conventional map knows roughly where,
a gradient map knows exactly what; each is brought to one scale, picture by picture (to [0, 1] by
its range, or to mean 0 and deviation 1), at the finest resolution among them, and averaged. The
mean may lean towards some of the parts, and may be smoothed: a source is a region, and the truth
that people draw is one.

Where a gradient method and the model's own map are combined, both are read from one forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from soundspot.localize.method import Method, is_number
from soundspot.maps import gaussian_blur, normalise, resize_maps, standardise
from soundspot.similarity import Evidence, OffersMap, Question, Similarity

if TYPE_CHECKING:
    from torch import Tensor

    from soundspot.types import Images, Maps, Similarities

Scaling = Literal["range", "deviation"]
SCALINGS: dict[str, Callable[[Maps], Maps]] = {"range": normalise, "deviation": standardise}

OWN = "similarity_map"
"""The method that reads the own map."""
MOST_WEIGHT = 1e6
"""Beyond it a sum of weights may leave what floats hold."""


@dataclass(frozen=True, repr=False, init=False)
class Combined(Method):
    """The mean of the normalised maps of other methods.

    Args:
        methods: two or more methods.
        weights: one above 0 for each method, at most a million; None weighs them equally.
        blur: standard deviation of a Gaussian over the mean, as a fraction of the picture's
            shorter side.
        scaling: "range" brings each map to [0, 1]; "deviation" to mean 0 and deviation 1.
    """

    name: ClassVar[str] = "combined"
    summary: ClassVar[str] = "Average other methods' normalised maps: best of both."
    needs: ClassVar[str] = "what its parts need"
    parts: ClassVar[str] = "methods"

    methods: tuple[Method, ...]
    weights: tuple[float, ...] | None = None
    blur: float = 0.0
    scaling: Scaling = "range"

    def __init__(
        self,
        *methods: Method,
        weights: Sequence[float] | None = None,
        blur: float = 0.0,
        scaling: Scaling = "range",
    ) -> None:
        self._require(
            len(methods) >= 2 and all(isinstance(m, Method) for m in methods),
            "give two or more methods, as in combined(similarity_map, guided_backprop)",
        )
        given = isinstance(weights, tuple | list) and len(weights) == len(methods)
        self._require(
            weights is None
            or (given and all(is_number(w) and 0 < w <= MOST_WEIGHT for w in weights)),
            "weights are numbers above 0, at most a million, one a method, as in weights=(1, 2)",
        )
        self._require(
            is_number(blur) and 0 <= blur <= 1, "blur is a fraction of the shorter side, 0 to 1"
        )
        known = isinstance(scaling, str) and scaling in SCALINGS
        self._require(known, f"scaling is one of {', '.join(SCALINGS)}")
        object.__setattr__(self, "methods", methods)
        object.__setattr__(self, "weights", None if weights is None else tuple(weights))
        object.__setattr__(self, "blur", blur)
        object.__setattr__(self, "scaling", scaling)

    def explain(self, question: Question, images: Images) -> Evidence:
        """Maps at the finest resolution of the parts; scaled by range, they are in [0, 1]."""
        shared: Question = _SharedPass(question) if isinstance(question, OffersMap) else question
        # Gradient methods first: the pass they run leaves the own map behind.
        order = sorted(range(len(self.methods)), key=lambda i: self.methods[i].name == OWN)
        found = [self.methods[i].explain(shared, images) for i in order]
        height, width = max((e.maps.shape[-2:] for e in found), key=math.prod)
        scaled = SCALINGS[self.scaling]
        maps = torch.stack([scaled(resize_maps(e.maps, (height, width))) for e in found])
        mean = maps.mean(0) if self.weights is None else self._weigh(maps, order)
        return Evidence(gaussian_blur(mean, self.blur * min(height, width)), found[0].similarities)

    def _weigh(self, maps: Tensor, order: Sequence[int]) -> Tensor:
        weights = torch.tensor([(self.weights or ())[i] for i in order], dtype=torch.float64)
        return torch.einsum("m,mbhw->bhw", (weights / weights.sum()).to(maps), maps)

    def __repr__(self) -> str:
        """The string that rebuilds it."""
        parts = [repr(method) for method in self.methods]
        parts += [] if self.weights is None else [f"weights={self.weights!r}"]
        parts += [] if self.blur == 0 else [f"blur={self.blur!r}"]
        parts += [] if self.scaling == "range" else [f"scaling={self.scaling!r}"]
        return f"combined({', '.join(parts)})"


class _SharedPass:
    """A question that keeps the own map of the pictures it was last asked about."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self._last: tuple[Images, Evidence] | None = None

    @property
    def model(self) -> Similarity:
        return self.question.model

    def of(self, rows: Sequence[int]) -> _SharedPass:
        return _SharedPass(self.question.of(rows))

    def __call__(self, images: Images) -> Similarities:
        return self._keep(images).similarities

    def own_map(self, images: Images) -> Evidence:
        # What is kept has no gradient: whoever asks for one gets a new pass.
        kept = self._last if not images.requires_grad else None
        if kept is not None and _same_pixels(kept[0], images):
            return kept[1]
        return self._keep(images)

    def _keep(self, images: Images) -> Evidence:
        assert isinstance(self.question, OffersMap)
        evidence = self.question.own_map(images)
        self._last = (images.detach(), Evidence(*(t.detach() for t in evidence)))
        return evidence


def _same_pixels(a: Images, b: Images) -> bool:
    """Whether two tensors are views of the same pixels (a detached copy shares its memory)."""
    return a.data_ptr() == b.data_ptr() and a.shape == b.shape
