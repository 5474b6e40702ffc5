"""Sounds: any file that people can hear, as mono float32 in [-1, 1] at the rate asked for.

A file passes through a chain of generators, so that an hour costs no more memory than its mono
result, and ten seconds of it no more than ten seconds:

    decoder -> mono blocks with their place in the file -> window -> resampler -> samples

`media.decoders` takes libsndfile (wav, flac, aiff, ogg, opus, ...) first; FFmpeg, through PyAV,
reads mp3 and what libsndfile does not: m4a, wma, amr, and the sound tracks of videos.

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
* Floats that are given as an array may leave [-1, 1] up to `OVERSHOOT`, for what others decode or
  resample does so a little. Beyond it they are on another scale, such as that of 16 bits, where a
  silence would be divided by its peak just as well: that is an error.
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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ..checks import is_number
from ..errors import MediaError, OptionError
from ..files import one_line, require_file, write_beside
from .decoders import decode
from .decoders.blocks import (
    BLOCK_SAMPLES,
    INTEGER_SCALES,
    MIN_SECONDS,
    Block,
    Sound,
    as_float,
    mono,
)
from .decoders.ffmpeg import open_media
from .decoders.wholeness import is_cut
from .kinds import as_array, kind_of

__all__ = [
    "DEFAULT_RATE",
    "MAX_RATE",
    "MIN_RATE",
    "MIN_SECONDS",
    "Block",
    "Sound",
    "as_sound",
    "is_cut",
    "open_media",
    "read_sound",
    "write_sound",
]
DEFAULT_RATE = 16_000
MIN_RATE, MAX_RATE = 4_000, 192_000
"""Hz."""
MARGIN_SECONDS = 0.1
"""Read on both sides of a window, for the resampler's filter (HQ needs 0.03 s at 4 kHz)."""
OVERSHOOT = 4.0
"""Largest sample of a given array of floats: 12 dB above full scale. A clipped tone comes to 1.5
out of an mp3 of 64 kbit/s and to 1.3 out of a resampler, clipped white noise to 3.0 and 2.4."""
WRITERS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
}


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
    with contextlib.closing(decode(file, name, max(0.0, start - _lead(start)))) as blocks:
        result = _window(blocks, name, rate, start, seconds)
    return _finished(result, rate, name)


def as_sound(source: str | os.PathLike[str] | tuple[Any, float], rate: int = DEFAULT_RATE) -> Sound:
    """Return a sound at `rate` from a path, or from a tuple (samples, their rate in Hz).

    Samples are 1-D, or 2-D with any number of channels: the longer side is time. Floats are in
    [-1, 1]; beyond it they are let pass up to `OVERSHOOT`, for decoders and resamplers overshoot,
    and the sound is divided by its peak. int8, uint8, int16 and int32 have their full range.

    Raises:
        MediaError: anything else.
    """
    if isinstance(source, str | os.PathLike):
        return read_sound(source, rate)
    _check_options(rate, 0.0, None)
    rate = int(rate)
    name = "the sound"
    samples, own_rate = _given(source, name)
    block = Block(own_rate, 0, _from_array(as_array(samples, name), name))
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
        raise MediaError(f"{name}: {kind_of(array)} is no sound; give floats, samples first")
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


def _given(source: object, name: str) -> tuple[Any, int]:
    """The samples and the rate of a sound that is no file.

    Raises:
        MediaError: anything but a tuple of the two, in this order.
    """
    if not isinstance(source, tuple) or len(source) != 2:
        raise MediaError(f"{name} is {kind_of(source)}; give a path, or (samples, their rate)")
    samples, own_rate = source
    if is_number(samples) and not is_number(own_rate):
        raise MediaError(f"{name} is given as (rate, samples); the order is (samples, their rate)")
    return samples, _checked_rate(own_rate, name)


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
    if not (is_number(rate) and MIN_RATE <= rate <= MAX_RATE and rate == int(rate)):
        raise OptionError(f"rate={rate!r} Hz; it must be a whole number, {MIN_RATE} to {MAX_RATE}")
    if not (is_number(start) and 0 <= start < math.inf):
        raise OptionError(f"start={start!r} s; it must be 0 or more")
    if seconds is not None and not (is_number(seconds) and 0 < seconds < math.inf):
        raise OptionError(f"seconds={seconds!r}; it must be more than 0")


def _checked_rate(rate: object, name: str) -> int:
    if not is_number(rate):
        kind = repr(rate) if isinstance(rate, str) else kind_of(rate)
        raise MediaError(f"{name} has a sample rate that is {kind}; give a number, in Hz")
    if MIN_RATE <= rate <= MAX_RATE and rate == int(rate):
        return int(rate)
    raise MediaError(
        f"{name} has a sample rate of {rate} Hz; rates from {MIN_RATE} to {MAX_RATE} can be read"
    )


def _check_finite(samples: Sound, name: str) -> None:
    if not np.isfinite(samples).all():
        raise MediaError(f"{name} holds NaN or infinite samples; write it again without them")


def _from_array(array: NDArray[Any], name: str) -> Sound:
    code = array.dtype.str[1:]
    if array.ndim not in (1, 2) or (array.dtype.kind != "f" and code not in INTEGER_SCALES):
        raise MediaError(
            f"{name} is {kind_of(array)}; give 1-D or 2-D floats, int8, uint8, int16 or int32"
        )
    if array.size == 0:
        raise MediaError(f"{name} holds no samples; give a sound with some")
    peak = 0.0 if array.dtype.kind != "f" else max(float(array.max()), -float(array.min()))
    if OVERSHOOT < peak < math.inf:
        raise MediaError(
            f"{name} has floats up to {peak:g}, beyond -1..1; divide them by the largest that "
            "their scale allows (32768 for 16 bits), or give integers"
        )
    values = as_float(array)
    return values if array.ndim == 1 else mono(values, axis=int(np.argmin(array.shape)))
