"""Occlusion: cover a patch, see how far the similarity falls, move on.

Zeiler & Fergus 2014; for sound Ephrat et al. 2018 and Gao & Grauman 2019. It needs nothing but
answers, so it works on any callable, and it is the slow reference of what a gradient
approximates: one forward pass a patch.

The value of a pixel is the mean fall over the patches that cover it. Patches start at the top
left corner, `stride` apart; the last of a row or column is cut at the edge and never wraps round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from soundspot.localize.method import Method, is_number, is_whole
from soundspot.similarity import Evidence, Question

if TYPE_CHECKING:
    from torch import Tensor

    from soundspot.types import Images

BATCH = 16
"""Covered pictures in one forward pass."""


@dataclass(frozen=True, repr=False)
class Occlusion(Method):
    """The fall of the similarity when a patch is covered.

    Args:
        patch: side of the square patch, in pixels of the model's picture.
        stride: step between patches, in the same pixels.
        fill: what covers: "mean" (the picture's mean colour) or a grey from 0 to 1.
    """

    name: ClassVar[str] = "occlusion"
    summary: ClassVar[str] = (
        "Cover patch after patch and watch the similarity fall: slow, universal."
    )
    needs: ClassVar[str] = "any callable"

    patch: int = 64
    stride: int = 32
    fill: float | Literal["mean"] = "mean"

    def __post_init__(self) -> None:
        """Check the ranges."""
        patch = is_whole(self.patch) and self.patch >= 1
        self._require(patch, "patch is a whole number of pixels, at least 1")
        stride = is_whole(self.stride) and 1 <= self.stride <= self.patch
        self._require(stride, "stride is a whole number, 1 to patch (no pixel left out)")
        grey = not isinstance(self.fill, str) and is_number(self.fill) and 0 <= self.fill <= 1
        self._require(grey or self.fill == "mean", 'fill is "mean" or a grey from 0 to 1')

    @torch.no_grad()
    def explain(self, question: Question, images: Images) -> Evidence:
        """Maps of the pictures' own size."""
        similarities = question(images).detach()
        cover = self._cover(images)
        falls, weights = torch.zeros_like(images[:, 0]), torch.zeros_like(images[:, 0])
        todo = [(row, window) for window in self._windows(images) for row in range(len(images))]
        for i in range(0, len(todo), BATCH):
            batch = todo[i : i + BATCH]
            rows = [row for row, _ in batch]
            covered = images[rows]
            for j, (row, window) in enumerate(batch):
                covered[j, :, *window] = cover[row]
            fall = similarities[rows] - question.of(rows)(covered).detach()
            for j, (row, window) in enumerate(batch):
                falls[row, *window] += fall[j]
                weights[row, *window] += 1
        return Evidence(falls / weights, similarities)

    def _windows(self, images: Images) -> list[tuple[slice, slice]]:
        tops, lefts = (
            range(0, -(-max(size - self.patch, 0) // self.stride) * self.stride + 1, self.stride)
            for size in images.shape[-2:]
        )
        return [
            (slice(top, top + self.patch), slice(left, left + self.patch))
            for top in tops
            for left in lefts
        ]

    def _cover(self, images: Images) -> Tensor:
        """The covering colour, b 3 1 1."""
        if self.fill == "mean":
            return images.mean((2, 3), keepdim=True)
        return images.new_full((len(images), 3, 1, 1), self.fill)
