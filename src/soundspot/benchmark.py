"""The referee: methods on samples, beside maps that look at nothing and controls that hear wrong.

A number means little alone. Beside each method stand

- **blind rows** (`soundspot.blind`): the centred disc, the whole image, smooth noise;
- **picture only**: what the model's picture tower finds salient, whatever is heard. What a method
  adds to it is what it owes to the sound;
- **wrong sound**: each method again, with the sound of another sample. A method whose score does
  not fall here does not listen.

Positives (pictures in which boxes say what sounds) judge the maps; negatives (silence, noise, a
sound from off screen) judge the confidence. A sample whose files cannot be read is named and
counted and never replaced by another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import torch
from tqdm import tqdm

from soundspot.blind import blind_maps, sample_rng
from soundspot.errors import MediaError, ModelError, OptionError, SoundspotError
from soundspot.localize import Method
from soundspot.locating import LOUDEST_STEP, Locator, Picture, Waveform, fit_sound
from soundspot.maps import FloatMap
from soundspot.media.audio import read_sound
from soundspot.media.image import read_picture
from soundspot.metrics.overlap import Truth
from soundspot.report import NEGATIVE_KINDS, PICTURE_ONLY, Failure, Report, wrong_sound_name
from soundspot.scoring import CONVENTIONS, Scorer, Tally, judge, judged_size, truth_of
from soundspot.similarity import OffersFeatureStrength, Similarity
from soundspot.types import Sample
from soundspot.watch import frozen

SOUNDS_KEPT = 256
PICTURES_KEPT = 4
"""Files that several samples share are decoded once while they are among the last so many."""

__all__ = ["Report", "evaluate"]

T = TypeVar("T")


def evaluate(
    model: Similarity,
    samples: Iterable[Sample],
    methods: Sequence[str | Method],
    *,
    device: str = "auto",
    batch: int = 8,
    seed: int = 0,
    progress: bool = False,
    heard: Collection[str] | None = None,
) -> Report:
    """Judge a model's methods on samples.

    Args:
        model: any similarity model.
        samples: gone through once; their media are read as they are needed.
        methods: each becomes a row, with a wrong-sound control.
        device: "auto" or a torch device name.
        batch: pairs in one forward pass.
        seed: of the random map, the wrong sounds and the bootstrap.
        progress: show a bar on standard error.
        heard: groups that the model met in training; None takes them from the model's facts.

    Raises:
        SoundspotError: there are no samples to judge, or none of them could be read.
        MethodError: a method cannot work on this model.
        ModelError: the model's answer is of the wrong shape, or holds NaN or infinity.
        OptionError: an unknown method or device, a method given twice, or a batch below 1.
    """
    if batch < 1:
        raise OptionError(f"batch is {batch}; it must be at least 1")
    locators = _locators(model, methods, device)
    base = next(iter(locators.values()), None) or Locator(model, device=device)
    plan = _Plan.of(samples)
    bench = _Bench(base, locators, plan, seed)
    jobs = bench.jobs(progress)
    while pairs := list(islice(jobs, batch)):
        bench.ask(pairs)
    if not bench.read:
        first = bench.failures[0]
        raise SoundspotError(
            f"none of the {len(plan.samples)} samples could be read; the first, {first.id!r}: "
            f"{first.reason}"
        )
    return bench.report(base.facts.heard if heard is None else heard)


def _locators(
    model: Similarity, methods: Sequence[str | Method], device: str
) -> dict[str, Locator]:
    locators: dict[str, Locator] = {}
    for method in [methods] if isinstance(methods, str) else methods:
        locator = Locator(model, method, device=device)
        name = repr(locator.method)
        if name in locators:
            raise OptionError(f"the method {name} is given twice")
        locators[name] = locator
    return locators


@dataclass(frozen=True)
class _Plan:
    """The samples to judge; those that are not, by the reason; what sounds in each picture."""

    samples: list[Sample]
    unjudged: dict[str, int]
    groups_in: dict[Path, set[str | None]]

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> _Plan:
        judged: list[Sample] = []
        unjudged: Counter[str] = Counter()
        groups_in: dict[Path, set[str | None]] = {}
        for sample in samples:
            if sample.kind == "mixture":
                unjudged["mixtures, which are not judged yet"] += 1
            elif sample.kind == "positive" and not (sample.boxes or any(sample.annotators)):
                unjudged["positives without boxes"] += 1
            else:
                judged.append(sample)
                if sample.kind == "positive":
                    groups_in.setdefault(sample.image, set()).add(sample.group)
        if not judged:
            why = ", ".join(f"{n} {reason}" for reason, n in unjudged.items()) or "none were given"
            raise SoundspotError(f"there are no samples to judge ({why})")
        return cls(judged, dict(unjudged), groups_in)


@dataclass(frozen=True)
class _Pair:
    """One question: a picture with its own sound, or with a wrong one."""

    number: int
    """The sample's place in the plan."""
    sample: Sample
    picture: Picture
    sound: Waveform
    truth: Truth | None
    wrong: bool = False


class _Bench:
    """One evaluation under way: reads, asks, and keeps the tallies."""

    def __init__(self, base: Locator, locators: dict[str, Locator], plan: _Plan, seed: int):
        self.base, self.locators, self.plan, self.seed = base, locators, plan, seed
        self.read: dict[int, Sample] = {}
        self.failures: list[Failure] = []
        self.positives = [sample for sample in plan.samples if sample.kind == "positive"]
        self.blind_maps = blind_maps(seed)
        self.salience = _salience(base)
        self.right = {name: Tally(name, "method") for name in locators}
        self.wrong = {name: Tally(wrong_sound_name(name), "control") for name in locators}
        self.blind = {name: Tally(name, "blind") for name in self.blind_maps}
        self.picture_only = Tally(PICTURE_ONLY, "control")
        self.see = lru_cache(PICTURES_KEPT)(_or_error(read_picture))
        self.hear = lru_cache(SOUNDS_KEPT)(_or_error(self._read_sound))

    def _read_sound(self, path: Path) -> Waveform:
        """Keep only what the model hears of it, however long the file is."""
        facts = self.base.facts
        sound = read_sound(path, facts.sample_rate)
        length, step = (round(s * facts.sample_rate) for s in (facts.seconds, LOUDEST_STEP))
        return fit_sound(sound, length, step)

    def jobs(self, progress: bool) -> Iterator[_Pair]:
        """Each sample that can be read; after a positive, the same with a wrong sound."""
        bar = tqdm(self.plan.samples, "evaluating", disable=not progress, unit=" samples")
        for number, sample in enumerate(bar):
            picture, sound = self.see(sample.image), self.hear(sample.sound)
            if isinstance(picture, MediaError):
                self.failures.append(Failure(sample.id, str(picture)))
            elif isinstance(sound, MediaError):
                self.failures.append(Failure(sample.id, str(sound)))
            else:
                self.read[number] = sample
                yield from self._pairs(number, sample, picture, sound)

    def _pairs(
        self, number: int, sample: Sample, picture: Picture, sound: Waveform
    ) -> Iterator[_Pair]:
        if sample.kind != "positive":
            yield _Pair(number, sample, picture, sound, truth=None)
            return
        truth = truth_of(sample, *judged_size(picture))
        yield _Pair(number, sample, picture, sound, truth)
        wrong = self._wrong_sound(sample) if self.locators else None
        if wrong is not None:
            yield _Pair(number, sample, picture, wrong, truth, wrong=True)

    def _wrong_sound(self, sample: Sample) -> Waveform | None:
        """The first readable sound, in an order drawn by seed and id, that must be wrong here."""
        present = self.plan.groups_in[sample.image] - {None}
        for i in sample_rng(sample.id, self.seed).permutation(len(self.positives)):
            other = self.positives[i]
            same = other.image == sample.image or other.sound == sample.sound
            if not same and other.group not in present:
                sound = self.hear(other.sound)
                if not isinstance(sound, MediaError):
                    return sound
        return None

    def ask(self, pairs: Sequence[_Pair]) -> None:
        """Ask every method about these pairs, and judge what it and the deaf rows say."""
        pictures, sounds = [pair.picture for pair in pairs], [pair.sound for pair in pairs]
        for name, locator in self.locators.items():
            found = locator.evidence(pictures, sounds)
            for pair, evidence in zip(pairs, found, strict=True):
                tally = self.wrong[name] if pair.wrong else self.right[name]
                tally.confidences[pair.number] = evidence.confidence
                _keep_verdict(tally, pair, evidence.map)
        seen = [pair for pair in pairs if pair.truth is not None and not pair.wrong]
        for pair in seen:
            height, width = judged_size(pair.picture)
            for name, blind_map in self.blind_maps.items():
                _keep_verdict(self.blind[name], pair, blind_map(height, width, pair.sample.id))
        if seen and self.salience is not None:
            maps = self.salience([pair.picture for pair in seen])
            for pair, values in zip(seen, maps, strict=True):
                _keep_verdict(self.picture_only, pair, values)

    def report(self, heard: Collection[str]) -> Report:
        """Sum up the tallies, once everything was asked."""
        scorer = Scorer(self.read, heard, self.seed)
        tallies = [*self.right.values(), *self.blind.values()]
        notes = [] if scorer.positives else ["no positives: no map was judged, and no AUROC"]
        if self.salience is None:
            notes.append("no picture-only row: the model offers no feature_strength")
        else:
            tallies.append(self.picture_only)
        wrong = [tally for tally in self.wrong.values() if tally.verdicts]
        found = len(wrong[0].verdicts) if wrong else 0
        if self.wrong and found < len(scorer.positives):
            notes.append(
                f"wrong sound: {found} of {len(scorer.positives)} positives; for the others no "
                "sound is known to be of another picture and of a group that is not in this one"
            )
        kinds = Counter(sample.kind for sample in self.read.values())
        return Report(
            model=self.base.facts.name,
            n=len(self.read),
            skipped=len(self.failures),
            positives=len(scorer.positives),
            ambiguous=sum(self.read[n].ambiguous for n in scorer.positives),
            negatives={kind: n for kind, n in kinds.items() if kind in NEGATIVE_KINDS},
            unjudged=self.plan.unjudged,
            rows=[scorer.row(tally) for tally in [*tallies, *wrong]],
            failures=self.failures,
            notes=notes,
            conventions=CONVENTIONS,
            pictures=scorer.pictures,
            seed=self.seed,
        )


def _keep_verdict(tally: Tally, pair: _Pair, values: FloatMap) -> None:
    if pair.truth is None:
        return
    try:
        tally.verdicts[pair.number] = judge(values, pair.truth)
    except ValueError as error:
        raise ModelError(f"{tally.name}, sample {pair.sample.id!r}: {error}") from error


def _or_error(read: Callable[[Path], T]) -> Callable[[Path], T | MediaError]:
    """Give the error back instead of raising it, so that a bad file too is tried only once."""

    def attempt(path: Path) -> T | MediaError:
        try:
            return read(path)
        except MediaError as error:
            return error

    return attempt


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
        with frozen(base.model):
            tower = cast("OffersFeatureStrength", offer(len(pictures)))
            maps = tower.feature_strength(base.look(pictures))
        return list(maps.float().cpu().numpy())

    return ask if isinstance(offer(1), OffersFeatureStrength) else None
