"""Multi-scale: the mean of a method's maps of the same picture at several sizes.

A network sees things of one size best: a small source in a wide scene wants a large picture, and
one that fills the frame is understood as a whole in a small one. Asking at both and averaging the
normalised maps is usual where maps come from labels of whole pictures (Ahn & Kwak, CVPR 2018); it
works on every model that takes pictures of several sizes, and asks nothing of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F

from soundspot.errors import MethodError, SoundspotError
from soundspot.files import one_line
from soundspot.localize.method import Method, is_number
from soundspot.maps import normalise, resize_maps
from soundspot.similarity import Evidence

if TYPE_CHECKING:
    from soundspot.similarity import Question
    from soundspot.types import Images

SCALES = (1.0, 0.4375)
"""512 and 224 pixels on the default model (`docs/choices.md`)."""
STEP = 32
"""Sides of resized pictures are multiples of this many pixels, which strided networks expect."""


@dataclass(frozen=True, repr=False, init=False)
class MultiScale(Method):
    """The mean of a method's normalised maps of a picture at several sizes.

    Args:
        method: asked at each size.
        scales: two or more; of the sides of the picture as the model's facts want it. The
            similarity is that of the first.
    """

    name: ClassVar[str] = "multi_scale"
    summary: ClassVar[str] = "Ask a method at several sizes and average: small and large sources."
    needs: ClassVar[str] = "what its part needs; pictures of any size"
    parts: ClassVar[str] = "method"

    method: Method
    scales: tuple[float, ...] = SCALES

    def __init__(self, *methods: Method, scales: Sequence[float] = SCALES) -> None:
        self._require(
            len(methods) == 1 and isinstance(methods[0], Method),
            "give one method, as in multi_scale(guided_backprop)",
        )
        given = isinstance(scales, tuple | list) and len(scales) >= 2
        self._require(
            given and all(is_number(s) and 0 < s <= 4 for s in scales),
            "scales are two or more numbers above 0, at most 4, as in scales=(1.0, 0.5)",
        )
        object.__setattr__(self, "method", methods[0])
        object.__setattr__(self, "scales", tuple(scales))

    def explain(self, question: Question, images: Images) -> Evidence:
        """Maps in [0, 1] at the finest resolution among the sizes."""
        found = [self._at(scale, question, images) for scale in self.scales]
        height, width = (max(e.maps.shape[i] for e in found) for i in (-2, -1))
        maps = torch.stack([resize_maps(normalise(e.maps), (height, width)) for e in found])
        return Evidence(maps.mean(0), found[0].similarities)

    def _at(self, scale: float, question: Question, images: Images) -> Evidence:
        """What the method finds in the pictures at a size.

        Raises:
            MethodError: the model answers at its own size, and not at this one.
        """
        size = [max(STEP, round(side * scale / STEP) * STEP) for side in images.shape[-2:]]
        if scale == 1 or size == list(images.shape[-2:]):
            return self.method.explain(question, images)
        resized = F.interpolate(images, size, mode="bicubic", antialias=True).clamp(0, 1)
        try:
            return self.method.explain(question, resized)
        except (SoundspotError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # a model of the user's own may raise anything
            self.method.explain(question, images)  # an error of the method's own is raised again
            raise MethodError(
                f"multi_scale needs a model that takes pictures of several sizes, and this one "
                f"fails at {size[1]} x {size[0]} ({one_line(error)}); use {self.method!r} alone"
            ) from error

    def __repr__(self) -> str:
        """The string that rebuilds it."""
        scales = "" if self.scales == SCALES else f", scales={self.scales!r}"
        return f"{self.name}({self.method!r}{scales})"
