"""LVS: Chen et al., Localizing Visual Sounds the Hard Way, CVPR 2021.

A map is resized to 224 x 224 (OpenCV's bilinear), and the pixels *above* its median (the element at
N // 2 of the sorted pixels) are the mask.

Geometry. The peer's loader scales the shorter side of the picture to 224 and crops the centre, so
its network sees, and its map covers, the central square; its evaluation scales the boxes as if the
whole picture had been squashed. On square pictures (Flickr-SoundNet: 256 x 256) both are one. On
others the truth is shifted and stretched against the map. Three forms:

* `lvs`: the peer's evaluation, given the map: whatever the map covers, it is laid over the squashed
  boxes. Of the peer's own maps it gives the peer's number. Our maps cover the whole picture, so for
  them it is squash against squash, and right.
* `lvs_cropped`: the peer's whole pipeline, fault included: of the map only the central square,
  which is all that the peer's network would have seen, is laid over the squashed boxes of the
  whole.
* `lvs_corrected`: map and boxes both go through the crop, and annotators are counted, not boxes. A
  source that lies wholly outside the square is not found: 0.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, final

from soundspot.protocols.batch import Rule, View
from soundspot.protocols.ciou import CiouProtocol
from soundspot.protocols.judging import (
    BOXES_AGREE,
    COUNTS_BOXES,
    FLICKR_AND_VGGSS,
    PEOPLE_AGREE,
    above_middle,
)
from soundspot.protocols.protocol import Card

SOURCE = "Chen et al., CVPR 2021; github.com/hche11/Localizing-Visual-Sounds-the-Hard-Way"
THRESHOLD = "> median: element N // 2 of the sorted map; ties are out"
SOUND = "native rate, the first 10 s (VGG-SS; 20 s Flickr), repeated to length"
INTERPOLATION = "bilinear half-pixel"


@final
class Lvs(CiouProtocol):
    """The peer's evaluation code, given a map."""

    name: ClassVar = "lvs"
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
        + "; the peer's own maps cover a centre crop (lvs_cropped, lvs_corrected)",
    )
    view: ClassVar = View("bilinear")
    rule: ClassVar = Rule()
    score = staticmethod(above_middle)


@final
class LvsCropped(CiouProtocol):
    """The peer's loader and evaluation: a cropped map over boxes that were not cropped."""

    name: ClassVar = "lvs_cropped"
    version: ClassVar = 1
    card: ClassVar = replace(
        Lvs.card,
        geometry="cropped map on squash: central square of the map over boxes of the whole picture",
        deviates="repeats: boxes scaled as if squashed while the picture is centre-cropped (wrong "
        "unless square); " + COUNTS_BOXES,
    )
    view: ClassVar = View("bilinear", cropped=True)
    rule: ClassVar = Rule()
    score = staticmethod(above_middle)


@final
class LvsCorrected(CiouProtocol):
    """Map and boxes through the same crop; annotators counted."""

    name: ClassVar = "lvs_corrected"
    version: ClassVar = 1
    card: ClassVar = replace(
        Lvs.card,
        geometry="centre crop: of map and boxes alike; shorter side to 224",
        truth=PEOPLE_AGREE,
        deviates="corrects: boxes go through the crop; counts annotators, not boxes",
    )
    view: ClassVar = View("bilinear", cropped=True)
    rule: ClassVar = Rule(cropped=True, people=True)
    score = staticmethod(above_middle)
