"""The protocols that are a frame, a truth and a threshold: each map's cIoU, and what sums it up.

A peer's file states these three and its conventions; the rest is the same for all of them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from soundspot.metrics.ranked import Ranked
from soundspot.protocols.batch import Batch, Rule, View
from soundspot.protocols.judging import CIOU_MEANS, CIOU_METRICS, cious, means, overlap_parts
from soundspot.protocols.protocol import Parts, Protocol


class CiouProtocol(Protocol):
    """cIoU under one threshold rule; a subclass states `view`, `rule` and `score`."""

    view: ClassVar[View]
    """How maps are brought to the judged frame."""
    rule: ClassVar[Rule]
    """How boxes become a truth in it."""
    metrics: ClassVar = CIOU_METRICS
    means: ClassVar = CIOU_MEANS
    headline: ClassVar = "ciou_share_0.5"

    @staticmethod
    @abstractmethod
    def score(ranked: Ranked, /) -> float:
        """The threshold: from a map's sorted pixels to its cIoU."""

    def judge(self, batch: Batch) -> list[Parts]:
        """The parts of each shot."""
        return [
            overlap_parts(cious(batch, n, self.view, self.rule, self.score))
            for n in range(len(batch))
        ]

    def scores(self, parts: Sequence[Parts]) -> dict[str, float]:
        """Shares and means."""
        return means(parts, self.means)
