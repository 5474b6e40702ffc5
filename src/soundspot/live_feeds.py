"""What comes live: the latest picture and all of the sound, from a film played in real time.

Pictures come whether or not anybody has time for them. They wait in a slot that holds one, the
latest: a machine that is too slow answers fewer frames, and is never behind (`LatestFrame`). Sound
must not be dropped, its place is its time. Camera and microphone (`live_devices`) come the same
way. Times are seconds since the feed began.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time as clock
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import av

from soundspot.errors import MediaError
from soundspot.files import one_line
from soundspot.media import video
from soundspot.media.sound_track import SoundSource

if TYPE_CHECKING:
    from soundspot.media.image import Picture

LATE = 5.0
"""Seconds to wait for a feeding thread at the end."""


class LatestFrame:
    """A slot for one picture: who puts never waits, who takes gets the latest, each once.

    For pictures that come on their own, such as a robot's: put them in one thread, and give the
    slot to `soundspot.stream(..., live=True)` in another (docs/video.md).
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._changed = threading.Condition()
        self._held: tuple[float, Picture | Callable[[], Picture]] | None = None
        self._ended = False
        self._error: BaseException | None = None

    def put(self, time: float, picture: Picture | Callable[[], Picture]) -> bool:
        """Replace what is held; False where nobody takes any more.

        Args:
            time: seconds, on the clock of the sound.
            picture: H W 3, uint8; or what makes it, called only if it is taken.
        """
        with self._changed:
            self.dropped += self._held is not None and not self._ended
            self._held = (time, picture)
            self._changed.notify()
            return not self._ended

    def end(self, error: BaseException | None = None) -> None:
        """No more pictures come, or none are wanted; what is held can still be taken."""
        with self._changed:
            self._ended, self._error = True, self._error or error
            self._changed.notify()

    @property
    def ended(self) -> bool:
        """No more pictures come, or none are wanted."""
        return self._ended

    def __iter__(self) -> Iterator[tuple[float, Picture]]:
        """Yield (time, picture) until the end, waiting for each."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._held is not None or self._ended)
                held, self._held = self._held, None
            if held is None:
                break
            time, picture = held
            yield time, picture() if callable(picture) else picture
        if self._error is not None:
            raise self._error


@dataclass(frozen=True, eq=False)
class Feed:
    """Pictures and sound as they come.

    Args:
        frames: the latest picture, with its time.
        sound: as `stream` takes it.
        now: seconds since the feed began.
    """

    frames: LatestFrame
    sound: SoundSource
    now: Callable[[], float]


@contextlib.contextmanager
def film_feed(path: str | os.PathLike[str]) -> Iterator[Feed]:
    """Play a film in real time: each frame comes when its time has come, not before."""
    frames, stopped = LatestFrame(), threading.Event()
    reader = video.frames(path)
    first = next(reader)
    begin = clock.perf_counter()

    def now() -> float:
        return clock.perf_counter() - begin

    def play() -> None:
        for time, picture in _chained(first, reader):
            if stopped.wait(max(0.0, time - now())) or not frames.put(time, picture):
                return

    with feeding(play, frames, stopped):
        yield Feed(frames, path, now)


def _chained(
    first: tuple[float, Picture], rest: Iterator[tuple[float, Picture]]
) -> Iterator[tuple[float, Picture]]:
    yield first
    yield from rest


@contextlib.contextmanager
def feeding(
    feed: Callable[[], None], frames: LatestFrame, stopped: threading.Event
) -> Iterator[None]:
    """Run a feeding thread; what goes wrong in it reaches who takes the frames."""

    def run() -> None:
        try:
            feed()
        except av.FFmpegError as error:
            frames.end(MediaError(f"the camera stopped: {one_line(error)}"))
        except Exception as error:  # noqa: BLE001 raised again by who takes the frames
            frames.end(error)
        frames.end()

    thread = threading.Thread(target=run, name="soundspot-live", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        frames.end()
        thread.join(LATE)
