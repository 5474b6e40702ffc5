"""Pictures and sounds made for benchmarks: as costly to decode as real ones, and anyone's to make.

A picture is coloured noise whose amplitude falls as 1 / frequency, as that of photographs does
(Field, JOSA A 1987), with a few shapes; 640 x 360 as clips of the web are, JPEG of quality 90. A
sound is 10 s of a decaying tone with overtones over coloured noise, 16 kHz.

`extract_pairs` takes films apart instead, as peers do before training: pictures of the film's own
size, and its sound at 16 kHz, mono, since their batches hold spectrograms of one size.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from soundspot.media.audio import read_sound, write_sound
from soundspot.media.image import Picture
from soundspot.media.video import frames, read_info

SIZE, LARGE_SIZE = (640, 360), (1280, 720)
"""Width and height of a picture in pixels."""
QUALITY, EXTRACTED_QUALITY = 90, 95
"""Of JPEGs; the second is about that of ffmpeg's -q:v 2."""
RATE, LARGE_RATE, SECONDS = 16_000, 48_000, 10
SHAPES = 6
CONTRAST = 45.0
"""Standard deviation of a picture's noise, of 255 levels."""


def make_pairs(folder: Path, count: int, *, large: bool = False) -> Path:
    """Write so many pairs as files, and a manifest of them; returns the manifest.

    `large`: 1280 x 720, and 48 kHz in stereo, as `ffmpeg` leaves most films unless told otherwise.
    """
    folder.mkdir(parents=True)
    lines = []
    for i in range(count):
        rng = np.random.default_rng((0, i))
        image, sound = f"{i:06d}.jpg", f"{i:06d}.wav"
        Image.fromarray(picture(rng, LARGE_SIZE if large else SIZE)).save(
            folder / image, "JPEG", quality=QUALITY
        )
        if large:
            write_sound(folder / sound, np.stack([wave(rng, LARGE_RATE)] * 2, 1), LARGE_RATE)
        else:
            write_sound(folder / sound, wave(rng, RATE), RATE)
        lines.append(json.dumps({"id": str(i), "image": image, "sound": sound}) + "\n")
    manifest = folder / "pairs.jsonl"
    manifest.write_text("".join(lines))
    return manifest


def extract_pairs(folder: Path, films: Path) -> Path:
    """A picture a second of each film of a folder, with its sound track; returns the manifest."""
    folder.mkdir(parents=True)
    lines = []
    for film in sorted(films.glob("*.mp4")):
        if not read_info(film).has_sound:
            continue
        write_sound(folder / f"{film.stem}.wav", read_sound(film, RATE), RATE)
        for i, (_, seen) in enumerate(frames(film, 0.5, every=1.0)):
            name = f"{film.stem}-{i:03d}"
            Image.fromarray(seen).save(folder / f"{name}.jpg", "JPEG", quality=EXTRACTED_QUALITY)
            pair = {"id": name, "image": f"{name}.jpg", "sound": f"{film.stem}.wav"}
            lines.append(json.dumps(pair) + "\n")
    manifest = folder / "pairs.jsonl"
    manifest.write_text("".join(lines))
    return manifest


def picture(rng: np.random.Generator, size: tuple[int, int]) -> Picture:
    """1 / f noise with ellipses, `H W 3`."""
    width, height = size
    frequencies = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    spectrum = np.fft.rfft2(rng.standard_normal((3, height, width)))
    noise = np.fft.irfft2(spectrum / np.maximum(frequencies, 1 / width), (height, width))
    noise = 128 + CONTRAST * noise / noise.std()
    drawn = Image.fromarray(noise.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))
    draw = ImageDraw.Draw(drawn)
    for _ in range(SHAPES):
        x, y, w, h = rng.integers((0, 0, 20, 20), (width, height, 160, 160)).tolist()
        colour = tuple(rng.integers(0, 256, 3).tolist())
        draw.ellipse((x, y, x + w, y + h), fill=colour)
    return np.array(drawn)


def wave(rng: np.random.Generator, rate: int) -> NDArray[np.float32]:
    """Tones that decay, over noise."""
    time = np.arange(rate * SECONDS) / rate
    pitch = rng.uniform(100, 1500)
    tones = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 5))
    noise = np.cumsum(rng.standard_normal(len(time)))
    noise = noise - np.convolve(noise, np.ones(400) / 400, "same")
    mixed = tones * np.exp(-(time % 2.0)) + 0.3 * noise / noise.std()
    samples: NDArray[np.float32] = (0.3 * mixed / np.abs(mixed).max()).astype(np.float32)
    return samples
