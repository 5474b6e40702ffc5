"""What a benchmark found: rows of scores, as plain data and as a table that says how it judged.

All scores are in 0..1 in the data and in per cent in the table; a score that cannot be computed
(AUROC without negatives) is NaN here, null in JSON and "-" in the table.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from string import ascii_lowercase
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from soundspot.errors import OptionError
from soundspot.metrics import Difference, Interval, paired_difference

ROUNDING = 6
"""Decimals of scores in the JSON."""
TABLE_WIDTH = 100
"""Characters to which conventions are wrapped."""

FAILURES_SHOWN = 10
"""Samples named in the table; the JSON names all."""

MAP_KEYS = (
    "top_half/share_0.5",
    "top_half/auc",
    "as_truth/share_0.5",
    "as_truth/auc",
    "pointing",
)
"""Scores of maps, on positives."""
NEGATIVE_KINDS = ("silence", "noise", "offscreen")
AUROC_KEYS = tuple(f"auroc/{kind}" for kind in NEGATIVE_KINDS)
HEADLINE = "as_truth/share_0.5"
"""The score of the groups' table and of the differences printed under it."""

PICTURE_ONLY = "picture only"
WRONG_SOUND = "wrong sound"

RowKind = Literal["method", "blind", "control"]
SECTIONS: dict[RowKind, str] = {"method": "methods", "blind": "blind", "control": "controls"}


class Failure(NamedTuple):
    """A sample that could not be read, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class Row:
    """The scores of one method, blind map or control.

    Args:
        name: the string that rebuilds a method, or the label of another row.
        kind: "method", "blind" or "control".
        scores: by key; `MAP_KEYS`, and `AUROC_KEYS` for methods.
        intervals: 95 % bootstrap intervals, by the same keys.
        groups: by group, `n` and the scores of its positives.
        values: by map key, the part of each positive (their mean is the score); NaN where
            this row has no answer.
    """

    name: str
    kind: RowKind
    scores: Mapping[str, float]
    intervals: Mapping[str, Interval]
    groups: Mapping[str, Mapping[str, float]]
    values: Mapping[str, NDArray[np.float64]] = field(repr=False, compare=False)

    def json(self) -> dict[str, Any]:
        """The row as plain data."""
        return {
            "name": self.name,
            "kind": self.kind,
            "scores": {key: _number(score) for key, score in self.scores.items()},
            "intervals": {key: [_number(v) for v in i] for key, i in self.intervals.items()},
            "groups": {
                group: {key: _number(score) for key, score in scores.items()}
                for group, scores in self.groups.items()
            },
        }


@dataclass(frozen=True)
class Report:
    """A judged model.

    Args:
        model: its name.
        n: samples that were judged, positives and negatives.
        skipped: samples whose files could not be read; `failures` names them.
        positives: how many positives were judged.
        ambiguous: how many of these are ambiguous.
        negatives: how many negatives were judged, by kind.
        unjudged: samples that this benchmark does not judge, by the reason.
        rows: methods, then blind maps, then controls.
        failures: the samples that could not be read.
        notes: rows that are missing, and why.
        conventions: how it was judged, by topic.
        pictures: of each positive, which picture it shows; intervals draw whole pictures.
        seed: of the random map, the wrong sounds and the bootstrap.
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
    pictures: Sequence[str] = field(repr=False)
    seed: int = 0

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

    def difference(self, a: str, b: str, key: str = HEADLINE) -> Difference:
        """How far row `a` is above row `b`, on the positives that both answered."""
        if key not in MAP_KEYS:
            raise OptionError(f"rows are compared by {', '.join(MAP_KEYS)}, not {key!r}")
        first, second = self.row(a).values[key], self.row(b).values[key]
        both = ~(np.isnan(first) | np.isnan(second))
        pictures = [picture for picture, asked in zip(self.pictures, both, strict=True) if asked]
        return paired_difference(first[both], second[both], pictures, seed=self.seed)

    def json(self) -> dict[str, Any]:
        """The report as plain data for `json.dumps`; NaN is null."""
        return {
            "model": self.model,
            "n": self.n,
            "skipped": self.skipped,
            "positives": self.positives,
            "ambiguous": self.ambiguous,
            "negatives": dict(self.negatives),
            "unjudged": dict(self.unjudged),
            "seed": self.seed,
            "rows": [row.json() for row in self.rows],
            "differences": [
                {"row": a, "against": b, "key": key, **_numbers(self.difference(a, b, key))}
                for a, b in self._rivals()
                for key in MAP_KEYS
            ],
            "failures": [failure._asdict() for failure in self.failures],
            "notes": list(self.notes),
            "conventions": dict(self.conventions),
        }

    def table(self) -> str:
        """The report for a terminal."""
        parts = [
            self._counts(),
            _main_table(self.rows),
            _group_table(self.rows),
            "\n".join(self._differences()),
            "\n".join(_wrapped("note: ", note) for note in self.notes),
            "\n".join(self._failures()),
            "\n".join(_wrapped(f"{topic}: ", text) for topic, text in self.conventions.items()),
        ]
        return "\n\n".join(part for part in parts if part)

    __str__ = table

    def _counts(self) -> str:
        judged = [f"{self.positives} positives ({self.ambiguous} ambiguous)"]
        judged += [f"{count} {kind}" for kind, count in self.negatives.items()]
        everything = self.n + self.skipped + sum(self.unjudged.values())
        left_out = [f"{self.skipped} not read"] if self.skipped else []
        left_out += [f"{count} {reason}" for reason, count in self.unjudged.items()]
        return "\n".join(
            [
                f"model {self.model}",
                f"judged {self.n} of {everything} samples: {', '.join(judged)}",
                *([f"left out: {', '.join(left_out)}"] if left_out else []),
            ]
        )

    def _failures(self) -> list[str]:
        lines = [_wrapped("not read: ", f"{f.id}: {f.reason}") for f in self.failures]
        more = len(lines) - FAILURES_SHOWN
        return [*lines[:FAILURES_SHOWN], *([f"and {more} more not read"] if more > 0 else [])]

    def _rivals(self) -> list[tuple[str, str]]:
        """Each method with the rows it must beat."""
        others = [row.name for row in self.rows if row.kind != "method"]
        return [
            (row.name, other)
            for row in self.rows
            if row.kind == "method"
            for other in others
            if other in ("centre disc", PICTURE_ONLY, wrong_sound_name(row.name))
        ]

    def _differences(self) -> list[str]:
        """Each method over its rivals, under the letters of the table."""
        letter_of = _letters(self.rows)
        lines = []
        for a, b in self._rivals():
            d = self.difference(a, b)
            rival = WRONG_SOUND if b == wrong_sound_name(a) else b
            if not math.isnan(d.mean):
                bounds = f"{100 * d.low:+.1f}..{100 * d.high:+.1f}"
                lines.append(
                    [f"{letter_of[a]} over {rival}", f"{100 * d.mean:+.1f}", bounds, f"{d.p:.3f}"]
                )
        if not lines:
            return []
        head = ["difference, share >= 0.5, as many as truth", "", "95 %", "p"]
        widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
        return [_line(cells, widths, left=1) for cells in [head, *lines]]


def wrong_sound_name(method: str) -> str:
    """The label of a method's wrong-sound control."""
    return f"{method}, {WRONG_SOUND}"


def _main_table(rows: Sequence[Row]) -> str:
    columns = [*MAP_KEYS, *AUROC_KEYS]
    heads = [
        ["", "", *["top half"] * 2, *["as many as truth"] * 3, "", *["AUROC"] * 3],
        ["", "", "share", "AUC", "share", "95 %", "AUC", "pointing", *NEGATIVE_KINDS],
    ]
    lines: list[list[str]] = []
    letter_of = _letters(rows)
    labels = {wrong_sound_name(m): f"{x}, {WRONG_SOUND}" for m, x in letter_of.items()}
    for row in rows:
        cells = [_percent(row.scores.get(key, math.nan)) for key in columns]
        low, high = row.intervals[HEADLINE]
        bounds = "-" if math.isnan(low) else f"{100 * low:.1f}..{100 * high:.1f}"
        name = labels.get(row.name, row.name)
        lines.append([letter_of[row.name], name, *cells[:3], bounds, *cells[3:]])
    return _aligned(heads, lines, [SECTIONS[row.kind] for row in rows])


def _group_table(rows: Sequence[Row]) -> str:
    """Groups down, rows across under their letters."""
    groups = list(dict.fromkeys(group for row in rows for group in row.groups))
    if not groups:
        return ""
    head = ["group, share >= 0.5, as many as truth", "n", *_letters(rows).values()]
    lines = [
        [
            group,
            str(int(max(row.groups[group]["n"] for row in rows))),
            *[_percent(row.groups[group][HEADLINE]) for row in rows],
        ]
        for group in groups
    ]
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    return "\n".join(_line(cells, widths, left=1) for cells in [head, *lines])


def _aligned(heads: list[list[str]], lines: list[list[str]], sections: list[str]) -> str:
    """Columns as wide as their widest cell; a head that repeats is written once, over its span."""
    widths = [max(map(len, column)) for column in zip(heads[-1], *lines, strict=True)]
    out = [_spanned(heads[0], widths), _line(heads[1], widths)]
    for i, cells in enumerate(lines):
        if i == 0 or sections[i] != sections[i - 1]:
            out.append(sections[i])
        out.append(_line(cells, widths))
    return "\n".join(out)


def _spanned(heads: list[str], widths: list[int]) -> str:
    out, start = "", 0
    while start < len(heads):
        stop = start + 1
        while stop < len(heads) and heads[stop] == heads[start]:
            stop += 1
        span = sum(widths[start:stop]) + 2 * (stop - start - 1)
        ruled = heads[start].center(span, "-") if heads[start] else " " * span
        out += ("  " if start else "") + ruled
        start = stop
    return out.rstrip()


def _line(cells: list[str], widths: list[int], left: int = 2) -> str:
    """The first `left` cells flush left, numbers flush right."""
    padded = [
        cell.ljust(width) if i < left else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def _letters(rows: Sequence[Row]) -> dict[str, str]:
    """A letter for each row's name: a .. z, aa .. zz."""
    letters = [*ascii_lowercase, *map("".join, product(ascii_lowercase, repeat=2))]
    return {row.name: letter for letter, row in zip(letters, rows, strict=False)}


def _wrapped(label: str, text: str) -> str:
    return textwrap.fill(label + text, TABLE_WIDTH, subsequent_indent="  ", break_long_words=False)


def _percent(score: float) -> str:
    return "-" if math.isnan(score) else f"{100 * score:.1f}"


def _number(value: float) -> float | int | None:
    if isinstance(value, int):
        return value
    return None if math.isnan(value) else round(float(value), ROUNDING)


def _numbers(difference: Difference) -> dict[str, float | int | None]:
    return {key: _number(value) for key, value in difference._asdict().items()}
