"""A film with each of its sources in a colour of its own, and the track file of them.

As `filming`, whose job does the work: it can be interrupted and goes on. The sources are fitted to
the same frames and the same sound when it goes on, so they are the same sources, and sound the
same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from soundspot.errors import OptionError
from soundspot.film_colours import Colours
from soundspot.film_job import FilmJob, FilmTask
from soundspot.filming import check_outputs, folder_of, header_of, settings_of
from soundspot.locating import Locator
from soundspot.media.video import read_info
from soundspot.render_film import Look
from soundspot.several.film import SourcesMoment, Stretch, source_moments

if TYPE_CHECKING:
    from soundspot.localize import Method
    from soundspot.separating import Separated
    from soundspot.similarity import Similarity
    from soundspot.track_file import Line


@dataclass(frozen=True)
class FilmedSource:
    """One source of a film.

    Args:
        number: 1 for the surest, and so on.
        confidence: the highest of any frame.
        stretches: (from, to) in seconds where it is seen and heard.
        sound: what it sounds like from start to stop, where that was asked for.
    """

    number: int
    confidence: float
    stretches: tuple[tuple[float, float], ...]
    sound: Separated | None = field(default=None, compare=False, repr=False)

    def json(self) -> dict[str, Any]:
        """Plain data."""
        spans = [[round(a, 3), round(b, 3)] for a, b in self.stretches]
        share = {} if self.sound is None else {"sound_share": round(self.sound.share, 4)}
        told = {"source": self.number, "confidence": round(self.confidence, 4), "sounds": spans}
        return {**told, **share}

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
    sound: str | Path | None = None,
    tracks: str | Path | None = None,
    look: Look | None = None,
    listen: bool = False,
    every: int = 1,
    start: float = 0.0,
    stop: float | None = None,
    threshold: float | None = None,
    visible: float | None = None,
    device: str = "auto",
    progress: bool = False,
) -> list[FilmedSource]:
    """Locate several sources in each frame of a clip; a job that was stopped goes on.

    Args:
        clip: a video, of at most `several.film.LONGEST` seconds from start to stop.
        model: a two-tower model, such as the default.
        film: where to write the film; None: none.
        sources: how many, 1 to 4, or "auto".
        method: how maps are made; None: the model's own.
        sound: in place of the clip's own, on the clip's clock.
        tracks: where to write the track file, whose ids are the sources' numbers; None: none.
        look: how the film is drawn; None: as `Look()`.
        listen: separate each source's sound too.
        every: judge each so-many-th frame; those between are drawn as the one before.
        start: seconds of the clip, and of the sound.
        stop: likewise; None: the end.
        threshold: raw map value at which maps are cut; None: the calibrated one.
        visible: confidence from which a source is called visible; None: the model's own.
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
    task = FilmTask(
        Path(clip),
        _path(film),
        _path(tracks),
        _path(sound),
        look=look or Look(),
        start=start,
        stop=stop,
        every=every,
        threshold=threshold,
        visible=visible,
    )
    return _film(task, model, sources, method, listen=listen, device=device, progress=progress)


def _film(
    task: FilmTask,
    model: Similarity,
    sources: int | Literal["auto"],
    method: str | Method | None,
    *,
    listen: bool,
    device: str,
    progress: bool,
) -> list[FilmedSource]:
    check_outputs(task)
    info = read_info(task.clip)
    stretch = Stretch.of(task.clip, info, task.start, task.stop, task.sound)
    cuts = {"threshold": task.threshold, "visible": task.visible}
    locator = Locator(model, method, device=device, **cuts)
    sounds: list[Separated] = []

    def moments(state: Mapping[str, Any] | None) -> Iterator[SourcesMoment]:
        found = stretch.fit(model, sources, method, device=device, **cuts)
        if listen:
            sounds.extend(found.sounds())
        yield from source_moments(found, stretch, task.every, state)

    header = header_of(task, locator, stretch.size, {"every": task.every, "sources": sources})
    artist = Colours(task.look, stretch, task.every, locator)
    with folder_of(task, settings_of(task, locator, header)) as folder:
        report = FilmJob(task, info, header, folder, moments, artist).run(progress)
    return [_filmed(one, sounds) for one in report.summary["sources"]]


def _path(name: str | Path | None) -> Path | None:
    return None if name is None else Path(name)


def _filmed(said: Line, sounds: list[Separated]) -> FilmedSource:
    number = said["source"]
    stretches = tuple((a, b) for a, b in said["sounds"])
    return FilmedSource(
        number, said["confidence"], stretches, sounds[number - 1] if sounds else None
    )
