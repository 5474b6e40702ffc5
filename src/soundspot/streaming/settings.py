"""How a film is judged, and where to go on: both plain data, so that a long job can stop."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from soundspot.checks import is_number
from soundspot.errors import OptionError
from soundspot.streaming.looking import Place
from soundspot.streaming.tracks import Tracks

STATE_VERSION = 1


@dataclass(frozen=True)
class Settings:
    """What the answers depend on; a stream is resumed with the same.

    Args:
        window: seconds of sound that a frame is judged with.
        hop: seconds from one window to the next.
        every: each so-many-th frame is judged.
        smooth: seconds to either side (live: back) over which answers are averaged.
        live: nothing after a frame is used for it.
        method: the method's string.
        model: the model's name.
        threshold: raw map value at which maps are cut; None: at half of their range.
        visible: confidence from which a source is called visible.
    """

    window: float
    hop: float
    every: int
    smooth: float
    live: bool
    method: str
    model: str
    threshold: float | None
    visible: float

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("window", "hop"):
            value = getattr(self, name)
            holds = is_number(value) and 0 < value < math.inf
            require(holds, f"{name}={value!r} s; it must be more than 0")
        holds = is_number(self.smooth) and 0 <= self.smooth < math.inf
        require(holds, f"smooth={self.smooth!r} s; it must be 0 (off) or more")
        holds = is_number(self.every) and 1 <= self.every < math.inf and self.every % 1 == 0
        require(holds, f"every={self.every!r}; it must be a whole number, 1 or more")


@dataclass(frozen=True)
class State:
    """What is needed to go on behind a frame.

    Args:
        settings: of the stream.
        number: of that frame.
        index: of the judged frame whose answer it has.
        place: the earliest frame that still counts, from which reading begins again.
        tracks: those alive.
    """

    settings: Settings
    number: int
    index: int
    place: Place
    tracks: Tracks

    def json(self) -> dict[str, Any]:
        """Plain data, for `from_json`."""
        return {
            "version": STATE_VERSION,
            "settings": asdict(self.settings),
            "number": self.number,
            "index": self.index,
            "place": {**asdict(self.place), "changes": list(self.place.changes)},
            "tracks": self.tracks.json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], settings: Settings) -> Self:
        """The state that `json` described.

        Raises:
            OptionError: it is of another version, broken, or of a stream with other settings.
        """
        try:
            require(data["version"] == STATE_VERSION, "resume: a state of another version")
            before = Settings(**data["settings"])
            tracks, there = Tracks.from_json(data["tracks"]), data["place"]
            place = Place(**{**there, "changes": tuple(there["changes"])})
            state = cls(before, data["number"], data["index"], place, tracks)
        except (KeyError, TypeError, ValueError) as error:
            raise OptionError("resume: no state of a stream; give the state of a moment") from error
        for name, value in asdict(settings).items():
            was = getattr(before, name)
            require(was == value, f"resume: begun with {name}={was}, not {value}; give the same")
        return state


def require(holds: bool, rule: str) -> None:
    """Refuse an option outside its range."""
    if not holds:
        raise OptionError(rule)
