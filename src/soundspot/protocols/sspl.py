"""SSPL: Song et al., Self-Supervised Predictive Learning, CVPR 2022.

A map is resized to 224 x 224 (OpenCV's bilinear) and brought to 0..1 by its own lowest and highest
value; pixels at or above 0.5 are the mask. A constant map has no range: nothing is chosen.

The loader crops the picture's centre while the boxes are squashed, as in `soundspot.protocols.lvs`,
which explains the three forms `sspl`, `sspl_cropped` and `sspl_corrected`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, final

from soundspot.metrics.ranked import Ranked
from soundspot.protocols.batch import Rule, View
from soundspot.protocols.ciou import CiouProtocol
from soundspot.protocols.judging import (
    BOXES_AGREE,
    COUNTS_BOXES,
    FLICKR_AND_VGGSS,
    HALF,
    PEOPLE_AGREE,
)
from soundspot.protocols.protocol import Card

SOURCE = "Song et al., CVPR 2022; github.com/zjsong/SSPL"
THRESHOLD = ">= 0.5 of range: of the map brought to 0..1 by its own minimum and maximum"
SOUND = "16 kHz, the middle 3 s"
INTERPOLATION = "bilinear half-pixel"


def from_half_of_range(ranked: Ranked) -> float:
    """Score of the upper half of the map's range of values."""
    return float(ranked.min_max().ciou(HALF))


@final
class Sspl(CiouProtocol):
    """The peer's evaluation code, given a map."""

    name: ClassVar = "sspl"
    version: ClassVar = 1
    card: ClassVar = Card(
        source=SOURCE,
        geometry="whole map on squash: map as handed in, over boxes squashed to 224 x 224",
        interpolation=INTERPOLATION,
        threshold=THRESHOLD,
        truth=BOXES_AGREE,
        test_list=FLICKR_AND_VGGSS,
        sound=SOUND,
        deviates=COUNTS_BOXES
        + "; the peer's own maps cover a centre crop (sspl_cropped, sspl_corrected)",
    )
    view: ClassVar = View("bilinear")
    rule: ClassVar = Rule()
    score = staticmethod(from_half_of_range)


@final
class SsplCropped(CiouProtocol):
    """The peer's loader and evaluation: a cropped map over boxes that were not cropped."""

    name: ClassVar = "sspl_cropped"
    version: ClassVar = 1
    card: ClassVar = replace(
        Sspl.card,
        geometry="cropped map on squash: central square of the map over boxes of the whole picture",
        deviates="repeats: boxes scaled as if squashed while the picture is centre-cropped (wrong "
        "unless square); " + COUNTS_BOXES,
    )
    view: ClassVar = View("bilinear", cropped=True)
    rule: ClassVar = Rule()
    score = staticmethod(from_half_of_range)


@final
class SsplCorrected(CiouProtocol):
    """Map and boxes through the same crop; annotators counted."""

    name: ClassVar = "sspl_corrected"
    version: ClassVar = 1
    card: ClassVar = replace(
        Sspl.card,
        geometry="centre crop: of map and boxes alike; shorter side to 224",
        truth=PEOPLE_AGREE,
        deviates="corrects: boxes go through the crop; counts annotators, not boxes",
    )
    view: ClassVar = View("bilinear", cropped=True)
    rule: ClassVar = Rule(cropped=True, people=True)
    score = staticmethod(from_half_of_range)
