"""Films: H.264 pictures, each at its own time, beside the sound of the clip that they came from.

A film is written in parts (`media.film_pictures`: pictures alone), which `join` puts together with
the sound: packets are copied, nothing is encoded twice. A long job can therefore stop after any
part. `write_film` is one part and its join.

The index stands at the front of mp4 and mov, so that a browser plays before all is there. Nothing
has the final name before it is whole.
"""

from __future__ import annotations

import contextlib
import heapq
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import itemgetter
from pathlib import Path

import av
from av.container import OutputContainer
from av.video.stream import VideoStream

from ..errors import MediaError, OptionError
from ..files import TEMPORARY_PREFIX, one_line, write_beside
from .film_pictures import CLOCK, PART_SUFFIX, PictureFile
from .film_sound import WHAT_FITS, Timed, sound_packets
from .video import _Film

WRITABLE = tuple(WHAT_FITS)
"""Suffixes of films."""
LAST_PICTURE = Fraction(1, 25)
"""Seconds that a film's only picture is shown where nothing else is known."""


@dataclass(frozen=True)
class SoundFrom:
    """Which sound a film gets.

    Args:
        clip: a file with sound.
        start: its second that becomes second 0.
        stop: its second from which on nothing is taken.
        broken: the file is known to break off: its sound ends there too, without an error.
    """

    clip: Path
    start: float = 0.0
    stop: float = math.inf
    broken: bool = False


def check_film_name(path: str | os.PathLike[str]) -> None:
    """Refuse a name that no film can be written under.

    Raises:
        OptionError: another suffix than those of `WRITABLE`.
    """
    if Path(path).suffix.lower() not in WRITABLE:
        raise OptionError(f"{one_line(path)}: a film is written as {', '.join(WRITABLE)}")


def pictures_end(clip: str | os.PathLike[str]) -> float | None:
    """Until when a clip's last picture is shown, in seconds; None where its head does not say.

    Raises:
        MediaError: not a video.
    """
    with _Film.opened(clip) as film:
        return film.track_end


def join(
    parts: Sequence[Path],
    path: str | os.PathLike[str],
    sound: SoundFrom | None = None,
    until: float | None = None,
) -> None:
    """Put parts and a sound together as a film; written beside, then renamed.

    Args:
        parts: what `PictureFile` wrote, in order, all of one size.
        path: the suffix decides the container.
        sound: None for a silent film.
        until: where the last picture ends, in seconds; None: as long as the one before.

    Raises:
        MediaError: parts that do not fit together, an unreadable sound, or the disk refuses.
        OptionError: another suffix.
    """
    check_film_name(path)
    options = {} if Path(path).suffix.lower() == ".mkv" else {"movflags": "+faststart"}
    with write_beside(path) as beside, contextlib.ExitStack() as stack:
        try:
            out = stack.enter_context(av.open(os.fspath(beside), "w", options=options))
            pictures = _lasting(_part_packets(parts, out), until)
            heard: Iterator[Timed] = iter(())
            if sound is not None:
                packets = sound_packets(sound.clip, path, out, sound.start, sound.stop)
                heard = stack.enter_context(packets)
                heard = _while_whole(heard) if sound.broken else heard
            for _, packet in heapq.merge(pictures, heard, key=itemgetter(0)):
                out.mux(packet)
        except av.FFmpegError as error:
            raise MediaError(
                f"{one_line(path)} cannot be written: {one_line(error)}; check the disk"
            ) from error


def _while_whole(packets: Iterator[Timed]) -> Iterator[Timed]:
    """Packets up to where their file is damaged."""
    with contextlib.suppress(MediaError):
        yield from packets


def _part_packets(parts: Sequence[Path], out: OutputContainer) -> Iterator[Timed]:
    """Add the track, and hand out the packets of all parts (the first is opened at once)."""
    with av.open(os.fspath(parts[0])) as first:
        head = first.streams.video[0]
        setup = head.codec_context.extradata
        track = out.add_stream_from_template(head)
        track.time_base = CLOCK
        rate = head.average_rate or head.base_rate
        if rate is not None:
            track.codec_context.framerate = rate  # mkv notes it
    return _all_packets(parts, track, setup)


def _all_packets(parts: Sequence[Path], track: VideoStream, setup: bytes | None) -> Iterator[Timed]:
    for part in parts:
        with av.open(os.fspath(part)) as opened:
            stream = opened.streams.video[0]
            if stream.codec_context.extradata != setup:
                raise MediaError(
                    f"{one_line(part)}: was encoded by another encoder than the parts before it; "
                    "delete the folder and start again"
                )
            for packet in opened.demux(stream):
                if packet.pts is not None and packet.size:
                    seconds = packet.pts * packet.time_base
                    packet.pts = packet.dts = round(seconds / CLOCK)
                    packet.time_base, packet.stream = CLOCK, track
                    yield float(seconds), packet


def _lasting(packets: Iterator[Timed], until: float | None) -> Iterator[Timed]:
    """Give each packet its duration: up to the next one, the last up to `until`."""
    held: Timed | None = None
    length = round(LAST_PICTURE / CLOCK)
    for begin, packet in packets:
        if held is not None:
            length = (packet.pts or 0) - (held[1].pts or 0)
            held[1].duration = length
            yield held
        held = begin, packet
    if held is not None:
        end = 0 if until is None else round(Fraction(until) / CLOCK) - (held[1].pts or 0)
        held[1].duration = end if end > 0 else length
        yield held


@contextlib.contextmanager
def write_film(
    path: str | os.PathLike[str],
    size: tuple[int, int],
    rate: float = 25.0,
    *,
    sound_from: str | os.PathLike[str] | None = None,
    start: float = 0.0,
    stop: float | None = None,
) -> Iterator[PictureFile]:
    """A film in one go: pictures as they come, and at the end the sound of a clip.

    The file has its name when the `with` is left without an error, and is not there otherwise.

    Args:
        path: .mp4, .m4v, .mov or .mkv.
        size: width and height of the pictures.
        rate: frames a second, about.
        sound_from: the clip whose sound is copied (or encoded again, see `plan_sound`).
        start: second of the clip that becomes second 0 of pictures and sound.
        stop: second of the clip where the film ends; None: where the clip does.

    Yields:
        Something to `write(time, picture)` to, with times of the clip.

    Raises:
        OptionError: another suffix.
        MediaError: the disk refuses, or the clip's sound cannot be read.
    """
    check_film_name(path)
    end = math.inf if stop is None else stop
    sound = None if sound_from is None else SoundFrom(Path(sound_from), start, end)
    with _folder_beside(path) as folder:
        part = folder / f"pictures{PART_SUFFIX}"
        with PictureFile(part, size, rate, start) as pictures:
            yield pictures
        join([part], path, sound, None if stop is None else stop - start)


@contextlib.contextmanager
def _folder_beside(path: str | os.PathLike[str]) -> Iterator[Path]:
    target = Path(os.path.realpath(path))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(dir=target.parent, prefix=TEMPORARY_PREFIX)
    except OSError as error:
        raise MediaError(f"{one_line(path)} cannot be written: {error.strerror}") from error
    with folder as name:
        yield Path(name)
