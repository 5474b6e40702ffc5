"""Tiny media in the folders of real data sets."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from PIL import Image

RATE = 8000
SIDE = 16


def lay(root: Path, *names: str) -> Path:
    """Make each named file: by its suffix a picture, a sound or a video."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".jpg", ".png"):
            rng = np.random.default_rng(len(name))
            Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(path)
        elif path.suffix == ".wav":
            soundfile.write(path, np.sin(np.arange(RATE // 4) / 5), RATE)
        else:
            write_video(path)
    return root


def write(root: Path, name: str, content: str | bytes | Any) -> Path:
    """Write a list or truth: bytes and text as they are, all else as JSON."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def write_video(path: Path, count: int = 20, rate: int = 10, seconds: float | None = None) -> Path:
    """Frame n is grey 10 n; the tone rises from 200 Hz by 200 Hz a second."""
    length = count / rate if seconds is None else seconds
    with av.open(path, "w") as out:
        stream = out.add_stream("mpeg4", rate=rate, options={"g": "5"})
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        track = out.add_stream("aac", rate=RATE, layout="mono") if length else None
        for n in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 10 * n, np.uint8), "rgb24")
            frame.pts, frame.time_base = n, Fraction(1, rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
        if track is not None:
            times = np.arange(round(length * RATE)) / RATE
            wave = np.sin(2 * np.pi * np.cumsum(200 + 200 * np.floor(times)) / RATE) / 2
            heard = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], "fltp", "mono")
            heard.rate, heard.pts = RATE, 0
            out.mux(track.encode(heard))
            out.mux(track.encode())
    return path


def annotation(boxes: list[list[int]], names: bool = True) -> str:
    """One Flickr-SoundNet annotation in the shape that the field's parsers expect."""
    tags = ("xmin", "ymin", "xmax", "ymax") if names else ("a", "b", "c", "d")
    found = "".join(
        "<bbox><name>box</name>"
        + "".join(f"<{tag}>{v}</{tag}>" for tag, v in zip(tags, box, strict=True))
        + "</bbox>"
        for box in boxes
    )
    return f"<?xml version='1.0'?>\n<annotation>\n<annotator>{found}</annotator>\n</annotation>\n"
