"""A film of several sources: each in its colour, and what the track file says of them.

Drawn as the film of one source (`render_film`): one scale of heat for the whole film and all of its
sources, which fades in with a source's confidence; the look is the same `Look`. A colour, that of
pictures of several sources, takes the place of the palette, and numbers are the sources'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from soundspot.film_job import Artist
from soundspot.render_curve import Curves
from soundspot.render_film import Look, Scale, levels, strength
from soundspot.render_sources import Layer, colour_of, frame_of_sources
from soundspot.result import ROUNDING
from soundspot.several.film import SourcesMoment, Stretch, sounds_from
from soundspot.track_file import TIME_ROUNDING, Line, summarise

if TYPE_CHECKING:
    from soundspot.film_folder import Segment
    from soundspot.locating import Locator
    from soundspot.media.image import Picture
    from soundspot.several.source import SourceResult


@dataclass(frozen=True)
class SourcePainter:
    """Draws single moments.

    Args:
        look: what is drawn.
        size: width and height of the film's pictures.
        visible_from: confidence from which on a source is visible.
    """

    look: Look
    size: tuple[int, int]
    visible_from: float

    def frame(self, moment: SourcesMoment, scale: Scale, strip: Picture | None) -> Picture:
        """A frame of the film, with the sources that are shown in it."""
        layers = [self._layer(one, scale) for one, shown in pairs(moment) if shown]
        drawn = frame_of_sources(moment.picture, layers, self.look.opacity)
        return self.look.lay_out(self.size, moment.picture, drawn, strip)

    def _layer(self, source: SourceResult, scale: Scale) -> Layer:
        result = source.result
        fade = strength(result.confidence, self.visible_from)
        heat = (fade * levels(result.map, scale)).astype(np.uint8)
        return Layer(
            source.number, heat, result.boxes if self.look.boxes else (), result.confidence
        )


class Colours(Artist[SourcesMoment]):
    """Several sources, each in its colour.

    Args:
        look: of the film.
        stretch: of the clip.
        every: each so-many-th frame is judged.
        locator: whose thresholds hold.
    """

    def __init__(self, look: Look, stretch: Stretch, every: int, locator: Locator) -> None:
        self.look, self.stretch, self.every = look, stretch, every
        self.painter = SourcePainter(look, stretch.size, locator.visible)
        self.heat = Scale.for_cut(locator.threshold)
        self.curves: Curves | None = None

    @property
    def canvas(self) -> tuple[int, int]:
        """As the look says."""
        return self.look.canvas(self.stretch.size)

    def see(self, moment: SourcesMoment) -> Callable[[], Picture]:
        """Note its maps' range, and return what draws it."""
        if not moment.repeated:
            for one in moment.sources:
                self.heat = self.heat.after(moment.time, one.result.map)
        scale = self.heat
        return lambda: self.painter.frame(moment, scale, self._strip(moment))

    def _strip(self, moment: SourcesMoment) -> Picture | None:
        if not self.look.curve:
            return None
        if not moment.repeated:
            self._remember(self.line(moment))
        return None if self.curves is None else self.curves.picture(moment.time)

    def _remember(self, line: Line) -> None:
        """Add to the curves what a track file says of a judged frame, now or in an earlier run."""
        said = line["sources"]
        if self.curves is None:
            width, height = self.canvas[0], self.look.strip(self.stretch.size)
            colours = [colour_of(one["source"]) for one in said]
            span = self.stretch.start, self.stretch.end
            self.curves = Curves(width, height, colours, sounds_from(len(said)), span)
        active, shown = ([one[key] for one in said] for key in ("active", "shown"))
        self.curves.add(line["time"], active, shown)

    def line(self, moment: SourcesMoment) -> Line:
        """As of one source; an id is a source's number, its box the surest of its boxes."""
        boxes: list[Line] = [
            {"id": one.number, "box": [int(v) for v in best.box], "score": _round(best.score)}
            for one, shown in pairs(moment)
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
                {
                    "source": one.number,
                    "confidence": _round(one.result.confidence),
                    "active": _round(active),
                    "shown": shown,
                }
                for (one, shown), active in zip(pairs(moment), moment.active, strict=True)
            ],
        }

    def summary(self, lines: Iterator[Line], end: float) -> Line:
        """As of one source, and when each of them is seen and heard."""
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
        """That of the heat."""
        return self.heat.json()

    def take_up(self, segment: Segment) -> None:
        """The heat's scale and the curves' past."""
        self.heat = Scale(**segment.scale)
        if self.look.curve:
            for line in segment.lines:
                self._remember(line)


def pairs(moment: SourcesMoment) -> zip[tuple[SourceResult, bool]]:
    """The sources of a moment, and whether each is shown."""
    return zip(moment.sources, moment.shown, strict=True)


def _lengthen(spans: list[list[float]], begin: float, end: float) -> None:
    """Add a stretch of time, which may go on where the last one ended."""
    if spans and spans[-1][1] == begin:
        spans[-1][1] = end
    else:
        spans.append([begin, end])


def _round(value: float) -> float:
    return round(float(value), ROUNDING)
