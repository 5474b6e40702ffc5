"""Frames on their way to the model: numbered, chosen, and made ready beside the work.

Which frames are judged is said by their number, counted from the first one: each `every`-th, and
any whose size differs from the frame judged before it. A judged frame is brought to the size in
which the model sees it here, where frames are decoded: in a thread that runs ahead of the model by
at most `AHEAD_BYTES` of pictures. FFmpeg, Pillow and torch let go of Python's lock while
they compute, so decoding costs the model little time.

Frames that are given (not a file) are taken one by one, when they are needed, in the caller's
thread: who makes them decides when.
"""

from __future__ import annotations

import math
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from soundspot.checks import is_number
from soundspot.errors import MediaError
from soundspot.media import video
from soundspot.media.image import as_picture
from soundspot.media.kinds import kind_of
from soundspot.streaming.shots import Shots

AHEAD_BYTES = 50_000_000
"""Of pictures that wait for the model."""
FEWEST_AHEAD, MOST_AHEAD = 2, 32
"""Frames that may wait, whatever their size."""
PATIENCE = 0.1
"""Seconds between looks at whether anybody still wants frames."""

PATIENCE_AT_END = 5.0
"""Seconds to wait for the reading thread when nobody wants frames any more."""

TIMED = "give a video's path, or pairs (time in seconds, picture)"
"""What a stream is made of."""

Picture = NDArray[np.uint8]
NO_PICTURE: Picture = np.zeros((0, 0, 3), np.uint8)


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame.

    Args:
        number: counted from the first frame of the film or range, 0.
        index: how many frames have been judged before it; of a frame that is not judged, the
            index of the judged one before.
        time: seconds.
        picture: upright, H W 3.
        fitted: the picture as the model sees it (`Locator.fit`); None: this frame is not judged.
        shot: running number of the shot it belongs to.
        changes: by how much the frames up to it differed, for finding the next cut.
    """

    number: int
    index: int
    time: float
    picture: Picture
    fitted: Picture | None
    shot: int = 0
    changes: tuple[float, ...] = ()

    def bare(self) -> Frame:
        """The frame without its pictures, which are large."""
        return replace(self, picture=NO_PICTURE, fitted=None)


@dataclass(frozen=True)
class Place:
    """A judged frame from which a film can be read on: what `Frame` says, without pictures."""

    number: int = 0
    index: int = 0
    time: float = 0.0
    changes: tuple[float, ...] = ()

    @classmethod
    def of(cls, frame: Frame) -> Self:
        """The place of a frame."""
        return cls(frame.number, frame.index, frame.time, frame.changes)


def read_film(
    path: str | os.PathLike[str], start: float, stop: float | None, place: Place | None
) -> Iterator[tuple[float, Picture]]:
    """Frames of a file from `start`, or from a place noted before."""
    begin = start if place is None else place.time
    if stop is not None and stop <= begin:
        return iter(())
    return video.frames(path, begin, stop)


def take_given(
    frames: Iterable[tuple[float, Any]], start: float, stop: float | None, place: Place | None
) -> Iterator[tuple[float, Picture]]:
    """Frames that were given, from `start` (or a place noted before) until `stop`.

    Raises:
        MediaError: they are no pairs (time in seconds, picture).
    """
    begin = start if place is None else place.time
    if not isinstance(frames, Iterable):
        raise MediaError(f"the frames are {kind_of(frames)}; {TIMED}")
    for frame in frames:
        if not (isinstance(frame, tuple | list) and len(frame) == 2 and is_number(frame[0])):
            raise MediaError(f"a frame is {kind_of(frame)}; {TIMED}")
        time, picture = frame
        if stop is not None and time >= stop:
            return
        if time >= begin:
            yield float(time), as_picture(picture)


def numbered(
    frames: Iterable[tuple[float, Picture]],
    fit: Callable[[Picture], Picture],
    every: int,
    place: Place | None,
) -> Generator[Frame]:
    """Number frames, choose which are judged, and bring these to the model's size.

    Raises:
        MediaError: a time is no number, or lies before the one that came before it.
    """
    place = place or Place()
    shots = Shots(place.changes)
    index, last, shape = place.index - 1, -math.inf, None
    for number, (time, picture) in enumerate(frames, place.number):
        if not last <= time < math.inf:
            where = "its beginning" if math.isinf(last) else f"{last:.3f} s"
            raise MediaError(
                f"a frame at {time:.3f} s comes after {where}; times must be finite and never go "
                "back"
            )
        last = time
        judged = number % every == 0 or picture.shape != shape
        if judged:
            shape, index = picture.shape, index + 1
        fitted = fit(picture) if judged else None
        shot = shots.see(picture)
        yield Frame(number, index, time, picture, fitted, shot, shots.changes)
    if last == -math.inf and place == Place():
        raise MediaError("there is not one frame to judge; give at least one within start and stop")


def ahead(frames: Generator[Frame]) -> Generator[Frame]:
    """Read frames in a thread of their own, a bounded number ahead of who asks for them."""
    line: queue.Queue[Frame | BaseException | None] = queue.Queue(FEWEST_AHEAD)
    unwanted = threading.Event()
    reader = threading.Thread(
        target=_read, args=(frames, line, unwanted), name="soundspot-frames", daemon=True
    )
    reader.start()
    try:
        while (item := line.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        unwanted.set()
        reader.join(PATIENCE_AT_END)


def _read(
    frames: Generator[Frame],
    line: queue.Queue[Frame | BaseException | None],
    unwanted: threading.Event,
) -> None:
    last: BaseException | None = None
    try:
        for frame in frames:
            line.maxsize = _room(frame)
            if not _put(line, frame, unwanted):
                break
    except BaseException as error:  # noqa: BLE001 raised again by who reads the line
        last = error
    frames.close()
    _put(line, last, unwanted)


def _room(frame: Frame) -> int:
    return max(FEWEST_AHEAD, min(MOST_AHEAD, AHEAD_BYTES // max(1, frame.picture.nbytes)))


def _put(
    line: queue.Queue[Frame | BaseException | None],
    item: Frame | BaseException | None,
    unwanted: threading.Event,
) -> bool:
    """Wait for room; False where nobody wants frames any more."""
    while not unwanted.is_set():
        try:
            line.put(item, timeout=PATIENCE)
        except queue.Full:
            continue
        return True
    return False
