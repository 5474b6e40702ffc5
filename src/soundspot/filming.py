"""A film in, a film out: where its sound comes from, drawn into every frame, with the same sound.

    clip -> stream -> moments -> painter -> pictures (segments) -> join with the clip's sound
                          `----> track lines -----------------------> track file and summary

`film_clip` is the whole of it; `film_job` does the work, so that it can be interrupted.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundspot import __version__
from soundspot.batch import fingerprint
from soundspot.errors import OptionError
from soundspot.files import check_writable, require_file
from soundspot.film_folder import FilmFolder, Segment
from soundspot.film_job import SEGMENT_FRAMES, Artist, FilmJob, FilmReport, FilmTask, Moments
from soundspot.locating import Locator
from soundspot.media.film_pictures import ENCODER_OPTIONS
from soundspot.media.film_writer import check_film_name
from soundspot.media.video import VideoInfo, read_info
from soundspot.render_film import Painter, Scale
from soundspot.streaming import WINDOW, stream
from soundspot.track_file import VERSION, Line, frame_line, summarise

if TYPE_CHECKING:
    from soundspot.localize import Method
    from soundspot.media.image import Picture
    from soundspot.similarity import Similarity
    from soundspot.streaming.moments import Moment


def film_clip(
    task: FilmTask,
    model: Similarity,
    method: str | Method | None = None,
    *,
    device: str = "auto",
    progress: bool = False,
) -> FilmReport:
    """Localize a clip frame by frame, and write what the task asks for.

    Args:
        task: the clip, the outputs and the settings.
        model: what `load` gave, or any `similarity(images, sounds)`.
        method: as for `locate`.
        device: "auto", "cpu", "cuda" or "mps".
        progress: a bar on standard error, with frames a second and the time left.

    Raises:
        MediaError: the clip has no pictures or no sound, or is damaged (what came before is kept
            in the folder, and in the outputs with `keep_partial`); or the disk refuses.
        OptionError: an option out of range, an output that is read from, or an unfinished film of
            other settings in the way.
        MethodError: the method cannot work on this model.
    """
    check_outputs(task)
    info = read_info(task.clip)
    locator = Locator(model, method, device=device, threshold=task.threshold, visible=task.visible)
    moments = _stream_of(task, locator, device)
    header = header_of(task, locator, (info.width, info.height), _windows(task, locator))
    artist = _Heat(task, info, locator)
    with folder_of(task, settings_of(task, locator, header)) as folder:
        return FilmJob(task, info, header, folder, moments, artist).run(progress)


def check_outputs(task: FilmTask) -> None:
    """Refuse what cannot be written.

    Raises:
        OptionError: an output is read from, written twice, or has no film's name.
        MediaError: the disk refuses.
    """
    if task.film is not None:
        check_film_name(task.film)
    outputs = _outputs(task)
    if len({path.resolve() for path in outputs}) < len(outputs):
        raise OptionError(f"{task.tracks}: is written twice; write to another file")
    for path in outputs:
        if path.resolve() in (task.clip.resolve(), task.sound and task.sound.resolve()):
            raise OptionError(f"{path}: is read from; write to another file")
        check_writable(path)


def _outputs(task: FilmTask) -> list[Path]:
    return [path for path in (task.film, task.tracks) if path is not None]


@contextlib.contextmanager
def folder_of(task: FilmTask, settings: Mapping[str, Any]) -> Iterator[FilmFolder]:
    """Where parts of the film are kept: beside its first output.

    Raises:
        OptionError: there are parts of other settings.
    """
    with contextlib.ExitStack() as stack:
        outputs = _outputs(task)
        if outputs:
            beside = outputs[0]
        else:
            beside = Path(stack.enter_context(tempfile.TemporaryDirectory())) / task.clip.name
        yield FilmFolder(beside, settings)


class _Heat(Artist["Moment"]):
    """One source: heat over the pictures, boxes with numbers, the curve."""

    def __init__(self, task: FilmTask, info: VideoInfo, locator: Locator) -> None:
        size, span = (info.width, info.height), (task.start, min(info.seconds, task.stop or inf))
        self.canvas_size = task.look.canvas(size)
        scale = Scale.for_cut(locator.threshold)
        self.painter = Painter(task.look, size, scale, locator.visible, span)

    @property
    def canvas(self) -> tuple[int, int]:
        return self.canvas_size

    def see(self, moment: Moment) -> Callable[[], Picture]:
        return self.painter.see(moment)

    def line(self, moment: Moment) -> Line:
        return frame_line(moment)

    def summary(self, lines: Iterator[Line], end: float) -> Line:
        return summarise(lines, end)

    def scale(self) -> dict[str, Any]:
        return self.painter.scale.json()

    def take_up(self, segment: Segment) -> None:
        self.painter.scale = Scale(**segment.scale)
        for line in segment.lines:
            self.painter.remember(line["time"], line["confidence"])


def _stream_of(task: FilmTask, locator: Locator, device: str) -> Moments[Moment]:
    def moments(resume: Mapping[str, Any] | None) -> Iterator[Moment]:
        return stream(
            task.clip,
            task.sound,
            locator.model,
            locator.method,
            window=task.window,
            hop=task.hop,
            every=task.every,
            start=task.start,
            stop=task.stop,
            smooth=task.smooth,
            batch=task.batch,
            threshold=task.threshold,
            visible=task.visible,
            device=device,
            resume=resume,
        )

    return moments


def header_of(
    task: FilmTask, locator: Locator, size: tuple[int, int], more: Mapping[str, Any]
) -> Line:
    """The first line of the track file; `more` is what only some films have."""
    return {
        "soundspot": __version__,
        "kind": "tracks",
        "version": VERSION,
        "film": task.clip.name,
        "sound": None if task.sound is None else task.sound.name,
        "size": list(size),
        "model": locator.facts.name,
        "method": repr(locator.method),
        "calibrated": locator.facts.calibration is not None,
        "start": task.start,
        "stop": task.stop,
        **more,
        "threshold": locator.threshold,
        "visible_from": locator.visible,
    }


def _windows(task: FilmTask, locator: Locator) -> dict[str, Any]:
    """How the film of one source looks and listens."""
    return {
        "window": min(WINDOW, locator.facts.seconds) if task.window is None else task.window,
        "hop": task.hop,
        "every": task.every,
        "smooth": task.smooth,
    }


def settings_of(task: FilmTask, locator: Locator, header: Line) -> dict[str, Any]:
    """All that the parts of a film depend on."""
    inputs = [path for path in (task.clip, task.sound) if path is not None]
    return {
        **header,
        "inputs": [_identity(path) for path in inputs],
        "weights": fingerprint(locator.model),
        "film": task.film is not None,
        "look": asdict(task.look),
        "encoder": ENCODER_OPTIONS,
        "segment": SEGMENT_FRAMES,
    }


def _identity(path: Path) -> list[Any]:
    """A file's place, size and time of change: another file is told apart."""
    found = require_file(path).stat()
    return [os.fspath(path.resolve()), found.st_size, found.st_mtime_ns]
