"""What happens to a map after a method made it: pure functions, nothing remembered.

Methods give raw evidence at their own resolution. Bringing it to the picture's size, smoothing,
normalising and cutting it into boxes are separate steps, so that a threshold that holds for all
pictures can be set on raw values, and a judge sees what the method really said.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

if TYPE_CHECKING:
    from soundspot.types import Box, Maps

FloatMap = NDArray[np.float32]

BLUR_REACH = 3.0
"""A Gaussian is cut at this many standard deviations."""
BLUR_POINTS = 6
"""A Gaussian this many times wider than a pixel, or more, is computed at fewer points."""
BOX_THRESHOLD = 0.5
"""Where a map in [0, 1] is cut into boxes when nothing better is known."""
MIN_BOX_AREA = 0.002
"""Smallest box kept, as a fraction of the picture's area."""
MIN_BOX_SHARE = 0.1
"""Smallest box kept, as a fraction of the largest one's evidence (sum over its pixels)."""
MAX_BOXES = 5


class ScoredBox(NamedTuple):
    """A box in pixels (xyxy, right and bottom exclusive) and the mean of the map within it."""

    box: Box
    score: float


def gaussian_blur(maps: Maps, sigma: float) -> Maps:
    """Smooth `b h w` with a Gaussian of `sigma` pixels; edges see their mirror image.

    A wide one is computed at points `sigma / BLUR_POINTS` apart, with straight lines between: what
    it leaves is so smooth that this is within half a per cent of the map's range.
    """
    if sigma <= 0:
        return maps
    step = max(1, int(sigma / BLUR_POINTS))
    height, width = maps.shape[1:]
    rows, columns = (_blurring(n, sigma, math.ceil(n / step)).to(maps) for n in (height, width))
    return resize_maps(rows @ maps @ columns.T, (height, width))


@lru_cache(maxsize=16)
def _blurring(size: int, sigma: float, count: int) -> torch.Tensor:
    """The Gaussian along one axis as a matrix, count x size.

    Row i holds the weights of the pixels around the middle of the i-th of `count` equal parts. A
    wide kernel costs more as a convolution than as a product with this matrix. The mirror bounds
    how far a short axis can see.
    """
    reach = min(math.ceil(BLUR_REACH * sigma), size - 1)
    centres = (torch.arange(count, dtype=torch.float64) + 0.5) * (size / count) - 0.5
    seen = torch.arange(-reach, size + reach)
    offsets = seen - centres[:, None]
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2) * (offsets.abs() <= reach)
    mirrored = (size - 1) - ((size - 1) - seen.abs()).abs()
    matrix = torch.zeros(count, size, dtype=torch.float64).index_add_(1, mirrored, weights)
    return matrix / matrix.sum(1, keepdim=True)


def resize_maps(maps: Maps, size: tuple[int, int]) -> Maps:
    """Bring `b h w` to `b H W`, bilinear with half-pixel centres (a pixel is an area).

    A side that shrinks is averaged over the area of each new pixel, so that no peak is skipped.
    """
    if size[1] < maps.shape[2]:
        maps = _shrink_rows(maps, size[1])
    if size[0] < maps.shape[1]:
        maps = _shrink_rows(maps.transpose(1, 2), size[0]).transpose(1, 2)
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def _shrink_rows(maps: Maps, length: int) -> Maps:
    """Average along the last axis: a triangle over the neighbours' centres for each new pixel.

    The same weights as torch's `antialias=True`, which in torch 2.13 is wrong for a width of 1.
    """
    old = maps.shape[-1]
    centres = (torch.arange(length, dtype=maps.dtype, device=maps.device) + 0.5) * (old / length)
    places = torch.arange(old, dtype=maps.dtype, device=maps.device) + 0.5
    weights = (1 - (places - centres[:, None]).abs() * (length / old)).clamp(min=0)
    return maps @ (weights / weights.sum(1, keepdim=True)).T


def resize_map(values: FloatMap, size: tuple[int, int]) -> FloatMap:
    """Bring one map `h w` to (H, W), bilinear with half-pixel centres.

    The same convention as `resize_maps`, for single maps up to the size of large photographs.
    """
    if values.shape == tuple(size):
        return np.asarray(values, np.float32)
    maps = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))[None]
    return resize_maps(maps, size)[0].numpy()


def normalise(maps: Maps) -> Maps:
    """Bring each of `b h w` to [0, 1] by its own minimum and maximum; a constant map becomes 0."""
    low = maps.amin((1, 2), keepdim=True)
    span = maps.amax((1, 2), keepdim=True) - low
    return (maps - low) / span.where(span > 0, torch.ones_like(span))


def standardise(maps: Maps) -> Maps:
    """Bring each map, `b h w`, to mean 0 and deviation 1; a constant map becomes 0.

    Where maps are averaged, each then counts as much as it stands out from itself: one whose few
    bright positions rise from a flat ground keeps its height.
    """
    centred = maps - maps.mean((-2, -1), keepdim=True)
    deviation = centred.square().mean((-2, -1), keepdim=True).sqrt()
    flat = maps.amax((-2, -1), keepdim=True) == maps.amin((-2, -1), keepdim=True)
    return (centred / deviation.where(~flat, torch.ones_like(deviation))).masked_fill(flat, 0.0)


def peak(values: FloatMap) -> tuple[int, int]:
    """The pixel (x, y) of the largest value; of equals, the one nearest their middle.

    A flat top (a saturated or constant map) would otherwise answer its top left corner.
    """
    rows, columns = np.nonzero(values == values.max())
    far = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
    best = int(far.argmin())
    return int(columns[best]), int(rows[best])


def boxes(
    values: FloatMap,
    threshold: float = BOX_THRESHOLD,
    *,
    at_most: int = MAX_BOXES,
    min_area: float = MIN_BOX_AREA,
) -> list[ScoredBox]:
    """Cut one map `H W`, of values from 0 up, into boxes, best first.

    1. Pixels at or above `threshold` are the mask.
    2. Its 8-connected components become boxes; a box's score is the mean of the map over its
       component.
    3. Components under `min_area` of the picture, or with under a tenth of the largest one's
       evidence (sum over pixels), are dropped.
    4. At most `at_most` remain, by evidence.
    """
    labels, count = ndimage.label(values >= threshold, structure=np.ones((3, 3)))
    if count == 0:
        return []
    index = np.arange(1, count + 1)
    evidence = np.atleast_1d(ndimage.sum_labels(values, labels, index))
    area = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    places = ndimage.find_objects(labels)
    floor = max(min_area * values.size, 1)
    enough = (area >= floor) & (evidence >= MIN_BOX_SHARE * evidence.max())
    order = [i for i in np.argsort(-evidence, kind="stable") if enough[i]][:at_most]
    return [ScoredBox(_box(places[i]), float(evidence[i] / area[i])) for i in order]


def _box(place: tuple[slice, slice]) -> Box:
    rows, columns = place
    return (columns.start, rows.start, columns.stop, rows.stop)


def picture_of_map(values: FloatMap) -> Image.Image:
    """The map as a 16-bit grey picture, its own minimum black and its maximum white."""
    low, high = float(values.min()), float(values.max())
    scaled = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return Image.fromarray((scaled * 65535).astype(np.uint16))
