"""Videos: the picture that a player shows at a given second, and all of them one after another.

A video's frames are stored in an order, at times, in a shape and lying in a direction that are
none of them what people see. Each row is a decision, taken here once:

| in the file | what is done |
|---|---|
| frames that depend on earlier ones | go back to the key frame before, decode forwards: exact |
| a rate that varies (telephones, screens) | time stamps count, never frame numbers |
| an edit list or a late start | time 0 is where the file's first stream starts, as for sounds |
| a flag that turns or mirrors | applied, in quarter turns; other angles are left as stored |
| luma and chroma | RGB by the matrix and range that the file names; BT.601 where it names none |
| pixels that are not square | the side that is too short is stretched, nothing is thrown away |
| cover art of a song | is no video |

The frame shown at time t is the last one whose time is at most t; before the first frame it is
the first, and after the last one, while the sound goes on, the last. Times are seconds.

Nothing is kept but the frame at hand and the one before, however long the film is.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Self, cast

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import SideData
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..errors import MediaError, OptionError
from ..files import one_line, require_file, what_is
from .decoders.blocks import MIN_SECONDS, SLACK_SECONDS
from .decoders.ffmpeg import EXACT_LENGTH, open_media
from .decoders.wholeness import is_cut
from .image import PIXEL_LIMIT, Picture, fit_picture

TIME_SLACK = 1e-6
"""Seconds; 1/30 has no exact float, and who asks for a frame's own time means that frame."""
STEPS_BACK = (0.0, 2.0, 10.0)
"""Seconds before a wanted time to look for a key frame, where the one found first lies after it."""
READABLE = "an mp4, mov, mkv, webm or avi video"


@dataclass(frozen=True)
class VideoInfo:
    """What a video's head and first frame say.

    Args:
        width: in pixels, upright and with square pixels: of the picture that `read_frame` gives.
        height: likewise.
        seconds: from time 0 to the end of the longest stream.
        rate: frames a second, on average.
        turned: degrees clockwise by which the stored pictures are turned for display.
        has_sound: there is a sound track.
        codec: FFmpeg's name of the pictures' coding.
    """

    width: int
    height: int
    seconds: float
    rate: float
    turned: int
    has_sound: bool
    codec: str


def is_video(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file opens as a video with a picture track."""
    with contextlib.suppress(MediaError), _Film.opened(path):
        return True
    return False


def read_info(path: str | os.PathLike[str]) -> VideoInfo:
    """Read a video's head and decode its first frame.

    Raises:
        MediaError: not a video, no picture track, damaged, or without a single frame.
    """
    with _Film.opened(path) as film:
        frame = film.frame_at(0.0)
        height, width = film.picture(frame).shape[:2]
        turn = _turn(frame)
        return VideoInfo(
            width=width,
            height=height,
            seconds=film.seconds,
            rate=film.rate,
            turned=0 if turn is None else turn.degrees,
            has_sound=bool(film.container.streams.audio),
            codec=film.stream.codec_context.name,
        )


def read_frame(path: str | os.PathLike[str], time: float) -> Picture:
    """Return the picture that is shown at `time`, upright, as RGB `H W 3`.

    Raises:
        MediaError: not a video, damaged before that time, or it ends before it.
        OptionError: `time` is negative or not a number.
    """
    _check_seconds("time", time)
    with _Film.opened(path) as film:
        return film.picture(film.frame_at(time))


def frames(
    path: str | os.PathLike[str],
    start: float = 0.0,
    stop: float | None = None,
    every: float | None = None,
) -> Iterator[tuple[float, Picture]]:
    """Yield (time, picture) in order, decoding each frame once.

    Args:
        path: a file; its content decides the format, not its name.
        start: the first picture is the one shown at this time.
        stop: no picture from this time on; None: to the last frame.
        every: a picture each so many seconds, the one shown at that time; a frame that is shown
            longer comes again, the same array. None: each frame once, with its own time.

    Raises:
        MediaError: not a video, damaged or cut short, or `start` lies beyond its end; pictures
            before the damage have been yielded by then.
        OptionError: an option out of range.
    """
    _check_seconds("start", start)
    if stop is not None and not stop > start:
        raise OptionError(f"stop={stop:g} s must lie after start={start:g} s")
    if every is not None and not (math.isfinite(every) and every > 0):
        raise OptionError(f"every={every} s must be more than 0")
    return _frames(path, start, math.inf if stop is None else stop, every)


def frame_times(path: str | os.PathLike[str]) -> list[float]:
    """Return when each frame is shown, in seconds, without decoding any.

    Raises:
        MediaError: not a video, or damaged.
    """
    with _Film.opened(path) as film:
        return film.times()


def _frames(
    path: str | os.PathLike[str], start: float, stop: float, every: float | None
) -> Iterator[tuple[float, Picture]]:
    with _Film.opened(path, threads=True) as film:
        shown = film.shown(start)
        if every is None:
            for begin, _, frame in shown:
                if begin >= stop - TIME_SLACK:
                    return
                yield begin, film.picture(frame)
            return
        tick = 0
        for _, end, frame in shown:
            picture: Picture | None = None
            while (time := start + tick * every) < end - TIME_SLACK:
                if time >= stop - TIME_SLACK:
                    return
                picture = film.picture(frame) if picture is None else picture
                yield time, picture
                tick += 1


class _Film:
    """An open video: its picture track, its clock, and frames by time."""

    def __init__(self, path: Path, name: str, container: InputContainer, stream: VideoStream):
        self.path, self.name, self.container, self.stream = path, name, container, stream
        self.origin = Fraction(container.start_time or 0, av.time_base)
        self.tick = stream.time_base or Fraction(1, av.time_base)

    @classmethod
    @contextlib.contextmanager
    def opened(cls, path: str | os.PathLike[str], *, threads: bool = False) -> Iterator[Self]:
        """Open a file, and turn what FFmpeg complains of into one line."""
        file, name = require_file(path), one_line(path)
        try:
            container = open_media(file)
        except (av.FFmpegError, ValueError) as error:
            raise MediaError(f"{name} {_what_instead(file)}; give {READABLE}") from error
        with container:
            stream = _picture_track(container, name)
            if threads:
                stream.codec_context.thread_type = "AUTO"
            yield cls(file, name, container, stream)

    @property
    def rate(self) -> float:
        """Frames a second, on average."""
        return float(self.stream.average_rate or self.stream.guessed_rate or 25)

    @property
    def track_end(self) -> float | None:
        """Where the last frame ends, where the file says so for certain."""
        if self.stream.duration is None or not EXACT_LENGTH & set(
            self.container.format.name.split(",")
        ):
            return None
        first = self.stream.start_time or 0
        return float((first + self.stream.duration) * self.tick - self.origin)

    @property
    def file_end(self) -> float | None:
        """Where the file says that its last stream ends."""
        if self.container.duration is None:
            return None
        return self.container.duration / av.time_base

    @property
    def seconds(self) -> float:
        """Where the file ends: as declared, else by its pictures."""
        return self.file_end or frame_times(self.path)[-1] + 1 / self.rate

    def times(self) -> list[float]:
        """When each frame is shown, from the packets alone; of a film just opened."""
        try:
            found = sorted(
                float(packet.pts * self.tick - self.origin)
                for packet in self.container.demux(self.stream)
                if packet.pts is not None and not packet.is_discard
            )
        except av.FFmpegError as error:
            raise self.damaged(0.0) from error
        if not found:
            raise MediaError(f"{self.name} is a video without a single frame; give {READABLE}")
        return found

    def picture(self, frame: VideoFrame) -> Picture:
        """Turn a frame into what is seen: RGB, square pixels, upright."""
        pixels = cast("Picture", np.ascontiguousarray(frame.to_ndarray(format="rgb24")))
        width, height = _square(frame, self.stream)
        if (height, width) != pixels.shape[:2]:
            pixels = fit_picture(pixels, width, height)
        turn = _turn(frame)
        return pixels if turn is None else turn.apply(pixels)

    def frame_at(self, time: float) -> VideoFrame:
        """The frame that is shown at a time."""
        return next(self.shown(time))[2]

    def shown(self, start: float) -> Iterator[tuple[float, float, VideoFrame]]:
        """Yield (from, until, frame), first the frame shown at `start`.

        The last one ends where the file does.
        """
        held: tuple[float, VideoFrame] | None = None
        for time, frame in self.decoded(start):
            if held is not None and time > start + TIME_SLACK:
                yield held[0], time, held[1]
            held = time, frame
        if held is None:
            raise MediaError(f"{self.name} is a video without a single frame; give {READABLE}")
        yield held[0], self._end(*held, start), held[1]

    def _end(self, time: float, frame: VideoFrame, start: float) -> float:
        """Where the last frame ends; an error where there ought to be more, or nothing is shown."""
        length = float(frame.duration * self.tick) if frame.duration else 1 / self.rate
        end = time + length
        if (self.track_end or 0.0) - end > max(SLACK_SECONDS, 2 / self.rate) or is_cut(self.path):
            raise self.damaged(end)
        last = max(end, self.file_end or 0.0)
        if start > last + TIME_SLACK:
            raise MediaError(f"{self.name} ends at {last:.2f} s, before {start:g} s; ask earlier")
        return max(last, start + 2 * TIME_SLACK)

    def decoded(self, start: float) -> Iterator[tuple[float, VideoFrame]]:
        """Yield (time, frame) in order, from at or before `start` where there is such a frame."""
        for back in STEPS_BACK:
            if start - back <= 0:
                break
            self._seek(start - back)
            frames = self._decode()
            first = next(frames, None)
            if first is not None and first[0] <= start + TIME_SLACK:
                yield first
                yield from frames
                return
        with _Film.opened(self.path) as afresh:  # not every format can be wound back to its start
            yield from afresh._decode()

    def _seek(self, time: float) -> None:
        target = int((self.origin + Fraction(time)) / self.tick)
        with contextlib.suppress(av.FFmpegError):  # beyond the end: decoding finds nothing
            self.container.seek(target, stream=self.stream)

    def _decode(self) -> Iterator[tuple[float, VideoFrame]]:
        time = 0.0
        try:
            for frame in self.container.decode(self.stream):
                if isinstance(frame, VideoFrame) and frame.pts is not None:
                    time = float(frame.pts * (frame.time_base or self.tick) - self.origin)
                    yield time, frame
        except av.FFmpegError as error:
            raise self.damaged(time) from error

    def damaged(self, seconds: float) -> MediaError:
        """Return the error for a film of which so many seconds are whole."""
        if seconds < MIN_SECONDS:
            return MediaError(f"{self.name} is damaged or cut short; save or download it again")
        return MediaError(
            f"{self.name} is damaged or cut short after {seconds:.2f} s; save it again, or take "
            "only what comes before (on the command line --start and --stop; in Python start and "
            "stop)"
        )


@dataclass(frozen=True)
class _Turn:
    """How stored rows and columns become upright: transposed first, then mirrored."""

    transposed: bool
    left_right: bool
    up_down: bool

    @property
    def degrees(self) -> int:
        """Clockwise; a mirrored picture's turn is given without its mirroring."""
        if self.transposed:
            return 90 if self.left_right else 270
        return 180 if self.up_down else 0

    def apply(self, pixels: Picture) -> Picture:
        turned = pixels.transpose(1, 0, 2) if self.transposed else pixels
        turned = turned[:, ::-1] if self.left_right else turned
        return np.ascontiguousarray(turned[::-1] if self.up_down else turned)


def _turn(frame: VideoFrame) -> _Turn | None:
    """Read the display matrix: x' = a x + c y, y' = b x + d y in 16.16 fixed point."""
    data = cast("SideData | None", frame.side_data.get("DISPLAYMATRIX"))
    if data is None:
        return None
    a, b, _, c, d = np.sign(np.frombuffer(bytes(data), "<i4")[:5]).tolist()
    if a and d and not (b or c):
        return _Turn(transposed=False, left_right=a < 0, up_down=d < 0)
    if b and c and not (a or d):
        return _Turn(transposed=True, left_right=c < 0, up_down=b < 0)
    return None


def _square(frame: VideoFrame, stream: VideoStream) -> tuple[int, int]:
    """Width and height of the stored picture with square pixels."""
    aspect = stream.sample_aspect_ratio or Fraction(1)
    if not Fraction(1, 16) <= aspect <= 16:
        aspect = Fraction(1)
    if aspect >= 1:
        return round(frame.width * aspect), frame.height
    return frame.width, round(frame.height / aspect)


def _picture_track(container: InputContainer, name: str) -> VideoStream:
    tracks = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
        and cast("object", stream.codec_context) is not None  # a coding that FFmpeg does not know
    ]
    if not tracks:
        what = "is a sound without pictures" if container.streams.audio else "has no pictures"
        raise MediaError(f"{name} {what}; give {READABLE}")
    best = container.streams.best("video")
    stream = best if best in tracks and isinstance(best, VideoStream) else tracks[0]
    if stream.width * stream.height > PIXEL_LIMIT:
        raise MediaError(f"{name} has {stream.width:,} x {stream.height:,} pixels; too many")
    return stream


def _check_seconds(name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise OptionError(f"{name}={value} s; it must be 0 or more")


def _what_instead(file: Path) -> str:
    """Say what a file is that no decoder opens."""
    what = what_is(file)
    if what is None:
        return "is not a video that can be read"
    if what.endswith("video"):
        return f"is {what}, but empty, cut short or damaged"
    return f"is {what}, not a video"
