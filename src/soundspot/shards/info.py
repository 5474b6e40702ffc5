"""What is inside shards: counts, hours, sizes, rates, settings.

Counts and settings are those of `shards.json`. What must be asked of the samples themselves
(lengths, sizes of pictures, bytes of each kind) is asked of up to `LOOKED_AT` of them, drawn
evenly over all, so that it takes as long for a thousand shards as for one.
"""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from soundspot.errors import MediaError
from soundspot.files import one_line
from soundspot.shards.catalogue import VERSION
from soundspot.shards.reader import RawSample, Shards

LOOKED_AT = 500


@dataclass(frozen=True)
class Info:
    """A description of shards.

    Args:
        folder: which.
        shards: how many.
        samples: how many.
        bytes: of the tars.
        counts: what became of the source's entries.
        settings: of the packing.
        source: kind and number of entries of the source.
        versions: of the libraries.
        looked_at: samples that the rest is about.
        unreadable: of them.
        spread: least, median and greatest of numbers that differ from sample to sample.
        pictures: how many have which size, most frequent first.
        rates: how many have which rate of sound, Hz.
        sounds: how many have a sound of which format.
        version: of the shards' format.
    """

    folder: str
    shards: int
    samples: int
    bytes: int
    counts: dict[str, Any]
    settings: dict[str, Any]
    source: dict[str, Any]
    versions: dict[str, str]
    looked_at: int
    unreadable: int
    spread: dict[str, tuple[float, float, float]]
    pictures: dict[str, int] = field(default_factory=dict)
    rates: dict[int, int] = field(default_factory=dict)
    sounds: dict[str, int] = field(default_factory=dict)
    version: int = VERSION

    def lines(self) -> list[str]:
        """The description as text."""
        hours = self.counts.get("seconds", 0.0) / 3600
        settings = ", ".join(f"{k}={_word(v)}" for k, v in self.settings.items() if v != [])
        sizes = ", ".join(f"{size} ({n})" for size, n in list(self.pictures.items())[:5])
        return [
            f"{self.folder}: {self.samples:,} samples in {self.shards:,} shards, "
            f"{self.bytes / 1e9:.3f} GB, {hours:.2f} h of sound",
            f"source: {self.source.get('kind')}, {self.source.get('entries', 0):,} entries; "
            + ", ".join(f"{self.counts[name]:,} {name}" for name in _FATES if name in self.counts),
            "found: " + ", ".join(f"{n:,} {k}" for k, n in self.counts.get("found", {}).items()),
            f"format: version {self.version}; settings: {settings}",
            "versions: " + ", ".join(f"{k} {v}" for k, v in self.versions.items()),
            f"of {self.looked_at:,} samples looked at, {self.unreadable:,} unreadable:",
            *(f"  {name}: {a:g} to {c:g}, median {b:g}" for name, (a, b, c) in self.spread.items()),
            f"  {len(self.pictures)} sizes of pictures: {sizes}",
            "  rates: " + ", ".join(f"{rate} Hz ({n})" for rate, n in self.rates.items()),
            "  sounds: " + ", ".join(f"{name} ({n})" for name, n in self.sounds.items()),
        ]

    def json(self) -> dict[str, Any]:
        """The description as JSON."""
        return {
            **{name: getattr(self, name) for name in ("folder", "shards", "samples", "bytes")},
            **{name: getattr(self, name) for name in ("counts", "settings", "source", "versions")},
            "looked_at": self.looked_at,
            "unreadable": self.unreadable,
            "spread": {name: list(values) for name, values in self.spread.items()},
            "pictures": self.pictures,
            "rates": {str(rate): n for rate, n in self.rates.items()},
            "sounds": self.sounds,
            "version": self.version,
        }


_FATES = ("packed", "failed", "left_out", "empty", "other_kinds")


def describe(shards: Shards, looks: int = LOOKED_AT) -> Info:
    """Look at shards."""
    numbers = np.unique(np.linspace(0, len(shards) - 1, min(looks, len(shards))).astype(int))
    seen: list[dict[str, float]] = []
    sizes: Counter[str] = Counter()
    rates: Counter[int] = Counter()
    sounds: Counter[str] = Counter()
    unreadable = 0
    for number in numbers.tolist():
        try:
            raw = shards.raw(number)
            width, height = _size(raw)
            rate, numbers_ = raw.meta["rate"], _numbers(raw, width, height)
        except (MediaError, LookupError, TypeError):  # the latter: another writer's metadata
            unreadable += 1
            continue
        sizes[f"{width}x{height}"] += 1
        rates[rate] += 1
        sounds[raw.sound_format] += 1
        seen.append(numbers_)
    catalogue = shards.catalogue
    return Info(
        folder=one_line(shards.folder),
        shards=len(catalogue.shards),
        samples=len(shards),
        bytes=sum(shard.bytes for shard in catalogue.shards),
        counts=catalogue.counts,
        settings=catalogue.settings,
        source=catalogue.source,
        versions=catalogue.versions,
        looked_at=len(numbers),
        unreadable=unreadable,
        spread={name: _spread([row[name] for row in seen]) for name in (seen[0] if seen else ())},
        pictures=dict(sizes.most_common()),
        rates=dict(rates.most_common()),
        sounds=dict(sounds.most_common()),
        version=catalogue.version,
    )


def _numbers(raw: RawSample, width: int, height: int) -> dict[str, float]:
    before = raw.meta["size"]
    return {
        "pictures a sample": len(raw.pictures),
        "shorter side, pixels": min(width, height),
        "shorter side before, pixels": min(before),
        "sound, seconds": raw.meta["seconds"],
        "bytes of pictures": sum(map(len, raw.pictures)),
        "bytes of sound": len(raw.sound),
    }


def _size(raw: RawSample) -> tuple[int, int]:
    try:
        with Image.open(io.BytesIO(raw.pictures[0]), formats=("JPEG",)) as opened:
            return opened.size
    except OSError as error:
        raise MediaError(f"{raw.where}: no picture ({one_line(error)})") from error


def _spread(values: list[float]) -> tuple[float, float, float]:
    return (float(np.min(values)), float(np.median(values)), float(np.max(values)))


def _word(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else f"{value}"
