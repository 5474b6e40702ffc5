"""Track files: what was found in each judged frame of a film, one JSON object a line.

    {"kind": "tracks", "version": 1, "film": "clip.mp4", ...}
    {"time": 0.0, "index": 0, "visible": true, "confidence": 0.93, "boxes": [{"id": 1, ...}]}
    ...
    {"summary": {"judged": 300, "tracks": [{"id": 1, "intervals": [[0.0, 3.2]], ...}], ...}}

Lines can be read while the file grows, and a file cut short is good up to its last line. An answer
holds from its frame's time to the next judged frame's, the last one to the film's end: so are
seconds counted and intervals closed. Nothing in a track file depends on how long the work took, so
the same film with the same settings gives the same bytes.

All keys: `docs/formats.md`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundspot.errors import DataError
from soundspot.files import one_line, require_file
from soundspot.result import ROUNDING

if TYPE_CHECKING:
    from soundspot.streaming.moments import Moment

VERSION = 1
TIME_ROUNDING = 6
"""Decimals of seconds."""
SHOWN_INTERVALS = 4
"""Of each track, in the summary for people."""
SHOWN_TRACKS = 8

Line = dict[str, Any]


def frame_line(moment: Moment) -> Line:
    """What a track file says of a judged frame."""
    return {
        "time": round(moment.time, TIME_ROUNDING),
        "index": moment.index,
        "visible": bool(moment.result.visible),
        "confidence": round(moment.result.confidence, ROUNDING),
        "boxes": [
            {"id": t.id, "box": [int(v) for v in t.box], "score": round(float(t.score), ROUNDING)}
            for t in moment.tracks
        ],
    }


@dataclass
class _Track:
    """One id while frames are counted."""

    id: int
    intervals: list[list[float]] = field(default_factory=list)
    frames: int = 0
    scores: float = 0.0
    best: Line = field(default_factory=dict)

    def add(self, box: Line, begin: float, end: float) -> None:
        if self.intervals and self.intervals[-1][1] == begin:
            self.intervals[-1][1] = end
        else:
            self.intervals.append([begin, end])
        self.frames += 1
        self.scores += box["score"]
        if box["score"] > self.best.get("score", -1):
            self.best = {"time": begin, "box": box["box"], "score": box["score"]}

    def json(self) -> Line:
        seconds = sum(end - begin for begin, end in self.intervals)
        return {
            "id": self.id,
            "intervals": self.intervals,
            "seconds": round(seconds, TIME_ROUNDING),
            "score": round(self.scores / self.frames, ROUNDING),
            "best": self.best,
        }


def summarise(lines: Iterable[Line], end: float) -> Line:
    """Who sounded when: the summary of frame lines of a film that ends at `end` seconds."""
    tracks: dict[int, _Track] = {}
    judged, seconds, visible, confidence = 0, 0.0, 0.0, 0.0
    for line, until in _lasting(lines, end):
        lasts = until - line["time"]
        judged += 1
        seconds += lasts
        visible += lasts * line["visible"]
        confidence += lasts * line["confidence"]
        for box in line["boxes"]:
            tracks.setdefault(box["id"], _Track(box["id"])).add(box, line["time"], until)
    return {
        "judged": judged,
        "seconds": round(seconds, TIME_ROUNDING),
        "visible": round(visible / seconds, ROUNDING) if seconds else 0.0,
        "confidence": round(confidence / seconds, ROUNDING) if seconds else 0.0,
        "tracks": [tracks[number].json() for number in sorted(tracks)],
    }


def _lasting(lines: Iterable[Line], end: float) -> Iterator[tuple[Line, float]]:
    """Each line and until when it holds."""
    held: Line | None = None
    for line in lines:
        if held is not None:
            yield held, line["time"]
        held = line
    if held is not None:
        yield held, max(held["time"], round(end, TIME_ROUNDING))


def track_text(header: Mapping[str, Any], lines: Iterable[Line], summary: Line) -> Iterator[str]:
    """A track file, line by line."""
    for line in (dict(header), *lines, {"summary": summary}):
        yield json.dumps(line) + "\n"


@dataclass(frozen=True)
class TrackFile:
    """A track file that was read; `summary` is None where the file was cut short."""

    header: Line
    frames: list[Line]
    summary: Line | None


def read_tracks(path: str | os.PathLike[str]) -> TrackFile:
    """Read a track file; a last line that is cut short is left out.

    Raises:
        MediaError: no such file.
        DataError: it is no track file, or of a version that is not known.
    """
    name = one_line(path)
    header: Line | None = None
    frames: list[Line] = []
    text = Path(require_file(path)).read_text(errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        try:
            data = json.loads(line)
        except ValueError as error:
            if number > 1 and number == text.count("\n") + 1:
                break
            raise DataError(f"{name}:{number}: is not JSON; give a track file") from error
        if header is None:
            header = _checked_header(data, name)
        elif "summary" in data:
            return TrackFile(header, frames, data["summary"])
        else:
            frames.append(data)
    return TrackFile(header or {}, frames, None)


def _checked_header(data: object, name: str) -> Line:
    if not isinstance(data, dict) or data.get("kind") != "tracks":
        raise DataError(f"{name}:1: has no header of a track file; write one with --tracks")
    if data.get("version") != VERSION:
        raise DataError(f"{name}:1: is of version {data.get('version')}; this reads {VERSION}")
    return data


def summary_text(summary: Line) -> str:
    """The summary for people, one line a track."""
    share = f"{100 * summary['visible']:.0f} %"
    first = (
        f"{summary['seconds']:.1f} s in {summary['judged']} judged frames: a visible source "
        f"{share} of the time, mean confidence {summary['confidence']:.2f}"
    )
    longest = sorted(summary["tracks"], key=lambda t: -t["seconds"])
    lines = [first, *(_track_text(track) for track in longest[:SHOWN_TRACKS])]
    left = len(longest) - SHOWN_TRACKS
    return "\n".join(lines + ([f"  and {left} shorter ones"] if left > 0 else []))


def _track_text(track: Line) -> str:
    spans = [f"{begin:.1f}-{end:.1f}" for begin, end in track["intervals"]]
    more = " ..." if len(spans) > SHOWN_INTERVALS else ""
    best = track["best"]
    return (
        f"  #{track['id']}: {', '.join(spans[:SHOWN_INTERVALS])}{more} s, score "
        f"{track['score']:.2f}, best at {best['time']:.1f} s in {best['box']}"
    )
