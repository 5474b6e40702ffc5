"""The report as one page that needs nothing but itself: no script, no font, no file beside it.

Names of samples, groups, models and rows are other people's text: all of it is escaped.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from soundspot.metrics import SIZES, size_of
from soundspot.report.curves import curves
from soundspot.report.report import Report
from soundspot.report.rows import PICTURE_ONLY, Row, percent
from soundspot.report.table import card_topics, counts_of, shown_metrics

if TYPE_CHECKING:
    from soundspot.protocols import Protocol

SUCCESS = 0.5
"""Overlap under which a sample counts as failed."""
FAILURES_LISTED = 200
GROUPS_LISTED = 60
"""Lines of the lists that grow with the data; the JSON has all."""

STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #1e293b; background: #fff; margin: 0 auto;
  max-width: 72rem; padding: 1.5rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .6rem; border-bottom: 1px solid #cbd5e1; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .22rem .6rem; text-align: right; border-bottom: 1px solid #e2e8f0;
  white-space: nowrap; }
th { font-weight: 600; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff;
  white-space: normal; overflow-wrap: anywhere; min-width: min(18rem, 40vw); }
tr.blind, tr.control { color: #64748b; }
td.headline { font-weight: 600; }
.bounds { display: block; color: #64748b; font-weight: 400; font-size: .8em; }
.curves { max-width: 40rem; width: 100%; height: auto; }
.curves text { font: 12px system-ui, sans-serif; fill: #475569; }
.curves .grid { stroke: #e2e8f0; stroke-width: 1; }
.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem;
  font-size: .88rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; font-size: .88rem; }
dt { color: #64748b; }
dd { margin: 0; }
.shots { display: flex; flex-wrap: wrap; gap: .8rem; }
figure { margin: 0; width: min-content; }
figure img { display: block; border-radius: 4px; }
figcaption { font-size: .8rem; color: #475569; overflow-wrap: anywhere; }
"""


def html_of(report: Report) -> str:
    """The whole page."""
    title = f"soundspot: {report.model or 'blind maps'}"
    body = [
        f"<h1>{escape(title)}</h1>",
        *(f"<p>{escape(line)}</p>" for line in counts_of(report).splitlines()[1:]),
        *(_protocol(report, protocol) for protocol in report.protocols),
        _exhibits(report),
        _left_out(report),
        "<h2>Conventions of every table</h2>",
        _definitions(report.conventions),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n"
    )


def _protocol(report: Report, protocol: Protocol) -> str:
    """Table, curves, differences, failures and conventions under one protocol."""
    metrics = shown_metrics(report, protocol) or [protocol.headline]
    parts = [
        f"<h2>Protocol {escape(protocol.name)}, version {protocol.version}</h2>",
        _scores(report, protocol, metrics),
        _definitions({metric: protocol.metrics[metric] for metric in metrics}),
        _titled("Success over threshold", curves(report.rows, protocol.name)),
        _titled("Differences", _differences(report, protocol)),
        _titled(
            "Failures by size of the truth",
            _failures_by(report, protocol, _by_size(report), "size"),
        ),
        _titled("Failures by group", _failures_by(report, protocol, _by_group(report), "group")),
        _titled("How this protocol judges", _definitions(card_topics(protocol))),
    ]
    return "\n".join(part for part in parts if part)


def _scores(report: Report, protocol: Protocol, metrics: Sequence[str]) -> str:
    head = ["row", *metrics]
    lines = []
    for row in report.rows:
        cells = [f"<td>{escape(row.name)}</td>"]
        for metric in metrics:
            key = f"{protocol.name}/{metric}"
            cells.append(_score(row, key, headline=metric == protocol.headline))
        lines.append(f'<tr class="{row.kind}">{"".join(cells)}</tr>')
    return _table(head, lines)


def _score(row: Row, key: str, *, headline: bool) -> str:
    low, high = row.intervals.get(key, (math.nan, math.nan))
    bounds = (
        ""
        if math.isnan(low)
        else f'<span class="bounds">{100 * low:.1f} to {100 * high:.1f}</span>'
    )
    mark = ' class="headline"' if headline else ""
    return f"<td{mark}>{percent(row.scores.get(key, math.nan))}{bounds}</td>"


def _differences(report: Report, protocol: Protocol) -> str:
    """Each method over the rows it must beat, by the protocol's headline."""
    key = report.headlines().get(protocol.name)
    lines = []
    for a, b in report.rivals() if key else ():
        d = report.difference(a, b, key or "")
        if not math.isnan(d.mean):
            cells = [
                f"{100 * d.mean:+.1f}",
                f"{100 * d.low:+.1f} to {100 * d.high:+.1f}",
                f"{d.p:.3f}",
            ]
            lines.append(_line([f"{a} over {b}", *cells]))
    return _table([f"points of {protocol.headline}", "difference", "95 %", "p"], lines)


def _failures_by(
    report: Report, protocol: Protocol, parts: Mapping[str, NDArray[np.bool_]], what: str
) -> str:
    """How many samples of each part have an overlap under a half, by row."""
    rows = [row for row in report.rows if row.kind == "method" or row.name.endswith(PICTURE_ONLY)]
    rows += [row for row in report.rows if row.name == "centre disc"]
    rows = [row for row in rows if np.isfinite(row.overlaps.get(protocol.name, np.empty(0))).any()]
    if not rows or not parts:
        return ""
    lines = []
    for name, chosen in list(parts.items())[:GROUPS_LISTED]:
        lines.append(_line([name, *(_failed(row.overlaps[protocol.name][chosen]) for row in rows)]))
    more = len(parts) - GROUPS_LISTED
    after = f"<p>and {more} more in the JSON</p>" if more > 0 else ""
    return _table([f"{what}; failed of n", *(row.name for row in rows)], lines) + after


def _failed(overlaps: NDArray[np.float64]) -> str:
    known = overlaps[~np.isnan(overlaps)]
    if not known.size:
        return "-"
    failed = int((known < SUCCESS).sum())
    return f"{failed} of {known.size} ({100 * failed / known.size:.0f} %)"


def _by_size(report: Report) -> dict[str, NDArray[np.bool_]]:
    sizes = [None if math.isnan(s.truth) else size_of(s.truth) for s in report.subjects]
    parts = {size: np.array([found == size for found in sizes], dtype=np.bool_) for size in SIZES}
    return {size: chosen for size, chosen in parts.items() if chosen.any()}


def _by_group(report: Report) -> dict[str, NDArray[np.bool_]]:
    """Largest groups first."""
    found = [s.group if not math.isnan(s.truth) else None for s in report.subjects]
    groups = sorted({g for g in found if g is not None}, key=lambda g: (-found.count(g), g))
    return {g: np.array([other == g for other in found], dtype=np.bool_) for g in groups}


def _exhibits(report: Report) -> str:
    """The best and the worst samples of each row, by the first protocol's overlap."""
    if not report.exhibits:
        return ""
    parts = [
        "<h2>Best and worst samples</h2>",
        f"<p>By overlap under {escape(report.protocols[0].name)}. The map lies over the picture, "
        "dark to bright; frames are the truth. Several sources stand side by side.</p>",
    ]
    for name in dict.fromkeys(exhibit.row for exhibit in report.exhibits):
        for best, title in ((True, "best"), (False, "worst")):
            shown = [e for e in report.exhibits if e.row == name and e.best == best]
            figures = [
                f'<figure><img alt="map over {escape(e.subject.id)}" '
                f'src="data:image/jpeg;base64,{base64.b64encode(e.jpeg).decode()}">'
                f"<figcaption>{escape(e.subject.id)}"
                f"{escape(f' ({e.subject.group})') if e.subject.group else ''}: "
                f"{percent(e.overlap)}</figcaption></figure>"
                for e in shown
            ]
            if figures:
                parts.append(f"<h3>{escape(name)}: {title}</h3>")
                parts.append(f'<div class="shots">{"".join(figures)}</div>')
    return "\n".join(parts)


def _left_out(report: Report) -> str:
    """What was not judged, and why; rows that are missing."""
    lines = [f"{count} {reason}" for reason, count in report.unjudged.items()]
    lines += [
        f"{f.id}: {f.reason}" if f.row is None else f"{f.row}, {f.id}: {f.reason}"
        for f in report.failures[:FAILURES_LISTED]
    ]
    more = len(report.failures) - FAILURES_LISTED
    lines += [f"and {more} more in the JSON"] if more > 0 else []
    lines += report.notes
    listed = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h2>What was left out</h2>\n<ul>{listed or '<li>nothing</li>'}</ul>"


def _titled(title: str, content: str) -> str:
    return f"<h3>{escape(title)}</h3>\n{content}" if content else ""


def _definitions(topics: Mapping[str, str]) -> str:
    pairs = (f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in topics.items())
    return f"<dl>{''.join(pairs)}</dl>"


def _line(cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _table(head: Sequence[str], lines: Sequence[str]) -> str:
    """Lines are ready made; the head is escaped here."""
    if not lines:
        return ""
    heads = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    return (
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
