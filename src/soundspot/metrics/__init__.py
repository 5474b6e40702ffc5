"""How good a map is: pure functions on one sample, in numpy alone.

| file | question |
|---|---|
| `overlap` | how well does the bright part of the map cover the truth? IoU, cIoU, AUC |
| `thresholds` | what is the bright part? the field's other rules from map to mask |
| `average_precision` | are true pixels brighter than others? pixel AP |
| `pointing` | does the brightest point lie inside the truth? |
| `confidence` | is the model surer where something visible sounds? AUROC, calibration error |
| `negatives` | does the map stay dark where nothing visible sounds? AP, max-F1, pIA, F_LOC |
| `interactive` | does it follow the sound from one thing to another? IIoU |
| `several` | one map a source: class-aware cIoU, NSA, CAP, PIAP |
| `segmentation` | masks drawn pixel by pixel: mIoU and F of AVSBench |
| `sizes` | how large is the truth? |
| `intervals` | could the difference be luck? bootstrap, sign flips |
| `ranked` | all of these from one sort of the map, fast |
| `accumulators` | sums over samples and processes |

Conventions. A map is h w, higher = more likely here, any finite numbers, over the whole picture.
A truth is a mask of the same shape. Maps that hold NaN or infinity, or whose shape is not the
truth's, raise `ValueError`. Every score is in 0..1 (tables print per cent); a score of no samples
is NaN.
"""

from __future__ import annotations

from soundspot.metrics.accumulators import (
    Collected,
    Summed,
    accumulate_auc,
    accumulate_f,
    accumulate_mean,
    accumulate_share,
    gather,
)
from soundspot.metrics.average_precision import average_precision, pixel_ap
from soundspot.metrics.confidence import auroc, calibration_error
from soundspot.metrics.interactive import iiou_auc, iiou_of_each, iiou_share
from soundspot.metrics.intervals import (
    Difference,
    Interval,
    auroc_interval,
    mean_interval,
    paired_difference,
    sign_flip_test,
)
from soundspot.metrics.negatives import (
    UniversalThresholds,
    auc_n,
    detection_ap,
    detection_max_f1,
    f_auc,
    f_loc,
    harmonic_mean,
    lit_share,
    loc_acc,
    slavc_ap,
    slavc_max_f1,
    top_quarter_mean,
    universal_thresholds,
    universal_thresholds_by_kind,
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
from soundspot.metrics.ranked import F_THRESHOLDS, Ranked, rank, sigmoid
from soundspot.metrics.segmentation import f_curve, mask_iou, max_f, max_f_in_batches, sounding
from soundspot.metrics.several import (
    NopriorMatches,
    best_assignment,
    cap,
    class_aware_ciou,
    matched_ciou,
    noprior_matches,
    nsa,
    piap,
    piap_avgn,
)
from soundspot.metrics.sizes import SIZE_CUTS, SIZES, size_of, size_share
from soundspot.metrics.thresholds import (
    FIXED_THRESHOLDS,
    Best,
    adaptive,
    at_least,
    best_threshold,
    fraction_of_maximum,
    half_of_range,
    min_max,
    upper_half_of_range,
)

__all__ = [
    "FIXED_THRESHOLDS",
    "F_THRESHOLDS",
    "SIZES",
    "SIZE_CUTS",
    "Best",
    "Collected",
    "Difference",
    "Interval",
    "NopriorMatches",
    "Ranked",
    "Summed",
    "UniversalThresholds",
    "accumulate_auc",
    "accumulate_f",
    "accumulate_mean",
    "accumulate_share",
    "adaptive",
    "as_many_as_truth",
    "at_least",
    "auc",
    "auc_n",
    "auc_of_each",
    "auroc",
    "auroc_interval",
    "average_precision",
    "best_assignment",
    "best_threshold",
    "calibration_error",
    "cap",
    "ciou",
    "class_aware_ciou",
    "consensus_map",
    "detection_ap",
    "detection_max_f1",
    "f_auc",
    "f_curve",
    "f_loc",
    "fraction_of_maximum",
    "gather",
    "half_of_range",
    "harmonic_mean",
    "iiou_auc",
    "iiou_of_each",
    "iiou_share",
    "iou",
    "lit_share",
    "loc_acc",
    "mask_iou",
    "matched_ciou",
    "max_f",
    "max_f_in_batches",
    "mean_interval",
    "min_max",
    "noprior_matches",
    "nsa",
    "paired_difference",
    "peak",
    "piap",
    "piap_avgn",
    "pixel_ap",
    "points_inside",
    "rank",
    "share_at",
    "sigmoid",
    "sign_flip_test",
    "size_of",
    "size_share",
    "slavc_ap",
    "slavc_max_f1",
    "sounding",
    "top_half",
    "top_quarter_mean",
    "truth_mask",
    "universal_thresholds",
    "universal_thresholds_by_kind",
    "upper_half_of_range",
]
