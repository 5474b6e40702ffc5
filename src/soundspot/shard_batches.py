"""Batches from shards: a stream in which every sample is a pair of its own.

For data of any size. The order of an epoch is a function of (seed, epoch) that is computed, not
stored, and each picture of a scene takes the next sample of it: with g scenes made so far,

    m(g) = floor(g mosaics)                       scenes that show several pictures
    t(g) = g + m(g) + 2 floor(m(g) OF_FOUR)       samples used

so the samples of any scene are known from its number alone. A run on another number of ranks, or
one that was cut short, meets exactly the samples of an undisturbed one, each once an epoch.

Scene g has dice of its own too. Sounds are decoded here and heard in the step by the sound tower,
which stands still. A sample that cannot be read is replaced by one that dice of its own choose.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from soundspot.augment_scenes import OF_FOUR
from soundspot.augment_sounds import Wave
from soundspot.batches import SCENES, VARIATIONS, Batch, Batches, Draft, noisy
from soundspot.errors import MediaError, TrainingError
from soundspot.locating import fit_sound
from soundspot.media.audio import as_sound
from soundspot.pair_batches import JITTER, VARIED
from soundspot.sound_bank import STEP, STRETCH, WHOLE, SoundBank, Sounds, vary_one
from soundspot.towers.logmel_cnn import SAMPLE_RATE

if TYPE_CHECKING:
    from soundspot.media.image import Picture
    from soundspot.options import TrainOptions
    from soundspot.shards import RawSample, Shards

HEARD_FIRST = 1024
"""Samples that tell the distribution of the data's sounds before the first step."""
MAX_UNREADABLE = 100
"""Broken samples in a row after which training gives up."""
SPARE = 2
"""What dice are for: a sample in the place of a broken one."""
LAYOUTS = {1: (1.0, 0.0, 0.0), 2: (0.0, 1.0, 0.0), 4: (0.0, 0.0, 1.0)}
"""By the number of pictures, what makes `compose` lay out so many."""


@dataclass
class _Read:
    """What a block reads: sounds as they are, and for each region as they will be heard.

    Args:
        coming: places of the stream, with the samples there.
    """

    coming: Iterator[tuple[int, int]]
    waves: list[Wave] = field(default_factory=list)
    clips: list[Wave] = field(default_factory=list)
    jitter: list[Tensor] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    passed: list[tuple[str, str]] = field(default_factory=list)


class ShardBatches(Batches):
    """Batches of one run on shards.

    Args:
        shards: what is read.
        bank: some sounds, heard.
        options: of the run.
        waves: bring waveforms, for objectives that hear for themselves.
        strict: a sample that cannot be read stops the run.
    """

    free: ClassVar[tuple[str, ...]] = ("blocks",)

    def __init__(
        self,
        shards: Shards,
        bank: SoundBank,
        options: TrainOptions,
        *,
        waves: bool = False,
        strict: bool = False,
    ) -> None:
        super().__init__(bank, options)
        self.shards, self.waves, self.strict = shards, waves, strict
        self.jitter = float(JITTER * bank.whole.std(0).mean())
        seconds = float(shards.catalogue.settings.get("seconds") or WHOLE / SAMPLE_RATE)
        self.length = min(WHOLE, round(seconds * SAMPLE_RATE))

    @property
    def own(self) -> int:
        """All recordings of the bank belong to pictures."""
        return len(self.bank.whole)

    def make(self, step: int, block: int = 0) -> Batch:
        """A block of the batch of one step."""
        first, last, _ = self.share(block)
        before = step * self.options.scenes
        scenes = range(before + first, before + last)
        draft, read = Draft(self.options.side), _Read(self._stream(scenes))
        for scene in scenes:
            self._add_scene(draft, read, scene)
        heard, none = torch.from_numpy(np.stack(read.clips)), torch.empty(0)
        audible, empty = self._gate(step, block)
        return Batch(
            draft.images(),
            torch.tensor(draft.scenes),
            torch.stack(draft.regions),
            torch.cat(read.jitter),
            audible,
            empty,
            waves=heard if self.waves else none,
            clips=none if self.waves else heard,
            files=tuple(read.files),
            passed=tuple(read.passed),
        )

    def _stream(self, scenes: range) -> Iterator[tuple[int, int]]:
        """The places in the stream that scenes use, and the samples there."""
        first, end = (samples_before(g, self.options.mosaics) for g in (scenes.start, scenes.stop))
        epochs, positions = np.divmod(np.arange(first, end), len(self.shards))
        samples = [
            self.shards.order(self.options.seed, int(epoch)).at(positions[epochs == epoch])
            for epoch in np.unique(epochs)
        ]
        return zip(range(first, end), np.concatenate(samples).tolist(), strict=True)

    def _add_scene(self, draft: Draft, read: _Read, scene: int) -> None:
        """Compose one scene of the next samples, and add the sound of each region."""
        rng = np.random.default_rng((self.options.seed, scene, SCENES, 1))
        first, end = (samples_before(g, self.options.mosaics) for g in (scene, scene + 1))

        def draw() -> tuple[int, Picture]:
            picture, wave = self._sample(*next(read.coming), read)
            read.waves.append(wave)
            return len(read.waves) - 1, picture

        for number in list(draft.add_scene(rng, draw, LAYOUTS[end - first])):
            read.clips.append(self._clip(read.waves[number], rng))
            read.jitter.append(noisy(self.bank.whole[:1] * 0, self.jitter, rng))

    def _clip(self, wave: Wave, rng: np.random.Generator) -> Wave:
        """A sound as it will be heard: some of them varied; all of them for those who ask."""
        if self.waves:
            return vary_one(wave, STRETCH, rng)
        if rng.random() < VARIED:
            return vary_one(wave, self.length, rng)
        return fit_sound(wave, self.length, STEP)

    def _sample(self, place: int, sample: int, read: _Read) -> tuple[Picture, Wave]:
        """Picture and sound of a sample, or of a stand-in that its place in the stream chooses."""
        for number in itertools.chain([sample], self._stand_ins(place)):
            try:
                raw = self.shards.raw(number)
                side = self.options.side
                found = raw.picture(at_least=(side, side)), wave_of(raw)
            except MediaError as error:
                if self.strict:
                    raise
                read.passed.append((f"sample {number}", str(error)))
            else:
                read.files.append(raw.where)
                return found
        raise TrainingError(
            f"{MAX_UNREADABLE} samples in a row cannot be read; the last: {read.passed[-1][1]}"
        )

    def _stand_ins(self, place: int) -> Iterator[int]:
        """The samples that dice of a place choose."""
        rng = np.random.default_rng((self.options.seed, place, SPARE, 1))
        for _ in range(MAX_UNREADABLE - 1):
            yield int(rng.integers(len(self.shards)))

    def _gate(self, step: int, block: int) -> tuple[Tensor, Tensor]:
        """This block's share of the step's recordings and noises to tell apart."""
        rng = np.random.default_rng(self.dice(step, 0, VARIATIONS))
        rows = self.options.gate
        picks = rng.integers(len(self.bank.whole), size=rows)
        audible = noisy(self.bank.whole[torch.from_numpy(picks)], self.jitter, rng)
        empty = self.bank.empty[torch.from_numpy(rng.integers(len(self.bank.empty), size=rows))]
        start, end = (rows * b // self.options.parts for b in (block, block + 1))
        return audible[start:end], empty[start:end]


def samples_before(scenes: int, mosaics: float) -> int:
    """How many samples the first scenes use; see the module's docstring."""
    several = int(scenes * mosaics)
    return scenes + several + 2 * int(several * OF_FOUR)


def wave_of(raw: RawSample) -> Wave:
    """A sample's sound at the rate of the sound tower."""
    wave, rate = raw.wave()
    return wave if rate == SAMPLE_RATE else as_sound((wave, rate), SAMPLE_RATE)


def clips_of(shards: Shards) -> Sounds:
    """The sounds of the first samples of a fixed order, as many as tell their distribution."""
    numbers = shards.order().at(np.arange(min(len(shards), HEARD_FIRST))).tolist()
    names = [f"sample {number}" for number in numbers]
    return Sounds(names, lambda i: wave_of(shards.raw(numbers[i])))
