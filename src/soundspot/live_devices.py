"""Camera and microphone as a live feed.

A sound card's clock is not the computer's, and overruns lose pieces of sound: samples that are
missing are filled with silence, samples too many are dropped, as soon as the difference exceeds
`DRIFT` (`Aligned`).

The microphone needs the package `sounddevice` (the extra `live`); cameras are opened by FFmpeg:
v4l2 on Linux, avfoundation on macOS, dshow on Windows.
"""

from __future__ import annotations

import contextlib
import importlib
import queue
import sys
import threading
import time as clock
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

import av
import numpy as np
from av.video.frame import VideoFrame

from soundspot.errors import MediaError, OptionError
from soundspot.files import one_line
from soundspot.live_feeds import Feed, LatestFrame, feeding
from soundspot.media.audio import Sound

if TYPE_CHECKING:
    from soundspot.media.image import Picture

CAMERAS = {
    "linux": ("v4l2", "/dev/video0"),
    "darwin": ("avfoundation", "0"),
    "win32": ("dshow", ""),
}
"""FFmpeg's name of the cameras of a system, and the first one; Windows has names only."""
MICROPHONE_RATE = 16_000
"""Hz; sound cards that have another rate are asked by their driver to convert."""
DRIFT = 0.1
"""Seconds by which sound may be off before it is put right."""
DEAF = 3.0
"""Seconds without a single sample after which the microphone has failed."""


class Aligned:
    """Puts pieces of sound where the clock says they belong: begins at 0 and stays near."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._placed = 0

    def place(self, samples: Sound, end: float) -> Sound:
        """What to append for a piece that ended at `end` seconds; may be longer, or empty."""
        begin = round(end * self.rate) - len(samples)
        missing = begin - self._placed
        if abs(missing) <= DRIFT * self.rate and self._placed > 0:
            missing = 0
        fill = np.zeros(max(0, missing), np.float32)
        placed = np.concatenate((fill, samples[max(0, -missing) :]))
        self._placed += len(placed)
        return placed


@contextlib.contextmanager
def device_feed(camera: str | None = None, microphone: str | None = None) -> Iterator[Feed]:
    """Camera and microphone.

    Args:
        camera: FFmpeg's name of it; None: the first one.
        microphone: `sounddevice`'s name or number of it; None: the system's own choice.

    Raises:
        OptionError: `sounddevice` is missing, or no camera is named on Windows.
        MediaError: no such camera or microphone.
    """
    device = _sound_device()
    frames, stopped = LatestFrame(), threading.Event()
    with _opened_camera(camera) as container:
        begin = clock.perf_counter()

        def now() -> float:
            return clock.perf_counter() - begin

        def film() -> None:
            for frame in container.decode(video=0):
                taken = isinstance(frame, VideoFrame) and frames.put(now(), _as_rgb(frame))
                if stopped.is_set() or not taken:
                    return

        with _Microphone.opened(device, microphone, now) as heard, feeding(film, frames, stopped):
            yield Feed(frames, (heard, MICROPHONE_RATE), now)


def _as_rgb(frame: VideoFrame) -> Callable[[], Picture]:
    return lambda: np.ascontiguousarray(frame.to_ndarray(format="rgb24"))


@contextlib.contextmanager
def _opened_camera(camera: str | None) -> Iterator[Any]:
    kind, first = CAMERAS.get(sys.platform, CAMERAS["linux"])
    name = camera or first
    if not name:
        raise OptionError('name the camera, as in --camera "video=Integrated Camera"')
    try:
        container = av.open(name, format=kind)
    except (av.FFmpegError, ValueError, OSError) as error:
        raise MediaError(
            f"camera {one_line(name)} cannot be opened ({one_line(error)}); name another with "
            "--camera, or play a film with --from CLIP.mp4"
        ) from error
    with container:
        yield container


class _Microphone:
    """An iterator of pieces of sound, in their place in time."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._aligned = Aligned(MICROPHONE_RATE)
        self._line: queue.SimpleQueue[Sound] = queue.SimpleQueue()

    @classmethod
    @contextlib.contextmanager
    def opened(cls, device: Any, name: str | None, now: Callable[[], float]) -> Iterator[Self]:
        """Begin to hear; `device` is the package."""
        heard = cls(now)
        chosen = int(name) if name is not None and name.isdecimal() else name
        try:
            opened = device.InputStream(
                MICROPHONE_RATE, device=chosen, channels=1, dtype="float32", callback=heard.hear
            )
        except (device.PortAudioError, ValueError) as error:
            raise MediaError(
                f"the microphone cannot be opened ({one_line(error)}); name another with "
                "--microphone, or play a film with --from CLIP.mp4"
            ) from error
        with opened:
            yield heard

    def hear(self, samples: Any, _frames: int, _time: Any, _status: Any) -> None:
        """Take what the sound card has; called in its own thread."""
        piece = self._aligned.place(samples[:, 0].copy(), self._now())
        if len(piece):
            self._line.put(piece)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Sound:
        try:
            return self._line.get(timeout=DEAF)
        except queue.Empty:
            raise MediaError("the microphone gives no sound; check its cable") from None


def _sound_device() -> Any:
    """The package, or one line that says how to get it."""
    try:
        return importlib.import_module("sounddevice")
    except ImportError as error:
        raise OptionError(
            "the microphone needs sounddevice: pip install 'soundspot[live]', or play a film "
            "with --from CLIP.mp4"
        ) from error
    except OSError as error:
        raise OptionError(
            f"sounddevice finds no PortAudio ({one_line(error)}); install it (Debian: apt install "
            "libportaudio2), or play a film with --from CLIP.mp4"
        ) from error
