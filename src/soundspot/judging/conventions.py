"""How every table was judged, by topic: what holds under all protocols, and under ours."""

from __future__ import annotations

from types import MappingProxyType

from soundspot.metrics.intervals import DRAWS
from soundspot.protocols.batch import JUDGED_SIDE

OWN_CONVENTIONS = MappingProxyType(
    {
        "geometry": f"the picture's own pixels (longer side at most {JUDGED_SIDE}); raw maps, "
        "resized bilinearly with half-pixel centres; the truth is every pixel that any of the "
        "boxes touches",
        "annotators": "where several people drew, truth g = min(people who hold the pixel / 2, 1), "
        "and IoU is cIoU = sum(P g) / (sum(g) + sum(P [g = 0])); one person alone is the truth",
        "top half": "the mask is the map's pixels >= the element at N // 2 of its sorted values",
        "as many as truth": "the mask is the map's brightest pixels, exactly as many as the truth "
        "has; ties are taken in an order that favours no region",
        "share, AUC": "share of positives with IoU >= 0.5; area under share(IoU >= t), t = 0, 0.05 "
        ".. 1, by trapezoids",
        "pointing": "share of positives whose peak lies inside the truth, no margin; a tied peak "
        "must lie inside as a whole, and a constant map misses",
        "highlighted": "share of the picture at or above the model's own threshold, where nothing "
        "visible sounds; by the answer: none of it where the confidence is below the model's own",
        "calibration error": "expected calibration error of the confidence, ten bins, positives "
        "and negatives weighing the same",
        "AUROC": "of the confidence, positives against the negatives of one kind, ties half",
    }
)
"""Of the recommended protocol, `soundspot`."""

COMMON_CONVENTIONS = MappingProxyType(
    {
        "scores": "per cent in the table, 0..1 in JSON; '-' or null: nothing to compute it from",
        "ambiguous": "another thing in the picture may make the sound: counted in the headline, "
        "left out in the group 'unambiguous'",
        "blind": "centre disc: minus the distance from the centre, in fractions of the sides; "
        "whole image: a constant; random: 7 x 7 normal numbers, enlarged, drawn by seed and id; "
        "each made in the very size in which it is judged",
        "picture only": "the strength of the picture tower's features, whatever is heard",
        "wrong sound": "each positive with the sound of another, which shows another picture and "
        "is of no group known to be in this picture, drawn by seed and id; on negatives, where a "
        "protocol asks for them, the method's own answers",
        "several sources": "one map a source, asked with the source's own sound, or with the "
        "picture's where it has none; a picture counts once",
        "intervals": f"95 % percentile bootstrap, {DRAWS} draws of whole pictures with all their "
        "samples; p is two-sided, from the same draws of the paired difference",
    }
)
"""Of every table."""
