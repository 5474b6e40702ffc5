"""A sound track, read once from front to back, window by window.

`read_sound` keeps a whole sound: 230 MB for an hour at 16 kHz. Who walks along a film needs only
what is heard around the frame at hand, so `SoundTrack.window(start, stop)` decodes as far as
`stop` and forgets what lies before `start`. Memory is that of one window, whatever the length.

    window(a, b) = read_sound(path)[a : b]      resampled across the borders of windows, too

Two differences, both because the end is not known on the way: a window that leaves [-1, 1] is
divided by its own peak, not by that of the whole; and a track that breaks off is no error until
somebody asks for a time that it does not have (`check`), so what came before can still be heard.

Times are seconds, 0 is where the file starts (see `media/audio.py`). Before 0 and after the end
there is nothing: a window that reaches beyond is shorter, and may be empty.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Generator, Iterator
from typing import Any, Self, TypeAlias

import numpy as np
import soxr
from numpy.typing import NDArray

from ..errors import MediaError
from ..files import one_line, require_file
from .audio import (
    MARGIN_SECONDS,
    _check_finite,
    _checked_rate,
    _continuous,
    _from_array,
    _given,
    _lead,
    _output_length,
)
from .decoders import decode
from .decoders.blocks import BLOCK_SAMPLES, Block, Sound, as_float, mono
from .kinds import as_array

SoundSource: TypeAlias = (
    str | os.PathLike[str] | tuple[NDArray[Any], float] | tuple[Iterator[NDArray[Any]], float]
)
"""A path; or samples, all of them or an iterator of pieces, with their rate in Hz."""

NAME = "the sound"
"""What messages call a sound that is no file."""


class SoundTrack:
    """A sound at one rate, of which a window that only moves forwards is in memory.

    Args:
        source: a file, (samples, rate in Hz), or (iterator of pieces, rate in Hz); the pieces are
            asked for only as far as a window reaches. Samples as `as_sound` takes them.
        rate: Hz of the result.
        after: seconds; no window will begin before it.
    """

    def __init__(self, source: SoundSource, rate: int, after: float = 0.0) -> None:
        self.rate = rate
        self._chunks = _resampled(source, rate, max(0.0, after))
        self._held: Sound = np.zeros(0, np.float32)
        self._first: int | None = None
        self._damage: MediaError | None = None

    @property
    def end(self) -> float:
        """Seconds up to which the sound has been read."""
        return 0.0 if self._first is None else (self._first + len(self._held)) / self.rate

    def window(self, start: float, stop: float) -> Sound:
        """The samples from `start` to `stop` seconds, as far as there are any."""
        first, last = max(0, round(start * self.rate)), max(0, round(stop * self.rate))
        self._read_until(first, last)
        base = 0 if self._first is None else self._first
        if self._first is not None and first < base:
            raise ValueError(f"windows go forwards: {start:g} s is forgotten")
        found = self._held[first - base : max(first, last) - base]
        peak = float(np.abs(found).max(initial=0.0))
        return found / np.float32(peak) if peak > 1 else found.copy()

    def check(self, time: float) -> None:
        """Raise, if the track is damaged at or before `time`, what was found there.

        Raises:
            MediaError: no sound, damaged, cut short, or not finite.
        """
        if self._damage is not None and time >= self.end:
            raise self._damage

    def close(self) -> None:
        """Close the file; the window at hand stays."""
        self._chunks.close()

    def __enter__(self) -> Self:
        """Close at the end of `with`."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _read_until(self, first: int, last: int) -> None:
        """Decode as far as `last`, and forget what lies before `first`."""
        new = [self._held]
        until = (self._first or 0) + len(self._held)
        while self._damage is None and (self._first is None or until < last):
            try:
                place, chunk = next(self._chunks)
            except StopIteration:
                break
            except MediaError as error:
                self._damage = error
                break
            if self._first is None:
                self._first = until = place
            new.append(chunk)
            until += len(chunk)
        if self._first is not None:
            joined = np.concatenate(new)
            forgotten = min(max(0, first - self._first), len(joined))
            self._held = joined[forgotten:].copy()
            self._first += forgotten


def _resampled(
    source: SoundSource, rate: int, after: float
) -> Generator[tuple[int, Sound], None, None]:
    """Yield (place, samples) at `rate`, from `after` or a little before.

    As in `audio._window`: resampling begins where both clocks tick together. The first pair comes
    before any of its samples are asked for, so that who reads knows where the track begins.
    """
    name, blocks = _blocks(source, after)
    head = next(blocks, None)
    if head is None:
        raise MediaError(f"{name} holds no samples; give a sound with some")
    own_rate = _checked_rate(head.rate, name)
    ticks = math.gcd(own_rate, rate)
    tick = math.floor(max(0.0, after - MARGIN_SECONDS) * ticks)
    first, place = tick * (own_rate // ticks), tick * (rate // ticks)
    resampler = soxr.ResampleStream(own_rate, rate, 1, "float32", "HQ")
    position = first
    damage: MediaError | None = None
    try:
        for block in _continuous(itertools.chain([head], blocks), first):
            _check_finite(block.samples, name)
            position = max(first, block.first + len(block.samples))
            wanted = np.ascontiguousarray(block.samples[max(0, first - block.first) :])
            chunk = resampler.resample_chunk(wanted)
            yield place, chunk
            place += len(chunk)
    except MediaError as error:
        damage = error
    rest = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
    end = _output_length(position, own_rate, rate)
    yield place, rest[: max(0, end - place)]
    if damage is not None:
        raise damage


def _blocks(source: SoundSource, after: float) -> tuple[str, Iterator[Block]]:
    """What messages call the sound, and its pieces."""
    if isinstance(source, str | os.PathLike):
        name = one_line(source)
        return name, decode(require_file(source), name, max(0.0, after - _lead(after)))
    samples, rate = _given(source, NAME)
    pieces = samples if isinstance(samples, Iterator) else _pieces(as_array(samples, NAME))
    return NAME, _placed(pieces, rate)


def _placed(pieces: Iterator[NDArray[Any]], rate: int) -> Iterator[Block]:
    position = 0
    for piece in pieces:
        samples = _from_array(as_array(piece, NAME), NAME)
        yield Block(rate, position, samples)
        position += len(samples)


def _pieces(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Cut samples along time (the longer side) into mono pieces."""
    _from_array(array[:1, :1] if array.ndim == 2 else array[:1], NAME)
    if array.ndim == 2 and array.shape[0] <= array.shape[1]:
        array = array.T
    for first in range(0, len(array), BLOCK_SAMPLES):
        piece = array[first : first + BLOCK_SAMPLES]
        yield piece if array.ndim == 1 else mono(as_float(piece), axis=1)
