"""Success over threshold, drawn: the share of samples whose overlap is at or above each threshold.

Inline SVG, which every browser draws without a script. The area under such a curve is what tables
call AUC (there by 21 thresholds).
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from soundspot.report.rows import Row, RowKind

WIDTH, HEIGHT = 620, 380
"""Of the drawing, in its own units."""
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 14, 44
"""Margins round the axes."""
STEPS = 101
"""Thresholds at which a curve is drawn, from 0 to 1."""
COLOURS = ("#0b6bcb", "#c2410c", "#15803d", "#7e22ce", "#b91c1c", "#0f766e", "#a16207", "#be185d")
GREYS = ("#475569", "#94a3b8", "#64748b")
BROWNS = ("#92400e", "#d6a05c")
DASHES: dict[RowKind, str] = {"method": "", "blind": "7 4", "control": "2 4"}


def success(overlaps: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share at or above each threshold, of the samples that have an overlap."""
    known = np.sort(overlaps[~np.isnan(overlaps)])
    thresholds = np.arange(STEPS) / (STEPS - 1)
    below = np.searchsorted(known, thresholds, side="left")
    return np.asarray(1 - below / max(known.size, 1))


def colour_of(rows: Sequence[Row]) -> dict[str, str]:
    """A colour for each row: blind grey, pictures alone brown, wrong sounds as methods."""
    colours: dict[str, str] = {}
    for kind, palette in (("method", COLOURS), ("blind", GREYS), ("control", BROWNS)):
        for number, row in enumerate(r for r in rows if r.kind == kind):
            own = [c for name, c in colours.items() if row.name.startswith(f"{name}, ")]
            colours[row.name] = own[0] if own else palette[number % len(palette)]
    return colours


def curves(rows: Sequence[Row], protocol: str) -> str:
    """One curve a row under one protocol; empty where no sample has an overlap."""
    shown = [
        row
        for row in rows
        if protocol in row.overlaps and np.isfinite(row.overlaps[protocol]).any()
    ]
    if not shown:
        return ""
    colours = colour_of(rows)
    lines = [_curve(row, protocol, colours[row.name]) for row in shown]
    legend = [
        f'<li><svg width="34" height="10" aria-hidden="true"><line x1="1" x2="33" y1="5" y2="5" '
        f"{_stroke(row, colours[row.name])}/></svg> {escape(row.name)}</li>"
        for row in shown
    ]
    return (
        f'<svg class="curves" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="share of samples over the threshold of overlap">{_axes()}{"".join(lines)}'
        f'</svg><ul class="legend">{"".join(legend)}</ul>'
    )


def _curve(row: Row, protocol: str, colour: str) -> str:
    shares = success(row.overlaps[protocol])
    points = " ".join(
        f"{_x(i / (STEPS - 1)):.1f},{_y(share):.1f}" for i, share in enumerate(shares.tolist())
    )
    return (
        f'<polyline fill="none" {_stroke(row, colour)} points="{points}">'
        f"<title>{escape(row.name)}</title></polyline>"
    )


def _stroke(row: Row, colour: str) -> str:
    width = 2.4 if row.kind == "method" else 1.6
    return f'stroke="{colour}" stroke-width="{width}" stroke-dasharray="{DASHES[row.kind]}"'


def _axes() -> str:
    parts = []
    for tenth in range(0, 11, 2):
        at = tenth / 10
        x, y = _x(at), _y(at)
        parts.append(
            f'<line class="grid" x1="{_x(0):.1f}" x2="{_x(1):.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_y(0):.1f}" y2="{_y(1):.1f}"/>'
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{100 * at:.0f} %</text>'
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{at:.1f}</text>'
        )
    middle = (_x(0) + _x(1)) / 2
    parts.append(
        f'<text x="{middle:.1f}" y="{HEIGHT - 8}" text-anchor="middle">'
        "threshold of overlap with the truth</text>"
    )
    return "".join(parts)


def _x(at: float) -> float:
    return LEFT + at * (WIDTH - LEFT - RIGHT)


def _y(at: float) -> float:
    return HEIGHT - BOTTOM - at * (HEIGHT - TOP - BOTTOM)
