"""Pictures to H.264, in a thread of their own, into a file of their own.

| decision | why |
|---|---|
| times on a clock of 90 kHz | a rate that varies stays; 24, 25, 30, 29.97 fps are exact |
| no B frames | a packet's place in the file is that in time: parts join as they are |
| yuv420p, BT.709, limited range, flagged | what every player and browser shows |
| an odd side gets its last row or column twice | yuv420p wants even sides; boxes stay |
| `crf` 20, preset `veryfast` | the quality is set, the bits follow |

Pictures wait for the encoder in a short queue, so that it overlaps with whatever makes the next
one: FFmpeg lets go of Python's lock while it works.
"""

from __future__ import annotations

import gc
import os
import queue
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import av
import numpy as np
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..errors import MediaError
from ..files import one_line
from .image import Picture, fit_picture

CLOCK = Fraction(1, 90_000)
"""Seconds a tick."""
QUEUE = 4
"""Pictures that wait for the encoder."""
KEY_EVERY = 250
"""Frames between pictures that players can jump to, at most."""
ENCODER_OPTIONS = {"preset": "veryfast", "crf": "20", "bf": "0", "threads": "4"}
BT709, LIMITED = 1, 1
"""FFmpeg's numbers of the matrix and the range."""
PART_FORMAT, PART_SUFFIX = "nut", ".nut"
"""FFmpeg's own container: it keeps any clock exactly."""

Made: TypeAlias = Picture | Callable[[], Picture]
"""A picture, or what makes it, called in the encoder's thread."""


class PictureFile:
    """H.264 pictures alone, in a file of their own, encoded in a thread.

    Use it in a `with`: leaving it waits for the last picture; leaving it by an error drops what
    waits.

    Args:
        path: is written to directly; the suffix is `PART_SUFFIX`.
        size: width and height of the pictures; others are fitted to it.
        rate: frames a second, about; only a hint for the encoder.
        start: the time that becomes second 0 of the file.

    Raises:
        MediaError: from `write` or at the end: the disk or the encoder refuses.
    """

    def __init__(
        self, path: Path, size: tuple[int, int], rate: float = 25.0, start: float = 0.0
    ) -> None:
        self.path, self.size, self.rate, self.start = path, size, rate, start
        self._waiting: queue.Queue[tuple[int, Made] | None] = queue.Queue(QUEUE)
        self._error: Exception | None = None
        self._dropping = threading.Event()
        self._last = -1
        self._thread = threading.Thread(target=self._work, name="soundspot-film", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def write(self, time: float, picture: Made) -> None:
        """Queue a picture that is shown from `time` on (seconds, rising; before `start`: at it)."""
        if self._error is not None:
            raise self._failed()
        tick = max(round(Fraction(max(0.0, time - self.start)) / CLOCK), self._last + 1)
        self._last = tick
        self._waiting.put((tick, picture))

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if kind is not None:
            self._dropping.set()
        self._waiting.put(None)
        self._thread.join()
        gc.collect()  # PyAV's objects hold one another, and an encoder holds tens of megabytes
        if kind is None and self._error is not None:
            raise self._failed()

    def _failed(self) -> Exception:
        error = self._error
        if isinstance(error, av.FFmpegError | OSError):
            return MediaError(f"{self.path.parent}: the film cannot be written: {one_line(error)}")
        return error or RuntimeError("no error")

    def _work(self) -> None:
        try:
            with av.open(os.fspath(self.path), "w", format=PART_FORMAT) as out:
                stream = _h264(out, self.size, self.rate)
                for tick, made in self._taken():
                    frame = _frame(made() if callable(made) else made, self.size)
                    frame.pts, frame.time_base = tick, CLOCK
                    out.mux(stream.encode(frame))
                out.mux(stream.encode(None))
        except Exception as error:  # noqa: BLE001  handed over to the writing thread
            self._error = error
            self._dropping.set()
            for _ in self._taken():
                pass

    def _taken(self) -> Iterator[tuple[int, Made]]:
        """What waits, in order, up to the end; nothing of it once it is dropped."""
        while (item := self._waiting.get()) is not None:
            if not self._dropping.is_set():
                yield item


def _h264(out: OutputContainer, size: tuple[int, int], rate: float) -> VideoStream:
    stream = out.add_stream(
        "libx264",
        rate=Fraction(rate).limit_denominator(1001),
        options={**ENCODER_OPTIONS, "g": str(KEY_EVERY)},
    )
    stream.width, stream.height = _even(size)
    stream.pix_fmt = "yuv420p"
    stream.time_base = stream.codec_context.time_base = CLOCK
    context = stream.codec_context
    context.color_range = LIMITED
    context.colorspace = context.color_primaries = context.color_trc = BT709
    context.sample_aspect_ratio = Fraction(1)
    return stream


def _even(size: tuple[int, int]) -> tuple[int, int]:
    width, height = size
    return width + width % 2, height + height % 2


def _frame(picture: Picture, size: tuple[int, int]) -> VideoFrame:
    """Fit, pad to even sides and convert a picture."""
    width, height = size
    if picture.shape[:2] != (height, width):
        picture = fit_picture(picture, width, height)
    if width % 2 or height % 2:
        picture = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
    return frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
