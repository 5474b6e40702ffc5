"""Batches from shards whose sounds were all heard before the first step: they read pictures alone.

The sound tower stands still, so what it says of a recording can be kept: 14 KB, as it is and in
six varied stretches (`sound_bank`), as for data that are files. A step then reads no sound, decodes
none and hears none; what it reads of a sample is a fraction of its bytes.

It pays where a sound is met several times: hearing one for the bank takes as long as a few steps
take to hear it. Variations are the bank's, the same in each epoch, but for the noise on embeddings.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import torch
from torch import Tensor

from soundspot.batches import noisy
from soundspot.clip_batches import wave_of
from soundspot.errors import MediaError
from soundspot.pair_batches import VARIED
from soundspot.shard_batches import ShardBatches, sample_name, sample_number
from soundspot.sound_bank import SoundBank, Sounds

if TYPE_CHECKING:
    from soundspot.media.image import Picture
    from soundspot.options import TrainOptions
    from soundspot.shards import Shards


class HeardBatches(ShardBatches[int]):
    """Batches of one run on shards, with sounds that are known.

    Args:
        shards: what is read.
        bank: every sound of them that could be read, heard, in their order.
        options: of the run.
        broken: those that could not, and why.
        strict: a sample that cannot be read stops the run.
    """

    def __init__(
        self,
        shards: Shards,
        bank: SoundBank,
        options: TrainOptions,
        broken: Mapping[str, str],
        *,
        strict: bool = False,
    ) -> None:
        super().__init__(shards, bank, options, strict=strict)
        self.broken = dict(broken)
        self.missing = sorted(map(sample_number, broken))

    def _read(self, number: int) -> tuple[Picture, int, str]:
        if (name := sample_name(number)) in self.broken:
            raise MediaError(self.broken[name])
        seen, side = self.shards.pictures(number), self.options.side
        return seen.picture(at_least=(side, side)), self._row(number), seen.where

    def _row(self, number: int) -> int:
        """The bank's row of a sample: those before it, but for the broken ones."""
        return number - bisect_left(self.missing, number)

    def _hear(self, sound: int, rng: np.random.Generator) -> Tensor:
        views = self.bank.views[sound]
        varied = rng.random() < VARIED
        row = views[int(rng.integers(len(views)))] if varied else self.bank.whole[sound]
        return noisy(row, self.jitter, rng)

    def _batched(self, heard: Sequence[Any]) -> dict[str, Any]:
        return {"sounds": torch.stack(list(heard)), "waves": torch.empty(0)}


class SampleNames(Sequence[str]):
    """The names of so many samples, made when asked for."""

    def __init__(self, count: int) -> None:
        self.total = count

    def __len__(self) -> int:
        return self.total

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[str]: ...
    def __getitem__(self, at: int | slice) -> str | Sequence[str]:
        """One name, or some."""
        numbers = range(self.total)[at]
        return sample_name(numbers) if isinstance(numbers, int) else [*map(sample_name, numbers)]


def sounds_in(shards: Shards) -> Sounds:
    """Every sound of shards, in their order."""
    return Sounds(SampleNames(len(shards)), lambda number: wave_of(shards.raw(number)))
