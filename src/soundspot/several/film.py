"""A film with each of its sources in a colour of its own.

The clip is read twice: once for its key frames and its sound, to which the sources are fitted
(`clip`), and once frame by frame. A source is shown in a frame where it is visible and sounds then:
where its share of the moment reaches half of an equal share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tqdm import tqdm

from soundspot.errors import MediaError, OptionError
from soundspot.files import check_writable, one_line
from soundspot.media.audio import read_sound
from soundspot.media.film_writer import check_film_name, pictures_end, write_film
from soundspot.media.image import fit_picture
from soundspot.media.video import frames, read_info
from soundspot.several.clip import KEY_FRAMES, SourcesOfClip, sources_of_clip
from soundspot.several.source import SourceResult, draw

if TYPE_CHECKING:
    from soundspot.localize import Method
    from soundspot.media.image import Picture
    from soundspot.media.video import VideoInfo
    from soundspot.similarity import Similarity

LONGEST = 120.0
"""Seconds: a longer clip hardly has the same sources all the while, and is to be cut."""
SOUND_RATE = 44_100
"""Hz of the sound that is cut to the stretch; the model's own rate follows."""
EQUAL_PART = 0.5


@dataclass(frozen=True)
class FilmedSource:
    """One source of a film: the stretches (from, to) in seconds where it is seen and heard."""

    number: int
    confidence: float
    stretches: tuple[tuple[float, float], ...]

    def json(self) -> dict[str, Any]:
        """Plain data."""
        spans = [[round(a, 3), round(b, 3)] for a, b in self.stretches]
        return {"source": self.number, "confidence": round(self.confidence, 4), "sounds": spans}

    def __str__(self) -> str:
        """One line for people."""
        spans = ", ".join(f"{a:.1f} to {b:.1f} s" for a, b in self.stretches) or "never"
        return f"{self.number}: {spans}, confidence {self.confidence:.2f}"


def film_sources(
    clip: str | Path,
    model: Similarity,
    film: str | Path | None = None,
    sources: int | Literal["auto"] = "auto",
    method: str | Method | None = None,
    *,
    every: int = 1,
    start: float = 0.0,
    stop: float | None = None,
    device: str = "auto",
    progress: bool = False,
) -> list[FilmedSource]:
    """Locate several sources in each frame of a clip.

    Args:
        clip: a video with sound, of at most `LONGEST` seconds between start and stop.
        model: a two-tower model, such as the default.
        film: where to write the film; None: none.
        sources: how many, 1 to 4, or "auto".
        method: how maps are made; None: the model's own.
        every: judge each so-many-th frame; those between are drawn as the one before.
        start: seconds.
        stop: seconds; None: the end.
        device: "auto" or a torch device name.
        progress: a bar on standard error.

    Raises:
        MediaError: no picture, no sound, or damaged.
        OptionError: the clip is too long, or an option out of range.
        MethodError: the model has no shared space.
    """
    if every < 1:
        raise OptionError(f"every={every}; it must be 1 or more")
    if film is not None:
        check_film_name(film)
        if Path(film).resolve() == Path(clip).resolve():
            raise OptionError(f"{film}: is read from; write to another file")
        check_writable(film)
    info = read_info(clip)
    end = _end(clip, info, start, stop)
    size = info.width, info.height
    keys = [p for _, p in _sized(frames(clip, start, stop, (end - start) / KEY_FRAMES), size)]
    sound = read_sound(clip, SOUND_RATE, start, end - start), SOUND_RATE
    found = sources_of_clip(model, keys, sound, sources, method, device=device)
    spans = _Spans(found)
    drawn = _drawn(_sized(frames(clip, start, stop), size), found, spans, start, every)
    bar = tqdm(drawn, desc="frames", unit="frame", disable=not progress, leave=False)
    if film is None:
        for _ in bar:
            pass
    else:
        with write_film(film, size, info.rate, sound_from=clip, start=start, stop=stop) as pictures:
            for time, picture in bar:
                pictures.write(time, picture)
    return spans.closed(end)


def _end(clip: str | Path, info: VideoInfo, start: float, stop: float | None) -> float:
    """Where the stretch ends: at `stop`, or with the pictures.

    Raises:
        MediaError: it begins after the pictures.
        OptionError: it is empty or too long.
    """
    if stop is not None and not stop > start:
        raise OptionError(f"stop={stop:g} s must lie after start={start:g} s")
    last = pictures_end(clip) or info.seconds
    if start >= last:
        raise MediaError(f"{one_line(clip)} ends at {last:.2f} s, before {start:g} s; ask earlier")
    end = last if stop is None else min(stop, last)
    if end - start > LONGEST:
        raise OptionError(
            f"{one_line(clip)}: several sources are fitted to at most {LONGEST:g} s at once, and "
            f"this is {end - start:.0f} s; give a start and a stop"
        )
    return end


def _sized(
    timed: Iterator[tuple[float, Picture]], size: tuple[int, int]
) -> Iterator[tuple[float, Picture]]:
    """Frames, those of another size fitted to the first one's."""
    for time, picture in timed:
        alike = picture.shape[1::-1] == size
        yield time, picture if alike else fit_picture(picture, *size)


class _Spans:
    """Collects when each source is seen and heard, and how sure that is at most."""

    def __init__(self, found: SourcesOfClip) -> None:
        self.count = len(found)
        self.times: list[float] = []
        self.shown: list[list[bool]] = []
        self.best = [0.0] * self.count

    def add(self, time: float, sources: list[SourceResult], shown: list[bool]) -> None:
        self.times.append(time)
        self.shown.append(shown)
        for k, one in enumerate(sources):
            self.best[k] = max(self.best[k], one.result.confidence)

    def closed(self, end: float) -> list[FilmedSource]:
        ends = [*self.times[1:], end]
        return [FilmedSource(k + 1, self.best[k], self._of(k, ends)) for k in range(self.count)]

    def _of(self, k: int, ends: list[float]) -> tuple[tuple[float, float], ...]:
        spans: list[tuple[float, float]] = []
        for begin, end, shown in zip(self.times, ends, self.shown, strict=True):
            if not shown[k]:
                continue
            if spans and spans[-1][1] == begin:
                spans[-1] = (spans[-1][0], end)
            else:
                spans.append((begin, end))
        return tuple(spans)


def _drawn(
    timed: Iterator[tuple[float, Picture]],
    found: SourcesOfClip,
    spans: _Spans,
    start: float,
    every: int,
) -> Iterator[tuple[float, Picture]]:
    """Each frame with the sources that sound in it."""
    located: list[SourceResult] = []
    for number, (time, picture) in enumerate(timed):
        if number % every == 0:
            located = found.locate(picture)
        loud = found.activity(time - start) >= EQUAL_PART / len(found)
        shown = [one.result.visible and bool(a) for one, a in zip(located, loud, strict=True)]
        spans.add(time, located, shown)
        visible = [one for one, there in zip(located, shown, strict=True) if there]
        yield time, draw(picture, visible)
