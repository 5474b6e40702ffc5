"""From a sample to what is seen and heard, whichever way its data set stores it.

| the sample has | the picture | the sound |
|---|---|---|
| `image`, `sound` | the file | the whole file |
| `video` | the frame shown at `time` | the seconds around `time`, or the whole track |
| `sources` with an `image` each | the pictures side by side | the sum of the sources' sounds |

Masks are picture files in which people drew: not black where the source is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from soundspot.errors import MediaError
from soundspot.media.audio import Sound, read_sound
from soundspot.media.image import Picture, fit_picture, read_picture
from soundspot.media.video import frames, read_frame, read_info
from soundspot.types import Sample, Source

PANEL_SIDE = 224
"""Pixels: of each picture in a composition. The field's own composed sets squash to this square."""
LOSSY_BLACK = 127
"""JPEG rings around edges: in a mask of that format, up to this value (of 255) is black."""
PROBE_SECONDS = 0.5
PROBE_SIDE = 32
"""A JPEG is decoded to its end at an eighth of its size, but never below this many pixels."""
PROBE_RATE = 16_000


def picture_of(sample: Sample) -> Picture:
    """The picture of a sample, `H W 3`, upright RGB.

    Raises:
        MediaError: it cannot be read.
    """
    if sample.video is not None:
        return read_frame(sample.video, time_of(sample))
    panels = [source.image for source in sample.sources if source.image is not None]
    if panels:
        fitted = [fit_picture(read_picture(panel), PANEL_SIDE, PANEL_SIDE) for panel in panels]
        return np.concatenate(fitted, axis=1)
    return read_picture(sample.image)


def sound_of(sample: Sample, rate: int, seconds: float | None = None) -> Sound:
    """The sound of a sample, mono in [-1, 1].

    Args:
        sample: whose sound.
        rate: Hz of the result.
        seconds: of a video, how much around the sample's time; what lies before the start or
            after the end of the file is left out. None, and for other samples: all of it.

    Raises:
        MediaError: it cannot be read.
    """
    if sample.video is not None:
        return _track_of(sample.video, sample, rate, seconds)
    clips = [s.sound for s in sample.sources if s.image is not None and s.sound is not None]
    if clips:
        return _sum([read_sound(clip, rate) for clip in clips])
    return read_sound(sample.sound, rate)


def _track_of(video: Path, sample: Sample, rate: int, seconds: float | None) -> Sound:
    if seconds is None:
        return read_sound(video, rate)
    middle = time_of(sample)
    start = max(0.0, middle - seconds / 2)
    return read_sound(video, rate, start, middle + seconds / 2 - start)


def time_of(sample: Sample) -> float:
    """The second of a video at which a sample's picture is taken: its own, or the middle.

    Raises:
        MediaError: the sample has no video, or it cannot be read.
    """
    if sample.time is not None:
        return sample.time
    if sample.video is None:
        raise MediaError(f"{sample.id}: is no sample of a video; it has no time")
    return read_info(sample.video).seconds / 2


def source_sound(source: Source, rate: int) -> Sound | None:
    """The clean sound of one source, mono in [-1, 1]; None where there is none.

    Raises:
        MediaError: it cannot be read.
    """
    return None if source.sound is None else read_sound(source.sound, rate)


def mask_of(path: Path) -> NDArray[np.bool_]:
    """Whether each pixel of a mask's file is part of the source: not black.

    Raises:
        MediaError: it is not a picture.
    """
    pixels = read_picture(path)
    with Image.open(path) as opened:
        black = LOSSY_BLACK if opened.format == "JPEG" else 0
    brightest: NDArray[np.uint8] = pixels.max(axis=2)
    return brightest > black


def probe(path: Path, role: str, *, decode: bool = False) -> float | None:
    """Open a file as "picture", "mask", "sound" or "video", to see whether it can be read.

    Pictures are decoded to their end; sounds and videos (their picture and sound tracks) at their
    start, or to their end with `decode`. Returns a video's seconds.

    Raises:
        MediaError: it cannot be read; the message says why.
    """
    if role in ("picture", "mask"):
        read_picture(path, at_least=(PROBE_SIDE, PROBE_SIDE))
        return None
    seconds = None
    if role == "video":
        info = read_info(path)
        seconds = info.seconds
        for _ in frames(path) if decode else ():
            pass
        if not info.has_sound:
            raise MediaError(f"{path} is a video without a sound track")
    read_sound(path, PROBE_RATE, seconds=None if decode else PROBE_SECONDS)
    return seconds


def _sum(sounds: list[Sound]) -> Sound:
    """Waveforms added, the shorter ones followed by silence; brought to [-1, 1] where louder."""
    total = np.zeros(max(len(sound) for sound in sounds), np.float32)
    for sound in sounds:
        total[: len(sound)] += sound
    return total / max(1.0, float(np.abs(total).max()))
