"""RC-Grad: Wu et al., How to Listen? Rethinking Visual Sound Localization, Interspeech 2022.

A map (Grad-CAM, resized by OpenCV's bilinear) is brought to 0..1 by its own lowest and highest
value; values below its median (element N // 2) become 0; pixels at or above 0.5 are the mask. So
the mask is never more than half of the picture and ties, and a skewed map keeps little. A constant
map is left as it is: all of it where its value is 0.5 or more, else nothing.
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
    HALF,
    PEOPLE_AGREE,
    SQUASHED,
)
from soundspot.protocols.protocol import Card

SOURCE = "Wu et al., Interspeech 2022; github.com/hohsiangwu/rethinking-visual-sound-localization"
THRESHOLD = ">= 0.5 and median: map brought to 0..1, values below its median made 0, then >= 0.5"
SOUND = "16 kHz, the whole clip"
INTERPOLATION = "bilinear half-pixel"
TESTS = "Flickr-SoundNet test (249 of 250 exist)"


def from_half_and_middle(ranked: Ranked) -> float:
    """Score of the pixels in the upper half of the range and not below the median."""
    scaled = ranked.min_max(constant="kept")
    return float(scaled.ciou(max(HALF, scaled.middle)))


@final
class RcGrad(CiouProtocol):
    """The peer's evaluation code."""

    name: ClassVar = "rc_grad"
    version: ClassVar = 1
    card: ClassVar = Card(
        source=SOURCE,
        geometry=SQUASHED,
        interpolation=INTERPOLATION,
        threshold=THRESHOLD,
        truth=BOXES_AGREE,
        test_list=TESTS,
        sound=SOUND,
        deviates=COUNTS_BOXES,
    )
    view: ClassVar = View("bilinear")
    rule: ClassVar = Rule()
    score = staticmethod(from_half_and_middle)


@final
class RcGradCorrected(CiouProtocol):
    """The same with annotators counted."""

    name: ClassVar = "rc_grad_corrected"
    version: ClassVar = 1
    card: ClassVar = replace(
        RcGrad.card,
        truth=PEOPLE_AGREE,
        deviates="corrects: counts annotators, not boxes",
    )
    view: ClassVar = View("bilinear")
    rule: ClassVar = Rule(people=True)
    score = staticmethod(from_half_and_middle)
