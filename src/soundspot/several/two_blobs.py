"""Two blobs: the map of the mixture, cut into its largest blobs. The baseline of all others.

The map of `locate` is cut at the fraction of its range, of .95, .90 .. .05, at which the last of
the largest blobs that are asked for holds most evidence (sum of the map above its lowest); each
pixel goes to the nearest blob. Where there are never so many blobs, there are fewer sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from soundspot.maps import FloatMap, resize_map
from soundspot.several.approach import Approach, Found
from soundspot.watch import frozen

if TYPE_CHECKING:
    from soundspot.several.scene import Scene

OUTSIDE = 0.1
"""Of a blob's evidence that is left elsewhere, as in `territories`."""
LEVELS = tuple(n / 20 for n in range(19, 0, -1))
SIDE = 96
"""Longer side at which blobs are sought."""
NEIGHBOURS = np.ones((3, 3))


@dataclass(frozen=True)
class TwoBlobs(Approach):
    """One map, cut."""

    name: ClassVar[str] = "two_blobs"
    summary: ClassVar[str] = "One map, cut into its largest blobs (the baseline)."
    scaled: ClassVar[bool] = True
    separates: ClassVar[bool] = False

    def find(self, scene: Scene, sources: int) -> list[Found]:
        """The map of `locate`, each part faint outside its own blob's pixels."""
        whole, similarity = mixture_map(scene)
        height, width = scene.pictures[0].shape[:2]
        scale = SIDE / max(height, width)
        values = resize_map(whole, (max(1, round(scale * height)), max(1, round(scale * width))))
        owners = blobs(values, sources)
        if owners is None:
            return [Found(values, similarity)]
        faint = values.min() + np.float32(OUTSIDE) * (values - values.min())
        return [Found(np.where(owners == k, values, faint), similarity) for k in range(sources)]


def mixture_map(scene: Scene) -> tuple[FloatMap, float]:
    """The method's map of the whole sound, and the similarity."""
    locator = scene.locator
    with frozen(locator.model):
        found = locator.method.explain(locator.listen([scene.heard]), scene.images)
    return found.maps[0].float().cpu().numpy(), float(found.similarities[0])


def blobs(values: FloatMap, count: int) -> NDArray[np.intp] | None:
    """Which of `count` blobs each pixel is nearest to, `h w`; None where there are fewer."""
    low, span = float(values.min()), float(np.ptp(values))
    best: tuple[float, list[NDArray[np.bool_]]] = (0.0, [])
    for level in LEVELS if span > 0 else ():
        labels, found = ndimage.label((values - low) / span >= level, NEIGHBOURS)
        if found < count:
            continue
        evidence = ndimage.sum_labels(values - low, labels, np.arange(1, found + 1))
        order = np.argsort(-evidence, kind="stable")[:count]
        if evidence[order[-1]] > best[0]:
            best = (float(evidence[order[-1]]), [labels == n + 1 for n in order])
    if not best[1]:
        return None
    away = np.stack([ndimage.distance_transform_edt(~blob) for blob in best[1]])
    owners: NDArray[np.intp] = away.argmin(0)
    return owners
