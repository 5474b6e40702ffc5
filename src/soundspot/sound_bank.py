"""Every training sound heard once, in several variations: embeddings to draw from.

The sound tower stands still while pictures are learned (`soundspot.distill` made it before), so
hearing a recording again at each step would only cost time. The bank holds, for each recording,
its embedding as it is and in `VIEWS` varied stretches (cut, filtered, reverberated, under noise,
at other levels), and those of noise and of silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Generator, Tensor
from tqdm import tqdm

from soundspot.augment_sounds import Wave, colour, cut, decibels, noise, rms, some, trim, uniform
from soundspot.checkpoint import read_checkpoint, write_checkpoint
from soundspot.errors import MediaError, TrainingError
from soundspot.locating import fit_sound
from soundspot.media.audio import read_sound
from soundspot.towers.logmel_cnn import SAMPLE_RATE, LogMelCNN

Broken: TypeAlias = dict[str, str]
"""Recordings that cannot be read, and why."""
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
CHANGED = 0.4
"""Share of the stretches that are filtered; of those that are covered with noise."""
QUIETEST = 1e-6
"""Peak below which a stretch is not made louder."""
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


def open_bank(
    tower: LogMelCNN, folder: Path, origin: str, waves: Callable[[Broken], Iterable[Wave]]
) -> tuple[SoundBank, Broken]:
    """Hear everything, or read what an earlier start of the same run heard.

    Args:
        tower: what hears.
        folder: of the run.
        origin: tells this data and this tower from others.
        waves: reads the recordings, and notes those that cannot be read.

    Returns:
        the bank, and the recordings that are not in it.

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
        return SoundBank(**{name: tensors[name] for name in fields}), header.get("broken", {})
    broken: Broken = {}
    bank = hear_all(tower.eval(), waves(broken))
    tensors = {name: getattr(bank, name) for name in fields}
    header = {"kind": "sound_bank", "origin": origin, "broken": broken}
    write_checkpoint(kept, tensors, header)
    return bank, broken


def read_waves(paths: Sequence[Path], broken: Broken, *, strict: bool = False) -> Iterator[Wave]:
    """Read recordings one by one; those that cannot be read are noted and left out.

    Raises:
        MediaError: one cannot be read, where that is strictly forbidden.
    """
    for path in tqdm(paths, "hearing sounds", unit="sound"):
        try:
            yield read_sound(path, SAMPLE_RATE)
        except MediaError as error:
            if strict:
                raise
            broken[str(path)] = str(error)


@torch.no_grad()
def hear_all(tower: LogMelCNN, waves: Iterable[Wave], seed: int = 0) -> SoundBank:
    """Embed every recording, its variations, and noises; few recordings are held at a time."""
    rng, dice = np.random.default_rng(seed), Generator().manual_seed(seed)

    def hear(x: Tensor) -> Tensor:
        return tower.embed(x.to(tower.height.device)).cpu()

    whole, views, waiting = list[Tensor](), list[Tensor](), list[Wave]()
    for wave in waves:
        whole.append(hear(torch.from_numpy(fit_sound(wave, WHOLE, STEP))[None]))
        waiting += [_trimmed(wave)] * VIEWS
        while len(waiting) >= BATCH:
            views.append(hear(_vary(_cut(waiting[:BATCH], rng), dice)))
            del waiting[:BATCH]
    if waiting:
        views.append(hear(_vary(_cut(waiting, rng), dice)))
    if not whole:
        raise TrainingError("no sound can be read; the log names what is wrong with each")
    empty = [hear(nothing(BATCH, dice)) for _ in range(0, NOISES, BATCH)]
    return SoundBank(
        torch.cat(whole),
        torch.cat(views).reshape(len(whole), VIEWS, -1),
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
        return _vary(_cut([self.read(n) for n in numbers], rng), dice)

    def __reduce__(self) -> tuple[type[Recordings], tuple[Sequence[Path]]]:
        """Go to another process without what is decoded."""
        return Recordings, (self.paths,)

    def _read(self, number: int) -> Wave:
        return _trimmed(read_sound(self.paths[number], SAMPLE_RATE))


def vary_one(wave: Wave, length: int, rng: np.random.Generator) -> Wave:
    """One varied stretch of a recording: as in the bank, each change by its own dice."""
    x = torch.from_numpy(cut(_trimmed(wave), length, rng))[None]
    dice = Generator().manual_seed(int(rng.integers(2**62)))
    if rng.random() < CHANGED:
        x = colour(x, dice)
    if rng.random() < CHANGED:
        x = _under_noise(x, dice)
    varied: Wave = _levelled(x, dice)[0].numpy()
    return varied


def _trimmed(wave: Wave) -> Wave:
    """Without its silent ends, unless it is all silence."""
    trimmed = trim(wave)
    return trimmed if len(trimmed) else wave


def _cut(waves: Sequence[Wave], rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(np.stack([cut(wave, STRETCH, rng) for wave in waves]))


def _vary(x: Tensor, dice: Generator) -> Tensor:
    """Filter some, cover some with noise, set every one to a random level."""
    rows = some(len(x), CHANGED, dice)
    x[rows] = colour(x[rows], dice)
    rows = some(len(x), CHANGED, dice)
    x[rows] = _under_noise(x[rows], dice)
    return _levelled(x, dice)


def _under_noise(x: Tensor, dice: Generator) -> Tensor:
    level = decibels(-uniform(len(x), *UNDER_NOISE_DB, dice))
    return x + noise(len(x), x.shape[1], dice) * level * rms(x)


def _levelled(x: Tensor, dice: Generator) -> Tensor:
    loudest = x.abs().amax(1, keepdim=True).clamp(min=QUIETEST)
    return x / loudest * decibels(uniform(len(x), *GAIN_DB, dice))


def nothing(count: int, dice: Generator) -> Tensor:
    """Noise of every colour and level, some of it digital silence: `count STRETCH`."""
    x = noise(count, STRETCH, dice)
    x = x * decibels(uniform(count, *NOISE_DB, dice))
    x[some(count, SILENT_NOISES, dice)] = 0
    return x.clamp(-1, 1)
