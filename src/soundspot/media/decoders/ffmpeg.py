"""Sounds through FFmpeg (PyAV): mp3, m4a, wma, amr, and the sound tracks of videos.

A frame's place is counted, unless its time stamp says that the sound paused. What precedes the
first packet that decodes is skipped: broadcasts are joined in the middle.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer

from soundspot.errors import MediaError
from soundspot.files import what_is
from soundspot.media.decoders.blocks import SLACK_SECONDS, Block, Sound, as_float, cut_short, mono
from soundspot.media.decoders.wholeness import is_cut, mp3_declares_length

PREROLL_SECONDS = 1.0
"""FFmpeg's decoders start this much before a window: they need the packets before it."""
LONGEST_PAUSE_SECONDS = 600.0
"""A clock that jumps further is broken, and not followed."""
FFMPEG_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,asf,flv,mpegts,mpeg,mp3,aac,ac3,eac3,amr,amrnb,"
    "amrwb,ogg,wav,w64,aiff,au,caf,flac,ape,tta,wv,mpc,mpc8,dts,tak,rm,dv,mxf,gxf,nut,ivf"
)
"""Containers that hold their own content; playlists could open other files."""
EXACT_LENGTH = {"mov", "ogg"}
"""Their heads or last pages say how long a track is; elsewhere FFmpeg may only guess."""
SEEKABLE_FORMATS = {"mov", "matroska", "mp3"}
READABLE = "a wav, flac, ogg, mp3 or m4a sound, or a video with sound"
MANY_PLANES = 8


def open_media(file: Path) -> InputContainer:
    """Open a file with FFmpeg, which may open nothing else that the file names."""
    return av.open(
        f"file:{file}",
        metadata_errors="replace",
        options={"protocol_whitelist": "file", "format_whitelist": FFMPEG_FORMATS},
    )


def open_sound(file: Path, name: str) -> InputContainer:
    """Open a file whose sound is wanted.

    Raises:
        MediaError: FFmpeg cannot read it.
    """
    # PyAV keeps FFmpeg's log off the terminal unless the user turns it on
    try:
        return open_media(file)
    except (av.FFmpegError, ValueError) as error:
        raise MediaError(f"{name} {_what_instead(file)}; give {READABLE}") from error


def ffmpeg_blocks(file: Path, name: str, after: float) -> Iterator[Block]:
    """The blocks of a file's best sound track, from `after` seconds or earlier."""
    with open_sound(file, name) as container:
        stream = container.streams.best("audio")
        if not isinstance(stream, AudioStream):
            what = "is a video without a sound track" if container.streams.video else "has no sound"
            raise MediaError(f"{name} {what}; give {READABLE}")
        yield from _stream_blocks(container, stream, file, name, after)


def _stream_blocks(
    container: InputContainer, stream: AudioStream, file: Path, name: str, after: float
) -> Iterator[Block]:
    origin = Fraction(container.start_time or 0, av.time_base)
    declared = _declared_seconds(container, stream, file)
    _seek(container, stream, origin, after)
    rate = position = 0
    try:
        for frame in _frames(container, stream):
            if rate not in (0, frame.sample_rate):
                raise MediaError(
                    f"{name} changes its sample rate at {position / rate:.2f} s; "
                    "convert it to wav first"
                )
            rate = frame.sample_rate
            position = _place(frame, origin, position)
            yield Block(rate, position, _frame_mono(frame))
            position += frame.samples
    except av.FFmpegError as error:
        seconds = position / rate if rate else 0.0
        if declared is None or declared - seconds > SLACK_SECONDS:  # else: tags behind the end
            raise cut_short(name, seconds) from error
    if rate and ((declared or 0.0) - position / rate > SLACK_SECONDS or is_cut(file)):
        raise cut_short(name, position / rate)


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Yield decoded frames; packets that do not decode are let pass before the first one."""
    started = False
    refused: av.FFmpegError | None = None
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            if started:
                raise
            refused = error
            continue
        for frame in frames:
            if isinstance(frame, AudioFrame) and frame.samples:
                started = True
                yield frame
    if refused and not started:
        raise refused


def _seek(container: InputContainer, stream: AudioStream, origin: Fraction, after: float) -> None:
    """Jump near `after` where the container's index is exact; others are read from 0."""
    if container.duration is not None:
        after = min(after, container.duration / av.time_base)
    target = after - PREROLL_SECONDS
    if target <= 0 or container.format.name.split(",")[0] not in SEEKABLE_FORMATS:
        return
    if stream.time_base is not None:
        container.seek(int((origin + Fraction(target)) / stream.time_base), stream=stream)


def _place(frame: AudioFrame, origin: Fraction, position: int) -> int:
    """Return a frame's place: counted, unless its time stamp says that the sound paused."""
    if frame.pts is None or frame.time_base is None:
        return position
    place = round((frame.pts * frame.time_base - origin) * frame.sample_rate)
    if position == 0:
        return place
    pause = (place - position) / frame.sample_rate
    return place if SLACK_SECONDS < pause < LONGEST_PAUSE_SECONDS else position


def _frame_mono(frame: AudioFrame) -> Sound:
    """Mix a frame's channels.

    PyAV 18 reads past the end of the list of planes where there are 8 or more of them, so those
    are interleaved first.
    """
    if frame.format.is_planar and frame.layout.nb_channels >= MANY_PLANES:
        packed = av.AudioResampler(frame.format.packed.name, frame.layout, frame.sample_rate)
        frame = packed.resample(frame)[0]
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(frame.samples, -1).T
    return mono(as_float(values), axis=0)


def _declared_seconds(container: InputContainer, stream: AudioStream, file: Path) -> float | None:
    """Return the track's length as its file declares it; None where FFmpeg can only guess."""
    kind = container.format.name.split(",")[0]
    exact = mp3_declares_length(file) if kind == "mp3" else kind in EXACT_LENGTH
    if not exact or stream.duration is None or stream.time_base is None:
        return None
    return float(stream.duration * stream.time_base)


def _what_instead(file: Path) -> str:
    """Say what a file is that no decoder opens."""
    what = what_is(file)
    if what is None:
        return "is not a sound that can be read"
    if what.endswith(("sound", "video")):
        return f"is {what}, but empty, cut short or damaged"
    return f"is {what}, which has no sound"
