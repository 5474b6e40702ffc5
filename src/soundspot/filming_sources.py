"""A film with each of its sources in a colour of its own, and the track file of them.

As `filming`, whose job does the work: it can be interrupted and goes on. The sources are fitted to
the same frames and the same sound when it goes on, so they are the same sources.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from soundspot.errors import OptionError
from soundspot.film_job import Artist, FilmJob, FilmTask
from soundspot.filming import check_outputs, folder_of, header_of, settings_of
from soundspot.locating import Locator
from soundspot.media.video import read_info
from soundspot.result import ROUNDING
from soundspot.several.film import SourcesMoment, Stretch, source_moments
from soundspot.several.source import draw
from soundspot.track_file import TIME_ROUNDING, Line, summarise

if TYPE_CHECKING:
    from soundspot.film_folder import Segment
    from soundspot.localize import Method
    from soundspot.media.image import Picture
    from soundspot.similarity import Similarity


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
    tracks: str | Path | None = None,
    every: int = 1,
    start: float = 0.0,
    stop: float | None = None,
    device: str = "auto",
    progress: bool = False,
) -> list[FilmedSource]:
    """Locate several sources in each frame of a clip; a job that was stopped goes on.

    Args:
        clip: a video with sound, of at most `several.film.LONGEST` seconds from start to stop.
        model: a two-tower model, such as the default.
        film: where to write the film; None: none.
        sources: how many, 1 to 4, or "auto".
        method: how maps are made; None: the model's own.
        tracks: where to write the track file, whose ids are the sources' numbers; None: none.
        every: judge each so-many-th frame; those between are drawn as the one before.
        start: seconds.
        stop: seconds; None: the end.
        device: "auto" or a torch device name.
        progress: a bar on standard error.

    Raises:
        MediaError: no picture, no sound, or damaged.
        OptionError: the clip is too long, an option out of range, or an unfinished film of other
            settings is in the way.
        MethodError: the model has no shared space.
    """
    if type(every) is not int or every < 1:
        raise OptionError(f"every={every}; it must be a whole number, 1 or more")
    written = [None if path is None else Path(path) for path in (film, tracks)]
    task = FilmTask(Path(clip), written[0], written[1], start=start, stop=stop, every=every)
    check_outputs(task)
    info = read_info(clip)
    stretch = Stretch.of(task.clip, info, start, stop)
    locator = Locator(model, method, device=device)

    def moments(state: Mapping[str, Any] | None) -> Iterator[SourcesMoment]:
        found = stretch.fit(model, sources, method, device=device)
        yield from source_moments(found, stretch, every, state)

    header = header_of(task, locator, stretch.size, {"every": every, "sources": sources})
    with folder_of(task, settings_of(task, locator, header)) as folder:
        report = FilmJob(task, info, header, folder, moments, _Colours(stretch, every)).run(
            progress
        )
    return [
        FilmedSource(one["source"], one["confidence"], tuple((a, b) for a, b in one["sounds"]))
        for one in report.summary["sources"]
    ]


class _Colours(Artist[SourcesMoment]):
    """Several sources, each in its colour."""

    def __init__(self, stretch: Stretch, every: int) -> None:
        self.stretch, self.every = stretch, every

    @property
    def canvas(self) -> tuple[int, int]:
        return self.stretch.size

    def see(self, moment: SourcesMoment) -> Callable[[], Picture]:
        there = [one for one, shown in _pairs(moment) if shown]
        return lambda: draw(moment.picture, there)

    def line(self, moment: SourcesMoment) -> Line:
        """As of one source; an id is a source's number, its box the surest of its boxes."""
        boxes: list[Line] = [
            {"id": one.number, "box": [int(v) for v in best.box], "score": _round(best.score)}
            for one, shown in _pairs(moment)
            if shown and one.result.boxes
            for best in [max(one.result.boxes, key=lambda scored: scored.score)]
        ]
        return {
            "time": round(moment.time, TIME_ROUNDING),
            "index": moment.index // self.every,
            "visible": any(moment.shown),
            "confidence": max((_round(one.result.confidence) for one in moment.sources), default=0),
            "boxes": sorted(boxes, key=lambda box: -box["score"]),
            "sources": [
                {"source": one.number, "confidence": _round(one.result.confidence), "shown": shown}
                for one, shown in _pairs(moment)
            ],
        }

    def summary(self, lines: Iterator[Line], end: float) -> Line:
        every = list(lines)
        until = [*(line["time"] for line in every[1:]), round(end, TIME_ROUNDING)]
        sources: dict[int, Line] = {}
        for line, to in zip(every, until, strict=bool(every)):
            for said in line["sources"]:
                one = sources.setdefault(
                    said["source"], {"source": said["source"], "confidence": 0.0, "sounds": []}
                )
                one["confidence"] = max(one["confidence"], said["confidence"])
                if said["shown"]:
                    _lengthen(one["sounds"], line["time"], to)
        return {**summarise(every, end), "sources": [*sources.values()]}

    def scale(self) -> dict[str, Any]:
        return {}

    def take_up(self, segment: Segment) -> None:
        """A picture depends on its moment alone."""


def _pairs(moment: SourcesMoment) -> zip[tuple[Any, bool]]:
    return zip(moment.sources, moment.shown, strict=True)


def _lengthen(spans: list[list[float]], begin: float, end: float) -> None:
    """Add a stretch of time, which may go on where the last one ended."""
    if spans and spans[-1][1] == begin:
        spans[-1][1] = end
    else:
        spans.append([begin, end])


def _round(value: float) -> float:
    return round(float(value), ROUNDING)
