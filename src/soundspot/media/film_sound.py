"""The sound of a film that is written: the packets of the clip, as they are, wherever they fit.

Compressed sound that is decoded and encoded again is worse and no longer what was judged. So the
packets are copied, byte by byte, and only their time stamps move: second `start` of the clip
becomes second 0 of the film. What a container cannot hold (Vorbis or PCM in mp4) is encoded as
AAC, and `SoundPlan.note` is the line that says so.

A packet holds 20 to 100 ms. Where a film starts in the middle of one, mp4 and mov keep it whole,
together with the one before, which decoders need, and an edit list says where to begin; mkv and
webm have no such list, so there the sound starts with the first packet that starts in time.

Times are seconds; time 0 is where the clip's first stream starts, as in `media.video`.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from numpy.typing import NDArray

from ..errors import MediaError
from ..files import one_line, require_file
from .decoders.blocks import SLACK_SECONDS
from .decoders.ffmpeg import LONGEST_PAUSE_SECONDS, open_sound

IN_MP4 = frozenset({"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"})
"""FFmpeg's names of codings that players find in an mp4."""
IN_MOV = (IN_MP4 - {"opus", "flac"}) | {
    *("pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_f32le"),
    *("pcm_mulaw", "pcm_alaw"),
}
WHAT_FITS: dict[str, frozenset[str] | None] = {
    ".mp4": IN_MP4,
    ".m4v": IN_MP4,
    ".mov": frozenset(IN_MOV),
    ".mkv": None,
}
"""Of each kind of film that is written; None: everything."""
WITH_EDIT_LIST = {".mp4", ".m4v", ".mov"}
AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
"""Hz."""
AAC_FALLBACK_RATE = 48_000
AAC_BITS_PER_CHANNEL = 96_000
"""Bits a second: transparent for nearly everything."""

AnyPacket: TypeAlias = "Packet[Any]"
Timed: TypeAlias = tuple[float, AnyPacket]
"""A packet and when it starts, in seconds of the film."""


@dataclass(frozen=True)
class SoundPlan:
    """What becomes of a clip's sound in a film.

    Args:
        codec: FFmpeg's name of the clip's coding; None: the clip has no sound.
        copied: its packets stay as they are.
        note: one line for the user where they do not.
    """

    codec: str | None
    copied: bool
    note: str | None = None


def plan_sound(clip: str | os.PathLike[str], film: str | os.PathLike[str]) -> SoundPlan:
    """Tell whether the sound of `clip` can be copied into `film`.

    Raises:
        MediaError: the clip cannot be opened.
    """
    suffix = Path(film).suffix.lower()
    with _opened(clip) as (_, stream):
        if stream is None:
            return SoundPlan(None, copied=False)
        codec = stream.codec_context.codec.canonical_name
        fits = WHAT_FITS[suffix]
        if fits is None or codec in fits:
            return SoundPlan(codec, copied=True)
        return SoundPlan(
            codec,
            copied=False,
            note=f"{one_line(clip)}: {codec} sound does not go into {suffix}; it is encoded again "
            "as AAC (write to .mkv to keep it as it is)",
        )


@contextlib.contextmanager
def sound_packets(
    clip: str | os.PathLike[str],
    film: str | os.PathLike[str],
    out: OutputContainer,
    start: float = 0.0,
    stop: float = math.inf,
) -> Iterator[Iterator[Timed]]:
    """Add a sound track to `out`, and hand out its packets in order.

    Args:
        clip: its best sound track is used, the one that `media.audio` reads.
        film: the name under which `out` will be known; its suffix decides what fits.
        out: nothing has been muxed into it yet.
        start: second of the clip that becomes second 0.
        stop: second of the clip from which on no sound is wanted.

    Raises:
        MediaError: the clip cannot be opened or is damaged before `stop`.
    """
    plan = plan_sound(clip, film)
    if plan.codec is None:
        yield iter(())
        return
    with _opened(clip) as (container, stream):
        assert stream is not None
        shift = Fraction(container.start_time or 0, av.time_base) + Fraction(start)
        length = stop - start
        if plan.copied:
            track = out.add_stream_from_template(stream)
            tick = Fraction(1, stream.codec_context.sample_rate)
            packets = _shifted(_demuxed(container, stream, one_line(clip)), shift, length, tick)
            lead = _lead(Path(film).suffix.lower(), start)
            found = _from_start(packets, lead)
        else:
            track = _aac(out, stream)
            frames = _decoded(container, stream, one_line(clip))
            found = _encoded(frames, track, shift, length)
        yield _onto(track, found)


@contextlib.contextmanager
def _opened(clip: str | os.PathLike[str]) -> Iterator[tuple[InputContainer, AudioStream | None]]:
    with open_sound(require_file(clip), one_line(clip)) as container:
        stream = container.streams.best("audio")
        yield container, stream if isinstance(stream, AudioStream) else None


@contextlib.contextmanager
def _said_of(name: str) -> Iterator[None]:
    """Turn what FFmpeg complains of while it reads into one line."""
    try:
        yield
    except av.FFmpegError as error:
        raise MediaError(f"{name}: its sound is damaged or cut short; save it again") from error


def _demuxed(container: InputContainer, stream: AudioStream, name: str) -> Iterator[AnyPacket]:
    with _said_of(name):
        for packet in container.demux(stream):
            if packet.pts is not None and packet.size:
                yield packet


def _shifted(
    packets: Iterator[AnyPacket], shift: Fraction, length: float, tick: Fraction
) -> Iterator[Timed]:
    """Move packets to the film's clock, in ticks of one sample; nothing from `length` s on."""
    for packet in packets:
        begin = (packet.pts or 0) * packet.time_base - shift
        if begin >= length:
            return
        lasts = (packet.duration or 0) * packet.time_base
        if begin + lasts > length:
            lasts = Fraction(length) - begin
        packet.pts = packet.dts = round(begin / tick)  # sound is stored in order
        packet.duration, packet.time_base = round(lasts / tick), tick
        yield float(begin), packet


def _lead(suffix: str, start: float) -> int | None:
    """How many packets that end before second 0 are kept; None: all that the clip has."""
    if suffix not in WITH_EDIT_LIST:
        return 0
    return 1 if start > 0 else None


def _from_start(packets: Iterator[Timed], lead: int | None) -> Iterator[Timed]:
    """Leave out what ends before second 0, but for the last `lead` packets of it.

    With `lead` 0 there is no edit list: nothing may start before second 0 either.
    """
    before: deque[Timed] = deque(maxlen=lead)
    for begin, packet in packets:
        end = begin + float((packet.duration or 0) * packet.time_base)
        tick = float(packet.time_base)
        early = begin < -tick / 2 if lead == 0 else end <= tick / 2
        if early:
            before.append((begin, packet))
            continue
        while before:
            yield before.popleft()
        yield begin, packet


def _onto(track: AudioStream, packets: Iterator[Timed]) -> Iterator[Timed]:
    for begin, packet in packets:
        packet.stream = track
        yield begin, packet


# --- encoded again ---------------------------------------------------------------------------


def _aac(out: OutputContainer, stream: AudioStream) -> AudioStream:
    own = stream.codec_context.sample_rate
    layout = stream.codec_context.layout
    rate = own if own in AAC_RATES else AAC_FALLBACK_RATE
    named = "mono" if layout.nb_channels == 1 else "stereo"
    track = out.add_stream("aac", rate=rate, layout=named)
    track.codec_context.bit_rate = AAC_BITS_PER_CHANNEL * (1 if named == "mono" else 2)
    return track


def _decoded(container: InputContainer, stream: AudioStream, name: str) -> Iterator[AudioFrame]:
    with _said_of(name):
        for frame in container.decode(stream):
            if isinstance(frame, AudioFrame) and frame.samples:
                yield frame


def _encoded(
    frames: Iterator[AudioFrame], track: AudioStream, shift: Fraction, length: float
) -> Iterator[Timed]:
    """Encode samples from second 0 to `length`; pauses of the clip become silence."""
    rate, layout = track.codec_context.sample_rate, track.codec_context.layout
    position = 0
    for place, samples in _placed(frames, rate, layout.name, shift):
        pause = place - position
        if pause > (SLACK_SECONDS * rate if position else 0):
            samples = np.pad(samples, ((0, 0), (min(pause, _longest(rate)), 0)))  # noqa: PLW2901
        elif position == 0 and place < 0:
            samples = samples[:, -place:]  # noqa: PLW2901
        left = math.inf if length == math.inf else round(length * rate) - position
        if left <= 0:
            break
        samples = samples[:, : None if left == math.inf else int(left)]  # noqa: PLW2901
        if not samples.shape[1]:
            continue
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", layout.name)
        frame.sample_rate, frame.pts, frame.time_base = rate, position, Fraction(1, rate)
        position += samples.shape[1]
        yield from _timed(track.encode(frame))
    yield from _timed(track.encode(None))


def _longest(rate: int) -> int:
    return int(LONGEST_PAUSE_SECONDS * rate)


def _placed(
    frames: Iterator[AudioFrame], rate: int, layout: str, shift: Fraction
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Samples `channels n` at `rate`, each block with its place on the film's clock."""
    resampler = AudioResampler("fltp", layout, rate)
    offset = 0  # between the film's clock and the count of samples
    count = 0
    for frame in frames:
        if frame.pts is not None and frame.time_base is not None:
            offset = round((frame.pts * frame.time_base - shift) * rate) - count
        for made in resampler.resample(frame):
            yield count + offset, cast("NDArray[np.float32]", made.to_ndarray())
            count += made.samples
    for made in resampler.resample(None):
        yield count + offset, cast("NDArray[np.float32]", made.to_ndarray())
        count += made.samples


def _timed(packets: Sequence[AnyPacket]) -> Iterator[Timed]:
    for packet in packets:
        yield float((packet.pts or 0) * packet.time_base), packet
