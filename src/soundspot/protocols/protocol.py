"""What every protocol is: a way to judge maps, frozen, with its conventions said in one place.

A protocol takes `Shot`s (a sample, the picture's size, what a model or another program said of
it) and gives each a few numbers, its *parts*; when all are judged, the parts become *scores*.
Parts are small and do not depend on the other shots, so a run may hold very many samples, be cut
short and go on, or be split over processes whose parts are put together in the end.

    parts  = [part for shots in batches for part in protocol.judge(Batch(shots))]
    scores = protocol.scores(parts)

Names of parts that begin with "_" are a protocol's own (its `scores` needs them, nobody else). The
other parts are numbers, and where a score is a mean over shots, its part has the score's name.

Once published, a protocol never changes what it computes: a change is a new `version`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from soundspot.maps import FloatMap
    from soundspot.protocols.batch import Batch
    from soundspot.types import Sample

Parts: TypeAlias = Mapping[str, float | NDArray[np.float64]]
"""What one shot adds, by name; a name that does not apply to it (a negative has no IoU) is left
out. Public names hold numbers, names that begin with "_" also arrays."""


@dataclass(frozen=True)
class Shot:
    """One sample and what was said of it.

    Args:
        sample: whom it is about; its boxes are fractions (0..1) of the picture's sides.
        height: of the original picture, in pixels.
        width: of the original picture, in pixels.
        maps: raw, h w, any size, over the whole picture, higher = more likely here. One map; for a
            sample with `sources`, one map a source, in their order.
        confidences: one number a map, higher = surer that a visible source is heard; empty where
            nobody said (maps from files).
        cut: the value at which whoever made the maps cuts them into masks, the same for all
            pictures (a model's calibrated threshold); None where nobody said.
        visible: the confidence below which whoever made the maps answers that nothing visible
            sounds, and so highlights nothing; None where nobody said.
    """

    sample: Sample
    height: int
    width: int
    maps: tuple[FloatMap, ...]
    confidences: tuple[float, ...] = ()
    cut: float | None = None
    visible: float | None = None


@dataclass(frozen=True)
class Card:
    """The conventions of a protocol: a line of `soundspot protocols`.

    Each begins with a short phrase, for the table; what follows a colon explains it.

    Args:
        source: paper, and the code it was read from.
        geometry: how picture and boxes are brought to the judged frame.
        interpolation: how maps are brought to it.
        threshold: what makes a map a mask, and who wins ties.
        truth: how boxes (or masks) become a truth.
        test_list: which samples, and how many.
        sound: rate and stretch that the peer feeds its model; for information.
        deviates: where the peer's own code is wrong and this form corrects it, or repeats it.
    """

    source: str
    geometry: str
    interpolation: str
    threshold: str
    truth: str
    test_list: str
    sound: str
    deviates: str = ""

    def lines(self) -> dict[str, str]:
        """Each convention by its name; `deviates` only where there is something to say."""
        every = {field.name: str(getattr(self, field.name)) for field in fields(self)}
        return {name: text for name, text in every.items() if text}


class Protocol(ABC):
    """One frozen way to judge; `name` is what users type.

    `metrics` maps each score's name (the METRIC of `PROTOCOL/METRIC`) to one sentence; `means`
    names, for those scores that are a mean over shots of one part, that part: these get bootstrap
    intervals and paired tests. `headline` is the one score that tables and reports sort by, and
    `overlap` the part that says in 0..1 how well a shot was solved ("": none does).
    """

    name: ClassVar[str]
    version: ClassVar[int]
    card: ClassVar[Card]
    metrics: ClassVar[Mapping[str, str]]
    means: ClassVar[Mapping[str, str]]
    headline: ClassVar[str]
    overlap: ClassVar[str] = "ciou_mean"

    @abstractmethod
    def judge(self, batch: Batch) -> list[Parts]:
        """The parts of each shot; none of a shot that this protocol does not judge."""

    @abstractmethod
    def scores(self, parts: Sequence[Parts]) -> dict[str, float]:
        """All of `metrics`, in 0..1; NaN where there is nothing to compute a score from."""


def to_json(parts: Parts) -> dict[str, Any]:
    """Parts as plain data for `json.dumps`; nothing is rounded."""
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else float(value)
        for name, value in parts.items()
    }


def from_json(data: Mapping[str, Any]) -> Parts:
    """What `to_json` gave, as parts again."""
    return {
        name: np.array(value, dtype=np.float64) if isinstance(value, list) else float(value)
        for name, value in data.items()
    }
