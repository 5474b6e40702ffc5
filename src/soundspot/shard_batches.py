"""Batches from shards: a stream in which every sample is a pair of its own.

For data of any size. The order of an epoch is a function of (seed, epoch) that is computed, not
stored, and each picture of a scene takes the next sample of it: with g scenes made so far,

    m(g) = floor(g mosaics)                       scenes that show several pictures
    t(g) = g + m(g) + 2 floor(m(g) OF_FOUR)       samples used

so the samples of any scene are known from its number alone. A run on another number of ranks, or
one that was cut short, meets exactly the samples of an undisturbed one, each once an epoch.

Scene g has dice of its own too. A sample that cannot be read is replaced by one that dice of its
own choose. Where its sound comes from is for the members of this family to say: `clip_batches`
decodes it, to be heard in the step; `heard_batches` takes it from a bank in which all are.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from soundspot.augment_scenes import OF_FOUR
from soundspot.batches import SCENES, VARIATIONS, Batch, Batches, Draft, noisy
from soundspot.errors import MediaError, TrainingError
from soundspot.pair_batches import JITTER
from soundspot.sound_bank import SoundBank, spread

if TYPE_CHECKING:
    from soundspot.media.image import Picture
    from soundspot.options import TrainOptions
    from soundspot.shards import Shards

HEARD_FIRST = 1024
"""Sounds that tell the distribution of the data's sounds."""
MAX_UNREADABLE = 100
"""Broken samples in a row after which training gives up."""
SPARE = 2
"""What dice are for: a sample in the place of a broken one."""
LAYOUTS = {1: (1.0, 0.0, 0.0), 2: (0.0, 1.0, 0.0), 4: (0.0, 0.0, 1.0)}
"""By the number of pictures, what makes `compose` lay out so many."""
S = TypeVar("S")
"""What is known of a sample's sound when its picture is drawn."""


@dataclass
class Reading(Generic[S]):
    """What a block reads.

    Args:
        coming: places of the stream, with the samples there.
        sounds: of the pictures drawn so far.
        heard: for each region, what the model shall know of its sound.
        files: what was read.
        passed: what could not be read, and why.
    """

    coming: Iterator[tuple[int, int]]
    sounds: list[S] = field(default_factory=list)
    heard: list[Any] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    passed: list[tuple[str, str]] = field(default_factory=list)


class ShardBatches(Batches, Generic[S]):
    """Batches of one run on shards.

    Args:
        shards: what is read.
        bank: some sounds, heard, or all of them.
        options: of the run.
        strict: a sample that cannot be read stops the run.
    """

    free: ClassVar[tuple[str, ...]] = ("blocks",)

    def __init__(
        self, shards: Shards, bank: SoundBank, options: TrainOptions, *, strict: bool = False
    ) -> None:
        super().__init__(bank, options)
        self.shards, self.strict = shards, strict
        self.jitter = float(JITTER * spread(bank.whole, HEARD_FIRST).std(0).mean())

    @abstractmethod
    def _read(self, number: int) -> tuple[Picture, S, str]:
        """A sample's picture, what is known of its sound, and where it lies.

        Raises:
            MediaError: it cannot be read.
        """

    @abstractmethod
    def _hear(self, sound: S, rng: np.random.Generator) -> Any:
        """What the model shall know of a region's sound, perhaps varied."""

    @abstractmethod
    def _batched(self, heard: Sequence[Any]) -> dict[str, Any]:
        """The fields `sounds`, `waves` and `clips` of a batch."""

    @property
    def own(self) -> int:
        """All recordings of the bank belong to pictures."""
        return len(self.bank.whole)

    def make(self, step: int, block: int = 0) -> Batch:
        """A block of the batch of one step."""
        first, last, _ = self.share(block)
        before = step * self.options.scenes
        scenes = range(before + first, before + last)
        draft, reading = Draft(self.options.side), Reading[S](self._stream(scenes))
        for scene in scenes:
            self._add_scene(draft, reading, scene)
        audible, empty = self._gate(step, block)
        return Batch(
            draft.images(),
            torch.tensor(draft.scenes),
            torch.stack(draft.regions),
            audible=audible,
            empty=empty,
            files=tuple(reading.files),
            passed=tuple(reading.passed),
            **self._batched(reading.heard),
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

    def _add_scene(self, draft: Draft, reading: Reading[S], scene: int) -> None:
        """Compose one scene of the next samples, and add the sound of each region."""
        rng = np.random.default_rng((self.options.seed, scene, SCENES, 1))
        first, end = (samples_before(g, self.options.mosaics) for g in (scene, scene + 1))

        def draw() -> tuple[int, Picture]:
            picture, sound = self._sample(*next(reading.coming), reading)
            reading.sounds.append(sound)
            return len(reading.sounds) - 1, picture

        for number in list(draft.add_scene(rng, draw, LAYOUTS[end - first])):
            reading.heard.append(self._hear(reading.sounds[number], rng))

    def _sample(self, place: int, sample: int, reading: Reading[S]) -> tuple[Picture, S]:
        """Picture and sound of a sample, or of a stand-in that its place in the stream chooses."""
        for number in itertools.chain([sample], self._stand_ins(place)):
            try:
                picture, sound, where = self._read(number)
            except MediaError as error:
                if self.strict:
                    raise
                reading.passed.append((sample_name(number), str(error)))
            else:
                reading.files.append(where)
                return picture, sound
        raise TrainingError(
            f"{MAX_UNREADABLE} samples in a row cannot be read; the last: {reading.passed[-1][1]}"
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


def sample_name(number: int) -> str:
    """What a sample is called in messages and logs."""
    return f"sample {number}"


def sample_number(name: str) -> int:
    """The number in a sample's name."""
    return int(name.rpartition(" ")[2])
