"""A film in, a film out: where its sound comes from, drawn into every frame, with the same sound.

    clip -> stream -> moments -> painter -> pictures (segments) -> join with the clip's sound
                          `----> track lines -----------------------> track file and summary

`film_clip` is the whole of it; `film_job` does the work, so that it can be interrupted.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundspot import __version__
from soundspot.batch import fingerprint
from soundspot.errors import OptionError
from soundspot.files import check_writable, require_file
from soundspot.film_folder import FilmFolder
from soundspot.film_job import SEGMENT_FRAMES, FilmJob, FilmReport, FilmTask, Moments
from soundspot.locating import Locator
from soundspot.media.film_pictures import ENCODER_OPTIONS
from soundspot.media.film_writer import check_film_name
from soundspot.media.video import VideoInfo, read_info
from soundspot.streaming import WINDOW, stream
from soundspot.track_file import VERSION, Line

if TYPE_CHECKING:
    from soundspot.localize import Method
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
    outputs = [path for path in (task.film, task.tracks) if path is not None]
    if task.film is not None:
        check_film_name(task.film)
    for path in outputs:
        if path.resolve() in (task.clip.resolve(), task.sound and task.sound.resolve()):
            raise OptionError(f"{path}: is read from; write to another file")
        check_writable(path)
    info = read_info(task.clip)
    locator = Locator(model, method, device=device, threshold=task.threshold, visible=task.visible)
    moments = _stream_of(task, locator, device)
    header = _header(task, locator, info)
    with contextlib.ExitStack() as stack:
        if outputs:
            beside = outputs[0]
        else:
            beside = Path(stack.enter_context(tempfile.TemporaryDirectory())) / task.clip.name
        folder = FilmFolder(beside, _settings(task, locator, header))
        visible, cut = locator.visible, locator.threshold
        return FilmJob(task, info, header, folder, moments, visible=visible, cut=cut).run(progress)


def _stream_of(task: FilmTask, locator: Locator, device: str) -> Moments:
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


def _header(task: FilmTask, locator: Locator, info: VideoInfo) -> Line:
    """The first line of the track file."""
    return {
        "soundspot": __version__,
        "kind": "tracks",
        "version": VERSION,
        "film": task.clip.name,
        "sound": None if task.sound is None else task.sound.name,
        "size": [info.width, info.height],
        "model": locator.facts.name,
        "method": repr(locator.method),
        "calibrated": locator.facts.calibration is not None,
        "start": task.start,
        "stop": task.stop,
        "window": min(WINDOW, locator.facts.seconds) if task.window is None else task.window,
        "hop": task.hop,
        "every": task.every,
        "smooth": task.smooth,
        "threshold": locator.threshold,
        "visible_from": locator.visible,
    }


def _settings(task: FilmTask, locator: Locator, header: Line) -> dict[str, Any]:
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
