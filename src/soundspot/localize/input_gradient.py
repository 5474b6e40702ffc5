"""The founding method: the gradient of the similarity at the input pixels is the map.

Tanaka & Shinozaki: train any network that predicts the similarity s(image, sound); back-propagate
s to the pixels; where a small change of a pixel changes the similarity most is where the sound
comes from. Full resolution, one backward pass, no condition on the network's structure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from soundspot.localize.pixels import PixelGradient


@dataclass(frozen=True, repr=False)
class InputGradient(PixelGradient):
    """|d similarity / d pixel|, by plain back-propagation."""

    name: ClassVar[str] = "input_gradient"
    summary: ClassVar[str] = "Back-propagate the similarity to the pixels: full resolution."
    needs: ClassVar[str] = "a model differentiable in the picture"
