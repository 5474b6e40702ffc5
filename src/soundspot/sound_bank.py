"""Every training sound heard once, in several variations: embeddings to draw from.

The sound tower stands still while pictures are learned (`soundspot.distill` made it before), so
hearing a recording again at each step would only cost time. The bank holds, for each recording,
its embedding as it is and in `VIEWS` varied stretches (cut, filtered, reverberated, under noise,
at other levels), and those of noise and of silence.

Recording i has dice of its own, made of (seed, i): what is heard of it does not depend on which
others are heard with it, on which process, or after which interruption. A recording takes 14 KB
(512 numbers, 7 times); a kept bank is mapped, not read, so that memory holds the rows in use.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Generator, Tensor

from soundspot.augment_sounds import Wave, colour, cut, decibels, noise, rms, some, trim, uniform
from soundspot.checkpoint_file import check_kind, read_header
from soundspot.errors import CheckpointError, MediaError, TrainingError
from soundspot.locating import fit_sound
from soundspot.media.audio import read_sound
from soundspot.towers.logmel_cnn import SAMPLE_RATE, LogMelCNN

Broken: TypeAlias = dict[str, str]
"""Recordings that cannot be read, and why."""
KIND = "sound_bank"
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
"""Noises heard at once."""
AT_ONCE = 16
"""Recordings heard at once; the last digits of an embedding depend on it."""
READERS = 4
"""Threads that read and vary recordings before they are heard."""
CHANGED = 0.4
"""Share of the stretches that are filtered; of those that are covered with noise."""
QUIETEST = 1e-6
"""Peak below which a stretch is not made louder."""
TELLING = 16_384
"""Rows of a bank from which means and deviations are known."""
RECORDINGS_KEPT = 1024
"""Recordings that stay decoded (about 0.3 MB each)."""


@dataclass(frozen=True, eq=False)
class SoundBank:
    """Embeddings of the training sounds.

    Args:
        whole: n d, each recording as it is.
        views: n v d, each recording varied.
        empty: k d, noises of every colour and level, and silence.
        path: the file that they are mapped from, where there is one.
    """

    whole: Tensor
    views: Tensor
    empty: Tensor
    path: Path | None = None

    @classmethod
    def mapped(cls, path: Path) -> SoundBank:
        """The bank that a file holds; a row is read from the disk when it is used.

        Raises:
            CheckpointError: it is missing, damaged, or no bank.
        """
        check_kind(path, read_header(path), KIND)
        try:
            with safe_open(path, "pt") as opened:
                tensors = {name: opened.get_tensor(name) for name in TENSORS}
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{path}: cut short or damaged ({error}); delete it, and sounds are heard again"
            ) from None
        return cls(**tensors, path=path)

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name."""
        return {name: getattr(self, name) for name in TENSORS}

    def __reduce__(self) -> tuple[Any, ...]:
        """Go to another process as the name of the file, where there is one."""
        if self.path is not None:
            return SoundBank.mapped, (self.path,)
        return SoundBank, tuple(self.tensors().values())


TENSORS = ("whole", "views", "empty")


@dataclass(frozen=True)
class Sounds:
    """Recordings to hear, by number.

    Args:
        names: of each.
        read: one of them.
    """

    names: Sequence[str]
    read: Callable[[int], Wave]

    def __len__(self) -> int:
        return len(self.names)


def spread(rows: Tensor, most: int = TELLING) -> Tensor:
    """At most so many rows, evenly apart: they tell the distribution of more than memory holds."""
    if len(rows) <= most:
        return rows
    return rows[torch.linspace(0, len(rows) - 1, most, dtype=torch.float64).long()]


class Heard(NamedTuple):
    """What was heard of some recordings, in their order, and which could not be read."""

    whole: Tensor
    views: Tensor
    broken: Broken


def sounds_of(names: Sequence[str], paths: Sequence[Path]) -> Sounds:
    """Files to hear."""
    return Sounds(names, lambda i: read_sound(paths[i], SAMPLE_RATE))


def bank_of(tower: LogMelCNN, waves: Iterable[Wave], seed: int = 0) -> SoundBank:
    """Hear recordings that are in memory, and noises."""
    known = list(waves)
    heard = hear(tower, Sounds([""] * len(known), known.__getitem__), range(len(known)), seed=seed)
    if not known:
        raise TrainingError("there is no sound to hear")
    return SoundBank(heard.whole, heard.views, hear_nothing(tower, seed))


@torch.no_grad()
def hear(
    tower: LogMelCNN, sounds: Sounds, numbers: Iterable[int], *, strict: bool = False, seed: int = 0
) -> Heard:
    """Embed recordings and their variations, `AT_ONCE` at a time.

    Args:
        tower: what hears.
        sounds: where the recordings are.
        numbers: which of them.
        strict: stop at the first that cannot be read.
        seed: of the dice.

    Raises:
        MediaError: one cannot be read, where that is strictly forbidden.
    """
    broken: Broken = {}
    features = tower.attention.in_channels
    whole, views = [torch.empty(0, features)], [torch.empty(0, VIEWS, features)]
    ready = _prepared(sounds, numbers, broken, strict, seed)
    while some_ready := list(islice(ready, AT_ONCE)):
        as_is, varied = (torch.stack(rows) for rows in zip(*some_ready, strict=True))
        whole.append(_embedded(tower, as_is))
        views.append(_embedded(tower, varied.flatten(0, 1)).reshape(-1, VIEWS, features))
    return Heard(torch.cat(whole), torch.cat(views), broken)


@torch.no_grad()
def hear_nothing(tower: LogMelCNN, seed: int = 0) -> Tensor:
    """Embed noises and silence."""
    dice = Generator().manual_seed(seed)
    return torch.cat([_embedded(tower, nothing(BATCH, dice)) for _ in range(0, NOISES, BATCH)])


def _embedded(tower: LogMelCNN, waves: Tensor) -> Tensor:
    return tower.embed(waves.to(tower.height.device)).cpu()


def _prepared(
    sounds: Sounds, numbers: Iterable[int], broken: Broken, strict: bool, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Each recording as it is and varied, read ahead in threads; broken ones are noted."""
    ahead = deque[tuple[int, Future[tuple[Tensor, Tensor]]]]()
    coming = iter(numbers)
    with ThreadPoolExecutor(READERS) as readers:
        try:
            while True:
                for i in islice(coming, 2 * AT_ONCE - len(ahead)):
                    ahead.append((i, readers.submit(_prepare, sounds, i, seed)))
                if not ahead:
                    return
                number, future = ahead.popleft()
                try:
                    yield future.result()
                except MediaError as error:
                    if strict:
                        raise
                    broken[sounds.names[number]] = str(error)
        finally:
            readers.shutdown(wait=False, cancel_futures=True)


def _prepare(sounds: Sounds, number: int, seed: int) -> tuple[Tensor, Tensor]:
    """A recording of 10 s, and `VIEWS` stretches of it, by its own dice."""
    wave = sounds.read(number)
    rng = np.random.default_rng((seed, number))
    dice = Generator().manual_seed(int(rng.integers(2**62)))
    whole = torch.from_numpy(np.array(fit_sound(wave, WHOLE, STEP)))  # lets go of a long wave
    return whole, _vary_each(_cut([_trimmed(wave)] * VIEWS, rng), dice)


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


def _vary_each(x: Tensor, dice: Generator) -> Tensor:
    """As `_vary`, but whether a row is changed does not depend on how many there are."""
    for change in (colour, _under_noise):
        rows = (torch.rand(len(x), generator=dice) < CHANGED).nonzero()[:, 0]
        if len(rows):
            x[rows] = change(x[rows], dice)
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
