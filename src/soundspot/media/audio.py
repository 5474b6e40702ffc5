"""Sounds: any file that people can hear, as mono float32 in [-1, 1] at the rate asked for.

A file passes through a chain of generators, so that an hour costs no more memory than its mono
result, and ten seconds of it no more than ten seconds:

    decoder -> mono blocks with their place in the file -> window -> resampler -> samples

libsndfile (wav, flac, aiff, ogg, opus, ...) goes first; FFmpeg, through PyAV, reads mp3 and what
libsndfile does not: m4a, wma, amr, and the sound tracks of videos.

Decisions, taken here once:

* Channels are mixed by their mean. Resampling is soxr's HQ: flat up to 0.91 of the lower Nyquist
  frequency, aliases below -100 dB.
* Time 0 is where the file starts; in a video, where its first stream starts, so that sound and
  frames share one clock. A track that starts later, or pauses, is filled with silence.
* A window is cut out of the whole: samples before and after it feed the resampler's filter, and
  `read_sound(f, start=1, seconds=2)` equals seconds 1 to 3 of `read_sound(f)`. Only in files
  whose own clock is coarse (mkv and webm: 1 ms) may it be off by that much.
* Where the result would leave [-1, 1] (loud float files; the overshoot of a resampled square
  wave), all of it is divided by its peak. Clipping would bend the wave.
* A file that breaks off is an error, which names the seconds that are whole: `start` and
  `seconds` can still have those. It is noticed by damage, and by a length that the file declares
  (wav, aiff, flac, ogg, mp4, m4a, mkv, webm, avi, and mp3 with a Xing or Info tag). What precedes
  the first packet that decodes is skipped: broadcasts are joined in the middle.
* Silence is a sound. NaN, infinity and less than `MIN_SECONDS` are not.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Generator, Iterator
from fractions import Fraction
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import av
import numpy as np
import soundfile
import soxr
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from ..errors import MediaError, OptionError
from ..files import one_line, require_file, what_is, write_beside

Sound: TypeAlias = NDArray[np.float32]
"""`samples`, mono, in [-1, 1]."""

DEFAULT_RATE = 16_000
MIN_RATE, MAX_RATE = 4_000, 192_000
"""Hz."""
MIN_SECONDS = 0.025
"""The shortest sound: one frame of a spectrogram."""
BLOCK_SAMPLES = 16_384
SMALL_BLOCK_SAMPLES = 256
"""Of libsndfile's reads; the small ones come close to the place where a file is damaged."""
MARGIN_SECONDS = 0.1
"""Read on both sides of a window, for the resampler's filter (HQ needs 0.03 s at 4 kHz)."""
PREROLL_SECONDS = 1.0
"""FFmpeg's decoders start this much before a window: they need the packets before it."""
SLACK_SECONDS = 0.1
"""Clocks of containers may be off by this much before it counts as a pause or a cut."""
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
WRITERS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
}
UNKNOWN_LENGTH = 0x7FFF0000
"""Bytes; recorders that write to a pipe declare this much or more."""
UNKNOWN_FRAMES = 1 << 60
HEAD_BYTES = 4_096
MANY_PLANES = 8
OGG_TAIL_BYTES = 2 * 65_536
"""The last page lies whole in it: a page has at most 65,307 bytes."""
MATROSKA, MATROSKA_SEGMENT = b"\x1aE\xdf\xa3", b"\x18\x53\x80\x67"

INTEGER_SCALES = {"i1": 2.0**7, "u1": 2.0**7, "i2": 2.0**15, "i4": 2.0**31}
UNSIGNED_ZERO = 128


class Block(NamedTuple):
    """A piece of a file's sound, mixed to mono, at the file's own rate."""

    rate: int
    """Hz."""
    first: int
    """Place of the first sample, counted from time 0 of the file."""
    samples: Sound


def read_sound(
    path: str | os.PathLike[str],
    rate: int = DEFAULT_RATE,
    start: float = 0.0,
    seconds: float | None = None,
) -> Sound:
    """Read a sound, or a video's sound track, as mono float32 in [-1, 1].

    Args:
        path: a file; its content decides the format, not its name.
        rate: Hz of the result, 4,000 to 192,000.
        start: where to begin, in seconds.
        seconds: how much at most; the file's end may come sooner. None: to the end.

    Raises:
        MediaError: no sound in it, cut short, damaged, not finite, too short, or `start` lies
            beyond its end.
        OptionError: `rate`, `start` or `seconds` out of range.
    """
    _check_options(rate, start, seconds)
    rate = int(rate)
    file = require_file(path)
    name = one_line(path)
    with contextlib.closing(_decode(file, name, max(0.0, start - _lead(start)))) as blocks:
        result = _window(blocks, name, rate, start, seconds)
    return _finished(result, rate, name)


def as_sound(source: str | os.PathLike[str] | tuple[Any, float], rate: int = DEFAULT_RATE) -> Sound:
    """Return a sound at `rate` from a path, or from a tuple (samples, their rate in Hz).

    Samples are 1-D, or 2-D with any number of channels: the longer side is time. Floats are in
    [-1, 1]; int8, uint8, int16 and int32 have their full range.

    Raises:
        MediaError: anything else.
    """
    if isinstance(source, str | os.PathLike):
        return read_sound(source, rate)
    _check_options(rate, 0.0, None)
    rate = int(rate)
    name = "the sound"
    if not isinstance(source, tuple) or len(source) != 2:
        raise MediaError(f"{name} is {_kind(source)}; give a path, or (samples, their rate)")
    samples, own_rate = source
    block = Block(_checked_rate(own_rate, name), 0, _from_array(np.asarray(samples), name))
    return _finished(_window(iter([block]), name, rate, 0.0, None), rate, name)


def write_sound(path: str | os.PathLike[str], samples: Sound, rate: int) -> None:
    """Write mono (or `samples channels`) floats in [-1, 1] as .wav, .flac (16 bits) or .ogg.

    Raises:
        MediaError: another suffix, values outside [-1, 1], or the disk refuses.
    """
    _check_options(rate, 0.0, None)  # libvorbis crashes on other rates
    name = one_line(path)
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        raise MediaError(f"{name}: a sound is written as {', '.join(WRITERS)}")
    array = np.asarray(samples)
    if array.ndim not in (1, 2) or array.size == 0 or array.dtype.kind != "f":
        raise MediaError(f"{name}: {_kind(array)} is no sound; give floats, samples first")
    if not np.isfinite(array).all() or np.abs(array).max() > 1:
        raise MediaError(f"{name}: samples leave [-1, 1] or are not finite; divide by their peak")
    kind, subtype = WRITERS[suffix]
    channels = 1 if array.ndim == 1 else array.shape[1]
    with write_beside(path) as temporary:
        try:
            with soundfile.SoundFile(
                temporary, "w", int(rate), channels, subtype, format=kind
            ) as out:
                for first in range(0, len(array), BLOCK_SAMPLES):  # libvorbis: no long writes
                    out.write(array[first : first + BLOCK_SAMPLES])
        except soundfile.LibsndfileError as error:
            raise MediaError(f"{name} cannot be written: {one_line(error)}") from error


# --- from blocks to the window asked for ---------------------------------------------------


def _window(
    blocks: Iterator[Block], name: str, rate: int, start: float, seconds: float | None
) -> Sound:
    """Cut `start` to `start + seconds` out of the blocks, at `rate`.

    Reading starts where both clocks tick together (every 1 / gcd of the rates, seconds), so
    that the samples of a window are the samples of the whole.
    """
    try:
        head = next(blocks)
    except StopIteration:
        after = f" after start={start:g} s" if start else ""
        raise MediaError(f"{name} holds no samples{after}; give a sound with some") from None
    own_rate = _checked_rate(head.rate, name)
    ticks = math.gcd(own_rate, rate)
    tick = math.floor(max(0.0, start - MARGIN_SECONDS) * ticks)
    first = tick * (own_rate // ticks)
    stop = None if seconds is None else math.ceil((start + seconds) * own_rate)
    spare = math.ceil(MARGIN_SECONDS * own_rate)

    resampler = soxr.ResampleStream(own_rate, rate, 1, "float32", "HQ")
    done: list[Sound] = []
    position = 0
    for block in _continuous(_until(blocks, head, stop), first):
        _check_finite(block.samples, name)
        position = block.first + len(block.samples)
        end = None if stop is None else max(0, stop + spare - block.first)
        wanted = block.samples[max(0, first - block.first) : end]
        done.append(resampler.resample_chunk(np.ascontiguousarray(wanted)))
        if stop is not None and position >= stop + spare:
            break
    if position == 0:
        raise MediaError(f"{name} holds no samples; give a sound with some")
    done.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    if position <= start * own_rate:
        length = position / own_rate
        raise MediaError(f"{name} ends at {length:.2f} s, before start={start:g}; start earlier")

    begin = round(start * rate) - tick * (rate // ticks)
    end = _output_length(position, own_rate, rate)
    if seconds is not None:
        end = min(end, round(start * rate) + round(seconds * rate))
    return np.concatenate(done)[begin : end - tick * (rate // ticks)]


def _until(blocks: Iterator[Block], head: Block, stop: int | None) -> Iterator[Block]:
    """Give the first block back; and once all up to `stop` is there, let damage after it be."""
    yield head
    position = head.first + len(head.samples)
    while True:
        try:
            block = next(blocks)
        except StopIteration:
            return
        except MediaError:
            if stop is not None and position >= stop:
                return
            raise
        position = block.first + len(block.samples)
        yield block


def _continuous(blocks: Iterator[Block], first: int) -> Iterator[Block]:
    """Fill what lacks between `first` and the first block, and between blocks, with silence."""
    position: int | None = None
    for block in blocks:
        position = min(first, block.first) if position is None else position
        while position < block.first:
            pause = min(block.first - position, BLOCK_SAMPLES)
            yield Block(block.rate, position, np.zeros(pause, np.float32))
            position += pause
        yield block
        position += len(block.samples)


def _output_length(samples: int, own_rate: int, rate: int) -> int:
    """Return how many samples soxr makes of so many: rounded, halves up."""
    return (2 * samples * rate + own_rate) // (2 * own_rate)


def _finished(samples: Sound, rate: int, name: str) -> Sound:
    """Check the length and bring the peak to at most 1."""
    if len(samples) < MIN_SECONDS * rate:
        raise MediaError(
            f"{name} gives only {len(samples) / rate:.4f} s of sound; "
            f"{MIN_SECONDS} s are the least that can be heard out"
        )
    peak = max(float(samples.max()), -float(samples.min()))
    if peak > 1:
        samples /= np.float32(peak)
    return np.ascontiguousarray(samples, np.float32)


def _lead(start: float) -> float:
    """Return how long before `start` the decoder must begin: margin, and one common tick."""
    return min(start, MARGIN_SECONDS + 1.0)


def _check_options(rate: int, start: float, seconds: float | None) -> None:
    if not MIN_RATE <= rate <= MAX_RATE or rate != int(rate):
        raise OptionError(f"rate={rate} Hz; it must be a whole number, {MIN_RATE} to {MAX_RATE}")
    if not (start >= 0 and math.isfinite(start)):
        raise OptionError(f"start={start} s; it must be 0 or more")
    if seconds is not None and not (seconds > 0 and math.isfinite(seconds)):
        raise OptionError(f"seconds={seconds}; it must be more than 0")


def _checked_rate(rate: float, name: str) -> int:
    try:
        if MIN_RATE <= rate <= MAX_RATE and rate == int(rate):
            return int(rate)
    except TypeError:
        pass
    raise MediaError(
        f"{name} has a sample rate of {rate} Hz; rates from {MIN_RATE} to {MAX_RATE} can be read"
    )


def _check_finite(samples: Sound, name: str) -> None:
    if not np.isfinite(samples).all():
        raise MediaError(f"{name} holds NaN or infinite samples; write it again without them")


# --- decoders: each yields Blocks, from at or before the second asked for --------------------


def _decode(file: Path, name: str, after: float) -> Generator[Block]:
    """Yield the blocks of a file from `after` seconds or earlier, by the decoder that can."""
    with file.open("rb", buffering=0) as opened:
        sound = _sndfile(opened)
        if sound is not None:
            with sound:
                yield from _sndfile_blocks(sound, opened, file, name, after)
            return
    yield from _ffmpeg_blocks(file, name, after)


def _sndfile(opened: FileIO) -> soundfile.SoundFile | None:
    """Open with libsndfile; None for what FFmpeg does better: mp3 and unknown lengths.

    Its mp3 decoder prints to the terminal, and starts for any file that is *named* .mp3: hence
    the bare file descriptor.
    """
    if _is_mpeg_audio(opened.read(3)):
        return None
    opened.seek(0)
    try:
        sound = soundfile.SoundFile(opened.fileno(), closefd=False)
    except (soundfile.SoundFileError, TypeError, ValueError):
        return None
    if sound.format != "MP3" and 0 < sound.frames < UNKNOWN_FRAMES:
        return sound
    sound.close()
    return None


def _sndfile_blocks(
    sound: soundfile.SoundFile, opened: FileIO, file: Path, name: str, after: float
) -> Iterator[Block]:
    rate: int = sound.samplerate
    position = min(math.floor(after * rate), sound.frames - 1)
    try:
        for block in _sndfile_reads(sound, position, BLOCK_SAMPLES):
            yield block
            position = block.first + len(block.samples)
    except soundfile.SoundFileError as error:
        opened.seek(0)
        again = _sndfile(opened)  # for the failed block, as far as it is whole
        if again is not None:
            with again, contextlib.suppress(soundfile.SoundFileError):
                for block in _sndfile_reads(again, position, SMALL_BLOCK_SAMPLES):
                    yield block
                    position = block.first + len(block.samples)
        raise _cut(name, position / rate) from error
    if position < sound.frames or _is_cut_wave(sound) or is_cut(file):
        raise _cut(name, position / rate)


def _sndfile_reads(sound: soundfile.SoundFile, position: int, size: int) -> Iterator[Block]:
    sound.seek(position)
    while len(samples := sound.read(size, dtype="float32", always_2d=True)):
        yield Block(sound.samplerate, position, _mono(samples, axis=1))
        position += len(samples)


def open_media(file: Path) -> InputContainer:
    """Open a file with FFmpeg, which may open nothing else that the file names."""
    return av.open(
        f"file:{file}",
        metadata_errors="replace",
        options={"protocol_whitelist": "file", "format_whitelist": FFMPEG_FORMATS},
    )


def _ffmpeg_blocks(file: Path, name: str, after: float) -> Iterator[Block]:
    # PyAV keeps FFmpeg's log off the terminal unless the user turns it on
    try:
        container = open_media(file)
    except (av.FFmpegError, ValueError) as error:
        raise MediaError(f"{name} {_what_instead(file)}; give {READABLE}") from error
    with container:
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
            raise _cut(name, seconds) from error
    if rate and ((declared or 0.0) - position / rate > SLACK_SECONDS or is_cut(file)):
        raise _cut(name, position / rate)


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
    return _mono(_as_float(values), axis=0)


def _declared_seconds(container: InputContainer, stream: AudioStream, file: Path) -> float | None:
    """Return the track's length as its file declares it; None where FFmpeg can only guess."""
    kind = container.format.name.split(",")[0]
    exact = _mp3_declares_length(file) if kind == "mp3" else kind in EXACT_LENGTH
    if not exact or stream.duration is None or stream.time_base is None:
        return None
    return float(stream.duration * stream.time_base)


# --- small facts about files and arrays ------------------------------------------------------


def _cut(name: str, seconds: float) -> MediaError:
    """Return the error for a file of which so many seconds are whole."""
    whole = math.floor(seconds * 100) / 100
    if whole < MIN_SECONDS:
        return MediaError(f"{name} is damaged or cut short; save or download it again")
    return MediaError(
        f"{name} is damaged or cut short after {whole:.2f} s; save it again, or use start and "
        "seconds to read a part before that"
    )


def _what_instead(file: Path) -> str:
    """Say what a file is that no decoder opens."""
    what = what_is(file)
    if what is None:
        return "is not a sound that can be read"
    if what.endswith(("sound", "video")):
        return f"is {what}, but empty, cut short or damaged"
    return f"is {what}, which has no sound"


def _is_mpeg_audio(head: bytes) -> bool:
    return head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0)


def _mp3_declares_length(file: Path) -> bool:
    """Tell whether the first frame, after an ID3v2 tag, counts the frames of the file."""
    with file.open("rb") as opened:
        head = opened.read(10)
        if head[:3] == b"ID3":
            a, b, c, d = head[6:10]
            opened.seek(10 + (a << 21 | b << 14 | c << 7 | d))
        else:
            opened.seek(0)
        frame = opened.read(256)
    return b"Xing" in frame or b"Info" in frame


def _is_cut_wave(sound: soundfile.SoundFile) -> bool:
    """Tell whether the head declares more bytes of sound than the file holds."""
    found = re.search(r"(?:data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", sound.extra_info)
    if not found or sound.frames == 0:
        return False
    declared, held = int(found[1]), int(found[2])
    missing = (declared - held) / (held / sound.frames) / sound.samplerate
    return declared < UNKNOWN_LENGTH and missing > SLACK_SECONDS


def is_cut(file: Path) -> bool:
    """Tell whether an Ogg, Matroska, WebM or AVI file ends before the end that it declares."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        head = opened.read(HEAD_BYTES)
        opened.seek(max(0, size - OGG_TAIL_BYTES))
        tail = opened.read() if head.startswith(b"OggS") else b""
    if head.startswith(b"OggS"):
        page = tail[max(0, tail.rfind(b"OggS")) :]
        return len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return size < 8 + int.from_bytes(head[4:8], "little")
    segment = head.find(MATROSKA_SEGMENT) + len(MATROSKA_SEGMENT)
    if head.startswith(MATROSKA) and segment >= len(MATROSKA_SEGMENT) and head[segment]:
        width = 9 - head[segment].bit_length()  # leading zeros count the bytes of the number
        unknown = (1 << 7 * width) - 1
        content = int.from_bytes(head[segment : segment + width]) & unknown
        return content != unknown and size < segment + width + content
    return False


def _mono(samples: Sound, axis: int) -> Sound:
    if samples.shape[axis] == 1:
        return samples.reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):  # NaN and infinity are reported later
        mixed: Sound = samples.mean(axis=axis, dtype=np.float32)
    return mixed


def _as_float(values: NDArray[Any]) -> Sound:
    """Scale integers to [-1, 1) by the range of their type."""
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return values.astype(np.float32, copy=False)
    scale = INTEGER_SCALES[values.dtype.str[1:]]
    zero = UNSIGNED_ZERO if values.dtype.kind == "u" else 0
    return ((values.astype(np.float64) - zero) / scale).astype(np.float32)


def _from_array(array: NDArray[Any], name: str) -> Sound:
    code = array.dtype.str[1:]
    if array.ndim not in (1, 2) or (array.dtype.kind != "f" and code not in INTEGER_SCALES):
        raise MediaError(
            f"{name} is {_kind(array)}; give 1-D or 2-D floats, int8, uint8, int16 or int32"
        )
    if array.size == 0:
        raise MediaError(f"{name} holds no samples; give a sound with some")
    values = _as_float(array)
    return values if array.ndim == 1 else _mono(values, axis=int(np.argmin(array.shape)))


def _kind(thing: object) -> str:
    if isinstance(thing, np.ndarray):
        shape = " x ".join(str(n) for n in thing.shape) or "scalar"
        return f"an array {shape} of {thing.dtype}"
    return f"of type {type(thing).__name__}"
