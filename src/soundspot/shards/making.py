"""From a film, or a picture and a sound, to what lies in a shard: JPEG, FLAC or WAV, JSON.

Which frame and which seconds, said once:

| rule | picture | sound |
|---|---|---|
| middle | shown in the middle of the film | `seconds` around it |
| first | the first | the first `seconds` |
| all | shown at (k + 1/2) / fps | `seconds` around each |
| any, where the list gives a time | shown at that time | `seconds` around it |
| any, of a picture with a sound | the picture | the middle (or first) `seconds` of the sound |

What would lie before the start or behind the end is left out. With several pictures a sample,
picture j of n is the one shown at (j + 1/2) / n of the window.

JPEG: quality as asked, 4:2:0, no metadata. The sound's two formats are `sounds`. All of them give
the same bytes for the same input.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from soundspot.data.media import picture_of, sound_of
from soundspot.errors import MediaError
from soundspot.files import one_line
from soundspot.media.audio import MIN_SECONDS, Sound, read_sound
from soundspot.media.decoders import decode
from soundspot.media.image import Picture, fit_picture
from soundspot.media.video import VideoInfo, frames, read_frame, read_info
from soundspot.shards.alike import are_still, is_silent, outline, print_of
from soundspot.shards.options import PackOptions
from soundspot.shards.sounds import encoded
from soundspot.shards.sources import Entry
from soundspot.shards.stretches import SoundTrack
from soundspot.shards.wholeness import require_whole

STILL_LOOKS = 5
"""Moments of a window that are compared to tell whether anything moves."""
TIME_DECIMALS = 6


@dataclass(frozen=True)
class Made:
    """One sample, ready to be written.

    Args:
        part: which of an entry's samples, where it gives several.
        pictures: JPEG files.
        sound: a file of the format that is asked for.
        meta: what its JSON says.
        prints: its fingerprints, as text.
        faults: the reasons of `options.REASONS` that hold, but for "duplicates".
    """

    part: int | None
    pictures: tuple[bytes, ...] = field(repr=False)
    sound: bytes = field(repr=False)
    meta: dict[str, Any]
    prints: str
    faults: tuple[str, ...]


def samples_of(entry: Entry, options: PackOptions) -> Iterator[Made]:
    """Read an entry and yield its samples, in the order of their times.

    Raises:
        MediaError: it cannot be read; samples before the damage have been yielded by then.
    """
    if entry.sample.video is None:
        yield _of_files(entry, options)
        return
    require_whole(entry.sample.video)
    info = read_info(entry.sample.video)
    if not info.has_sound:
        raise MediaError(f"{entry.sample.video} is a video without a sound track")
    if options.frames == "all" and entry.sample.time is None:
        yield from _all_of(entry, options, info)
    else:
        yield _one_of(entry, options, info)


def _of_files(entry: Entry, options: PackOptions) -> Made:
    """A picture with its sound."""
    picture = picture_of(entry.sample)
    whole = sound_of(entry.sample, options.rate)
    wanted = round(options.seconds * options.rate)
    spare = max(0, len(whole) - wanted)
    first = 0 if options.frames == "first" else spare // 2
    sound = whole[first : first + wanted]
    return _made(entry, options, None, [picture], sound, {"start": first / options.rate}, ())


def _one_of(entry: Entry, options: PackOptions, info: VideoInfo) -> Made:
    """One moment of a film."""
    film = entry.sample.video
    assert film is not None
    time = entry.sample.time
    if time is None:
        time = info.seconds / 2 if options.frames == "middle" else 0.0
    at_start = options.frames == "first" and entry.sample.time is None
    start, stop = _window(time, options.seconds, info.seconds, at_start=at_start)
    if stop <= start:
        raise MediaError(
            f"{film} ends at {info.seconds:.2f} s, before {time:g} s; give an earlier time"
        )
    sound = _around(entry, options.rate, start, stop)
    times = _spread(time, start, stop, options.pictures)
    pictures = [read_frame(film, moment) for moment in times]
    faults = ("still",) if "still" in options.drop and _is_still(entry, start, stop) else ()
    return _made(entry, options, None, pictures, sound, _when(times, start), faults, info)


def _around(entry: Entry, rate: int, start: float, stop: float) -> Sound:
    """The sound of a window; where the track ends before it, what packing can do instead."""
    film = entry.sample.video
    assert film is not None
    try:
        return read_sound(film, rate, start, stop - start)
    except MediaError as error:
        end = _sound_end(film)
        if end > start or not start:
            raise
        listed = entry.sample.time is not None
        remedy = "give an earlier time" if listed else "pack it with --frames first or all"
        raise MediaError(
            f"{film}: its sound ends at {end:.2f} s, before the window of its picture, which "
            f"begins at {start:.2f} s; {remedy}"
        ) from error


def _sound_end(film: Path) -> float:
    """Where the sound track ends, in seconds; infinity where it is damaged."""
    end = 0.0
    try:
        with contextlib.closing(decode(film, one_line(film), 0.0)) as blocks:
            for block in blocks:
                end = (block.first + len(block.samples)) / block.rate
    except MediaError:
        return math.inf
    return end


def _all_of(entry: Entry, options: PackOptions, info: VideoInfo) -> Iterator[Made]:
    """So many moments of a film a second, in one pass."""
    film = entry.sample.video
    assert film is not None
    track = SoundTrack(film, options.rate, options.seconds)
    step = 1 / options.fps
    before: NDArray[np.int16] | None = None
    moments = frames(film, min(step / 2, info.seconds / 2), every=step)
    for part, (time, picture) in enumerate(moments):
        start, stop = _window(time, options.seconds, info.seconds)
        sound = track.window(start, stop)
        if len(sound) < MIN_SECONDS * options.rate:  # the pictures go on without sound
            return
        now = outline(picture)
        faults = ("still",) if before is not None and are_still([before, now]) else ()
        before = now
        times = _spread(time, start, stop, options.pictures)
        pictures = [picture] if len(times) == 1 else [read_frame(film, t) for t in times]
        yield _made(entry, options, part, pictures, sound, _when(times, start), faults, info)


def _window(
    time: float, seconds: float, length: float, *, at_start: bool = False
) -> tuple[float, float]:
    start = 0.0 if at_start else max(0.0, time - seconds / 2)
    stop = seconds if at_start else time + seconds / 2
    return start, min(stop, length)


def _spread(time: float, start: float, stop: float, count: int) -> list[float]:
    if count == 1:
        return [time]
    return [start + (j + 0.5) / count * (stop - start) for j in range(count)]


def _when(times: list[float], start: float) -> dict[str, Any]:
    rounded = [round(time, TIME_DECIMALS) for time in times]
    several = {"times": rounded} if len(rounded) > 1 else {"time": rounded[0]}
    return {**several, "start": round(start, TIME_DECIMALS)}


def _is_still(entry: Entry, start: float, stop: float) -> bool:
    film = entry.sample.video
    assert film is not None
    every = (stop - start) / STILL_LOOKS
    looks = frames(film, start, max(stop, math.nextafter(start, math.inf)), every)
    return are_still([outline(picture) for _, picture in looks])


def _made(
    entry: Entry,
    options: PackOptions,
    part: int | None,
    pictures: list[Picture],
    sound: Sound,
    when: dict[str, Any],
    faults: tuple[str, ...],
    info: VideoInfo | None = None,
) -> Made:
    height, width = pictures[0].shape[:2]
    small = [_shrunk(picture, options.side) for picture in pictures]
    prints = str(print_of(small[len(small) // 2], sound, options.rate))
    silent = ("silent",) if is_silent(sound, options.rate) else ()
    meta = {
        "id": entry.sample.id,
        "entry": entry.number,
        "source": entry.source,
        **({} if entry.sound is None else {"sound": entry.sound}),
        **when,
        "seconds": round(len(sound) / options.rate, TIME_DECIMALS),
        "rate": options.rate,
        "size": [width, height],
        **({} if info is None else {"film_seconds": round(info.seconds, TIME_DECIMALS)}),
        "print": prints,
    }
    files = tuple(jpeg(picture, options.quality) for picture in small)
    heard = encoded(sound, options.rate, options.sound)
    return Made(part, files, heard, meta, prints, (*faults, *silent))


def _shrunk(picture: Picture, side: int) -> Picture:
    """Bring the shorter side to `side`, where it is longer."""
    height, width = picture.shape[:2]
    scale = side / min(height, width)
    if scale >= 1:
        return picture
    return fit_picture(picture, max(1, round(width * scale)), max(1, round(height * scale)))


def jpeg(picture: Picture, quality: int) -> bytes:
    """A picture as a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return buffer.getvalue()


def meta_bytes(meta: dict[str, Any]) -> bytes:
    """Metadata as JSON, the same bytes for the same content."""
    return json.dumps(meta, separators=(",", ":")).encode("ascii")
