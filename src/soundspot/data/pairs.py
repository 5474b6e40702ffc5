"""What training reads: pictures and sounds, and which were recorded together. Nothing else.

Two layouts:

- a manifest (JSON Lines): each line's picture and sound belong together; boxes, groups and
  every other key are never looked at;
- a folder `DATA` with `DATA/images/SET/*` and `DATA/sounds/SET/*`: any picture of a set may be
  paired with any sound of it; `DATA/extra_sounds` (sounds of nothing that is seen) may stand
  beside.

A set's name is used to draw pairs, and noted in the checkpoint for reports: no class is predicted,
and whether two pairs come from one set is never asked.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soundspot.data.manifest import read_manifest
from soundspot.errors import TrainingError

PICTURES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"))
SOUNDS = frozenset((".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".aiff"))


@dataclass(frozen=True)
class Pairs:
    """Pictures and sounds that belong together.

    Args:
        pictures: for each set, its pictures.
        sounds: for each set, the indices of its sounds in `all_sounds`.
        all_sounds: every sound; those after the sets' own belong to no picture.
        names: of the sets, for the model card; training never reads them.
        root: the folder, or that of the manifest.
    """

    pictures: tuple[tuple[Path, ...], ...]
    sounds: tuple[tuple[int, ...], ...]
    all_sounds: tuple[Path, ...]
    names: tuple[str, ...] = ()
    root: Path = Path()

    def name_of(self, path: Path) -> str:
        """A file's name relative to the root, however both are spelled; else its whole path."""
        if path.is_relative_to(self.root):
            return path.relative_to(self.root).as_posix()
        full, root = (Path(os.path.abspath(p)) for p in (path, self.root))
        return (full.relative_to(root) if full.is_relative_to(root) else full).as_posix()

    def draw_set(self, rng: np.random.Generator) -> int:
        """A set, drawn by the square root of its number of pictures: large sets more often."""
        weights = np.sqrt([len(pictures) for pictures in self.pictures])
        return int(rng.choice(len(weights), p=weights / weights.sum()))

    def without(self, broken: Collection[str]) -> Pairs:
        """The same less some sounds, by `name_of`, and less the sets that are left with none."""
        kept = [i for i, path in enumerate(self.all_sounds) if self.name_of(path) not in broken]
        number = {old: new for new, old in enumerate(kept)}
        sounds = [tuple(number[i] for i in own if i in number) for own in self.sounds]
        sets = [i for i, own in enumerate(sounds) if own]
        return Pairs(
            tuple(self.pictures[i] for i in sets),
            tuple(sounds[i] for i in sets),
            tuple(self.all_sounds[i] for i in kept),
            tuple(self.names[i] for i in sets if self.names),
            self.root,
        )


def read_pairs(source: str | Path) -> Pairs:
    """Read a manifest (.jsonl) or a folder of sets.

    Raises:
        TrainingError: nothing to pair.
        ManifestError: the manifest breaks its format.
    """
    path = Path(source)
    pairs = _from_manifest(path) if path.suffix.lower() == ".jsonl" else _from_folder(path)
    if not pairs.pictures:
        raise TrainingError(
            f"{path}: no pairs found; give a manifest (.jsonl) or a folder with images/SET and "
            "sounds/SET"
        )
    if len(pairs.all_sounds) < 2 or len(pairs.pictures) < 2:
        raise TrainingError(f"{path}: one pair alone cannot be told from another; give two or more")
    return pairs


def _from_manifest(path: Path) -> Pairs:
    samples = [sample for sample in read_manifest(path) if sample.kind == "positive"]
    films = [sample.id for sample in samples if sample.video is not None]
    if films:
        raise TrainingError(
            f"{path}: {films[0]!r} is a frame of a video; training reads pictures: save the frame "
            "as one and give 'image' and 'sound'"
        )
    return Pairs(
        pictures=tuple((sample.image,) for sample in samples),
        sounds=tuple((i,) for i in range(len(samples))),
        all_sounds=tuple(sample.sound for sample in samples),
        root=path.parent,
    )


def _from_folder(path: Path) -> Pairs:
    images, sounds = path / "images", path / "sounds"
    if not (images.is_dir() and sounds.is_dir()):
        what = "no training data" if path.exists() else "does not exist"
        raise TrainingError(
            f"{path}: {what}; give a manifest (.jsonl), a folder with images/SET and sounds/SET, "
            "or shards (`soundspot data pack`)"
        )
    pictures: list[tuple[Path, ...]] = []
    names: list[str] = []
    numbers: list[tuple[int, ...]] = []
    heard: list[Path] = []
    for name in sorted({p.name for half in (images, sounds) for p in half.iterdir() if p.is_dir()}):
        seen, own = _files(images / name, PICTURES), _files(sounds / name, SOUNDS)
        if not (seen and own):
            missing = "pictures" if own else "sounds"
            raise TrainingError(f"{path}: set {name!r} has no {missing}; add some, or take it out")
        pictures.append(seen)
        names.append(name)
        numbers.append(tuple(range(len(heard), len(heard) + len(own))))
        heard.extend(own)
    extra = _files(path / "extra_sounds", SOUNDS)
    return Pairs(
        tuple(pictures),
        tuple(numbers),
        (*heard, *extra),
        tuple(names),
        path,
    )


def _files(folder: Path, suffixes: frozenset[str]) -> tuple[Path, ...]:
    """Files under a folder, sorted; none where there is no such folder."""
    return tuple(sorted(p for p in folder.rglob("*") if p.suffix.lower() in suffixes))
