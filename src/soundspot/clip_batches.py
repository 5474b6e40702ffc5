"""Batches from shards whose sounds are decoded for each step, and heard in it.

Varied anew each time they are met. The sound tower, which stands still, hears them in the step;
objectives that hear for themselves get a varied stretch of each. A sample of the data's sounds is
heard before the first step, to know their distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from soundspot.augment_sounds import Wave
from soundspot.batches import noisy
from soundspot.locating import fit_sound
from soundspot.media.audio import as_sound
from soundspot.pair_batches import VARIED
from soundspot.shard_batches import HEARD_FIRST, ShardBatches, sample_name
from soundspot.sound_bank import STEP, STRETCH, WHOLE, SoundBank, Sounds, vary_one
from soundspot.towers.logmel_cnn import SAMPLE_RATE

if TYPE_CHECKING:
    from soundspot.media.image import Picture
    from soundspot.options import TrainOptions
    from soundspot.shards import RawSample, Shards


class Clip(NamedTuple):
    """A sound as it will be heard, and the noise that its embedding gets."""

    wave: Wave
    jitter: Tensor


class ClipBatches(ShardBatches[Wave]):
    """Batches of one run on shards, with sounds to be heard.

    Args:
        shards: what is read.
        bank: some sounds, heard.
        options: of the run.
        waves: bring waveforms, for objectives that hear for themselves.
        strict: a sample that cannot be read stops the run.
    """

    def __init__(
        self,
        shards: Shards,
        bank: SoundBank,
        options: TrainOptions,
        *,
        waves: bool = False,
        strict: bool = False,
    ) -> None:
        super().__init__(shards, bank, options, strict=strict)
        self.waves = waves
        seconds = float(shards.catalogue.settings.get("seconds") or WHOLE / SAMPLE_RATE)
        self.length = min(WHOLE, round(seconds * SAMPLE_RATE))

    def _read(self, number: int) -> tuple[Picture, Wave, str]:
        raw = self.shards.raw(number)
        side = self.options.side
        return raw.picture(at_least=(side, side)), wave_of(raw), raw.where

    def _hear(self, sound: Wave, rng: np.random.Generator) -> Clip:
        return Clip(self._clip(sound, rng), noisy(self.bank.whole[:1] * 0, self.jitter, rng))

    def _clip(self, wave: Wave, rng: np.random.Generator) -> Wave:
        """A sound as it will be heard: some of them varied; all of them for those who ask."""
        if self.waves:
            return vary_one(wave, STRETCH, rng)
        if rng.random() < VARIED:
            return vary_one(wave, self.length, rng)
        return fit_sound(wave, self.length, STEP)

    def _batched(self, heard: Sequence[Any]) -> dict[str, Any]:
        clips, none = torch.from_numpy(np.stack([clip.wave for clip in heard])), torch.empty(0)
        return {
            "sounds": torch.cat([clip.jitter for clip in heard]),
            "waves": clips if self.waves else none,
            "clips": none if self.waves else clips,
        }


def wave_of(raw: RawSample) -> Wave:
    """A sample's sound at the rate of the sound tower."""
    wave, rate = raw.wave()
    return wave if rate == SAMPLE_RATE else as_sound((wave, rate), SAMPLE_RATE)


def clips_of(shards: Shards) -> Sounds:
    """The sounds of the first samples of a fixed order, as many as tell their distribution."""
    numbers = shards.order().at(np.arange(min(len(shards), HEARD_FIRST))).tolist()
    names = [sample_name(number) for number in numbers]
    return Sounds(names, lambda i: wave_of(shards.raw(numbers[i])))
