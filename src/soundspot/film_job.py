"""The job that makes a film: segment after segment, then all of them put together.

The work is cut into segments of `SEGMENT_FRAMES`. A job that is killed goes on behind the last
whole one when the same command is given again, and ends with the same track file, byte by byte,
and the same drawn frames as one that ran through: the stream's state, the scale of the heat and
the curve's past are kept with each segment, and each segment starts with a key frame either way.
(x264 may code equal frames in a few other bytes, in two runs that nobody stopped, too.) While a
segment's pictures are drawn and encoded in one thread, the next are localized in another.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from tqdm import tqdm

from soundspot.errors import MediaError
from soundspot.files import one_line, write_beside
from soundspot.film_folder import FilmFolder, Segment
from soundspot.media.film_pictures import KEY_EVERY, PictureFile
from soundspot.media.film_sound import SoundPlan, plan_sound
from soundspot.media.film_writer import SoundFrom, join, pictures_end
from soundspot.media.video import VideoInfo
from soundspot.render_film import Look
from soundspot.streaming import HOP, SMOOTH
from soundspot.track_file import Line, track_text

if TYPE_CHECKING:
    from soundspot.media.image import Picture

SEGMENT_FRAMES = KEY_EVERY
"""About ten seconds of film: what a killed job loses at most."""


@dataclass(frozen=True)
class FilmTask:
    """What is asked for.

    Args:
        clip: the video.
        film: where to write the film; None: no film.
        tracks: where to write the track file; None: none.
        sound: a sound in place of the clip's own.
        look: how the film is drawn.
        start: seconds of the clip.
        stop: likewise; None: its end.
        window: seconds of sound a frame is judged with; None: the stream's own choice.
        hop: seconds from one window to the next.
        every: judge each so-many-th frame.
        smooth: seconds to either side over which answers are averaged.
        batch: pictures at a time; None: the stream's own choice.
        threshold: raw map value at which maps are cut; None: the calibrated one.
        visible: confidence from which a source is called visible; None: the model's own.
        keep_partial: of a clip that breaks off, keep what came before.
    """

    clip: Path
    film: Path | None = None
    tracks: Path | None = None
    sound: Path | None = None
    look: Look = field(default_factory=Look)
    start: float = 0.0
    stop: float | None = None
    window: float | None = None
    hop: float = HOP
    every: int = 1
    smooth: float = SMOOTH
    batch: int | None = None
    threshold: float | None = None
    visible: float | None = None
    keep_partial: bool = False


@dataclass(frozen=True)
class FilmReport:
    """How it went.

    Args:
        header: the track file's first line.
        summary: its last one.
        frames: of the film, judged or not.
        sound: what became of the sound; None where no film was written.
        broken: why only a part was kept.
    """

    header: Line
    summary: Line
    frames: int
    sound: SoundPlan | None = None
    broken: MediaError | None = None

    def json(self) -> Line:
        """Plain data, documented in `docs/formats.md`."""
        broken = None if self.broken is None else one_line(self.broken)
        copied = None if self.sound is None else self.sound.copied
        return {
            **self.header,
            "frames": self.frames,
            **self.summary,
            "sound_copied": copied,
            "broken": broken,
        }


class Shown(Protocol):
    """What is said of one frame."""

    @property
    def time(self) -> float:
        """When the frame is shown, in seconds."""
        ...

    @property
    def repeated(self) -> bool:
        """Whether the frame was not judged: the answer is that of one before."""
        ...

    @property
    def state(self) -> dict[str, Any]:
        """From which the rest can be had."""
        ...


T = TypeVar("T", bound=Shown)
Moments = Callable[[Mapping[str, Any] | None], Iterator[T]]
"""Moments from the beginning, or behind a state."""


class Artist(ABC, Generic[T]):
    """What becomes of moments: pictures of the film, and lines of the track file."""

    @property
    @abstractmethod
    def canvas(self) -> tuple[int, int]:
        """Width and height of the film's pictures."""

    @abstractmethod
    def see(self, moment: T) -> Callable[[], Picture]:
        """Note a moment; what it returns draws it, once those before are drawn."""

    @abstractmethod
    def line(self, moment: T) -> Line:
        """What the track file says of a judged frame."""

    @abstractmethod
    def summary(self, lines: Iterator[Line], end: float) -> Line:
        """What it says of a film that ends at `end` seconds."""

    @abstractmethod
    def scale(self) -> dict[str, Any]:
        """What pictures depend on besides their moment, as plain data."""

    @abstractmethod
    def take_up(self, segment: Segment) -> None:
        """Go on behind a segment that is done."""


class FilmJob(Generic[T]):
    """One film on its way.

    Args:
        task: what is asked for.
        info: of the clip.
        header: of the track file.
        folder: where segments are kept.
        moments: of the clip.
        artist: what becomes of them.
    """

    def __init__(
        self,
        task: FilmTask,
        info: VideoInfo,
        header: Line,
        folder: FilmFolder,
        moments: Moments[T],
        artist: Artist[T],
    ) -> None:
        self.task, self.info, self.header, self.folder = task, info, header, folder
        self.moments, self.artist = moments, artist
        self.done = self.frames = 0
        self.last = task.start
        self.state: dict[str, Any] | None = None

    def run(self, progress: bool) -> FilmReport:
        """Go on with what the folder holds, to the end; then put it together."""
        self._take_up()
        try:
            broken = self._work(progress)
        except BaseException:
            self._leave()
            raise
        if broken is not None and not (self.task.keep_partial and self.done):
            raise self._kept(broken)
        report = self._put_together(broken)
        self.folder.remove()
        return report

    def _leave(self) -> None:
        """Keep the folder only where something was done."""
        if not self.done:
            self.folder.remove()

    def _take_up(self) -> None:
        for segment in self.folder.segments():
            self._count(segment)
            self.artist.take_up(segment)

    def _count(self, segment: Segment) -> None:
        self.done, self.frames = self.done + 1, self.frames + segment.frames
        self.state, self.last = segment.state, segment.last

    def _work(self, progress: bool) -> MediaError | None:
        """Segment after segment; returns what breaks the clip off, if anything does."""
        with contextlib.closing(_Whole(self.moments(self.state))) as whole:
            if whole.more():  # what is wrong from the start is said without a bar
                with self._bar(progress) as bar:
                    while whole.more():
                        self._segment(itertools.islice(whole, SEGMENT_FRAMES), bar)
        return whole.broken

    def _bar(self, progress: bool) -> tqdm[Any]:
        seconds = min(self.info.seconds, self.task.stop or math.inf) - self.task.start
        expected = max(self.frames, round(seconds * self.info.rate))
        return tqdm(total=expected, initial=self.frames, unit="frame", disable=not progress)

    def _segment(self, moments: Iterator[T], bar: tqdm[Any]) -> None:
        lines: list[Line] = []
        count, last = 0, None
        with self._pictures() as pictures:
            for last in moments:
                if not last.repeated:
                    lines.append(self.artist.line(last))
                if pictures is not None:
                    pictures.write(last.time, self.artist.see(last))
                count += 1
                bar.update()
        if last is not None:
            segment = Segment(lines, last.state, self.artist.scale(), count, last.time)
            self.folder.finish(self.done, segment)
            self._count(segment)

    @contextlib.contextmanager
    def _pictures(self) -> Iterator[PictureFile | None]:
        if self.task.film is None:
            yield None
            return
        with (
            write_beside(self.folder.pictures(self.done)) as beside,
            PictureFile(beside, self.artist.canvas, self.info.rate, self.task.start) as pictures,
        ):
            yield pictures

    def _kept(self, broken: MediaError) -> MediaError:
        """What to say where nothing is written."""
        if not self.done:
            self._leave()
            return broken
        kept = f"the {self.frames} frames before it are in {self.folder.name}"
        return MediaError(f"{broken}; {kept}: give --keep-partial to have them as a film")

    def _put_together(self, broken: MediaError | None) -> FilmReport:
        end = self._end(broken)
        summary = self.artist.summary(self._lines(), end)
        plan = None
        if self.task.film is not None:
            plan = plan_sound(self.task.sound or self.task.clip, self.task.film)
            parts = [self.folder.pictures(number) for number in range(self.done)]
            join(parts, self.task.film, self._sound(end, broken), end - self.task.start)
        if self.task.tracks is not None:
            with write_beside(self.task.tracks) as beside, beside.open("w") as file:
                file.writelines(track_text(self.header, self._lines(), summary))
        return FilmReport(self.header, summary, self.frames, plan, broken)

    def _lines(self) -> Iterator[Line]:
        for segment in self.folder.segments():
            yield from segment.lines

    def _end(self, broken: MediaError | None) -> float:
        """Where the last frame ends, in seconds of the clip."""
        known = None if broken else pictures_end(self.task.clip)
        end = self.last + 1 / self.info.rate if known is None else max(known, self.last)
        return min(end, self.task.stop or math.inf)

    def _sound(self, end: float, broken: MediaError | None) -> SoundFrom:
        """The film's sound: all of the clip's own, or as much of another as there are pictures."""
        clip = self.task.sound or self.task.clip
        whole = self.task.sound is None and self.task.stop is None and broken is None
        return SoundFrom(clip, self.task.start, math.inf if whole else end, broken is not None)


class _Whole(Generic[T]):
    """Moments up to where the clip breaks off; `more` looks one ahead."""

    def __init__(self, moments: Iterator[T]) -> None:
        self._moments = moments
        self._next: T | None = None
        self.broken: MediaError | None = None

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        moment = self._next if self.more() else None
        if moment is None:
            raise StopIteration
        self._next = None
        return moment

    def more(self) -> bool:
        """Whether there is another one."""
        if self._next is None and self.broken is None:
            try:
                self._next = next(self._moments, None)
            except MediaError as error:
                self.broken = error
        return self._next is not None

    def close(self) -> None:
        """Let go of the clip."""
        if isinstance(self._moments, Generator):
            self._moments.close()
