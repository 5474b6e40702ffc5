"""How good a map is: pure functions on one sample, in numpy alone.

| file | question |
|---|---|
| `overlap` | how well does the bright part of the map cover the truth? IoU, cIoU, AUC |
| `pointing` | does the brightest point lie inside the truth? |
| `confidence` | is the model surer where something visible sounds? AUROC |
| `intervals` | could the difference be luck? bootstrap |

Conventions. A map is h w, higher = more likely here, any finite numbers, over the whole picture.
A truth is a mask of the same shape. Maps that hold NaN or infinity, or whose shape is not the
truth's, raise `ValueError`. Every score is in 0..1 (tables print per cent).
"""

from __future__ import annotations

from soundspot.metrics.confidence import auroc
from soundspot.metrics.intervals import (
    Difference,
    Interval,
    auroc_interval,
    mean_interval,
    paired_difference,
)
from soundspot.metrics.overlap import (
    as_many_as_truth,
    auc,
    auc_of_each,
    ciou,
    consensus_map,
    iou,
    share_at,
    top_half,
    truth_mask,
)
from soundspot.metrics.pointing import peak, points_inside

__all__ = [
    "Difference",
    "Interval",
    "as_many_as_truth",
    "auc",
    "auc_of_each",
    "auroc",
    "auroc_interval",
    "ciou",
    "consensus_map",
    "iou",
    "mean_interval",
    "paired_difference",
    "peak",
    "points_inside",
    "share_at",
    "top_half",
    "truth_mask",
]
