"""Every training sound heard once, in several variations: embeddings to draw from.

The sound tower stands still while pictures are learned (`soundspot.distill` made it before), so
hearing a recording again at each step would only cost time. The bank holds, for each recording,
its embedding as it is and in `VIEWS` varied stretches (cut, filtered, reverberated, under noise,
at other levels), and those of noise and of silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor
from tqdm import tqdm

from soundspot.augment_sounds import Wave, colour, cut, decibels, noise, rms, some, trim, uniform
from soundspot.checkpoint import read_checkpoint, write_checkpoint
from soundspot.data.pairs import Pairs
from soundspot.errors import TrainingError
from soundspot.locating import fit_sound
from soundspot.media.audio import read_sound
from soundspot.towers.logmel_cnn import SAMPLE_RATE, LogMelCNN

VIEWS = 6
STRETCH = 4 * SAMPLE_RATE
"""Samples of a varied stretch: 4 s."""
WHOLE = 10 * SAMPLE_RATE
"""Samples of a recording heard as it is (`locating.fit_sound`): 10 s."""
STEP = SAMPLE_RATE // 10
NOISES = 400
SILENT_NOISES = 0.15
"""Share of the noises that are digital silence."""
NOISE_DB = (-75.0, -3.0)
GAIN_DB = (-40.0, 0.0)
UNDER_NOISE_DB = (5.0, 35.0)
BATCH = 32
RECORDINGS_KEPT = 1024
"""Recordings that stay decoded (about 0.3 MB each)."""


@dataclass(frozen=True)
class SoundBank:
    """Embeddings of the training sounds.

    Args:
        whole: n d, each recording as it is.
        views: n v d, each recording varied.
        empty: k d, noises of every colour and level, and silence.
    """

    whole: Tensor
    views: Tensor
    empty: Tensor


def open_bank(tower: LogMelCNN, pairs: Pairs, folder: Path, origin: str) -> SoundBank:
    """Hear everything, or read what an earlier start of the same run heard.

    Args:
        tower: what hears.
        pairs: what is heard.
        folder: of the run.
        origin: tells this data and this tower from others.

    Raises:
        TrainingError: the folder holds the sounds of other data or another tower.
    """
    kept, fields = folder / "sounds.safetensors", SoundBank.__dataclass_fields__
    if kept.exists():
        header, tensors = read_checkpoint(kept, "sound_bank")
        if header.get("origin") != origin:
            raise TrainingError(
                f"{kept}: belongs to other data or another sound tower; choose another --out"
            )
        return SoundBank(**{name: tensors[name] for name in fields})
    bank = hear_all(tower.eval(), pairs.all_sounds)
    tensors = {name: getattr(bank, name) for name in fields}
    write_checkpoint(kept, tensors, {"kind": "sound_bank", "origin": origin})
    return bank


@torch.no_grad()
def hear_all(tower: LogMelCNN, paths: Sequence[Path], seed: int = 0) -> SoundBank:
    """Embed every recording, its variations, and noises."""
    rng, dice = np.random.default_rng(seed), Generator().manual_seed(seed)

    def hear(x: Tensor) -> Tensor:
        return tower.embed(x.to(tower.height.device)).cpu()

    waves = [read_sound(path, SAMPLE_RATE) for path in tqdm(paths, "reading sounds")]
    whole = [
        hear(torch.from_numpy(fit_sound(wave, WHOLE, STEP))[None])
        for wave in tqdm(waves, "hearing sounds")
    ]
    trimmed = [trim(wave) if len(trim(wave)) else wave for wave in waves]
    order = np.repeat(np.arange(len(waves)), VIEWS)
    views = [
        hear(_vary(_cut(trimmed, order[i : i + BATCH], rng), dice))
        for i in tqdm(range(0, len(order), BATCH), "hearing variations")
    ]
    empty = [hear(nothing(BATCH, dice)) for _ in range(0, NOISES, BATCH)]
    return SoundBank(
        torch.cat(whole),
        torch.cat(views).reshape(len(waves), VIEWS, -1),
        torch.cat(empty),
    )


class Recordings:
    """Varied stretches of recordings, read as they are needed.

    Args:
        paths: of the recordings, by number.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self.read = lru_cache(RECORDINGS_KEPT)(self._read)

    def __call__(self, numbers: Sequence[int], seed: Sequence[int]) -> Tensor:
        """One varied stretch of each, `n STRETCH`; the same for the same seed."""
        rng = np.random.default_rng(seed)
        dice = Generator().manual_seed(int(rng.integers(2**62)))
        return _vary(_cut([self.read(n) for n in numbers], np.arange(len(numbers)), rng), dice)

    def _read(self, number: int) -> Wave:
        wave = read_sound(self.paths[number], SAMPLE_RATE)
        trimmed = trim(wave)
        return trimmed if len(trimmed) else wave


def _cut(waves: Sequence[Wave], picks: np.ndarray[tuple[int], np.dtype[np.int64]],
         rng: np.random.Generator) -> Tensor:  # fmt: skip
    return torch.from_numpy(np.stack([cut(waves[int(i)], STRETCH, rng) for i in picks]))


def _vary(x: Tensor, dice: Generator) -> Tensor:
    """Filter some, cover some with noise, set every one to a random level."""
    rows = some(len(x), 0.4, dice)
    x[rows] = colour(x[rows], dice)
    rows = some(len(x), 0.4, dice)
    level = decibels(-uniform(len(rows), *UNDER_NOISE_DB, dice))
    x[rows] = x[rows] + noise(len(rows), x.shape[1], dice) * level * rms(x[rows])
    loudest = x.abs().amax(1, keepdim=True).clamp(min=1e-6)
    return x / loudest * decibels(uniform(len(x), *GAIN_DB, dice))


def nothing(count: int, dice: Generator) -> Tensor:
    """Noise of every colour and level, some of it digital silence: `count STRETCH`."""
    x = noise(count, STRETCH, dice)
    x = x * decibels(uniform(count, *NOISE_DB, dice))
    x[some(count, SILENT_NOISES, dice)] = 0
    return x.clamp(-1, 1)
