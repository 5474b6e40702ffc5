"""soundspot: the protocol that we recommend, made to avoid what the others stumble over.

* Geometry: the picture's own pixels (longer side at most 1,024). The map is resized to the picture,
  never the truth to the map, and nothing is cropped. The truth is every pixel that a box touches,
  so no box is lost; people are counted, not boxes.
* `as_truth`: as many pixels as the truth has, ties taken in an order that favours no region: asks
  where, not how large. `top_half`: the field's median rule, for comparison.
* Threshold-free: `pointing` (the peak lies in the truth) and `pixel_ap`.
* Absolute: `cut_*` judge the mask at the value at which the model itself cuts its maps, the same
  for all pictures; `pia_*` say how much of the picture that mask takes where nothing visible
  sounds, and `gated_pia_*` how much the whole answer highlights there: nothing where the
  confidence is below the model's own threshold.
* Positives and negatives: `auroc_*` of the confidence, and its `calibration_error`.
* Pictures with several sounds: `iiou_*`, all of them must be found.

Scores are means over samples, with bootstrap intervals over pictures
(`soundspot.metrics.intervals`).

Version 2 adds `gated_pia_*` and `calibration_error`; all other scores are those of version 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, final

import numpy as np

from soundspot.metrics import as_many_as_truth, auroc, calibration_error, ciou, points_inside
from soundspot.metrics.interactive import iiou_auc, iiou_share
from soundspot.metrics.overlap import auc_of_each
from soundspot.protocols.batch import Batch, Unit
from soundspot.protocols.judging import HALF, NEGATIVES, column, from_middle, means
from soundspot.protocols.protocol import Card, Parts, Protocol
from soundspot.protocols.ssl_align import picture_number

RULES = {
    "as_truth": "as many pixels as the truth has",
    "top_half": "pixels at or above the median",
    "cut": "pixels at or above the model's own threshold",
}

METRICS: Mapping[str, str] = MappingProxyType(
    {
        **{
            f"{rule}_{score}": f"{sentence}; {mask}"
            for rule, mask in RULES.items()
            for score, sentence in (
                ("share_0.5", "share of positives with IoU >= 0.5"),
                ("mean", "mean IoU"),
                ("auc", "area under share(IoU >= t), t = 0, 0.05 .. 1"),
            )
        },
        "pointing": "share of positives whose whole peak lies in the truth",
        "pixel_ap": "mean average precision of pixels",
        **{
            f"pia_{kind}": f"share of the picture at or above the model's threshold, with {kind}"
            for kind in NEGATIVES
        },
        **{
            f"gated_pia_{kind}": f"the same with {kind}, none of it where the confidence is below "
            "the model's own threshold"
            for kind in NEGATIVES
        },
        **{f"auroc_{kind}": f"AUROC of the confidence against {kind}" for kind in NEGATIVES},
        "calibration_error": "expected calibration error of the confidence, ten bins; positives "
        "and negatives weigh the same",
        "iiou_share_0.5": "share of pictures with several sounds, all with IoU >= 0.5 (as_truth)",
        "iiou_auc": "area under the share of these pictures whose sounds all have IoU >= t",
    }
)
CURVES = ("auroc", "calibration", "iiou")


@final
class Soundspot(Protocol):
    """The recommended protocol."""

    name: ClassVar = "soundspot"
    version: ClassVar = 2
    card: ClassVar = Card(
        source="this project",
        geometry="own pixels: the picture's, longer side at most 1,024; nothing cropped",
        interpolation="bilinear half-pixel: averaged where the map shrinks",
        threshold="as many as truth: ties favour no region; also median and the model's own",
        truth="people counted: every pixel that a box touches; several: g = min(people / 2, 1)",
        test_list="any: positives, silence, noise, off-screen sounds, several sources",
        sound="whatever the model asks for",
    )
    metrics: ClassVar = METRICS
    means: ClassVar = MappingProxyType(
        {name: name for name in METRICS if not name.startswith(CURVES)}
    )
    headline: ClassVar = "as_truth_share_0.5"
    overlap: ClassVar = "as_truth_mean"

    def judge(self, batch: Batch) -> list[Parts]:
        """Every rule on positives; on negatives how much is lit, and the confidence."""
        return [
            _negative(batch, n) if shot.sample.kind in NEGATIVES else _positive(batch, n)
            for n, shot in enumerate(batch.shots)
        ]

    def scores(self, parts: Sequence[Parts]) -> dict[str, float]:
        """Means; AUROC; shares of pictures with several sounds."""
        sure = column(parts, "_sure")
        unsure = {kind: column(parts, f"_{kind}") for kind in NEGATIVES}
        return {
            **means(parts, self.means),
            **{f"auroc_{kind}": auroc(sure, below) for kind, below in unsure.items()},
            "calibration_error": calibration_error(sure, np.concatenate([*unsure.values()])),
            **_interactive(parts),
        }


def _positive(batch: Batch, shot: int) -> Parts:
    """Means over the picture's sources."""
    units = batch.units(shot)
    if not units:
        return {}
    verdicts = [_verdict(batch, unit) for unit in units]
    sure = [batch.shots[shot].confidences[u.map] for u in units if batch.shots[shot].confidences]
    return {
        **{name: sum(v[name] for v in verdicts) / len(verdicts) for name in verdicts[0]},
        "_iou": np.array([v["as_truth_mean"] for v in verdicts]),
        "_picture": np.full(len(units), picture_number(batch.shots[shot].sample)),
        **({"_sure": np.array(sure)} if sure else {}),
    }


def _negative(batch: Batch, shot: int) -> Parts:
    made = batch.shots[shot]
    parts: dict[str, float | np.ndarray] = {}
    if made.confidences:
        parts[f"_{made.sample.kind}"] = np.array(made.confidences)
    if made.cut is not None:
        views = [batch.own_view(Unit(shot, n)) for n in range(len(made.maps))]
        lit = np.array([np.mean(view >= made.cut) for view in views])
        parts[f"pia_{made.sample.kind}"] = float(lit.mean())
        if made.confidences and made.visible is not None:
            answered = np.array(made.confidences) >= made.visible
            parts[f"gated_pia_{made.sample.kind}"] = float((lit * answered).mean())
    return parts


def _verdict(batch: Batch, unit: Unit) -> dict[str, float]:
    """All scores of one map."""
    truth, ranked = batch.own_truth(unit), batch.own_ranked(unit)
    cut = batch.shots[unit.shot].cut
    if truth is None or ranked is None:
        ious = dict.fromkeys(("as_truth", "top_half"), 0.0)
        pointing, precision, at_cut = 0.0, 0.0, 0.0
    else:
        ious = {"as_truth": _as_truth(batch, unit), "top_half": from_middle(ranked)}
        pointing = float(points_inside(batch.own_view(unit), truth))
        precision = ranked.pixel_ap()
        at_cut = 0.0 if cut is None else float(ranked.ciou(cut))
    if cut is not None:
        ious["cut"] = at_cut
    verdict = {"pointing": pointing, "pixel_ap": precision}
    for rule, iou in ious.items():
        area = float(auc_of_each([iou])[0])
        scores = {"share_0.5": float(iou >= HALF), "mean": iou, "auc": area}
        verdict.update({f"{rule}_{name}": value for name, value in scores.items()})
    return verdict


def _as_truth(batch: Batch, unit: Unit) -> float:
    """IoU of exactly as many pixels as the truth has; the slow way only where the last ones tie."""
    truth, ranked = batch.own_truth(unit), batch.own_ranked(unit)
    assert truth is not None
    assert ranked is not None
    level = ranked.kth_largest(ranked.true_pixels)
    if int(ranked.chosen(level).sum()) == ranked.true_pixels:
        return float(ranked.ciou(level))
    return ciou(as_many_as_truth(batch.own_view(unit), truth), truth)


def _interactive(parts: Sequence[Parts]) -> dict[str, float]:
    pictures, ious = column(parts, "_picture"), column(parts, "_iou")
    _, place, count = np.unique(pictures, return_inverse=True, return_counts=True)
    several = count[place] > 1 if pictures.size else np.zeros(0, dtype=np.bool_)
    names = pictures[several].tolist()
    if not names:
        return {"iiou_share_0.5": math.nan, "iiou_auc": math.nan}
    return {
        "iiou_share_0.5": iiou_share(ious[several], names),
        "iiou_auc": iiou_auc(ious[several], names),
    }
