"""EZ-VSL: Mo & Morgado, Localizing Visual Sounds the Easy Way, ECCV 2022. FNAC judges alike.

A map is resized to 224 x 224 with bilinear interpolation that keeps the corners, and the pixels at
or above its median (the element at N // 2 of the sorted pixels) are the mask. A constant map is
chosen whole.

Object guidance (OGL), the second row of the peer's tables, is a mean of two maps before judging,
not a rule of judging: alpha (audio-visual) + (1 - alpha) (object), both brought to 0..1, alpha 0.4.
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
    SQUASHED,
    from_middle,
)
from soundspot.protocols.protocol import Card

SOURCE = "Mo & Morgado, ECCV 2022; github.com/stoneMo/EZ-VSL"
THRESHOLD = ">= median: element N // 2 of the sorted map; ties are in"
SOUND = "native rate, the middle 3 s"
INTERPOLATION = "bilinear corners"


@final
class EzVsl(CiouProtocol):
    """The peer's evaluation code."""

    name: ClassVar = "ez_vsl"
    version: ClassVar = 1
    card: ClassVar = Card(
        source=SOURCE,
        geometry=SQUASHED,
        interpolation=INTERPOLATION,
        threshold=THRESHOLD,
        truth=BOXES_AGREE,
        test_list=FLICKR_AND_VGGSS,
        sound=SOUND,
        deviates=COUNTS_BOXES
        + "; the peer leaves out samples whose files are missing, or puts others in their place",
    )
    view: ClassVar = View("bilinear_corners")
    rule: ClassVar = Rule()
    score = staticmethod(from_middle)


@final
class EzVslCorrected(CiouProtocol):
    """The same with annotators counted."""

    name: ClassVar = "ez_vsl_corrected"
    version: ClassVar = 1
    card: ClassVar = replace(
        EzVsl.card,
        truth=PEOPLE_AGREE,
        deviates="corrects: counts annotators, not boxes",
    )
    view: ClassVar = View("bilinear_corners")
    rule: ClassVar = Rule(people=True)
    score = staticmethod(from_middle)
