"""Which samples are judged, what each is asked, and which sound is wrong for it.

A sample with several `sources` is asked once a source, by the source's own sound (or by the
sample's where the source has none), and every other sample once, by its sound. A wrong sound is
that of another sample, which shows another picture and is of no group known to be in this one: it
is drawn by seed and id, so it is the same in whatever order and on however many processes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias

from soundspot.errors import OptionError, SoundspotError
from soundspot.judging.blind import sample_rng
from soundspot.types import Sample, Source

Heard: TypeAlias = Sample | Source
"""What has a sound: a sample, or one of its sources with a clean sound of its own."""


class Voice(NamedTuple):
    """A sound that may be wrong for other pictures: the picture it belongs to, and its group."""

    image: Path
    heard: Heard
    group: str | None


@dataclass(frozen=True)
class Plan:
    """The samples to judge, in order; those that are not, by the reason; the sounds at hand."""

    samples: Sequence[Sample]
    unjudged: dict[str, int]
    voices: Sequence[Voice]
    groups_in: dict[Path, set[str | None]]

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> Plan:
        """Go through the samples once.

        Raises:
            OptionError: what was given are no samples.
            SoundspotError: there is nothing to judge, or an id stands twice.
        """
        if not isinstance(samples, Iterable):
            raise OptionError(_no_samples(samples))
        judged: dict[str, Sample] = {}
        unjudged: Counter[str] = Counter()
        for sample in samples:
            if not isinstance(sample, Sample):
                raise OptionError(_no_samples(sample))
            reason = _why_not(sample)
            if reason is not None:
                unjudged[reason] += 1
            elif sample.id in judged:
                raise SoundspotError(
                    f"the id {sample.id!r} stands twice ({judged[sample.id].image} and "
                    f"{sample.image}); give every sample its own"
                )
            else:
                judged[sample.id] = sample
        if not judged:
            why = ", ".join(f"{n} {reason}" for reason, n in unjudged.items()) or "none were given"
            raise SoundspotError(f"there are no samples to judge ({why})")
        voices, groups_in = _voices(list(judged.values()))
        return cls(tuple(judged.values()), dict(unjudged), voices, groups_in)

    def blocks(self, size: int) -> Iterator[list[int]]:
        """The samples' numbers, `size` at a time."""
        numbers = iter(range(len(self.samples)))
        while block := list(islice(numbers, size)):
            yield block

    def wrong_sounds(self, sample: Sample, seed: int) -> Iterator[Heard]:
        """Sounds that must be wrong for this sample's picture, in the order drawn for it."""
        present = self.groups_in.get(sample.image, set()) - {None}
        own = {sample.sound, *(heard.sound for heard in asked(sample))}
        for i in sample_rng(sample.id, seed).permutation(len(self.voices)):
            other = self.voices[i]
            same = other.image == sample.image or other.heard.sound in own
            if not same and other.group not in present:
                yield other.heard


def asked(sample: Sample) -> tuple[Heard, ...]:
    """Whose sound each map is asked with: one a source, or the sample's own."""
    sources = tuple(sample if source.sound is None else source for source in sample.sources)
    return sources or (sample,)


def locates(sample: Sample) -> bool:
    """Whether there is something to find: a positive, or a mixture of several."""
    return sample.kind in ("positive", "mixture")


def _no_samples(given: object) -> str:
    return (
        f"something of type {type(given).__name__} is given as a sample; give a manifest's path, "
        "or soundspot.Sample objects, as read_manifest and open_data yield them"
    )


def _why_not(sample: Sample) -> str | None:
    """Why a sample cannot be judged; None where it can, or fails when it is read."""
    if sample.broken is not None:
        return None
    if sample.kind == "mixture":
        known = any(s.boxes or s.mask is not None for s in sample.sources)
        return None if known else "mixtures without sources that have boxes"
    known = bool(
        sample.boxes
        or any(sample.annotators)
        or sample.mask is not None
        or any(s.boxes or s.mask is not None for s in sample.sources)
    )
    return "positives without boxes" if sample.kind == "positive" and not known else None


def _voices(samples: Sequence[Sample]) -> tuple[list[Voice], dict[Path, set[str | None]]]:
    """The sounds of positives, then the clean ones of mixtures; the groups in each picture."""
    positives = [sample for sample in samples if sample.kind == "positive"]
    voices = [Voice(sample.image, sample, sample.group) for sample in positives]
    groups_in: dict[Path, set[str | None]] = {}
    for sample in samples:
        for source in sample.sources:
            if source.sound is not None and sample.kind == "mixture":
                voices.append(Voice(sample.image, source, source.group))
        if locates(sample):
            groups = {sample.group, *(source.group for source in sample.sources)}
            groups_in.setdefault(sample.image, set()).update(groups)
    return voices, groups_in
