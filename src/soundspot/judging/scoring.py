"""From findings to rows of scores.

A protocol sums up its own scores. Those that are means over samples of one part each (AUC too: see
`metrics.auc_of_each`) have more: a group is a subset of those parts, an interval a bootstrap of
their mean, and two rows are compared sample by sample. AUROC is the exception, and only methods
have a confidence to be judged by it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from soundspot import metrics
from soundspot.judging.findings import Findings, Heading
from soundspot.metrics import Interval
from soundspot.report import AUROC_KEYS, MAP_KEYS, NEGATIVE_KINDS, OWN, Row, own_metric
from soundspot.types import Sample

if TYPE_CHECKING:
    from soundspot.protocols import Protocol

DOMINANT_SHARE = 1 / 3
"""The largest group, where it has more than this share of the positives, is also left out."""
SUMMARIES = ("unambiguous", "ambiguous", "heard", "never heard")
"""Entries among the groups that are not a group of the data."""
NOTHING: Interval = Interval(math.nan, math.nan)

Column = NDArray[np.float64]


class Scorer:
    """Sums up rows over the samples that were judged.

    Args:
        findings: complete.
        protocols: by which the samples were judged.
        heard: groups met in training; none: not reported.
        seed: of the bootstrap.
    """

    def __init__(
        self,
        findings: Findings,
        protocols: Sequence[Protocol],
        heard: Collection[str],
        seed: int,
    ):
        self.findings, self.protocols, self.seed = findings, protocols, seed
        self.samples: dict[int, Sample] = {
            n: findings.plan.samples[n] for n in sorted(findings.subjects)
        }
        self.numbers = list(self.samples)
        self.positives = [n for n, s in self.samples.items() if s.kind == "positive"]
        self.located = findings.located()
        self.negatives = sorted(set(self.numbers) - set(self.located))
        self.pictures = {n: findings.subjects[n].picture for n in self.numbers}
        self.subsets = _subsets({n: self.samples[n] for n in self.located}, heard)

    def row(self, heading: Heading) -> Row:
        """All scores of one row: overall, with intervals, and by group."""
        values = self._means(heading, {p.name: p.means for p in self.protocols})
        overlaps = self._means(heading, {p.name: {"": p.overlap} for p in self.protocols})
        scores = self._scores(heading)
        intervals = dict.fromkeys(scores, NOTHING)
        intervals |= self._intervals(values) | self._auroc_intervals(heading)
        long_of = {key: f"{OWN}/{own_metric(key)}" for key in self._short_keys(heading)}
        places = np.searchsorted(self.numbers, self.located)
        return Row(
            name=heading.name,
            kind=heading.kind,
            scores=scores | {key: scores[long] for key, long in long_of.items()},
            intervals=intervals | {key: intervals[long] for key, long in long_of.items()},
            groups={
                group: self._group(heading, values, members)
                for group, members in self.subsets.items()
            },
            values=values | {k: values[n][places] for k, n in long_of.items() if n in values},
            overlaps={name.rstrip("/"): column for name, column in overlaps.items()},
            model=heading.model,
            answered=self.findings.answered(heading.name),
            asked=self.findings.asked(heading),
            own=heading.own,
        )

    def _scores(self, heading: Heading) -> dict[str, float]:
        """What each protocol sums up itself."""
        return {
            f"{protocol.name}/{metric}": float(score)
            for protocol in self.protocols
            for metric, score in protocol.scores(self._parts(heading, protocol.name)).items()
        }

    def _means(self, heading: Heading, parts: Mapping[str, Mapping[str, str]]) -> dict[str, Column]:
        """By protocol and metric, one part of each judged sample; NaN where it has none."""
        return {
            f"{protocol}/{metric}": self._column(heading, protocol, part)[self.numbers]
            for protocol, named in parts.items()
            for metric, part in named.items()
        }

    def _column(self, heading: Heading, protocol: str, part: str) -> Column:
        """One part of every sample of the plan; on negatives shared as in `_parts`."""
        length = len(self.findings.plan.samples)
        column = self.findings.columns[heading.name][protocol].column(part, length)
        if heading.against is not None:
            shared = self.findings.columns[heading.against][protocol].column(part, length)
            column[self.negatives] = shared[self.negatives]
        return column

    def _parts(self, heading: Heading, protocol: str) -> list[Mapping[str, Any]]:
        """In the samples' order; a wrong-sound row shares its method's answers on negatives."""
        parts = self.findings.columns[heading.name][protocol].parts()
        if heading.against is not None:
            shared = self.findings.columns[heading.against][protocol].parts()
            parts |= {n: shared[n] for n in self.negatives if n in shared}
        return [parts[n] for n in sorted(parts)]

    def _short_keys(self, heading: Heading) -> tuple[str, ...]:
        if OWN not in self.findings.columns[heading.name]:
            return ()
        return (*MAP_KEYS, *AUROC_KEYS) if heading.kind == "method" else MAP_KEYS

    def _intervals(self, values: Mapping[str, Column]) -> dict[str, Interval]:
        """Scores with the same part for every sample (two names of one thing) are drawn once."""
        drawn: dict[bytes, Interval] = {}
        intervals = {}
        for key, parts in values.items():
            same = parts.tobytes()
            if same not in drawn:
                known = ~np.isnan(parts)
                pictures = [self.pictures[n] for n, k in zip(self.numbers, known, strict=True) if k]
                drawn[same] = metrics.mean_interval(parts[known], pictures, seed=self.seed)
            intervals[key] = drawn[same]
        return intervals

    def _auroc_intervals(self, heading: Heading) -> dict[str, Interval]:
        if heading.kind != "method" or OWN not in self.findings.columns[heading.name]:
            return {}
        above, seen = self._confident(heading, self.located)
        intervals = {}
        for key, kind in zip(AUROC_KEYS, NEGATIVE_KINDS, strict=True):
            below, there = self._confident(heading, self._negatives(kind))
            intervals[f"{OWN}/{own_metric(key)}"] = metrics.auroc_interval(
                above, below, seen, there, seed=self.seed
            )
        return intervals

    def _group(
        self, heading: Heading, values: Mapping[str, Column], members: set[int]
    ) -> dict[str, float]:
        """Of one group: how many, its means and, for methods, its AUROC against all negatives."""
        chosen = np.array([n in members for n in self.numbers])
        answered = self.findings.columns[heading.name][self.protocols[0].name].numbers
        scores: dict[str, float] = {"n": len(members & set(answered))}
        for key, parts in values.items():
            scores[key] = _mean(parts[chosen])
            if key.startswith(f"{OWN}/"):
                scores |= {k: scores[key] for k in MAP_KEYS if f"{OWN}/{own_metric(k)}" == key}
        if OWN in self.findings.columns[heading.name] and heading.kind == "method":
            above, _ = self._confident(heading, [n for n in self.located if n in members])
            for key, kind in zip(AUROC_KEYS, NEGATIVE_KINDS, strict=True):
                below, _ = self._confident(heading, self._negatives(kind))
                scores[key] = metrics.auroc(above, below)
        return scores

    def _confident(self, heading: Heading, numbers: Sequence[int]) -> tuple[list[float], list[str]]:
        """The confidences of these samples, one a source that is shown, and their pictures."""
        said = self.findings.confidences[heading.name]
        found = [
            (confidence, self.pictures[n])
            for n in numbers
            if n in said
            for confidence, shown in zip(said[n], _shown(self.samples[n]), strict=True)
            if shown
        ]
        return [confidence for confidence, _ in found], [picture for _, picture in found]

    def _negatives(self, kind: str) -> list[int]:
        return [n for n, sample in self.samples.items() if sample.kind == kind]


def _subsets(located: Mapping[int, Sample], heard: Collection[str]) -> dict[str, set[int]]:
    """The groups of the report, summaries first, then the data's groups by size."""
    groups = Counter(sample.group for sample in located.values() if sample.group is not None)
    members: dict[str, set[int]] = {}

    def put(name: str, chosen: Collection[int]) -> None:
        members[name] = set(chosen)

    if any(sample.ambiguous for sample in located.values()):
        put("unambiguous", [n for n, s in located.items() if not s.ambiguous])
        put("ambiguous", [n for n, s in located.items() if s.ambiguous])
    if heard:
        put("heard", [n for n, s in located.items() if s.group in heard])
        named = {n: s for n, s in located.items() if s.group is not None}
        put("never heard", [n for n, s in named.items() if s.group not in heard])
    for largest, count in groups.most_common(1):
        if DOMINANT_SHARE * len(located) < count < len(located):
            put(f"without {largest}", [n for n, s in located.items() if s.group != largest])
    for group, _ in groups.most_common():
        name = f"group {group}" if group in SUMMARIES else group
        put(name, [n for n, s in located.items() if s.group == group])
    return members


def _shown(sample: Sample) -> list[bool]:
    """Of each map, whether people said where its source is; negatives have their one map."""
    return [bool(source.boxes or source.mask) for source in sample.sources] or [True]


def _mean(parts: Column) -> float:
    known = parts[~np.isnan(parts)]
    return float(known.mean()) if known.size else math.nan
