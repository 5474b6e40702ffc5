"""CSV, tidy: a line a row and score, for spreadsheets and data frames.

    model,row,kind,protocol,metric,score,low,high,n

Scores and the bounds of their 95 % intervals are fractions in 0..1, empty where there is none; `n`
counts the samples that have a part in the score, or, of a score that is no mean, those that the
row has an answer on.
"""

from __future__ import annotations

import csv
import io
import math

from soundspot.report.report import Report
from soundspot.report.rows import ROUNDING, Row

COLUMNS = ("model", "row", "kind", "protocol", "metric", "score", "low", "high", "n")


def csv_of(report: Report) -> str:
    """The report as CSV, with a header."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in report.rows:
        for protocol in report.protocols:
            for metric in protocol.metrics:
                key = f"{protocol.name}/{metric}"
                label = [row.model, row.name, row.kind, protocol.name, metric]
                low, high = row.intervals.get(key, (math.nan, math.nan))
                cells = [_cell(value) for value in (row.scores[key], low, high)]
                writer.writerow([*label, *cells, _count(row, key)])
    return out.getvalue()


def _cell(value: float) -> str:
    return "" if math.isnan(value) else str(round(float(value), ROUNDING))


def _count(row: Row, key: str) -> int:
    parts = row.values.get(key)
    return row.answered if parts is None else int((parts == parts).sum())
