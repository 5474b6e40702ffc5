"""The terminal's tables: one a protocol, and under each how it judged."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import product
from string import ascii_lowercase
from typing import TYPE_CHECKING

from soundspot.report.rows import (
    AUROC_KEYS,
    HEADLINE,
    MAP_KEYS,
    NEGATIVE_KINDS,
    OWN,
    PICTURE_ONLY,
    WRONG_SOUND,
    Row,
    RowKind,
    own_metric,
    percent,
    wrong_sound_name,
)

if TYPE_CHECKING:
    from soundspot.protocols import Protocol
    from soundspot.report.report import Report

NAME_WIDTH = 24
"""Characters beyond which a table calls a method by less than its string, which stands below."""
DEFAULT_NAME = "default method"
TABLE_WIDTH = 100
"""Characters to which conventions are wrapped."""
FAILURES_SHOWN = 10
"""Samples named in the table; the JSON names all."""
NEGATIVE_METRICS = (
    *(f"pia_{kind}" for kind in NEGATIVE_KINDS),
    *(f"gated_pia_{kind}" for kind in NEGATIVE_KINDS),
    "calibration_error",
)
"""Of the recommended protocol: what is highlighted where nothing visible sounds, and honesty."""
GROUPS_SHOWN = 40
"""Groups in the table, the largest; the JSON has all."""
SECTIONS: dict[RowKind, str] = {"method": "methods", "blind": "blind", "control": "controls"}
CARD_TOPICS = {"test_list": "test list"}
"""Fields of a protocol's card that are spelt otherwise in a table."""


def table_of(report: Report) -> str:
    """All of a report for a terminal."""
    tables = [part for p in report.protocols for part in _protocol_parts(report, p)]
    parts = [
        counts_of(report),
        *tables[:1],
        "\n".join(_spelt_out(report.rows)),
        *tables[1:],
        "\n".join(_wrapped("note: ", note) for note in report.notes),
        "\n".join(_failures(report)),
        _topics(report.conventions),
    ]
    return "\n\n".join(part for part in parts if part)


def counts_of(report: Report) -> str:
    """What was judged, n of N, and what was left out."""
    judged = [f"{report.positives} positives ({report.ambiguous} ambiguous)"]
    judged += [f"{report.mixtures} mixtures"] if report.mixtures else []
    judged += [f"{count} {kind}" for kind, count in report.negatives.items()]
    everything = report.n + report.skipped + sum(report.unjudged.values())
    left_out = [f"{report.skipped} not read"] if report.skipped else []
    left_out += [f"{count} {reason}" for reason, count in report.unjudged.items()]
    lacking = [
        f"{row.name}: judged {row.answered} of {row.asked} samples"
        for row in report.rows
        if row.answered < row.asked
    ]
    models = "models" if "," in report.model else "model"
    return "\n".join(
        [
            f"{models} {report.model}" if report.model else "nothing but blind maps",
            f"judged {report.n} of {everything} samples: {', '.join(judged)}",
            *([f"left out: {', '.join(left_out)}"] if left_out else []),
            *lacking,
        ]
    )


def card_topics(protocol: Protocol) -> dict[str, str]:
    """A protocol's conventions, by topic."""
    return {CARD_TOPICS.get(k, k): text for k, text in asdict(protocol.card).items() if text}


def shown_metrics(report: Report, protocol: Protocol) -> list[str]:
    """The metrics of a protocol that some row has a score of."""
    return [
        metric
        for metric in protocol.metrics
        if any(
            not math.isnan(r.scores.get(f"{protocol.name}/{metric}", math.nan)) for r in report.rows
        )
    ]


def _protocol_parts(report: Report, protocol: Protocol) -> list[str]:
    """Table, groups, differences and, for the field's protocols, the conventions."""
    if protocol.name == OWN:
        short = {own_metric(key) for key in (*MAP_KEYS, *AUROC_KEYS)} | {*NEGATIVE_METRICS}
        more = [metric for metric in shown_metrics(report, protocol) if metric not in short]
        return [
            _main_table(report.rows),
            _negatives_table(report.rows),
            _protocol_table(report, protocol, more) if more else "",
            _group_table(report.rows, HEADLINE, "share >= 0.5, as many as truth"),
            "\n".join(_differences(report, HEADLINE, "share >= 0.5, as many as truth")),
        ]
    key = report.headlines().get(protocol.name)
    shown = shown_metrics(report, protocol) or list(protocol.metrics)
    compared = f"{protocol.name}/{protocol.headline}"
    return [
        _protocol_table(report, protocol, shown),
        _group_table(report.rows, key, compared) if key else "",
        "\n".join(_differences(report, key, compared)) if key else "",
        _topics(
            {f"{protocol.name}, {topic}": text for topic, text in card_topics(protocol).items()}
        ),
    ]


def _main_table(rows: Sequence[Row]) -> str:
    """The recommended protocol's table, by its short names."""
    columns = [*MAP_KEYS, *AUROC_KEYS]
    heads = [
        ["", "", *["top half"] * 2, *["as many as truth"] * 3, "", *["AUROC"] * 3],
        ["", "", "share", "AUC", "share", "95 %", "AUC", "pointing", *NEGATIVE_KINDS],
    ]
    lines: list[list[str]] = []
    for row, label in zip(rows, _labels(rows), strict=True):
        cells = [percent(row.scores.get(key, math.nan)) for key in columns]
        bounds = _bounds(row.intervals.get(HEADLINE))
        lines.append([*label, *cells[:3], bounds, *cells[3:]])
    return _aligned(heads, lines, [SECTIONS[row.kind] for row in rows])


def _negatives_table(rows: Sequence[Row]) -> str:
    """What each method highlights where nothing visible sounds, and how honest its confidence is.

    The map: all that reaches the model's own threshold. The answer: nothing of it where the
    confidence is below the model's own.
    """
    heads = [
        ["", "", *["highlighted by the map"] * 3, *["by the answer"] * 3, "calibration"],
        ["", "", *NEGATIVE_KINDS, *NEGATIVE_KINDS, "error"],
    ]
    lines = []
    for row, label in zip(rows, _labels(rows), strict=True):
        scores = [row.scores.get(f"{OWN}/{metric}", math.nan) for metric in NEGATIVE_METRICS]
        if row.kind == "method" and not all(map(math.isnan, scores)):
            lines.append([*label, *map(percent, scores)])
    if not lines:
        return ""
    return _aligned(heads, lines, ["negatives, at the model's own thresholds"] * len(lines))


def _protocol_table(report: Report, protocol: Protocol, metrics: Sequence[str]) -> str:
    """Any protocol's table, its headline with an interval."""
    head = ["", ""]
    for metric in metrics:
        head += [metric, "95 %"] if metric == protocol.headline else [metric]
    lines = []
    for row, label in zip(report.rows, _labels(report.rows), strict=True):
        cells = list(label)
        for metric in metrics:
            key = f"{protocol.name}/{metric}"
            cells.append(percent(row.scores.get(key, math.nan)))
            cells += [_bounds(row.intervals.get(key))] if metric == protocol.headline else []
        lines.append(cells)
    title = f"protocol {protocol.name}, version {protocol.version}"
    title = f"more by {title}" if protocol.name == OWN else title
    body = _aligned([[""] * len(head), head], lines, [SECTIONS[row.kind] for row in report.rows])
    return f"{title}\n{body.lstrip(chr(10))}"


def _group_table(rows: Sequence[Row], key: str, title: str) -> str:
    """Groups down, rows across under their letters."""
    groups = list(dict.fromkeys(group for row in rows for group in row.groups))
    if not groups:
        return ""
    more = len(groups) - GROUPS_SHOWN
    head = [f"group, {title}", "n", *letters(rows).values()]
    lines = [
        [
            group,
            str(int(max(row.groups[group]["n"] for row in rows if group in row.groups))),
            *[percent(row.groups.get(group, {}).get(key, math.nan)) for row in rows],
        ]
        for group in groups[:GROUPS_SHOWN]
    ]
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    shown = [_line(cells, widths, left=1) for cells in [head, *lines]]
    return "\n".join([*shown, *([f"and {more} more groups in the JSON"] if more > 0 else [])])


def _differences(report: Report, key: str, title: str) -> list[str]:
    """Each method over its rivals, under the letters of the table."""
    letter_of = letters(report.rows)
    lines = []
    for a, b in report.rivals():
        d = report.difference(a, b, key)
        rival = WRONG_SOUND if b == wrong_sound_name(a) else b
        rival = PICTURE_ONLY if rival.endswith(f": {PICTURE_ONLY}") else rival
        if not math.isnan(d.mean):
            bounds = f"{100 * d.low:+.1f}..{100 * d.high:+.1f}"
            lines.append(
                [f"{letter_of[a]} over {rival}", f"{100 * d.mean:+.1f}", bounds, f"{d.p:.3f}"]
            )
    if not lines:
        return []
    head = [f"difference, {title}", "", "95 %", "p"]
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    return [_line(cells, widths, left=1) for cells in [head, *lines]]


def _failures(report: Report) -> list[str]:
    lines = [
        _wrapped("not read: " if f.row is None else f"{f.row}, not read: ", f"{f.id}: {f.reason}")
        for f in report.failures
    ]
    more = len(lines) - FAILURES_SHOWN
    return [*lines[:FAILURES_SHOWN], *([f"and {more} more not read"] if more > 0 else [])]


def _topics(topics: Mapping[str, str]) -> str:
    return "\n".join(_wrapped(f"{topic}: ", text) for topic, text in topics.items())


def _labels(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Each row's letter and name; a wrong-sound row is named by its method's letter."""
    letter_of = letters(rows)
    short = {wrong_sound_name(m): f"{x}, {WRONG_SOUND}" for m, x in letter_of.items()}
    return [(letter_of[row.name], short.get(row.name, _called(row))) for row in rows]


def _called(row: Row) -> str:
    """A row's name; of a method with a long one, what is left of it."""
    if row.kind != "method" or len(row.name) <= NAME_WIDTH:
        return row.name
    prefix = f"{row.model}: "
    model, string = (
        (prefix, row.name[len(prefix) :]) if row.name.startswith(prefix) else ("", row.name)
    )
    head, bracket, _ = string.partition("(")
    return model + (DEFAULT_NAME if row.own else f"{head}(...)" if bracket else string)


def _spelt_out(rows: Sequence[Row]) -> list[str]:
    """The strings of the methods that the tables call by less."""
    letter_of = letters(rows)
    return [
        _wrapped(f"{letter_of[row.name]}: ", row.name) for row in rows if _called(row) != row.name
    ]


def _bounds(interval: tuple[float, float] | None) -> str:
    low, high = interval or (math.nan, math.nan)
    return "-" if math.isnan(low) else f"{100 * low:.1f}..{100 * high:.1f}"


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


def letters(rows: Sequence[Row]) -> dict[str, str]:
    """A letter for each row's name: a .. z, aa .. zz."""
    names = [*ascii_lowercase, *map("".join, product(ascii_lowercase, repeat=2))]
    return {row.name: letter for letter, row in zip(names, rows, strict=False)}


def _wrapped(label: str, text: str) -> str:
    return textwrap.fill(label + text, TABLE_WIDTH, subsequent_indent="  ", break_long_words=False)
