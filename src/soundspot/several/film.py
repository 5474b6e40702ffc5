"""A clip with each of its sources, frame by frame.

The clip is read twice: once for its key frames and its sound, to which the sources are fitted
(`clip`), and once frame by frame. A source is shown in a judged frame where it is visible and
sounds then: where its share of the moment reaches half of an equal share. Frames between judged
ones repeat what was said before them. `soundspot.filming_sources` makes films of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundspot.errors import MediaError, OptionError
from soundspot.facts import facts_of
from soundspot.files import one_line
from soundspot.media.audio import read_sound
from soundspot.media.film_writer import pictures_end
from soundspot.media.image import fit_picture
from soundspot.media.video import frames
from soundspot.several.clip import KEY_FRAMES, SourcesOfClip, sources_of_clip

if TYPE_CHECKING:
    from typing import Literal

    from soundspot.localize import Method
    from soundspot.media.image import Picture
    from soundspot.media.video import VideoInfo
    from soundspot.several.source import SourceResult
    from soundspot.similarity import Similarity

LONGEST = 120.0
"""Seconds: a longer clip hardly has the same sources all the while, and is to be cut."""
EQUAL_PART = 0.5
"""Of an equal share of a moment: from where on a source sounds in it."""


@dataclass(frozen=True)
class Stretch:
    """A part of a clip.

    Args:
        clip: a video.
        size: width and height of its pictures.
        start: seconds.
        stop: seconds; None: the end.
        end: where its pictures end, in seconds.
        sound: heard in place of the clip's own, on the clip's clock.
    """

    clip: Path
    size: tuple[int, int]
    start: float
    stop: float | None
    end: float
    sound: Path | None = None

    @classmethod
    def of(
        cls,
        clip: Path,
        info: VideoInfo,
        start: float,
        stop: float | None,
        sound: Path | None = None,
    ) -> Stretch:
        """Look where it ends.

        Raises:
            MediaError: it begins after the pictures.
            OptionError: it is empty or too long.
        """
        if stop is not None and not stop > start:
            raise OptionError(f"stop={stop:g} s must lie after start={start:g} s")
        last = pictures_end(clip) or info.seconds
        if start >= last:
            raise MediaError(
                f"{one_line(clip)} ends at {last:.2f} s, before {start:g} s; ask earlier"
            )
        end = last if stop is None else min(stop, last)
        if end - start > LONGEST:
            raise OptionError(
                f"{one_line(clip)}: several sources are fitted to at most {LONGEST:g} s at once, "
                f"and this is {end - start:.0f} s; give a start and a stop"
            )
        return cls(clip, (info.width, info.height), start, stop, end, sound)

    def frames(self, start: float, every: float | None = None) -> Iterator[tuple[float, Picture]]:
        """Frames from a time on, those of another size fitted to the first one's."""
        for time, picture in frames(self.clip, start, self.stop, every):
            alike = picture.shape[1::-1] == self.size
            yield time, picture if alike else fit_picture(picture, *self.size)

    def fit(
        self,
        model: Similarity,
        sources: int | Literal["auto"],
        method: str | Method | None,
        *,
        device: str,
        threshold: float | None = None,
        visible: float | None = None,
    ) -> SourcesOfClip:
        """Fit the sources to some of its frames and all of its sound; as `sources_of_clip`."""
        seconds = self.end - self.start
        keys = [picture for _, picture in self.frames(self.start, seconds / KEY_FRAMES)]
        rate = facts_of(model).sample_rate
        heard = read_sound(self.sound or self.clip, rate, self.start, seconds)
        return sources_of_clip(
            model,
            keys,
            (heard, rate),
            sources,
            method,
            device=device,
            threshold=threshold,
            visible=visible,
        )


@dataclass(frozen=True, eq=False)
class SourcesMoment:
    """What is said of one frame.

    Args:
        time: when the frame is shown, in seconds.
        index: 0 for the first frame of the stretch.
        picture: the frame.
        sources: every source, by number.
        active: 0 to 1, how much each of them sounds.
        shown: whether each of them is seen and heard.
        repeated: said of a frame before.
        state: from which the moments behind this one can be had.
    """

    time: float
    index: int
    picture: Picture
    sources: tuple[SourceResult, ...]
    active: tuple[float, ...]
    shown: tuple[bool, ...]
    repeated: bool
    state: dict[str, Any]


def sounds_from(sources: int) -> float:
    """The share of a moment, 0 to 1, from which on one of so many sources is said to sound."""
    return EQUAL_PART / sources


def source_moments(
    found: SourcesOfClip, stretch: Stretch, every: int, resume: Mapping[str, Any] | None = None
) -> Iterator[SourcesMoment]:
    """Each frame of a stretch; or those behind a moment's `state`, told as without a stop."""
    begin = {"done": 0, "judged": stretch.start, "index": 0}
    state: dict[str, Any] = begin if resume is None else dict(resume)
    sources: tuple[SourceResult, ...] = ()
    active: tuple[float, ...] = ()
    shown: tuple[bool, ...] = ()
    done = state["done"]
    for index, (time, picture) in enumerate(stretch.frames(state["judged"]), state["index"]):
        judged = index % every == 0
        if judged:
            sources = tuple(found.locate(picture))
            active = tuple(found.activity(time - stretch.start).tolist())
            loud = [share >= sounds_from(len(found)) for share in active]
            shown = tuple(s.result.visible and a for s, a in zip(sources, loud, strict=True))
            state = {"judged": time, "index": index}
        if index >= done:
            kept = {**state, "done": index + 1}
            yield SourcesMoment(time, index, picture, sources, active, shown, not judged, kept)
