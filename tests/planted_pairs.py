"""A small folder of sets to train on: things with stripes or checks, each with its tone."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
from PIL import Image

from soundspot.checkpoint import write_checkpoint
from soundspot.media.audio import write_sound
from soundspot.shards.catalogue import Catalogue
from soundspot.shards.writer import ShardWriter
from soundspot.towers.logmel_cnn import LogMelCNN

RATE = 16_000
PLANTED = 24
"""Samples of the shards that tests share."""
KINDS: dict[str, tuple[tuple[int, int, int], float, Callable[..., np.ndarray]]] = {
    "red": ((230, 20, 20), 300.0, lambda rows, columns: rows),
    "blue": ((20, 40, 230), 2500.0, lambda rows, columns: rows + columns),
    "green": ((20, 160, 40), 900.0, lambda rows, columns: columns),
    "black": ((10, 10, 10), 6000.0, lambda rows, columns: rows // 2 + columns // 3),
}
"""Colour, tone in Hz, and stripes or checks of a kind of thing."""


def tone(frequency: float) -> np.ndarray:
    time = np.arange(RATE) / RATE
    return (0.3 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def picture(rng: np.random.Generator, kind: str, side: int = 96) -> tuple[np.ndarray, list[float]]:
    """A grey picture with one thing in it, such as red stripes, and the thing's box."""
    pixels = rng.integers(100, 150) + rng.integers(0, 6, (side, side, 1)).repeat(3, 2)
    size = int(rng.integers(side // 3, side // 2))
    x, y = rng.integers(0, side // 8, 2)
    x, y = (side - size - v if rng.random() < 0.5 else v for v in (x, y))  # in a corner
    rows, columns = np.mgrid[:size, :size] // 6
    colour, _, pattern_of = KINDS[kind]
    pattern = pattern_of(rows, columns) % 2
    pixels[y : y + size, x : x + size] = np.where(pattern[..., None] == 1, colour, (250, 250, 250))
    box = [x / side, y / side, (x + size) / side, (y + size) / side]
    return pixels.astype(np.uint8), [float(v) for v in box]


def plant(root: Path) -> Path:
    """Four sets, an off-screen sound, and `pairs.jsonl`, which says where each thing is."""
    rng = np.random.default_rng(0)
    lines = []
    for kind, (_, frequency, _) in KINDS.items():
        for name in ("images", "sounds"):
            (root / name / kind).mkdir(parents=True)
        for i in range(12):
            pixels, _ = picture(rng, kind)
            Image.fromarray(pixels).save(root / "images" / kind / f"{i}.png")
        for i in range(3):
            write_sound(root / "sounds" / kind / f"{i}.wav", tone(frequency * (1 + 0.02 * i)), RATE)
        for i in range(8):
            pixels, box = picture(rng, kind)
            Image.fromarray(pixels).save(root / f"{kind}{i}.png")
            line = {"id": f"{kind}{i}", "image": f"{kind}{i}.png", "boxes": [box], "group": kind}
            lines.append({**line, "sound": f"sounds/{kind}/0.wav"})
    (root / "extra_sounds").mkdir()
    noise = rng.normal(0, 0.1, RATE).astype(np.float32)
    write_sound(root / "extra_sounds" / "noise.wav", noise, RATE)
    (root / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root


def plant_tower(folder: Path) -> Path:
    """An untrained sound tower: enough to tell two tones apart."""
    torch.manual_seed(0)
    path = folder / "sound_tower.safetensors"
    write_checkpoint(path, LogMelCNN().state_dict(), {"kind": "tower"})
    return path


def plant_shards(folder: Path, count: int = 10, shards: int = 2) -> Path:
    """Shards of one-second pairs: each thing's picture with its tone, as `data pack` makes them."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, kinds, entries = np.random.default_rng(1), list(KINDS), []
    for number in range(shards):
        with ShardWriter.opened(folder, f"shard-{number:06d}") as writer:
            for i in range(number * count // shards, (number + 1) * count // shards):
                kind = kinds[i % len(kinds)]
                jpeg, flac = io.BytesIO(), io.BytesIO()
                Image.fromarray(picture(rng, kind)[0]).save(jpeg, "JPEG", quality=90)
                soundfile.write(flac, tone(KINDS[kind][1] * (1 + 0.01 * i)), RATE, format="FLAC")
                writer.add(f"{i:04d}", [jpeg.getvalue()], flac.getvalue(), b'{"id": "%d"}' % i)
        entries.append(writer.entry(f"shard-{number:06d}"))
    settings = {"rate": RATE, "seconds": 1.0, "side": 96}
    (folder / "shards.json").write_text(Catalogue(tuple(entries), settings).text())
    return folder
