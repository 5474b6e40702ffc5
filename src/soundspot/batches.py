"""Training batches: scenes, their regions, and the sounds that belong to them.

A batch is a function of (seed, step) alone, so it can be made ahead of time in any thread, and a
resumed run meets the batches that it would have met.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from soundspot.augment_scenes import Rectangle, compose, layouts
from soundspot.data.pairs import Pairs
from soundspot.errors import MediaError, TrainingError
from soundspot.media.image import Picture, read_picture
from soundspot.sound_bank import Recordings, SoundBank

if TYPE_CHECKING:
    from soundspot.options import TrainOptions

STRIDE = 16
"""Pixels from one position of the picture tower to the next."""
TILE_LEAST = 4
"""A tile on fewer positions is passed over."""
VARIED = 0.3
"""Share of sounds drawn in a varied form rather than as recorded."""
JITTER = 0.05
"""Noise on the embeddings of sounds, in units of their overall deviation."""
AHEAD = 3
"""Batches made before they are needed."""
MAX_UNREADABLE = 100
"""Broken pictures in a row after which training gives up."""


@dataclass(frozen=True)
class Batch:
    """What one step sees.

    Args:
        pixels: scenes, s 3 side side, RGB in [0, 1].
        scenes: n, the scene of each region.
        regions: n P, the positions of each region.
        sounds: n d, embeddings of the sounds drawn for the regions.
        audible, empty: k d, embeddings of recordings, and of noise and silence.
        waves: n samples, a varied stretch of each drawn sound; no rows unless asked for.
        files: the pictures and sounds that it was made of.
    """

    pixels: Tensor
    scenes: Tensor
    regions: Tensor
    sounds: Tensor
    audible: Tensor
    empty: Tensor
    waves: Tensor
    files: tuple[Path, ...] = ()

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {name: v.to(device) for name, v in values.items() if isinstance(v, Tensor)}
        return Batch(**values | moved)


@dataclass
class _Draft:
    """A batch in the making."""

    pixels: list[Picture] = field(default_factory=list)
    scenes: list[int] = field(default_factory=list)
    regions: list[Tensor] = field(default_factory=list)
    sounds: list[int] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)


class Batches:
    """Batches of one run.

    Args:
        pairs: pictures and sounds that belong together.
        bank: every sound, heard.
        options: of the run.
        waves: bring waveforms too, for objectives that hear for themselves.
    """

    def __init__(
        self, pairs: Pairs, bank: SoundBank, options: TrainOptions, *, waves: bool = False
    ) -> None:
        self.pairs, self.bank, self.options = pairs, bank, options
        self.recordings = Recordings(pairs.all_sounds) if waves else None
        self.deviation = bank.whole.std(0).mean()
        self.unreadable: set[Path] = set()

    def __call__(self, first: int, last: int) -> Iterator[Batch]:
        """The batches of steps `first` to `last` (exclusive), made ahead in threads."""
        pool = ThreadPoolExecutor(AHEAD)
        try:
            coming = [pool.submit(self.make, s) for s in range(first, min(first + AHEAD, last))]
            for step in range(first, last):
                if step + AHEAD < last:
                    coming.append(pool.submit(self.make, step + AHEAD))
                yield coming.pop(0).result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def make(self, step: int) -> Batch:
        """The batch of one step."""
        rng = np.random.default_rng((self.options.seed, step))
        draft = _Draft()
        for _ in range(self.options.scenes):
            self._add_scene(draft, rng)
        pixels = torch.from_numpy(np.stack(draft.pixels)).permute(0, 3, 1, 2)
        return Batch(
            pixels.float().div_(255).contiguous(memory_format=torch.channels_last),
            torch.tensor(draft.scenes),
            torch.stack(draft.regions),
            self._hear(draft.sounds, rng),
            self._hear(rng.integers(len(self.bank.whole), size=self.options.gate), rng),
            self.bank.empty[rng.integers(len(self.bank.empty), size=self.options.gate)],
            self._record(draft.sounds, step),
            (*draft.pictures, *(self.pairs.all_sounds[i] for i in draft.sounds)),
        )

    def _record(self, sounds: Sequence[int], step: int) -> Tensor:
        """Waveforms, by dice of their own: the rest of a batch is the same with and without."""
        if self.recordings is None:
            return torch.empty(0)
        return self.recordings(sounds, (self.options.seed, step, 1))

    def _add_scene(self, draft: _Draft, rng: np.random.Generator) -> None:
        side = self.options.side
        scene = compose(
            rng, lambda: self._draw_picture(draft, rng), side, layouts(self.options.mosaics)
        )
        draft.pixels.append(scene.pixels)
        for number, place in scene.tiles:
            region = _positions(place, side)
            if region.sum() >= TILE_LEAST:
                draft.scenes.append(len(draft.pixels) - 1)
                draft.regions.append(region.flatten())
                draft.sounds.append(int(rng.choice(self.pairs.sounds[number])))

    def _hear(self, sounds: Sequence[int] | NDArray[np.int64], rng: np.random.Generator) -> Tensor:
        """Embeddings of recordings, as they are or varied, with a little noise."""
        count, views = len(sounds), self.bank.views.shape[1]
        picks, which = torch.as_tensor(sounds), rng.integers(views, size=count)
        varied = torch.from_numpy(rng.random(count) < VARIED)[:, None]
        heard = torch.where(varied, self.bank.views[picks, which], self.bank.whole[picks])
        noise = torch.from_numpy(rng.standard_normal(heard.shape, dtype=np.float32))
        return heard + JITTER * self.deviation * noise

    def _draw_picture(self, draft: _Draft, rng: np.random.Generator) -> tuple[int, Image.Image]:
        """A set's number and one of its pictures; a broken one is counted and passed over."""
        for _ in range(MAX_UNREADABLE):
            number = self.pairs.draw_set(rng)
            choices = self.pairs.pictures[number]
            path = choices[rng.integers(len(choices))]
            try:
                picture = Image.fromarray(read_picture(path))
            except MediaError as error:
                self.unreadable.add(path)
                last = error
            else:
                draft.pictures.append(path)
                return number, picture
        raise TrainingError(f"{MAX_UNREADABLE} pictures in a row cannot be read; the last: {last}")


def _positions(place: Rectangle, side: int) -> Tensor:
    """The positions whose centres lie in a rectangle of pixels."""
    centres = torch.arange(side // STRIDE) * STRIDE + STRIDE // 2
    x0, y0, x1, y1 = place
    rows, columns = (centres >= y0) & (centres < y1), (centres >= x0) & (centres < x1)
    return rows[:, None] & columns[None]
