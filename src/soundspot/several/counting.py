"""How many sources? As many as are distinct and seen.

One more source is believed while every two territories are distinct (`territory_fit`, D at least
`DISTINCT` logits: each prefers its own voice to the other's) and every one of them, as a picture of
its own, reaches the model's confidence for "visible". One sound over two things that it fits stays
one source: the two have the same voice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from soundspot.facts import Calibration
from soundspot.several.space import encode
from soundspot.several.territory_fit import Territories, fit_territories
from soundspot.watch import frozen

if TYPE_CHECKING:
    from torch import Tensor

    from soundspot.several.scene import Scene

MOST = 4
DISTINCT = 0.3
"""Logits."""


def count_sources(scene: Scene) -> int:
    """From 1 to `MOST`; whether a single one is visible is for the locator to say.

    Raises:
        MethodError: the model has no shared space; say how many there are.
    """
    model, positions, heard = encode(scene, "auto")
    believed = 1
    with frozen(scene.locator.model):
        for count in range(2, MOST + 1):
            fitted = fit_territories(model, positions, heard, count)
            if fitted is None or not distinct_and_seen(scene, fitted):
                break
            believed = count
    return believed


def distinct_and_seen(scene: Scene, fitted: Territories) -> bool:
    """Whether all territories of a fit are sources."""
    seen = confidences(scene, fitted.similarities)
    return fitted.least_distinct >= DISTINCT and bool((seen >= scene.locator.visible).all())


def confidences(scene: Scene, similarities: Tensor) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Probabilities that what was found is visible and heard."""
    calibration = scene.locator.facts.calibration or Calibration()
    found: np.ndarray[tuple[int], np.dtype[np.float64]] = calibration.confidence(
        similarities.detach()
    ).numpy()
    return found
