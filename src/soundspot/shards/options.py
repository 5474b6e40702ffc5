"""What packing can be told; light to import, since the command line lists it."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

from soundspot.errors import OptionError

Frames: TypeAlias = Literal["middle", "first", "all"]
Arrangement: TypeAlias = Literal["shuffled", "source"]
SoundFormat: TypeAlias = Literal["flac", "wav"]
REASONS = ("duplicates", "still", "silent")
"""Why a sample may be left out, where `drop` names it."""
UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}
SHARD_SAMPLES = 1000


@dataclass(frozen=True)
class PackOptions:
    """The settings of a packing; they decide its bytes, together with the source.

    Args:
        frames: of a film, the picture in its middle, its first one, or `fps` a second.
        fps: with "all": pictures a second, at (k + 1/2) / fps seconds.
        pictures: in each sample, spread evenly over its window; 1 is the rule's own.
        seconds: of sound around the picture ("first": from the start); what lies before the
            start or behind the end of the film is left out.
        side: the shorter side of a larger picture is brought to so many pixels.
        quality: of the JPEGs, 1 to 95.
        rate: of the sound, in Hz.
        sound: "flac" is smaller, "wav" is read faster; both hold the same 16 bits a sample.
        per_shard: samples at which a shard is full.
        shard_bytes: bytes at which it is full, if sooner; 0: never.
        drop: any of `REASONS`.
        order: "shuffled" by a fixed permutation, so that neighbours in a shard are strangers, or
            as in the source.
    """

    frames: Frames = "middle"
    fps: float = 1.0
    pictures: int = 1
    seconds: float = 10.0
    side: int = 256
    quality: int = 90
    rate: int = 16_000
    sound: SoundFormat = "flac"
    per_shard: int = SHARD_SAMPLES
    shard_bytes: int = 0
    drop: tuple[str, ...] = ()
    order: Arrangement = "shuffled"

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, value, known in (
            ("frames", self.frames, get_args(Frames)),
            ("order", self.order, get_args(Arrangement)),
            ("sound", self.sound, get_args(SoundFormat)),
        ):
            if value not in known:
                raise OptionError(f"pack: {name}={value!r}; use one of {', '.join(known)}")
        unknown = [word for word in self.drop if word not in REASONS]
        if unknown:
            raise OptionError(f"pack: drop={unknown[0]!r}; use {', '.join(REASONS)}")
        object.__setattr__(self, "drop", tuple(r for r in REASONS if r in self.drop))
        for name, low, high in (
            ("fps", 0.001, 1000),
            ("pictures", 1, 100),
            ("seconds", 0.1, 3600),
            ("side", 16, 10_000),
            ("quality", 1, 95),
            ("rate", 4000, 192_000),
            ("per_shard", 1, 10**7),
            ("shard_bytes", 0, 10**12),
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise OptionError(f"pack: {name}={value}; it must be {low:,} to {high:,}")

    def json(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {**asdict(self), "drop": list(self.drop)}


def parse_per_shard(text: str) -> dict[str, int]:
    """Samples (`1000`) or bytes (`500MB`) as arguments of `PackOptions`.

    Raises:
        OptionError: neither.
    """
    found = re.fullmatch(r"(\d+)\s*([KMG]B)?", text.strip(), re.IGNORECASE)
    if not found:
        raise OptionError(f"--per-shard {text!r}: give samples (1000) or a size (500MB, 1GB)")
    number, unit = int(found[1]), found[2]
    if unit is None:
        return {"per_shard": number}
    return {"per_shard": 10**7, "shard_bytes": number * UNITS[unit.upper()]}
