"""What a run learns from, and what its bank was made of: known before any of it is used.

Shards are known by their checksums, files by name, size and the ends of their content
(`soundspot.data.marks`), the sound tower by its weights. A bank depends on the sounds and the tower
alone, so that runs on other pictures share it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from soundspot.data.marks import Marks
from soundspot.data.pairs import Pairs
from soundspot.pair_batches import PairBatches
from soundspot.shard_batches import ShardBatches
from soundspot.shards import Shards
from soundspot.shards.several import folders_of

if TYPE_CHECKING:
    from soundspot.options import TrainOptions
    from soundspot.ranks import Ranks

DIGITS = 12
"""Of a digest that people compare."""
FILES = "files"
"""The source that is the marks of all files."""


@dataclass(frozen=True)
class Origin:
    """What a run learns from.

    Args:
        digest: tells data and sound tower from others.
        sources: the same in words, for messages; of files, their marks too.
        free: options that do not matter for such data.
        tower: a digest of the sound tower.
        sounds: the marks of sounds that are files.
        files: those of all files.
    """

    digest: str
    sources: dict[str, str]
    free: tuple[str, ...]
    tower: str = ""
    sounds: Marks = field(default_factory=Marks)
    files: Marks = field(default_factory=Marks)

    @classmethod
    def of(cls, data: Pairs | Shards, tower: nn.Module, ranks: Ranks) -> Origin:
        """Of data from `starting.open_data` and the tower that hears them.

        Args:
            data: shards or files; of files, the first rank looks at each.
            tower: what hears.
            ranks: who train.
        """
        heard_by = origin_of(tower, [])
        sources = {"sound tower": heard_by[:DIGITS]}
        if isinstance(data, Shards):
            sums = [entry.sha256 for entry in data.catalogue.shards]
            sources["data"] = _words(data, sums)
            return cls(origin_of(tower, sums), sources, ShardBatches.free, heard_by)
        sounds, pictures = (
            _marked(data, paths, ranks)
            for paths in (data.all_sounds, [p for own in data.pictures for p in own])
        )
        files = Marks([*sounds.names, *pictures.names], [*sounds.marks, *pictures.marks])
        sources |= {"data": _words(data, files.marks), FILES: files.text()}
        digest = origin_of(tower, files.marks)
        return cls(digest, sources, PairBatches.free, heard_by, sounds, files)

    def bank(self, options: TrainOptions) -> str:
        """What tells a bank's tower and way of hearing from others; of shards, their sounds too.

        Of shards few sounds are heard before the first step, or all of them.
        """
        if self.files.names:
            return _digest(f"{self.tower} files")
        whole = options.hear_all and "hear_all" not in self.free
        return _digest(f"{self.digest} all") if whole else self.digest


def origin_of(tower: nn.Module, names: Iterable[str]) -> str:
    """A digest of the sound tower and of the data's names, to tell runs apart."""
    digest = hashlib.sha256()
    for weight in tower.state_dict().values():
        digest.update((weight.cpu() + 0).numpy().tobytes())  # -0 and 0 are the same weight
    for name in names:
        digest.update(name.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _marked(data: Pairs, paths: Iterable[Path], ranks: Ranks) -> Marks:
    """The marks of files as the first rank sees them."""
    files = list(paths)
    names = list(map(data.name_of, files))
    own = ranks.first_does(lambda: Marks.of(names, files).marks)
    return Marks(names, ranks.of_first(own or []))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _words(data: Pairs | Shards, names: Iterable[str]) -> str:
    """What the data are, in a few words and a digest."""
    digest = _digest("\0".join(names))
    if isinstance(data, Shards):
        what = f"{len(data):,} samples in {', '.join(folders_of(data))}"
    else:
        count = sum(map(len, data.pictures))
        what = f"{count:,} pictures and {len(data.all_sounds):,} sounds"
    return f"{what} [{digest[:DIGITS]}]"
