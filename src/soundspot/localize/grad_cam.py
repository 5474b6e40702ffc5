"""Grad-CAM on the similarity: the last layer that still is a map of the picture.

Selvaraju et al., ICCV 2017: weight each channel A_k of a layer by the mean of its gradient over
positions and keep what speaks for the score, map = max(0, sum_k mean(ds/dA_k) A_k).

The layer is found, not configured. From the last layer backwards, the first one that
(1) depends on the picture, (2) has the picture's proportions (b c h w, b h w c, or tokens b n c
with n = h w behind at most `MOST_PREFIX_TOKENS` class and register tokens), and (3) whose
positions the score uses: on a ViT the last tokens come after the final norm, where only the class
token matters; and of the keys of an attention, whose softmax sees differences alone, the gradients
cancel.

Two things look like a map and are none: attention weights (b heads n n) and the queries and keys
beside them (b heads n d), known by their n, which is the number of tokens of another layer; and
the picture itself, normalised (three channels at full size).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from soundspot.errors import MethodError
from soundspot.localize.method import Method
from soundspot.localize.pixels import gradients_or_refuse
from soundspot.similarity import Evidence, Question
from soundspot.watch import layers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from soundspot.types import Images, Maps, Similarities

MIN_SIDE = 2
"""A layer with fewer positions a side says nothing about where."""
MOST_PREFIX_TOKENS = 5
"""Class, distillation and register tokens, which stand in front of the positions."""

CANCELLED = 1e-4
"""A mean that is smaller, as a fraction of the mean magnitude, is left over from rounding."""


@dataclass(frozen=True, repr=False)
class GradCam(Method):
    """Gradient-weighted class activation map of the similarity."""

    name: ClassVar[str] = "grad_cam"
    summary: ClassVar[str] = "Weight the last picture-like layer by its gradient: coarse, quick."
    needs: ClassVar[str] = "an nn.Module with a layer that is a map of the picture"

    def explain(self, question: Question, images: Images) -> Evidence:
        """Maps at the found layer's resolution."""
        if not isinstance(question.model, nn.Module):
            raise MethodError(
                "grad_cam records the layers of an nn.Module, and this model is a plain "
                "function; use input_gradient or occlusion"
            )
        asked = images.detach().requires_grad_()
        refusal = gradients_or_refuse(self.name, question, images)
        with layers(question.model) as seen, refusal:
            similarities = question(asked)
        if not similarities.requires_grad:
            raise MethodError(
                "grad_cam needs a model that is differentiable in the picture; use occlusion"
            )
        maps = _maps(similarities, asked, [output for _, output in seen])
        return Evidence(maps, similarities.detach())


@torch.enable_grad()
def _maps(similarities: Similarities, asked: Images, outputs: list[Tensor]) -> Maps:
    """The map of the last layer that is one of the picture and that the similarities use.

    Where no gradient reaches the pictures (all that the model listens to is switched off), nothing
    speaks for the sound, and the map is zero.
    """
    total = similarities.sum()
    dark: Maps | None = None
    for output, size in _candidates(outputs, asked):
        gradient = _gradient(total, output)
        if gradient is None:
            continue
        weights, used = _weights(_positions(gradient, size))
        if used:
            return (weights * _positions(output.detach(), size)).sum(1).clamp(min=0)
        dark = asked.new_zeros((len(asked), *size)) if dark is None else dark
    slope = _gradient(total, asked)
    if dark is None or slope is None or slope.any():
        raise MethodError(
            "grad_cam finds no layer that is a map of the picture and that the similarity uses; "
            "use input_gradient or occlusion"
        )
    return dark


def _gradient(total: Tensor, of: Tensor) -> Tensor | None:
    return torch.autograd.grad(total, of, retain_graph=True, allow_unused=True)[0]


def _weights(gradient: Tensor) -> tuple[Tensor, bool]:
    """The mean of each channel's gradient, b c 1 1, and whether any is more than rounding."""
    weights = gradient.mean((2, 3), keepdim=True)
    size = gradient.abs().mean((2, 3), keepdim=True)
    return weights, bool((weights.abs() > CANCELLED * size).any())


def _candidates(outputs: list[Tensor], images: Images) -> Iterator[tuple[Tensor, tuple[int, int]]]:
    """Layers that may be maps of the picture, the last one first, with their (h, w)."""
    tokens = {output.shape[1] for output in outputs if output.ndim == 3}
    for output in reversed(outputs):
        size = None if output.shape[0] != images.shape[0] else _map_size(output, images, tokens)
        if size is not None and min(size) >= MIN_SIDE:
            yield output, size


def _map_size(output: Tensor, images: Images, tokens: set[int]) -> tuple[int, int] | None:
    """The layer's (h, w) if it has the picture's proportions, else None."""
    height, width = images.shape[-2:]
    if output.ndim == 4:
        _, channels, h, w = output.shape
        is_attention = h in tokens
        is_picture = (channels, h, w) == (images.shape[1], height, width)
        if _fits(h, w, height, width) and not is_attention and not is_picture:
            return h, w
        h, w = output.shape[1:3]
        return (h, w) if _fits(h, w, height, width) and not is_attention else None
    if output.ndim == 3:
        for positions in range(output.shape[1], output.shape[1] - MOST_PREFIX_TOKENS - 1, -1):
            h = round(math.sqrt(max(positions, 0) * height / width))
            if h >= 1 and positions % h == 0 and _fits(h, positions // h, height, width):
                return h, positions // h
    return None


def _fits(h: int, w: int, height: int, width: int) -> bool:
    """Whether h x w positions share one stride, and one way of rounding, over the picture."""
    if not (1 <= h <= height and 1 <= w <= width):
        return False
    stride = round(height / h)
    over, across = height / stride - h, width / stride - w
    return max(abs(over), abs(across)) <= 1 and abs(over - across) < 1


def _positions(layer: Tensor, size: tuple[int, int]) -> Tensor:
    """The layer as b c h w; of tokens the last h*w, so that those in front are left out."""
    if layer.ndim == 3:
        tokens = layer[:, layer.shape[1] - size[0] * size[1] :]
        return tokens.transpose(1, 2).reshape(*tokens.shape[::2], *size)
    return layer if tuple(layer.shape[-2:]) == size else layer.permute(0, 3, 1, 2)
