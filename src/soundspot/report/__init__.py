"""What a benchmark found, as data, as a table, as CSV and as a page.

| file | what it holds |
|---|---|
| `rows` | one row of scores, one sample that failed, one that was judged |
| `report` | all rows of a run, their differences, the JSON |
| `table` | the terminal's tables, each with its conventions underneath |
| `tidy` | CSV, a line a row and score |
| `html`, `curves` | a page that needs nothing but itself, and its drawings |

All scores are in 0..1 in the data and in per cent in tables; a score that cannot be computed
(AUROC without negatives) is NaN here, null in JSON, empty in CSV and "-" in tables.
"""

from __future__ import annotations

from soundspot.report.report import Report
from soundspot.report.rows import (
    AUROC_KEYS,
    HEADLINE,
    MAP_KEYS,
    NEGATIVE_KINDS,
    OWN,
    PICTURE_ONLY,
    WRONG_SOUND,
    Exhibit,
    Failure,
    Row,
    RowKind,
    Subject,
    own_metric,
    wrong_sound_name,
)

__all__ = [
    "AUROC_KEYS",
    "HEADLINE",
    "MAP_KEYS",
    "NEGATIVE_KINDS",
    "OWN",
    "PICTURE_ONLY",
    "WRONG_SOUND",
    "Exhibit",
    "Failure",
    "Report",
    "Row",
    "RowKind",
    "Subject",
    "own_metric",
    "wrong_sound_name",
]
