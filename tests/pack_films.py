"""Small films with pictures and sounds that differ, and all that can be odd about a film."""

from __future__ import annotations

import multiprocessing
import os
import signal
from fractions import Fraction
from pathlib import Path, PosixPath

import av
import numpy as np
from PIL import Image

CLOCK = 1000
FRAMES = 10
"""A second."""


def scene(number: int, time: float, size: tuple[int, int]) -> np.ndarray:
    """A picture of coloured patches that drift to the right."""
    rng = np.random.default_rng(number)
    patches = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8))
    pixels = np.asarray(patches.resize(size, Image.Resampling.BICUBIC))
    return np.roll(pixels, round(4 * time), 1)


def wave(number: int, seconds: float, rate: int, channels: int) -> np.ndarray:
    """Tones and hiss that come and go, `channels samples`."""
    rng = np.random.default_rng(number)
    times = np.arange(round(seconds * rate)) / rate
    total = 0.02 * rng.standard_normal(len(times))
    for _ in range(6):
        hertz, beat, phase = rng.uniform(100, 3000), rng.uniform(0.3, 2), rng.uniform(0, 6)
        total += 0.1 * np.sin(2 * np.pi * hertz * times) * (1 + np.sin(6 * beat * times + phase))
    return np.repeat(total[None].astype(np.float32), channels, 0)


def make_film(
    path: Path,
    number: int = 0,
    seconds: float = 2.0,
    *,
    size: tuple[int, int] = (64, 48),
    sound: float | None = None,
    loudness: float = 1.0,
    rate: int = 16_000,
    layout: str = "mono",
    times: list[float] | None = None,
    turn: int | None = None,
    still: bool = False,
    pictures: bool = True,
    crf: str = "20",
    fast_start: bool = False,
) -> Path:
    """Write a film of scene `number`; `sound` seconds of sound (0: no track)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"movflags": "faststart"} if fast_start else {}
    times = [n / FRAMES for n in range(round(seconds * FRAMES))] if times is None else times
    length = seconds if sound is None else sound
    with av.open(path, "w", container_options=options) as out:
        stream = out.add_stream("libx264", rate=25, options={"g": "5", "bf": "0", "crf": crf})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, CLOCK)
        if turn is not None:
            stream.set_display_rotation(turn)
        codec = "flac" if path.suffix == ".mkv" else "aac"
        track = out.add_stream(codec, rate=rate, layout=layout) if length else None
        for time in times if pictures else ():
            picture = scene(number, 0 if still else time, size)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = round(time * CLOCK), Fraction(1, CLOCK)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
        if track is not None:
            samples = loudness * wave(number, length, rate, len(av.AudioLayout(layout).channels))
            packed = np.ascontiguousarray(samples.T.reshape(1, -1))
            heard = av.AudioFrame.from_ndarray(packed, "flt", layout)
            heard.rate, heard.pts = rate, 0
            out.mux(track.encode(heard))
            out.mux(track.encode())
    return path


def make_films(folder: Path, count: int, seconds: float = 1.0) -> Path:
    """So many different films in a folder and one below it."""
    for n in range(count):
        make_film(folder / ("more" if n % 3 else "") / f"film {n:02d}.mp4", n, seconds)
    return folder


class Deadly(PosixPath):
    """A film whose decoder crashes: whichever worker opens it is killed."""

    def __fspath__(self) -> str:
        if multiprocessing.parent_process() is not None:
            self.kill()
        return str(self)

    def kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Unlucky(Deadly):
    """A film whose worker is killed once, as by a system that is short of memory."""

    def kill(self) -> None:
        died = Path(f"{self}.died")
        if not died.exists():
            died.touch()
            super().kill()
