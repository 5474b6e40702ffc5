"""Who is asked where the sound comes from: models, folders of maps, and maps that look at nothing.

Each answers about samples whose media were read, with one map for each sound that is asked about,
raw and at its own resolution.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, TypeVar, cast

import numpy as np
import torch

from soundspot.errors import MediaError, ModelError, OptionError, SoundspotError
from soundspot.facts import ModelFacts
from soundspot.judging.blind import blind_maps
from soundspot.judging.findings import Heading
from soundspot.judging.map_folder import MapFolder
from soundspot.judging.plan import locates
from soundspot.judging.reading import Ear, Read
from soundspot.localize import Method, parse
from soundspot.locating import DEFAULT_METHOD, LocalEvidence, Locator, Picture, Waveform
from soundspot.maps import FloatMap
from soundspot.protocols.batch import JUDGED_SIDE
from soundspot.protocols.truths import SIDE
from soundspot.report import PICTURE_ONLY, wrong_sound_name
from soundspot.similarity import OffersFeatureStrength, Similarity
from soundspot.watch import frozen

T = TypeVar("T")


class Answer(NamedTuple):
    """What one row says of one sample; `failed` says why it says nothing.

    `framed` are the maps in the field's frame, where they can be made in any size: a protocol that
    judges there need not resize them. Empty: the maps themselves are resized.
    """

    row: str
    read: Read
    maps: tuple[FloatMap, ...] = ()
    confidences: tuple[float, ...] = ()
    cut: float | None = None
    visible: float | None = None
    failed: str | None = None
    framed: tuple[FloatMap, ...] = ()


class Asker(ABC):
    """Somebody who is asked; fills the rows of `headings`."""

    headings: tuple[Heading, ...]

    @abstractmethod
    def answers(self, reads: Sequence[Read]) -> Iterator[Answer]:
        """Answers about samples, row by row."""

    @abstractmethod
    def answer(self, row: str, read: Read) -> Answer:
        """One row's answer about one sample, with its own sounds."""


class ModelAsker(Asker):
    """One model by its methods: their rows, those with wrong sounds, and its picture alone.

    Args:
        model: any similarity model.
        methods: each becomes a row; None: the model's own.
        prefix: before the names of its rows, where several models are judged.
        device: "auto" or a torch device name.
        batch: pairs in one forward pass.
    """

    def __init__(
        self,
        model: Similarity,
        methods: Sequence[str | Method] | None,
        *,
        prefix: str = "",
        device: str = "auto",
        batch: int = 8,
    ):
        listed = [None] if methods is None else methods
        self.locators = _locators(model, listed, device, prefix)
        self.base = next(iter(self.locators.values()), None) or Locator(model, device=device)
        self.facts: ModelFacts = self.base.facts
        self.ear = Ear(self.facts.sample_rate, self.facts.seconds)
        self.batch = batch
        self.salience = _salience(self.base)
        self.picture_only = f"{prefix}{PICTURE_ONLY}"
        name = self.facts.name
        alone = [] if self.salience is None else [Heading(self.picture_only, "control", name)]
        self.headings = (
            *(Heading(row, "method", name, own=_is_own(at)) for row, at in self.locators.items()),
            *alone,
            *(Heading(wrong_sound_name(row), "control", name, row) for row in self.locators),
        )

    def answers(self, reads: Sequence[Read]) -> Iterator[Answer]:
        """Every method on every sample, with its own sounds, then with wrong ones."""
        pairs = [
            (read, wrong, sound)
            for read in reads
            for wrong in (False, True)
            for sound in (read.wrong if wrong else read.sounds).get(self.ear, ())
        ]
        for row, locator in self.locators.items():
            found = self._evidence(locator, [(read, sound) for read, _, sound in pairs])
            for wrong in (False, True):
                said = [(p[0], e) for p, e in zip(pairs, found, strict=True) if p[1] == wrong]
                yield from self._answers(wrong_sound_name(row) if wrong else row, locator, said)
        if self.salience is not None:
            for chunk in _chunks(reads, self.batch):
                maps = self.salience([read.picture for read in chunk])
                for read, values in zip(chunk, maps, strict=True):
                    yield Answer(self.picture_only, read, (values,) * read.count)

    def answer(self, row: str, read: Read) -> Answer:
        """One method on one sample."""
        pairs = [(read, sound) for sound in read.sounds[self.ear]]
        found = self._evidence(self.locators[row], pairs)
        return Answer(row, read, tuple(evidence.map for evidence in found))

    def _answers(
        self, row: str, locator: Locator, said: Sequence[tuple[Read, LocalEvidence]]
    ) -> Iterator[Answer]:
        """One answer a sample, with the maps of all its sounds."""
        for _, group in groupby(said, lambda pair: pair[0].number):
            together = list(group)
            maps = tuple(evidence.map for _, evidence in together)
            confidences = tuple(evidence.confidence for _, evidence in together)
            yield Answer(row, together[0][0], maps, confidences, locator.threshold, locator.visible)

    def _evidence(
        self, locator: Locator, pairs: Sequence[tuple[Read, Waveform]]
    ) -> list[LocalEvidence]:
        found: list[LocalEvidence] = []
        for chunk in _chunks(pairs, self.batch):
            pictures, sounds = [read.picture for read, _ in chunk], [sound for _, sound in chunk]
            try:
                found += locator.evidence(pictures, sounds)
            except (SoundspotError, MemoryError):
                raise
            except Exception as error:  # a model may be anybody's code
                ids = ", ".join(dict.fromkeys(read.sample.id for read, _ in chunk))
                raise ModelError(
                    f"{self.facts.name}: asked about {ids}, it raised "
                    f"{type(error).__name__}: {error}"
                ) from error
        return found


class FolderAsker(Asker):
    """A folder of another program's maps, and one of its maps with wrong sounds."""

    def __init__(self, folder: MapFolder, wrong: MapFolder | None = None):
        name = folder.name
        self.folders = {name: folder}
        self.headings = (Heading(name, "method", name),)
        if wrong is not None:
            self.folders[wrong_sound_name(name)] = wrong
            self.headings += (Heading(wrong_sound_name(name), "control", name, name),)

    def answers(self, reads: Sequence[Read]) -> Iterator[Answer]:
        """What the files hold; a file that cannot be used is an answer that failed."""
        for heading in self.headings:
            for read in reads:
                if heading.against is None or locates(read.sample):
                    yield self.answer(heading.name, read)

    def answer(self, row: str, read: Read) -> Answer:
        """What the files of one folder hold on one sample."""
        folder, sample = self.folders[row], read.sample
        try:
            maps = folder.maps(sample.id, len(sample.sources) or None)
            return Answer(row, read, maps, folder.confidences(sample.id, len(maps)))
        except MediaError as error:
            return Answer(row, read, failed=str(error))


class BlindAsker(Asker):
    """Maps that look at nothing, in whatever size they are judged; the same for every source."""

    def __init__(self, seed: int):
        self.maps = blind_maps(seed)
        self.headings = tuple(Heading(name, "blind") for name in self.maps)

    def answers(self, reads: Sequence[Read]) -> Iterator[Answer]:
        """Every blind map on every sample."""
        for name in self.maps:
            for read in reads:
                yield self.answer(name, read)

    def answer(self, row: str, read: Read) -> Answer:
        """One blind map on one sample."""
        values = self.maps[row](*judged_size(read.picture), read.sample.id)
        framed = self.maps[row](SIDE, SIDE, read.sample.id)
        return Answer(row, read, (values,) * read.count, framed=(framed,) * read.count)


def judged_size(picture: Picture) -> tuple[int, int]:
    """Height and width at which maps of this picture are judged."""
    height, width = picture.shape[:2]
    scale = min(1.0, JUDGED_SIDE / max(height, width))
    return max(1, round(scale * height)), max(1, round(scale * width))


def _locators(
    model: Similarity, methods: Sequence[str | Method | None], device: str, prefix: str
) -> dict[str, Locator]:
    locators: dict[str, Locator] = {}
    for method in methods:
        locator = Locator(model, method, device=device)
        name = f"{prefix}{locator.method!r}"
        if name in locators:
            raise OptionError(f"the method {name} is given twice")
        locators[name] = locator
    return locators


def _is_own(locator: Locator) -> bool:
    """Whether a method is the one that the model's facts name, or all models' default."""
    return locator.method == parse(locator.facts.method or DEFAULT_METHOD)


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _salience(base: Locator) -> Callable[[Sequence[Picture]], Sequence[FloatMap]] | None:
    """The model's picture-only map, asked of the model or of a question about silence."""
    silence = np.zeros(round(base.facts.seconds * base.facts.sample_rate), dtype=np.float32)
    with frozen(base.model):
        question = base.listen([silence])

    def offer(count: int) -> object:
        model: object = base.model
        return model if isinstance(model, OffersFeatureStrength) else question.of([0] * count)

    @torch.no_grad()
    def ask(pictures: Sequence[Picture]) -> Sequence[FloatMap]:
        maps: dict[int, FloatMap] = {}
        with frozen(base.model):
            for places, images in base.by_size(pictures):
                tower = cast("OffersFeatureStrength", offer(len(places)))
                found = tower.feature_strength(images).float().cpu().numpy()
                maps |= dict(zip(places, found, strict=True))
        return [maps[i] for i in range(len(pictures))]

    return ask if isinstance(offer(1), OffersFeatureStrength) else None
