"""Block by block: read, ask, judge, note down. Maps are dropped as soon as they are judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import groupby

import numpy as np
from tqdm import tqdm

from soundspot.errors import MediaError, ModelError, SoundspotError
from soundspot.judging.asking import Answer, Asker, ModelAsker
from soundspot.judging.findings import Findings, Heading
from soundspot.judging.ledger import Ledger, Line
from soundspot.judging.plan import Plan
from soundspot.judging.ranks import Crew
from soundspot.judging.reading import Read, Reader
from soundspot.maps import FloatMap
from soundspot.metrics import size_share
from soundspot.protocols import Batch, Protocol, Shot, to_json
from soundspot.report import OWN

BLOCK = 16
"""Samples that are judged together: the maps in memory, and what a run that is killed loses."""


class Referee:
    """One evaluation under way.

    Args:
        plan: the samples.
        askers: who is asked; each fills its rows.
        protocols: by which every map is judged.
        seed: of the wrong sounds.
        crew: the processes that share the blocks; the leading one keeps the findings.
    """

    def __init__(
        self,
        plan: Plan,
        askers: Sequence[Asker],
        protocols: Sequence[Protocol],
        seed: int,
        crew: Crew,
    ):
        self.plan, self.askers, self.protocols, self.crew = plan, askers, protocols, crew
        ears = [asker.ear for asker in askers if isinstance(asker, ModelAsker)]
        self.reader = Reader(plan, ears, seed)
        headings = _in_order([heading for asker in askers for heading in asker.headings])
        self.findings = Findings(plan, headings, [protocol.name for protocol in protocols])

    def judge(self, ledger: Ledger | None, progress: bool) -> None:
        """Judge every block: those of the ledger are taken from it, the others shared out.

        Raises:
            SoundspotError: in every process, whichever met it.
        """
        blocks = list(self.plan.blocks(BLOCK))
        done = self._done(ledger)
        bar = tqdm(
            total=len(self.plan.samples),
            initial=sum(map(len, blocks[:done])),
            desc="evaluating",
            disable=not (progress and self.crew.leads),
            unit=" samples",
        )
        with bar:
            for first in range(done, len(blocks), self.crew.size):
                taken = blocks[first : first + self.crew.size]
                for place, lines in enumerate(self._together(taken)):
                    self._note(first + place, lines, ledger)
                    bar.update(len(taken[place]))

    def _note(self, number: int, lines: Sequence[Line], ledger: Ledger | None) -> None:
        if self.crew.leads:
            self.findings.add(lines)
            if ledger is not None:
                ledger.append(number, lines)

    def _done(self, ledger: Ledger | None) -> int:
        """How many blocks an earlier start has judged; the leading process reads the ledger."""
        count = 0
        error: SoundspotError | None = None
        if ledger is not None and self.crew.leads:
            try:
                for lines in ledger.blocks():
                    self._take(lines, ledger)
                    count += 1
            except SoundspotError as refused:
                error = refused
        count, error = self.crew.gather((count, error))[0]
        if error is not None:
            raise error
        return count

    def _take(self, lines: Sequence[Line], ledger: Ledger) -> None:
        """Lines that were read back; they may have been edited since they were written."""
        try:
            self.findings.add(lines)
        except (LookupError, TypeError, ValueError, AttributeError):
            raise ledger.foreign(lines) from None

    def _together(self, blocks: Sequence[Sequence[int]]) -> list[list[Line]]:
        """The lines of as many blocks as there are processes; this one judges its own."""
        lines: list[Line] = []
        error: SoundspotError | None = None
        if self.crew.rank < len(blocks):
            try:
                lines = self._lines(blocks[self.crew.rank])
            except SoundspotError as failed:
                error = failed
        gathered = self.crew.gather((lines, error))
        for _, failed_there in gathered:
            if failed_there is not None:
                raise failed_there
        return [found for found, _ in gathered[: len(blocks)]]

    def _lines(self, block: Sequence[int]) -> list[Line]:
        """What is to be noted of a block: what cannot be read, samples, and parts by row."""
        reads: list[Read] = []
        lines: list[Line] = []
        for number in block:
            try:
                reads.append(self.reader.read(number))
            except MediaError as error:
                lines.append({"sample": self.plan.samples[number].id, "failed": str(error)})
        truths: dict[int, float] = {}
        rows: list[Line] = []
        for asker in self.askers if reads else ():
            for _, answers in groupby(asker.answers(reads), lambda answer: answer.row):
                rows += self._judged(list(answers), truths)
        return [*lines, *(_subject(read, truths) for read in reads), *rows]

    def _judged(self, answers: Sequence[Answer], truths: dict[int, float]) -> Iterator[Line]:
        """One row's lines of a block; `truths` takes the true share of each picture."""
        for answer in answers:
            if answer.failed is not None:
                yield {"sample": answer.read.sample.id, "row": answer.row, "failed": answer.failed}
        given = [answer for answer in answers if answer.failed is None]
        if not given:
            return
        try:
            batch = Batch([_shot(answer, answer.maps) for answer in given])
            framed = batch
            if given[0].framed:
                framed = Batch([_shot(answer, answer.framed) for answer in given])
            parts = [p.judge(batch if p.name == OWN else framed) for p in self.protocols]
        except ValueError as error:
            raise ModelError(f"{given[0].row}, {error}") from error
        for place, answer in enumerate(given):
            if answer.read.number not in truths:
                truths |= _truth(batch, place, answer.read.number)
            yield {
                "sample": answer.read.sample.id,
                "row": answer.row,
                "parts": {
                    protocol.name: to_json(found[place])
                    for protocol, found in zip(self.protocols, parts, strict=True)
                },
                "confidence": list(answer.confidences),
            }


def _subject(read: Read, truths: dict[int, float]) -> Line:
    height, width = read.picture.shape[:2]
    return {
        "sample": read.sample.id,
        "kind": read.sample.kind,
        "group": read.sample.group,
        "height": height,
        "width": width,
        "truth": truths.get(read.number),
    }


def _shot(answer: Answer, maps: tuple[FloatMap, ...]) -> Shot:
    height, width = answer.read.picture.shape[:2]
    return Shot(
        answer.read.sample,
        height,
        width,
        maps,
        answer.confidences,
        cut=answer.cut,
        visible=answer.visible,
    )


def _truth(batch: Batch, shot: int, number: int) -> dict[int, float]:
    """The true share of the picture, all sources together; nothing where there is none."""
    truths = [t for t in map(batch.own_truth, batch.units(shot)) if t is not None]
    if not truths:
        return {}
    return {number: size_share(reduce(np.maximum, truths))}


def _in_order(headings: Sequence[Heading]) -> list[Heading]:
    """Methods and maps, then blind rows, then controls with the true sound, then wrong sounds."""
    order = {"method": 0, "blind": 1, "control": 2}
    return sorted(headings, key=lambda h: (order[h.kind], h.against is not None))
