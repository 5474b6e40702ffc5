"""Made films: a red and a green square, and the tone of one of them (see red_and_green)."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from red_and_green import TONES

RATE = 8000
CLOCK = 1000
SIZE = (96, 64)
RED, GREEN = (8, 8, 32, 32), (64, 32, 88, 56)
"""Boxes at the size `SIZE`."""


def scene(red=RED, green=GREEN, size=SIZE):
    picture = np.full((size[1], size[0], 3), 60, np.uint8)
    for channel, (x0, y0, x1, y1) in enumerate((red, green)):
        picture[y0:y1, x0:x1, channel] = 220
    return picture


def tones(spans, seconds, rate=RATE):
    """The tone of `colour` in each span (from, to, colour), silence elsewhere."""
    t = np.arange(round(seconds * rate)) / rate
    wave = np.zeros_like(t)
    for begin, end, colour in spans:
        wave += 0.5 * np.sin(2 * np.pi * TONES[colour] * t + 0.3) * ((t >= begin) & (t < end))
    return wave.astype(np.float32)


def write_film(
    path: Path,
    times: list[float],
    pictures: list[np.ndarray] | None = None,
    wave: np.ndarray | None = None,
    *,
    codec: str = "libx264",
    sound: str = "aac",
    rate: int = RATE,
    channels: int = 1,
    sound_start: float = 0.0,
    aspect: Fraction | None = None,
    turn: int | None = None,
    last: float = 0.1,
) -> Path:
    """Frames at these times (s), and a sound from `sound_start` on."""
    pictures = pictures or [scene()] * len(times)
    with av.open(path, "w") as out:
        stream = out.add_stream(codec, rate=25)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, CLOCK)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if turn is not None:
            stream.set_display_rotation(turn)
        layout = "mono" if channels == 1 else "stereo"
        track = None if wave is None else out.add_stream(sound, rate=rate, layout=layout)
        packets = []
        for time, end, picture in zip(times, [*times[1:], times[-1] + last], pictures, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = round(time * CLOCK), Fraction(1, CLOCK)
            frame.duration = round((end - time) * CLOCK)
            packets += stream.encode(frame)
        packets += stream.encode()
        if track is not None and wave is not None:
            heard = av.AudioFrame.from_ndarray(np.stack([wave] * channels), "fltp", layout)
            heard.rate, heard.pts = rate, round(sound_start * rate)
            heard.time_base = Fraction(1, rate)
            packets += [*track.encode(heard), *track.encode()]
        for packet in sorted(packets, key=lambda p: float((p.dts or 0) * p.time_base)):
            out.mux(packet)
    return path


def sound_packets(path: Path) -> list[tuple[float, bytes]]:
    """(when, bytes) of each packet of sound; time 0 is where the first stream starts."""
    with av.open(str(path)) as opened:
        origin = (opened.start_time or 0) / av.time_base
        stream = opened.streams.audio[0]
        return [
            (float(p.pts * p.time_base) - origin, bytes(p)) for p in opened.demux(stream) if p.size
        ]
