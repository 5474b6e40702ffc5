"""From maps to a row of scores: one map is judged, many verdicts are summed up.

Every score of maps is a mean over positives of one number each (AUC too: see
`metrics.auc_of_each`), so a group is a subset of those numbers, an interval a bootstrap of their
mean, and two rows are compared sample by sample. AUROC is the exception, and only methods have a
confidence to be judged by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from soundspot import metrics
from soundspot.maps import FloatMap, resize_map
from soundspot.metrics import Interval
from soundspot.metrics.intervals import DRAWS
from soundspot.metrics.overlap import Truth, check_map
from soundspot.report import AUROC_KEYS, MAP_KEYS, NEGATIVE_KINDS, Row, RowKind
from soundspot.types import Sample

JUDGED_SIDE = 1024
"""Pictures are judged at their own size, or with their longer side brought to this many pixels."""
DOMINANT_SHARE = 1 / 3
"""The largest group, where it has more than this share of the positives, is also left out."""
SUMMARIES = ("unambiguous", "ambiguous", "heard", "never heard")
"""Entries among the groups that are not a group of the data."""


CONVENTIONS = {
    "scores": "per cent in the table, 0..1 in JSON; '-' or null: nothing to compute it from",
    "geometry": f"the picture's own pixels (longer side at most {JUDGED_SIDE}); raw maps, resized "
    "bilinearly with half-pixel centres; the truth is every pixel that any of the boxes touches",
    "annotators": "where several people drew, truth g = min(people who hold the pixel / 2, 1), and "
    "IoU is cIoU = sum(P g) / (sum(g) + sum(P [g = 0])); one person alone is the truth",
    "top half": "the mask is the map's pixels >= the element at N // 2 of its sorted values",
    "as many as truth": "the mask is the map's brightest pixels, exactly as many as the truth has; "
    "ties are taken in an order that favours no region",
    "share, AUC": "share of positives with IoU >= 0.5; area under share(IoU >= t), t = 0, 0.05 .. "
    "1, by trapezoids",
    "pointing": "share of positives whose peak lies inside the truth, no margin; a tied peak must "
    "lie inside as a whole, and a constant map misses",
    "AUROC": "of the confidence, positives against the negatives of one kind, ties half",
    "ambiguous": "another thing in the picture may make the sound: counted in the headline, left "
    "out in the group 'unambiguous'",
    "blind": "centre disc: minus the distance from the centre, in fractions of the sides; whole "
    "image: a constant; random: 7 x 7 normal numbers, enlarged, drawn by seed and id",
    "picture only": "the strength of the picture tower's features, whatever is heard",
    "wrong sound": "each positive with the sound of another, which shows another picture and is "
    "of no group known to be in this picture, drawn by seed and id",
    "intervals": f"95 % percentile bootstrap, {DRAWS} draws of whole pictures with all their "
    "samples; p is two-sided, from the same draws of the paired difference",
}


class Verdict(NamedTuple):
    """One map judged: IoU under two threshold rules, and whether it points inside (0 or 1)."""

    top_half: float
    as_truth: float
    pointing: float


@dataclass
class Tally:
    """What one row has gathered, by the sample's number."""

    name: str
    kind: RowKind
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    confidences: dict[int, float] = field(default_factory=dict)


def judged_size(picture: NDArray[np.uint8]) -> tuple[int, int]:
    """Height and width at which maps of this picture are judged."""
    height, width = picture.shape[:2]
    scale = min(1.0, JUDGED_SIDE / max(height, width))
    return max(1, round(scale * height)), max(1, round(scale * width))


def truth_of(sample: Sample, height: int, width: int) -> Truth:
    """The sample's truth in pixels: the consensus of its annotators, or the union of its boxes."""
    if any(sample.annotators):
        return metrics.consensus_map(sample.annotators, height, width)
    return metrics.truth_mask(sample.boxes, height, width)


def judge(map: FloatMap, truth: Truth) -> Verdict:
    """Judge one raw map, resized bilinearly to the truth's size.

    Raises:
        ValueError: the map holds NaN or is not h w, or the truth is empty.
    """
    check_map(map)
    height, width = truth.shape
    resized = resize_map(map, (height, width))
    return Verdict(
        metrics.ciou(metrics.top_half(resized), truth),
        metrics.ciou(metrics.as_many_as_truth(resized, truth), truth),
        float(metrics.points_inside(resized, truth)),
    )


class Scorer:
    """The samples that were judged, and how to sum up a tally over them.

    Args:
        samples: positives and negatives that could be read, by number.
        heard: groups met in training; none: not reported.
        seed: of the bootstrap.
    """

    def __init__(self, samples: Mapping[int, Sample], heard: Collection[str], seed: int):
        self.samples, self.seed = samples, seed
        self.positives = [n for n, sample in samples.items() if sample.kind == "positive"]
        self.pictures = [str(samples[n].image) for n in self.positives]
        self.subsets = _subsets([samples[n] for n in self.positives], heard)

    def row(self, tally: Tally) -> Row:
        """All scores of one row: overall, with intervals, and by group."""
        values = self._values(tally)
        everything = np.ones(len(self.positives), dtype=np.bool_)
        return Row(
            name=tally.name,
            kind=tally.kind,
            scores=self._scores(tally, values, everything),
            intervals=self._intervals(tally, values),
            groups={
                group: {"n": _count(values, subset), **self._scores(tally, values, subset)}
                for group, subset in self.subsets.items()
            },
            values=values,
        )

    def _values(self, tally: Tally) -> dict[str, NDArray[np.float64]]:
        """By key, each positive's part in the score; NaN where the row has no verdict."""
        missing = Verdict(np.nan, np.nan, np.nan)
        verdicts = [tally.verdicts.get(n, missing) for n in self.positives]
        top_half, as_truth, pointing = np.array(verdicts, dtype=np.float64).reshape(-1, 3).T
        columns = (
            *(_where_known(part, top_half) for part in (_passes, metrics.auc_of_each)),
            *(_where_known(part, as_truth) for part in (_passes, metrics.auc_of_each)),
            pointing,
        )
        return dict(zip(MAP_KEYS, columns, strict=True))

    def _scores(
        self, tally: Tally, values: Mapping[str, NDArray[np.float64]], subset: NDArray[np.bool_]
    ) -> dict[str, float]:
        scores = {key: _mean(parts[subset]) for key, parts in values.items()}
        if tally.kind == "method":
            asked = [n for n, chosen in zip(self.positives, subset, strict=True) if chosen]
            for key, kind in zip(AUROC_KEYS, NEGATIVE_KINDS, strict=True):
                scores[key] = metrics.auroc(
                    _confidences(tally, asked), _confidences(tally, self._negatives(kind))
                )
        return scores

    def _intervals(
        self, tally: Tally, values: Mapping[str, NDArray[np.float64]]
    ) -> dict[str, Interval]:
        intervals = {}
        for key, parts in values.items():
            known = ~np.isnan(parts)
            pictures = [p for p, k in zip(self.pictures, known, strict=True) if k]
            intervals[key] = metrics.mean_interval(parts[known], pictures, seed=self.seed)
        if tally.kind == "method":
            for key, kind in zip(AUROC_KEYS, NEGATIVE_KINDS, strict=True):
                negatives = self._negatives(kind)
                intervals[key] = metrics.auroc_interval(
                    _confidences(tally, self.positives),
                    _confidences(tally, negatives),
                    self.pictures,
                    [str(self.samples[n].image) for n in negatives],
                    seed=self.seed,
                )
        return intervals

    def _negatives(self, kind: str) -> list[int]:
        return [n for n, sample in self.samples.items() if sample.kind == kind]


def _subsets(positives: Sequence[Sample], heard: Collection[str]) -> dict[str, NDArray[np.bool_]]:
    """The groups of the report, summaries first, then the data's groups by size."""
    groups = Counter(sample.group for sample in positives if sample.group is not None)
    members: dict[str, list[bool]] = {
        "unambiguous": [not sample.ambiguous for sample in positives],
        "ambiguous": [sample.ambiguous for sample in positives],
    }
    if not any(members["ambiguous"]):
        members.clear()
    if heard:
        members["heard"] = [sample.group in heard for sample in positives]
        members["never heard"] = [
            sample.group is not None and sample.group not in heard for sample in positives
        ]
    for largest, count in groups.most_common(1):
        if DOMINANT_SHARE * len(positives) < count < len(positives):
            members[f"without {largest}"] = [sample.group != largest for sample in positives]
    for group, _ in groups.most_common():
        name = f"group {group}" if group in SUMMARIES else group
        members[name] = [sample.group == group for sample in positives]
    return {name: np.array(chosen) for name, chosen in members.items()}


def _passes(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return (scores >= 0.5).astype(np.float64)


def _where_known(
    part: Callable[[NDArray[np.float64]], NDArray[np.float64]], scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Apply `part` to the scores that are there; the others stay NaN."""
    parts = np.full(scores.shape, np.nan)
    known = ~np.isnan(scores)
    parts[known] = part(scores[known])
    return parts


def _confidences(tally: Tally, numbers: Sequence[int]) -> list[float]:
    return [tally.confidences[n] for n in numbers]


def _mean(parts: NDArray[np.float64]) -> float:
    known = parts[~np.isnan(parts)]
    return float(known.mean()) if known.size else float("nan")


def _count(values: Mapping[str, NDArray[np.float64]], subset: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(~np.isnan(values["pointing"][subset])))
