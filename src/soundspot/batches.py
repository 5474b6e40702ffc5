"""Training batches: scenes, their regions, and the sounds that belong to them.

A batch is made in blocks. A block is a function of (seed, step, block) alone: it can be made
ahead of time in any thread or process, a resumed run meets the blocks that it would have met, and
ranks that share the blocks of a batch see together what one process would have seen. Where the
pictures and sounds come from is for the members of this family to say: `pair_batches` draws from
sets of files, `shard_batches` reads a stream.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from soundspot.augment_scenes import Draw, Rectangle, Rng, compose

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from soundspot.media.image import Picture
    from soundspot.options import TrainOptions
    from soundspot.sound_bank import SoundBank

STRIDE = 16
"""Pixels from one position of the picture tower to the next."""
TILE_LEAST = 4
"""A tile on fewer positions is passed over."""
SCENES, VARIATIONS = 0, 1
"""What dice are for: everything about scenes, and the waveforms beside them."""


@dataclass(frozen=True)
class Batch:
    """What one step sees of the data, or a part of it.

    Args:
        pixels: scenes, s 3 side side, RGB; uint8 as they are made and sent between processes and
            devices, in [0, 1] where they are learned from (`to`).
        scenes: n, the scene of each region, rising.
        regions: n P, the positions of each region.
        sounds: n d, embeddings of the sounds drawn for the regions; no rows where `clips` are
            to be heard first.
        audible, empty: k d, embeddings of recordings, and of noise and silence.
        waves: n samples, a varied stretch of each drawn sound; no rows unless asked for.
        clips: n samples, the drawn sounds as the sound tower shall hear them; no rows where
            `sounds` has them.
        more: what an objective adds to each region, n rows.
        loose: what an objective adds that belongs to no region.
        files: the pictures and sounds that it was made of.
        passed: what could not be read and was passed over, and why.
    """

    pixels: Tensor
    scenes: Tensor
    regions: Tensor
    sounds: Tensor
    audible: Tensor
    empty: Tensor
    waves: Tensor
    clips: Tensor = field(default_factory=lambda: torch.empty(0))
    more: Mapping[str, Tensor] = field(default_factory=dict)
    loose: Mapping[str, Tensor] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    passed: tuple[tuple[str, str], ...] = ()

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device, with pixels in [0, 1]."""
        changed: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                changed[name] = value.to(device, non_blocking=True)
            elif isinstance(value, Mapping):
                changed[name] = {key: rows.to(device) for key, rows in value.items()}
        changed["pixels"] = in_unit_range(changed["pixels"])
        return replace(self, **changed)

    def cut(self, size: int) -> list[Batch]:
        """Pieces of at most `size` scenes; loose rows are dealt out evenly. 0: one piece."""
        scenes = len(self.pixels)
        count = -(-scenes // size) if size else 1
        if count <= 1:
            return [self]
        ends = [scenes * i // count for i in range(count + 1)]
        return [self._piece(ends[i], ends[i + 1], i, count) for i in range(count)]

    def _piece(self, first: int, last: int, number: int, count: int) -> Batch:
        start, stop = torch.searchsorted(self.scenes, self.scenes.new_tensor([first, last]))
        here = slice(int(start), int(stop))

        def dealt(rows: Tensor) -> Tensor:
            return rows[len(rows) * number // count : len(rows) * (number + 1) // count]

        own = ("regions", "sounds", "waves", "clips")
        return replace(
            self,
            pixels=self.pixels[first:last],
            scenes=self.scenes[here] - first,
            audible=dealt(self.audible),
            empty=dealt(self.empty),
            more={name: rows[here] for name, rows in self.more.items()},
            loose={name: dealt(rows) for name, rows in self.loose.items()},
            **{name: getattr(self, name)[here] for name in own},
        )


def in_unit_range(pixels: Tensor) -> Tensor:
    """Pixels of 8 bits as float32 in [0, 1]; others as they are."""
    return pixels.float().div_(255) if pixels.dtype == torch.uint8 else pixels


def join(parts: Sequence[Batch]) -> Batch:
    """One batch of several; their scenes are numbered on."""
    if len(parts) == 1:
        return parts[0]
    starts = np.cumsum([0, *(len(part.pixels) for part in parts)])
    names = ("pixels", "regions", "sounds", "audible", "empty", "waves", "clips")
    joined: dict[str, Any] = {
        name: torch.cat([getattr(part, name) for part in parts]) for name in names
    }
    return Batch(
        scenes=torch.cat([p.scenes + int(at) for p, at in zip(parts, starts, strict=False)]),
        files=tuple(name for part in parts for name in part.files),
        passed=tuple(one for part in parts for one in part.passed),
        **joined,
    )


class Share(NamedTuple):
    """Which of a batch's scenes and loose rows a block makes."""

    first: int
    last: int
    rows: int


class Batches(ABC):
    """Where the batches of one run come from.

    Args:
        bank: heard sounds: all of them, or enough to know their distribution.
        options: of the run.
    """

    names: tuple[str, ...] = ()
    """Of the sets that are heard, where the data have such names."""
    broken: Mapping[str, str] = MappingProxyType({})
    """Sounds that cannot be read and were left out from the start, and why."""
    free: ClassVar[tuple[str, ...]] = ()
    """Options that change nothing about which samples a step meets."""

    def __init__(self, bank: SoundBank, options: TrainOptions) -> None:
        self.bank, self.options = bank, options

    @abstractmethod
    def make(self, step: int, block: int = 0) -> Batch:
        """A block of the batch of one step."""

    @property
    @abstractmethod
    def own(self) -> int:
        """So many of the bank's first recordings belong to pictures."""

    def share(self, block: int) -> Share:
        """What a block makes: scenes `first` to `last` of the batch, and gate rows."""
        options = self.options
        scenes, rows = (
            [total * i // options.parts for i in (block, block + 1)]
            for total in (options.scenes, options.gate)
        )
        return Share(scenes[0], scenes[1], rows[1] - rows[0])

    def dice(self, step: int, block: int, purpose: int = SCENES) -> tuple[int, int, int, int]:
        """Seeds of a random generator; trailing zeros count for nothing."""
        return (self.options.seed, step, purpose, block)


@dataclass
class Draft:
    """The scenes of a block in the making.

    Args:
        side: of a scene, pixels.
    """

    side: int
    pixels: list[Picture] = field(default_factory=list)
    scenes: list[int] = field(default_factory=list)
    regions: list[Tensor] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    """What each region shows, as `draw` numbers it."""

    def add_scene(self, rng: Rng, draw: Draw, shares: Sequence[float]) -> Iterator[int]:
        """Compose one scene; yields the number of each region's picture as it is kept."""
        scene = compose(rng, draw, self.side, shares)
        self.pixels.append(scene.pixels)
        for number, place in scene.tiles:
            region = positions_in(place, self.side)
            if region.sum() >= TILE_LEAST:
                self.scenes.append(len(self.pixels) - 1)
                self.regions.append(region.flatten())
                self.numbers.append(number)
                yield number

    def images(self) -> Tensor:
        """The scenes in one tensor, channels last in memory."""
        return torch.from_numpy(np.stack(self.pixels)).permute(0, 3, 1, 2)


def positions_in(place: Rectangle, side: int) -> Tensor:
    """The positions whose centres lie in a rectangle of pixels."""
    centres = np.arange(side // STRIDE) * STRIDE + STRIDE // 2
    x0, y0, x1, y1 = place
    rows, columns = (centres >= y0) & (centres < y1), (centres >= x0) & (centres < x1)
    return torch.from_numpy(rows[:, None] & columns[None])


def noisy(heard: Tensor, amount: Tensor | float, rng: Rng) -> Tensor:
    """Embeddings with Gaussian noise of a deviation."""
    noise: NDArray[np.float32] = rng.standard_normal(heard.shape, dtype=np.float32)
    return heard + amount * torch.from_numpy(noise)
