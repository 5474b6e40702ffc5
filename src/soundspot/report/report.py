"""A judged run: its rows, how far they are apart, and all of it as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from soundspot.errors import OptionError
from soundspot.metrics import Difference, paired_difference
from soundspot.report.rows import (
    HEADLINE,
    MAP_KEYS,
    OWN,
    PICTURE_ONLY,
    Exhibit,
    Failure,
    Row,
    Subject,
    number,
    wrong_sound_name,
)
from soundspot.report.table import table_of

if TYPE_CHECKING:
    from soundspot.protocols import Protocol


@dataclass(frozen=True)
class Report:
    """What was judged, how, and the scores.

    Args:
        model: its name; of several, their names between commas.
        n: samples that were judged: positives, mixtures and negatives.
        skipped: samples whose files could not be read; `failures` names them.
        positives: how many positives were judged.
        ambiguous: how many of these are ambiguous.
        negatives: how many negatives were judged, by kind.
        unjudged: samples that this benchmark does not judge, by the reason.
        rows: methods, then blind maps, then controls.
        failures: the samples that could not be read, and those that single rows lack.
        notes: rows that are missing, and why.
        conventions: how it was judged, by topic, under every protocol.
        protocols: by which it was judged.
        subjects: every judged sample, in order.
        mixtures: how many mixtures of several sources were judged.
        seed: of the random map, the wrong sounds and the bootstrap.
        exhibits: the best and worst samples of the first methods, drawn; for the page.
    """

    model: str
    n: int
    skipped: int
    positives: int
    ambiguous: int
    negatives: Mapping[str, int]
    unjudged: Mapping[str, int]
    rows: Sequence[Row]
    failures: Sequence[Failure]
    notes: Sequence[str]
    conventions: Mapping[str, str]
    protocols: Sequence[Protocol]
    subjects: Sequence[Subject] = field(repr=False)
    mixtures: int = 0
    seed: int = 0
    exhibits: Sequence[Exhibit] = field(default=(), repr=False)

    @property
    def pictures(self) -> list[str]:
        """Which picture each positive and mixture shows; intervals draw whole pictures."""
        there = ("positive", "mixture")
        return [subject.picture for subject in self.subjects if subject.kind in there]

    def row(self, name: str) -> Row:
        """The row of this name.

        Raises:
            OptionError: there is none.
        """
        for row in self.rows:
            if row.name == name:
                return row
        names = ", ".join(repr(row.name) for row in self.rows)
        raise OptionError(f"the report has no row {name!r}; there are {names}")

    def keys(self) -> list[str]:
        """The scores by which rows are compared: means, of which each sample has its part."""
        short = [*MAP_KEYS] if any(p.name == OWN for p in self.protocols) else []
        return [*short, *(f"{p.name}/{metric}" for p in self.protocols for metric in p.means)]

    def difference(self, a: str, b: str, key: str = HEADLINE) -> Difference:
        """How far row `a` is above row `b`, on the samples that both answered."""
        first, second = self.row(a), self.row(b)
        if key not in self.keys():
            raise OptionError(f"rows are compared by {', '.join(self.keys())}, not {key!r}")
        one, other = first.values[key], second.values[key]
        both = ~((one != one) | (other != other))
        shown = self.pictures if key in MAP_KEYS else [s.picture for s in self.subjects]
        pictures = [picture for picture, asked in zip(shown, both, strict=True) if asked]
        return paired_difference(one[both], other[both], pictures, seed=self.seed)

    def headlines(self) -> dict[str, str]:
        """Of each protocol whose headline is a mean, that score's key."""
        keys = {p.name: f"{p.name}/{p.headline}" for p in self.protocols if p.headline in p.means}
        return {name: HEADLINE if name == OWN else key for name, key in keys.items()}

    def rivals(self) -> Iterator[tuple[str, str]]:
        """Each method with the rows it must beat: the disc, its model's picture, wrong sounds."""
        for row in self.rows:
            if row.kind != "method":
                continue
            must = {"centre disc", PICTURE_ONLY, wrong_sound_name(row.name)}
            must.add(f"{row.model}: {PICTURE_ONLY}")
            yield from (
                (row.name, other.name)
                for other in self.rows
                if other.kind != "method" and other.name in must
            )

    def json(self) -> dict[str, Any]:
        """The report as plain data for `json.dumps`; NaN is null."""
        return {
            "model": self.model,
            "n": self.n,
            "skipped": self.skipped,
            "positives": self.positives,
            "ambiguous": self.ambiguous,
            "mixtures": self.mixtures,
            "negatives": dict(self.negatives),
            "unjudged": dict(self.unjudged),
            "seed": self.seed,
            "rows": [row.json() for row in self.rows],
            "answered": {row.name: [row.answered, row.asked] for row in self.rows},
            "differences": [
                {"row": a, "against": b, "key": key, **_numbers(self.difference(a, b, key))}
                for a, b in self.rivals()
                for key in self._compared()
            ],
            "failures": [failure._asdict() for failure in self.failures],
            "notes": list(self.notes),
            "conventions": dict(self.conventions),
            "protocols": {
                p.name: {
                    "version": p.version,
                    "headline": p.headline,
                    "metrics": dict(p.metrics),
                    "conventions": asdict(p.card),
                }
                for p in self.protocols
            },
        }

    def table(self) -> str:
        """The report for a terminal."""
        return table_of(self)

    __str__ = table

    def _compared(self) -> list[str]:
        """The short names, and every other protocol's headline."""
        short = [key for key in self.keys() if key in MAP_KEYS]
        return [*short, *(key for name, key in self.headlines().items() if name != OWN)]


def _numbers(difference: Difference) -> dict[str, float | int | None]:
    return {key: number(value) for key, value in difference._asdict().items()}
