"""A film, or anything that comes frame by frame, localized with the sound around each frame.

    frames: chosen, squeezed ----.
                                 |--> evidence --> smoothed over time --> boxes --> tracks
    sound: windows, heard once --'

Everything is a generator on the one before: nothing is kept longer than the smoothing looks, and
memory does not grow with the film. What breaks upstream ends the stream for who is downstream, so
that all frames before the damage are answered; then it is raised.

**How much sound.** On the val pairs of the data pack (100 true pairs against 100 with a sound from
elsewhere; a random part of each sound, by the default model's similarity), AUROC:

| seconds of sound | 0.5 | 1 | 2 | 3 | 5 |
|---|---|---|---|---|---|
| then zeros | 0.57 | 0.76 | 0.78 | 0.82 | 0.86 |
| repeated, as here | 0.78 | 0.80 | 0.82 | 0.83 | 0.86 |

Longer windows know more and follow events less. On the six clips with their own sound, the logit of
the confidence moves by 0.3 (mean) in 0.2 s with windows of 0.5 s, by 0.16 with 1 s, 0.15 with 2 s
and no less with more. So: 2 s, heard each 0.5 s, and frames 0.5 s to either side are averaged, just
enough to blend one window into the next. `benchmarks/streaming.py` prints these numbers.
"""

from __future__ import annotations

import math
import os
import time as clock
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from soundspot.checks import is_number, is_whole
from soundspot.errors import MediaError
from soundspot.facts import Calibration
from soundspot.localize import Method
from soundspot.locating import LocalEvidence, Locator
from soundspot.media.sound_track import SoundSource, SoundTrack
from soundspot.streaming.hearing import Heard, Hearing, Windows
from soundspot.streaming.looking import (
    Frame,
    Picture,
    Place,
    ahead,
    numbered,
    read_film,
    take_given,
)
from soundspot.streaming.moments import Moment
from soundspot.streaming.settings import Settings, State, require
from soundspot.streaming.smoothing import Seen, Smoothed, smoothed
from soundspot.streaming.tracks import Tracks
from soundspot.watch import frozen

if TYPE_CHECKING:
    from soundspot.maps import FloatMap
    from soundspot.similarity import Similarity

T = TypeVar("T")

WINDOW = 2.0
"""Seconds of sound that a frame is judged with, where the model hears that much."""
HOP = 0.5
"""Seconds from one window to the next."""
SMOOTH = 0.5
"""Seconds to either side of a frame whose frames count."""
BATCH_CPU, BATCH_ACCELERATOR = 2, 16
"""Pictures asked about at a time. A CPU gains nothing from more of them, and pays in memory: with
the default model and method 0.13 GB a picture. One where live frames are given: no answer waits."""
BATCH_BYTES = 50_000_000
"""Of pictures, with those between the judged ones, that one batch may hold."""


def stream(
    frames: str | os.PathLike[str] | Iterable[tuple[float, Any]],
    sound: SoundSource | None = None,
    model: Similarity | None = None,
    method: str | Method | None = None,
    *,
    window: float | None = None,
    hop: float = HOP,
    every: int = 1,
    start: float = 0.0,
    stop: float | None = None,
    smooth: float = SMOOTH,
    live: bool = False,
    batch: int | None = None,
    device: str = "auto",
    threshold: float | None = None,
    visible: float | None = None,
    resume: Mapping[str, Any] | None = None,
) -> Generator[Moment]:
    """Find where the sound comes from in each frame of a film, in bounded memory.

    Args:
        frames: a video's path; or (time in seconds, picture), by time, taken as they are needed.
        sound: a path, (samples, rate), or (iterator of pieces, rate); None: the video's own.
        model: what `load` gave, or any `similarity(images, sounds)`; None: the default model.
        method: as for `locate`.
        window: seconds of sound around a frame; None: 2, or all that the model hears if less.
        hop: seconds from one window to the next.
        every: judge each so-many-th frame; those between repeat the answer before them.
        start: seconds; of a video the first frame is the one shown then.
        stop: seconds; no frame from then on. None: to the end.
        smooth: seconds to either side over which maps and confidence are averaged; 0: not at all.
        live: use nothing after the frame, neither sound nor pictures.
        batch: pictures at a time; answers do not depend on it. None: 2 on a CPU, 16 elsewhere,
            1 for given frames that are live.
        device: "auto", "cpu", "cuda" or "mps".
        threshold: raw map value at which maps are cut; None: the calibrated one.
        visible: confidence from which a source is called visible; None: the model's own.
        resume: the `state` of the last moment that was kept: goes on with the frame after it.

    Raises:
        MediaError: no picture, no sound, or damaged; what came before has been yielded by then.
        OptionError: an option out of range, or `resume` from a stream with other settings.
        MethodError: the method cannot work on this model.
        ModelError: the model breaks a law of similarity, or raises an exception.
    """
    locator = Locator(_model(model), method, device=device, threshold=threshold, visible=visible)
    hears = locator.facts.seconds
    settings = Settings(
        window=min(WINDOW, hears) if window is None else window,
        hop=hop,
        every=every,
        smooth=smooth,
        live=live,
        method=repr(locator.method),
        model=locator.facts.name,
        threshold=locator.threshold,
        visible=locator.visible,
    )
    require(settings.window <= hears, f"window={window} s; this model hears {hears:g} s at once")
    holds = is_number(start) and 0 <= start < math.inf
    require(holds, f"start={start!r} s; it must be 0 or more")
    holds = stop is None or (is_number(stop) and stop > start)
    require(holds, f"stop={stop!r} s must lie after start={start} s")
    is_file = isinstance(frames, str | os.PathLike)
    holds = batch is None or (is_whole(batch) and batch >= 1)
    require(holds, f"batch={batch!r}; it must be 1 or more")
    size = batch or _batch(locator, waits=not live or is_file)
    require(is_file or sound is not None, "given frames have no sound of their own; give sound=...")
    state = None if resume is None else State.from_json(resume, settings)
    place = None if state is None else state.place
    seen = _reader(frames, start, stop, place, locator.fit, every)
    heard = frames if sound is None else sound
    return _moments(locator, settings, seen, heard, size, state)  # type: ignore[arg-type]


def _model(model: Similarity | None) -> Similarity:
    if model is not None:
        return model
    from soundspot.checkpoint import load

    return load()


def _batch(locator: Locator, *, waits: bool) -> int:
    """Pictures at a time where the caller does not say."""
    many = BATCH_CPU if locator.device.type == "cpu" else BATCH_ACCELERATOR
    return many if waits else 1


def _reader(
    frames: str | os.PathLike[str] | Iterable[tuple[float, Any]],
    start: float,
    stop: float | None,
    place: Place | None,
    fit: Callable[[Picture], Picture],
    every: int,
) -> Generator[Frame]:
    """Frames of a file, read in a thread of their own; or those that were given."""
    if isinstance(frames, str | os.PathLike):
        return ahead(numbered(read_film(frames, start, stop, place), fit, every, place))
    return numbered(take_given(frames, start, stop, place), fit, every, place)


def _moments(
    locator: Locator,
    settings: Settings,
    reader: Generator[Frame],
    sound: SoundSource,
    batch: int,
    state: State | None,
) -> Generator[Moment]:
    windows = Windows(settings.window, settings.hop, settings.live)
    rate = locator.facts.sample_rate

    def open_track(after: float) -> SoundTrack:
        return SoundTrack(sound, rate, after)

    hearing = Hearing(locator, windows, open_track, ahead=batch > 1)
    broken = _Broken()
    try:
        seen = broken.until(_judged(locator, hearing, broken.until(reader), batch))
        steady = smoothed(seen, settings.smooth, causal=settings.live)
        yield from _answered(locator, settings, steady, state)
    finally:
        reader.close()
        hearing.close()
    broken.check()


class _Broken:
    """Ends a stream where it breaks, and knows why: who is downstream can finish first."""

    def __init__(self) -> None:
        self.error: MediaError | None = None

    def until(self, items: Iterator[T]) -> Iterator[T]:
        """Items as far as they are whole."""
        try:
            yield from items
        except MediaError as error:
            self.error = self.error or error

    def check(self) -> None:
        """Raise what ended the stream early."""
        if self.error is not None:
            raise self.error


def _chunks(frames: Iterator[Frame], batch: int) -> Iterator[list[Frame]]:
    """Cut a stream after each `batch` judged frames, or sooner where pictures are large.

    A piece begins with a judged frame; others pass alone, so that none waits for the next one.
    """
    chunk: list[Frame] = []
    judged = held = 0
    for frame in frames:
        chunk.append(frame)
        judged += frame.fitted is not None
        held += frame.picture.nbytes
        if judged in (0, batch) or held >= BATCH_BYTES:
            yield chunk
            chunk, judged, held = [], 0, 0
    if chunk:
        yield chunk


def _judged(
    locator: Locator, hearing: Hearing, frames: Iterator[Frame], batch: int
) -> Iterator[Seen | Frame]:
    """Judge frames in batches; those between pass through. Ends where the sound is damaged."""
    for chunk in _chunks(frames, batch):
        wanted = [frame for frame in chunk if frame.fitted is not None]
        with locator.asking():
            heard = hearing.hear([frame.time for frame in wanted]) if wanted else []
            found = iter(_look(locator, wanted[: len(heard)], heard))
        for frame in chunk:
            if frame.fitted is None:
                yield frame
                continue
            evidence = next(found, None)
            if evidence is None:
                break
            yield Seen(replace(frame, fitted=None), *evidence)
        if hearing.damage is not None:
            raise hearing.damage


def _look(
    locator: Locator, frames: Sequence[Frame], heard: Sequence[Heard]
) -> list[tuple[FloatMap, float, bool, float]]:
    """What each frame shows of its sound: map, similarity, silence, and seconds spent.

    Frames of one size whose windows were heard together are asked about in one batch.
    """
    begin = clock.perf_counter()
    found: dict[int, tuple[FloatMap, float]] = {}
    alike: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for i, (frame, h) in enumerate(zip(frames, heard, strict=True)):
        if frame.fitted is not None:
            alike.setdefault((id(h.question), frame.fitted.shape), []).append(i)
    for places in alike.values():
        pictures = [p for i in places if (p := frames[i].fitted) is not None]
        with frozen(locator.model):
            asked = heard[places[0]].question.of([heard[i].row for i in places])
            maps, similarities = locator.explain(asked, locator.look(pictures))
        found |= dict(zip(places, zip(maps, similarities.tolist(), strict=True), strict=True))
    each = (clock.perf_counter() - begin) / max(1, len(heard))
    return [(*found[i], h.silent, each) for i, h in enumerate(heard)]


def _answered(
    locator: Locator,
    settings: Settings,
    stream: Iterator[Smoothed | Frame],
    state: State | None,
) -> Iterator[Moment]:
    """Boxes, tracks and what is needed to go on, for each frame behind the state."""
    tracks = Tracks() if state is None else state.tracks
    done, answered = (-1, 0) if state is None else (state.number, state.index)
    shot = None
    for item in stream:
        frame = item.seen.frame if isinstance(item, Smoothed) else item
        if isinstance(item, Smoothed):
            cut = shot not in (None, frame.shot) and frame.number > done
            shot = frame.shot
            if frame.index < answered:
                continue
            evidence = LocalEvidence(item.map, _confidence(locator, item), item.similarity)
            result = locator.result(frame.picture, evidence, item.seen.seconds)
            tracks, boxes = tracks.follow(frame.time, result.boxes, cut=cut)
            place = Place.of(item.back)
            judged = frame.number
        if frame.number <= done:
            continue
        after = State(settings, frame.number, frame.index, place, tracks)
        shown = replace(result, picture=frame.picture)
        yield Moment(frame.time, frame.index, shown, boxes, frame.number != judged, after.json())


def _confidence(locator: Locator, found: Smoothed) -> float:
    """That a visible source is heard, 0 to 1; 0 in silence."""
    calibration = locator.facts.calibration or Calibration()
    sure = calibration.confidence(torch.tensor([found.similarity], dtype=torch.float64))
    return 0.0 if found.seen.silent else float(sure)
