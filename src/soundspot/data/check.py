"""Is a data set all there? Counts, what is missing, what does not open, what is odd.

A run over thousands of samples that breaks at the last one, or that quietly judges fewer than the
table says, is what this is for: every media file is opened once before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundspot.data.lists import MEDIA_SUFFIXES, Place
from soundspot.errors import MediaError
from soundspot.types import Sample

if TYPE_CHECKING:
    from soundspot.data.dataset import Dataset

EXAMPLES = 10
"""So many of each kind are named in a report's text; its JSON names all."""


class Notes:
    """What was come across while a set was read: oddities by kind, and what is missing."""

    def __init__(self) -> None:
        self.oddities: dict[str, list[str]] = {}
        self.missing: dict[str, str] = {}

    def count(self, what: str, place: Place | str) -> None:
        """One more oddity of this kind."""
        self.oddities.setdefault(what, []).append(str(place))

    def miss(self, thing: Path | str, identity: str) -> None:
        """A sample lacks something that is not a media file: those are looked for later."""
        self.missing.setdefault(str(thing), identity)


@dataclass(frozen=True)
class Check:
    """What `Dataset.check` found.

    Args:
        data: the specification of the set.
        samples: how many its list has.
        kinds: of them, by kind.
        unjudgeable: ids of positives without a usable box or mask; they stay in the list.
        files: different media files that the samples use.
        missing: what is not there, and the first sample that wants it.
        broken: media files that do not open, and truths that cannot be used, with the reason.
        surplus: media files beside those of the samples that no sample uses.
        oddities: harmless things in lists and truth, by kind, with their places.
    """

    data: str
    samples: int
    kinds: Mapping[str, int]
    unjudgeable: tuple[str, ...]
    files: int
    missing: tuple[str, ...]
    broken: tuple[str, ...]
    surplus: tuple[str, ...]
    oddities: Mapping[str, tuple[str, ...]]

    @property
    def ok(self) -> bool:
        """Everything is there and opens."""
        return not self.missing and not self.broken

    def lines(self, examples: int = EXAMPLES) -> list[str]:
        """The report as text."""
        kinds = ", ".join(f"{n} {kind}" for kind, n in self.kinds.items())
        lines = [f"{self.data}: {self.samples} samples ({kinds}), {self.files} media files"]
        for title, found in (
            ("missing", self.missing),
            ("broken", self.broken),
            ("without a usable truth (they stay in the list, unjudged)", self.unjudgeable),
            ("in no list (not used)", self.surplus),
            *self.oddities.items(),
        ):
            lines += _listing(title, found, examples)
        return [*lines, "all there" if self.ok else "incomplete: see missing and broken"]

    def json(self) -> dict[str, Any]:
        """The report as JSON: counts, and every name."""
        return {
            "data": self.data,
            "ok": self.ok,
            "samples": self.samples,
            "kinds": dict(self.kinds),
            "files": self.files,
            "missing": list(self.missing),
            "broken": list(self.broken),
            "unjudgeable": list(self.unjudgeable),
            "surplus": list(self.surplus),
            "oddities": {what: list(places) for what, places in self.oddities.items()},
        }


def _listing(title: str, found: tuple[str, ...], examples: int) -> list[str]:
    if not found:
        return []
    more = [f"  ... and {len(found) - examples} more"] if len(found) > examples else []
    return [f"{title}: {len(found)}", *(f"  {name}" for name in found[:examples]), *more]


class Checker:
    """One check under way; `Dataset.check` runs it."""

    def __init__(self, data: Dataset, decode: bool):
        self.data, self.decode = data, decode
        self.notes = Notes()
        self.kinds: Counter[str] = Counter()
        self.unjudgeable: list[str] = []
        self.seen: dict[tuple[Path, str], None] = {}
        self.missing: dict[Path, str] = {}
        self.broken: list[str] = []
        self.lengths: dict[Path, float] = {}
        """Seconds of the videos that open."""

    def run(self, watch: Callable[[Iterable[Sample]], Iterable[Sample]]) -> Check:
        """Go through all samples; `watch` wraps them, to show progress."""
        for sample in watch(self.data.read(self.notes)):
            self.kinds[sample.kind] += 1
            if sample.broken is not None:
                self.broken.append(sample.broken)
            elif _is_unjudgeable(sample):
                self.unjudgeable.append(sample.id)
            for path, role in _media_of(sample):
                self._look(path, role, sample.id)
            if sample.time is not None and sample.video in self.lengths:
                length = self.lengths[sample.video]
                if sample.time > length:
                    self.broken.append(
                        f"{sample.video} ends at {length:.2f} s, before {sample.time:g} s (of "
                        f"{sample.id})"
                    )
        used = {path for path, _ in self.seen}
        texts = {str(path): who for path, who in self.missing.items()} | self.notes.missing
        return Check(
            data=str(self.data),
            samples=self.kinds.total(),
            kinds=dict(self.kinds),
            unjudgeable=tuple(self.unjudgeable),
            files=len(used),
            missing=tuple(f"{thing} (of {who})" for thing, who in texts.items()),
            broken=tuple(self.broken),
            surplus=tuple(_surplus(used)),
            oddities={what: tuple(places) for what, places in self.notes.oddities.items()},
        )

    def _look(self, path: Path, role: str, identity: str) -> None:
        """Open a file, once for each use that is made of it."""
        if (path, role) in self.seen:
            return
        self.seen[path, role] = None
        if not path.exists():
            self.missing.setdefault(path, identity)
            return
        from soundspot.data.media import probe

        try:
            length = probe(path, role, decode=self.decode)
            if length is not None:
                self.lengths[path] = length
        except MediaError as error:
            self.broken.append(str(error))


def _media_of(sample: Sample) -> Iterator[tuple[Path, str]]:
    """The files of a sample, and what each is read as."""
    if sample.video is not None:
        yield sample.video, "video"
    else:
        yield sample.image, "picture"
        yield sample.sound, "sound"
    for path in (sample.mask, *(source.mask for source in sample.sources)):
        if path is not None:
            yield path, "mask"
    for source in sample.sources:
        if source.image is not None:
            yield source.image, "picture"
        if source.sound is not None:
            yield source.sound, "sound"


def _is_unjudgeable(sample: Sample) -> bool:
    has_truth = (
        sample.boxes
        or sample.mask
        or any(sample.annotators)
        or any(source.boxes or source.mask for source in sample.sources)
    )
    return sample.kind in ("positive", "mixture") and not has_truth


def _surplus(used: set[Path]) -> Iterator[str]:
    """Media files in the folders of the used ones that are not among them."""
    for folder in sorted({path.parent for path in used}):
        if folder.is_dir():
            for path in sorted(folder.iterdir()):
                if path.suffix.lower() in MEDIA_SUFFIXES - {".xml"} and path not in used:
                    yield str(path)
