"""What an evaluation has found so far: a few numbers a sample and row, and no maps.

It is fed with the lines that a ledger holds (see `ledger`), fresh ones and those of an earlier
start alike. Parts of scores are kept as columns of numbers, 16 bytes each, so that a run may hold
as many samples as its lists have.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from soundspot.judging.plan import Plan, locates
from soundspot.protocols import from_json
from soundspot.report import Failure, RowKind, Subject

Parts: TypeAlias = Mapping[str, Any]


class Heading(NamedTuple):
    """A row to be filled: its name, what it is, and what was judged.

    `against` names the method whose answers on negatives a wrong-sound row shares; `own`: the
    method is the one that the model itself would choose.
    """

    name: str
    kind: RowKind
    model: str = ""
    against: str | None = None
    own: bool = False


class Columns:
    """One protocol's parts in one row, by the samples' numbers."""

    def __init__(self) -> None:
        self.numbers = array("q")
        self.floats: dict[str, tuple[array[int], array[float]]] = {}
        self.others: dict[str, dict[int, Any]] = {}

    def add(self, number: int, parts: Parts) -> None:
        """Take the parts of a sample."""
        place = len(self.numbers)
        self.numbers.append(number)
        for name, value in parts.items():
            if isinstance(value, float | int):
                places, values = self.floats.setdefault(name, (array("q"), array("d")))
                places.append(place)
                values.append(value)
            else:
                self.others.setdefault(name, {})[place] = value

    def parts(self) -> dict[int, dict[str, Any]]:
        """By sample, the parts as they were given."""
        listed: list[dict[str, Any]] = [{} for _ in self.numbers]
        for name, (places, values) in self.floats.items():
            for place, value in zip(places, values, strict=True):
                listed[place][name] = value
        for name, others in self.others.items():
            for place, other in others.items():
                listed[place][name] = other
        return dict(zip(self.numbers, listed, strict=True))

    def column(self, name: str, length: int) -> NDArray[np.float64]:
        """One part of every sample, by number; NaN where it has none."""
        column = np.full(length, np.nan)
        if name in self.floats:
            places, values = self.floats[name]
            column[np.array(self.numbers)[np.array(places)]] = np.array(values)
        return column


class Findings:
    """The rows under way.

    Args:
        plan: the samples, which are known by their numbers in it.
        headings: the rows, in order.
        protocols: the protocols' names.
    """

    def __init__(self, plan: Plan, headings: Sequence[Heading], protocols: Sequence[str]):
        self.plan, self.headings = plan, headings
        self.number_of = {sample.id: n for n, sample in enumerate(plan.samples)}
        self.subjects: dict[int, Subject] = {}
        self.failures: list[Failure] = []
        self.columns = {h.name: {p: Columns() for p in protocols} for h in headings}
        self.confidences: dict[str, dict[int, tuple[float, ...]]] = {h.name: {} for h in headings}

    def add(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Take the lines of a block."""
        for line in lines:
            number = self.number_of[line["sample"]]
            if "failed" in line:
                self.failures.append(Failure(line["sample"], line["failed"], line.get("row")))
            elif "row" in line:
                self._answer(number, line)
            else:
                self._subject(number, line)

    def _answer(self, number: int, line: Mapping[str, Any]) -> None:
        row = line["row"]
        for protocol, stored in line["parts"].items():
            self.columns[row][protocol].add(number, from_json(stored))
        if line["confidence"]:
            self.confidences[row][number] = tuple(line["confidence"])

    def _subject(self, number: int, line: Mapping[str, Any]) -> None:
        sample = self.plan.samples[number]
        truth = line["truth"]
        self.subjects[number] = Subject(
            sample.id,
            sample.kind,
            str(sample.image),
            sample.group,
            float("nan") if truth is None else truth,
        )

    def answered(self, row: str) -> int:
        """How many samples the row has an answer on."""
        return len(next(iter(self.columns[row].values())).numbers)

    def asked(self, heading: Heading) -> int:
        """How many samples the row was asked about: its answers, and those it failed on."""
        failed = sum(failure.row == heading.name for failure in self.failures)
        return self.answered(heading.name) + failed

    def located(self) -> list[int]:
        """The samples in which there is something to find, by number."""
        return [n for n in sorted(self.subjects) if locates(self.plan.samples[n])]
