"""Millions of pairs: one result file a shard (or a thousand lines of a manifest), on many ranks.

    DIR/shard-000000.jsonl        a line a sample: key, id, and the answer (docs/formats.md),
                                  boxes and size in pixels of the picture in the shard
    DIR/shard-000000.maps.tar     KEY.npy, float32, where maps are asked for
    DIR/run.settings              what made them; another run in this folder is refused
    DIR/errors.jsonl              the lines of samples that failed, once more

A result file gets its name when it is whole, so a second run goes on with the shards that have
none, and deletes what a killed one left half-written. Rank r takes shards r, r + world, ...; no
rank waits for another before the end. Batches never reach over two shards, and a sample that cannot
be read leaves its place in the batch empty, so the answers are those of one process. They hold no
times: the same input gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from soundspot.batch import ERRORS, Tally, claim, fingerprint, overridden
from soundspot.data.media import picture_of, sound_of
from soundspot.errors import OptionError, SoundspotError
from soundspot.facts import ModelFacts
from soundspot.files import write_beside
from soundspot.judging.ranks import Crew
from soundspot.locating import Locator
from soundspot.media.audio import as_sound
from soundspot.result import Result
from soundspot.shards.folder import shared
from soundspot.shards.format import END, member
from soundspot.shards.reader import RawSample, Shards
from soundspot.types import Sample

LINES = 1000
"""Of a manifest that go into one result file."""
RESULTS, MAPS = ".jsonl", ".maps.tar"

Picture = NDArray[np.uint8]
Waveform = NDArray[np.float32]


@dataclass(frozen=True)
class Pair:
    """One thing to locate: what its line begins with, and how to read it."""

    head: dict[str, Any]
    read: Callable[[ModelFacts], tuple[Picture, Waveform]]


class Work(ABC):
    """What is to be located, in blocks that each give one result file."""

    @abstractmethod
    def blocks(self) -> Sequence[tuple[str, int]]:
        """Name and number of samples of each block."""

    @abstractmethod
    def pairs(self, block: int) -> Iterator[Pair]:
        """The samples of one block, in order."""

    @abstractmethod
    def digest(self) -> str:
        """Tells this work from others."""


class ShardWork(Work):
    """A block is a shard."""

    def __init__(self, shards: Shards):
        self.shards = shards

    def blocks(self) -> Sequence[tuple[str, int]]:
        """A block is a shard."""
        return [(shard.name, shard.samples) for shard in self.shards.catalogue.shards]

    def pairs(self, block: int) -> Iterator[Pair]:
        """The samples of one shard; one that is damaged is named by its place."""
        first, stop = self.shards.firsts[block : block + 2].tolist()
        for number in range(first, stop):
            yield self._pair(number)

    def digest(self) -> str:
        """Of the shards' checksums."""
        sums = "".join(shard.sha256 for shard in self.shards.catalogue.shards)
        return hashlib.sha256(sums.encode()).hexdigest()[:16]

    def _pair(self, number: int) -> Pair:
        try:
            raw = self.shards.raw(number)
        except SoundspotError as error:
            return Pair({"key": f"sample {number}"}, _failing(error))
        said = ("id", "source", "time", "times")
        head = {"key": raw.key, **{name: raw.meta[name] for name in said if name in raw.meta}}
        return Pair(head, lambda facts: (raw.picture(_looked_at(raw)), _heard(raw, facts)))


def _failing(error: SoundspotError) -> Callable[[ModelFacts], tuple[Picture, Waveform]]:
    def read(_: ModelFacts) -> tuple[Picture, Waveform]:
        raise error

    return read


def _heard(raw: RawSample, facts: ModelFacts) -> Waveform:
    """A sample's sound; of a film as much around the picture as the model hears."""
    samples, rate = raw.wave()
    time = _time_of(raw)
    if time is not None and "start" in raw.meta:
        middle = time - raw.meta["start"]
        first = max(0, round((middle - facts.seconds / 2) * rate))
        samples = samples[first : round((middle + facts.seconds / 2) * rate)]
    return as_sound((samples, rate), facts.sample_rate)


def _time_of(raw: RawSample) -> float | None:
    """When a film showed the picture that is looked at; None where it is no film's."""
    times: list[float] = raw.meta.get("times", [])
    time: float | None = times[_looked_at(raw)] if times else raw.meta.get("time")
    return time


def _looked_at(raw: RawSample) -> int:
    """Which of a sample's pictures: the one in the middle."""
    return len(raw.pictures) // 2


class ManifestWork(Work):
    """A block is a thousand lines."""

    def __init__(self, samples: Sequence[Sample]):
        self.samples = samples

    def blocks(self) -> Sequence[tuple[str, int]]:
        """So many lines each."""
        starts = range(0, len(self.samples), LINES)
        return [
            (f"part-{n:06d}", min(LINES, len(self.samples) - at)) for n, at in enumerate(starts)
        ]

    def pairs(self, block: int) -> Iterator[Pair]:
        """The samples of some lines."""
        for sample in self.samples[block * LINES : (block + 1) * LINES]:
            yield Pair({"id": sample.id}, _reader(sample))

    def digest(self) -> str:
        """Of the samples' ids and files."""
        lines = (f"{s.id}\t{s.image.name}\t{s.sound.name}\t{s.time}\n" for s in self.samples)
        return hashlib.sha256("".join(lines).encode("utf-8", "replace")).hexdigest()[:16]


def _reader(sample: Sample) -> Callable[[ModelFacts], tuple[Picture, Waveform]]:
    return lambda facts: (
        picture_of(sample),
        sound_of(sample, facts.sample_rate, facts.seconds),
    )


def locate_blocks(
    locator: Locator,
    work: Work,
    out_dir: Path,
    *,
    maps: bool = False,
    batch: int = 8,
    crew: Crew | None = None,
) -> Tally:
    """Locate everything, or go on with it.

    What failed is not tried again: delete its result file first.

    Args:
        locator: the model and method.
        work: what to locate.
        out_dir: made where missing; may hold an earlier, unfinished run with the same settings.
        maps: keep the maps too.
        batch: pairs in one forward pass.
        crew: the processes that share the work; all must call this.

    Raises:
        OptionError: `out_dir` holds results of other settings.
        MediaError: the disk refuses.
    """
    crew = crew or Crew()
    settings: dict[str, str | float] = {
        "model": locator.facts.name,
        "weights": fingerprint(locator.model),
        "method": repr(locator.method),
        "input": work.digest(),
        "batch": batch,
        "maps": maps,
    }
    with shared(out_dir):
        claim(out_dir, {**settings, **overridden(locator)})
        return _locate_mine(locator, work, out_dir, maps, batch, crew)


def _locate_mine(
    locator: Locator, work: Work, out_dir: Path, maps: bool, batch: int, crew: Crew
) -> Tally:
    """Locate this rank's share; the rank that leads gathers what failed."""
    blocks = work.blocks()
    done = failed = before = 0
    mine = range(crew.rank, len(blocks), crew.size)
    total = sum(blocks[n][1] for n in mine)
    with tqdm(total=total, unit="pair", desc="locating", disable=not crew.leads or None) as bar:
        for n in mine:
            path = out_dir / f"{blocks[n][0]}{RESULTS}"
            if path.exists():
                before += blocks[n][1]
                bar.update(blocks[n][1])
                continue
            wrong = _locate_block(locator, work.pairs(n), path, maps, batch, bar)
            failed += wrong
            done += blocks[n][1] - wrong
    every = crew.gather((done, before, failed))
    done, before, failed = (sum(counts) for counts in zip(*every, strict=True))
    if not crew.leads:
        return Tally(done, before, failed)
    wrong = _collect_errors(out_dir, [name for name, _ in blocks])
    return Tally(done, before + failed - wrong, wrong)


def _locate_block(
    locator: Locator,
    pairs: Iterator[Pair],
    path: Path,
    maps: bool,
    batch: int,
    bar: tqdm[Any],
) -> int:
    """Write one result file (and its maps before it); returns how many samples failed."""
    failed = 0
    with ExitStack() as stack:
        lines = stack.enter_context(stack.enter_context(write_beside(path)).open("w"))
        tar: BinaryIO | None = None
        if maps:
            beside = stack.enter_context(write_beside(path.with_suffix(MAPS)))
            tar = stack.enter_context(beside.open("wb"))
        while group := list(islice(pairs, batch)):
            for pair, answer in zip(group, _answers(locator, group), strict=True):
                failed += isinstance(answer, str)
                lines.write(json.dumps({**pair.head, **_line(answer)}) + "\n")
                if tar is not None and isinstance(answer, Result):
                    tar.write(member(f"{_key(pair)}.npy", _npy(answer)))
            bar.update(len(group))
        if tar is not None:
            tar.write(END)
    return failed


def _answers(locator: Locator, group: list[Pair]) -> list[Result | str]:
    """For each pair its result, or why there is none."""
    answers: list[Result | str] = []
    read: list[tuple[Picture, Waveform]] = []
    for pair in group:
        try:
            read.append(pair.read(locator.facts))
            answers.append("")
        except SoundspotError as error:
            answers.append(str(error))
    if read:
        pictures, sounds = zip(*read, strict=True)
        found = iter(locator.locate(pictures, sounds))
        answers = [answer or next(found) for answer in answers]
    return answers


def _line(answer: Result | str) -> dict[str, Any]:
    if isinstance(answer, str):
        return {"error": answer}
    return {key: value for key, value in answer.json().items() if key != "seconds"}


def _key(pair: Pair) -> str:
    return str(pair.head.get("key") or pair.head["id"])


def _npy(result: Result) -> bytes:
    buffer = BytesIO()
    np.save(buffer, result.map)
    return buffer.getvalue()


def _collect_errors(out_dir: Path, names: list[str]) -> int:
    """Gather the lines of all that failed, in this start or an earlier one; returns how many."""
    count = 0
    with write_beside(out_dir / ERRORS) as beside, beside.open("w") as errors:
        for name in names:
            with (out_dir / f"{name}{RESULTS}").open() as lines:
                for line in lines:
                    if '"error": ' in line:
                        errors.write(line)
                        count += 1
    return count


def parse_save(words: str) -> bool | None:
    """Whether maps are kept, of `lines` or `lines,map`; None for what is saved pair by pair.

    Raises:
        OptionError: both kinds at once.
    """
    names = {word.strip() for word in words.split(",") if word.strip()}
    if "lines" not in names:
        return None
    if names - {"lines", "map"}:
        raise OptionError(f"--save {words}: 'lines' goes alone or with 'map'")
    return "map" in names
