"""The pointing game (Zhang et al., ECCV 2016): does the map's peak lie inside the truth?

No threshold and no size of the truth comes in, and no margin round the box (the paper allows 15
pixels). Where several pixels share the highest value, all must lie inside: a plateau that spills
over the box does not point at it. A constant map has no peak and always misses.
"""

from __future__ import annotations

from soundspot.metrics.overlap import Map, Mask, Truth, check_map, check_truth


def peak(map: Map) -> Mask:
    """The pixels that hold the highest value; none of a constant map."""
    check_map(map)
    highest = map.max()
    top: Mask = (map == highest) & (map.min() < highest)
    return top


def points_inside(map: Map, truth: Truth) -> bool:
    """Whether the whole peak lies where the truth is above 0."""
    check_truth(truth, map.shape)
    top = peak(map)
    return bool(top.any() and (truth[top] > 0).all())
