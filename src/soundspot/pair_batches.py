"""Batches from sets of files: any picture of a set may meet any of its sounds.

For data that fit on a disk as files. All sounds are in the bank, heard once; pictures are read as
they are drawn, a set by the square root of its number of pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from soundspot.augment_scenes import layouts
from soundspot.batches import VARIATIONS, Batch, Batches, Draft, noisy
from soundspot.errors import MediaError, TrainingError
from soundspot.media.image import read_picture
from soundspot.sound_bank import Recordings, SoundBank

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from soundspot.data.pairs import Pairs
    from soundspot.media.image import Picture
    from soundspot.options import TrainOptions

VARIED = 0.3
"""Share of sounds drawn in a varied form rather than as recorded."""
JITTER = 0.05
"""Noise on the embeddings of sounds, in units of their overall deviation."""
MAX_UNREADABLE = 100
"""Broken pictures in a row after which training gives up."""


@dataclass
class _Drawn:
    """Pictures that a block got to see, and those that could not be read."""

    files: list[str] = field(default_factory=list)
    passed: list[tuple[str, str]] = field(default_factory=list)


class PairBatches(Batches):
    """Batches of one run on files.

    Args:
        pairs: pictures and sounds that belong together.
        bank: every sound, heard.
        options: of the run.
        waves: bring waveforms too, for objectives that hear for themselves.
        strict: a picture that cannot be read stops the run.
        broken: sounds that could not be read and are not in `pairs`.
    """

    free: ClassVar[tuple[str, ...]] = ("hear_all",)

    def __init__(
        self,
        pairs: Pairs,
        bank: SoundBank,
        options: TrainOptions,
        *,
        waves: bool = False,
        strict: bool = False,
        broken: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(bank, options)
        self.pairs, self.strict, self.names = pairs, strict, pairs.names
        self.broken = dict(broken or {})
        self.recordings = Recordings(pairs.all_sounds) if waves else None
        self.deviation = bank.whole.std(0).mean()

    @property
    def own(self) -> int:
        """Sounds of the sets; those behind belong to no picture."""
        return sum(map(len, self.pairs.sounds))

    def make(self, step: int, block: int = 0) -> Batch:
        """A block of the batch of one step."""
        rng = np.random.default_rng(self.dice(step, block))
        first, last, rows = self.share(block)
        draft, sounds, drawn = Draft(self.options.side), list[int](), _Drawn()
        shares = layouts(self.options.mosaics)
        for _ in range(first, last):
            for number in draft.add_scene(rng, lambda: self._draw_picture(drawn, rng), shares):
                sounds.append(int(rng.choice(self.pairs.sounds[number])))
        return Batch(
            draft.images(),
            torch.tensor(draft.scenes),
            torch.stack(draft.regions),
            self._hear(sounds, rng),
            self._hear(rng.integers(len(self.bank.whole), size=rows), rng),
            self.bank.empty[rng.integers(len(self.bank.empty), size=rows)],
            self._record(sounds, self.dice(step, block, VARIATIONS)),
            files=(*drawn.files, *(str(self.pairs.all_sounds[i]) for i in sounds)),
            passed=tuple(drawn.passed),
        )

    def _record(self, sounds: Sequence[int], dice: Sequence[int]) -> Tensor:
        """Waveforms, by dice of their own: the rest of a batch is the same with and without."""
        return torch.empty(0) if self.recordings is None else self.recordings(sounds, dice)

    def _hear(self, sounds: Sequence[int] | NDArray[np.int64], rng: np.random.Generator) -> Tensor:
        """Embeddings of recordings, as they are or varied, with a little noise."""
        count, views = len(sounds), self.bank.views.shape[1]
        picks, which = torch.as_tensor(sounds), rng.integers(views, size=count)
        varied = torch.from_numpy(rng.random(count) < VARIED)[:, None]
        heard = torch.where(varied, self.bank.views[picks, which], self.bank.whole[picks])
        return noisy(heard, JITTER * self.deviation, rng)

    def _draw_picture(self, drawn: _Drawn, rng: np.random.Generator) -> tuple[int, Picture]:
        """A set's number and one of its pictures; a broken one is counted and passed over."""
        for _ in range(MAX_UNREADABLE):
            number = self.pairs.draw_set(rng)
            choices = self.pairs.pictures[number]
            path = choices[rng.integers(len(choices))]
            try:
                picture = read_picture(path)
            except MediaError as error:
                if self.strict:
                    raise
                drawn.passed.append((str(path), str(error)))
            else:
                drawn.files.append(str(path))
                return number, picture
        raise TrainingError(f"{MAX_UNREADABLE} pictures in a row cannot be read; the last: {path}")
