"""ACL: Park et al., Can CLIP Help Sound Source Localization?, WACV 2024.

The peer's maps are probabilities (a sigmoid of logits that were resized to 224 x 224 with bicubic
half-pixel interpolation). They are cut at 19 fixed thresholds, 0.05, 0.10 .. 0.95 (values at or
above are the mask), each threshold is scored over the whole data set, and the best is kept. It is
chosen on the samples it is judged on, so these scores flatter; no single threshold is as good
elsewhere.

Kept is the one threshold with the best AUC, for all three scores. `acl` brings each map to 0..1 by
its own lowest and highest value first, so that maps of any scale can be judged; `acl_raw` takes
values as they are, as the peer does with its own probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, final

import numpy as np

from soundspot.metrics.ranked import Ranked
from soundspot.metrics.thresholds import FIXED_THRESHOLDS
from soundspot.protocols.batch import Batch, Rule, View
from soundspot.protocols.judging import (
    BOXES_AGREE,
    CIOU_METRICS,
    COUNTS_BOXES,
    FLICKR_AND_VGGSS,
    HALF,
    SQUASHED,
    areas,
)
from soundspot.protocols.protocol import Card, Parts, Protocol

SOURCE = "Park et al., WACV 2024; github.com/swimmiing/ACL-SSL"
INTERPOLATION = "cubic half-pixel: a = -0.75"
SOUND = "16 kHz, 10 s, zero-padded"
VIEW = View("cubic")
CUTS = ">= best of 19: fixed thresholds 0.05 .. 0.95; the one with the best AUC over the set"
SAME_AUC = 9
"""Areas that agree to so many decimals tie, and the lowest threshold is kept."""
NO_MEANS: Mapping[str, str] = MappingProxyType({})


@final
class Acl(Protocol):
    """Each map brought to 0..1 by its own range first."""

    name: ClassVar = "acl"
    version: ClassVar = 1
    card: ClassVar = Card(
        source=SOURCE,
        geometry=SQUASHED,
        interpolation=INTERPOLATION,
        threshold=CUTS + "; each map brought to 0..1 by its own minimum and maximum first",
        truth=BOXES_AGREE,
        test_list=FLICKR_AND_VGGSS,
        sound=SOUND,
        deviates="repeats: the threshold is chosen on the test set; " + COUNTS_BOXES,
    )
    metrics: ClassVar = CIOU_METRICS
    means: ClassVar = NO_MEANS
    headline: ClassVar = "ciou_share_0.5"
    overlap: ClassVar = ""

    def judge(self, batch: Batch) -> list[Parts]:
        """Score at each threshold."""
        return [_judge(batch, n, stretch=True) for n in range(len(batch))]

    def scores(self, parts: Sequence[Parts]) -> dict[str, float]:
        """The scores at the best threshold."""
        return _scores(parts)


@final
class AclRaw(Protocol):
    """Values as they are: for maps that are probabilities."""

    name: ClassVar = "acl_raw"
    version: ClassVar = 1
    card: ClassVar = Card(
        source=SOURCE,
        geometry=SQUASHED,
        interpolation=INTERPOLATION,
        threshold="raw " + CUTS + "; values as they are (the map must be probabilities)",
        truth=BOXES_AGREE,
        test_list=FLICKR_AND_VGGSS,
        sound=SOUND,
        deviates="repeats: the threshold is chosen on the test set; " + COUNTS_BOXES,
    )
    metrics: ClassVar = CIOU_METRICS
    means: ClassVar = NO_MEANS
    headline: ClassVar = "ciou_share_0.5"
    overlap: ClassVar = ""

    def judge(self, batch: Batch) -> list[Parts]:
        """Score at each threshold."""
        return [_judge(batch, n, stretch=False) for n in range(len(batch))]

    def scores(self, parts: Sequence[Parts]) -> dict[str, float]:
        """The scores at the best threshold."""
        return _scores(parts)


def _judge(batch: Batch, shot: int, *, stretch: bool) -> Parts:
    """Mean over the picture's sources of share, cIoU and area at each threshold."""
    curves = []
    for unit in batch.units(shot):
        ranked = batch.ranked(unit, VIEW, Rule())
        curves.append(_curve(ranked.min_max() if ranked and stretch else ranked))
    if not curves:
        return {}
    table = np.array(curves)
    return {
        "_share": np.mean(table >= HALF, axis=0),
        "_mean": np.mean(table, axis=0),
        "_auc": np.mean(areas(table), axis=0),
    }


def _curve(ranked: Ranked | None) -> np.ndarray:
    return np.zeros(FIXED_THRESHOLDS.size) if ranked is None else ranked.ciou(FIXED_THRESHOLDS)


def _scores(parts: Sequence[Parts]) -> dict[str, float]:
    known = [part for part in parts if part]
    if not known:
        return dict.fromkeys(CIOU_METRICS, math.nan)
    names = ("_share", "_mean", "_auc")
    curves = [np.mean([np.asarray(part[name]) for part in known], axis=0) for name in names]
    best = int(np.argmax(np.round(curves[2], SAME_AUC)))
    return {score: float(curve[best]) for score, curve in zip(CIOU_METRICS, curves, strict=True)}
