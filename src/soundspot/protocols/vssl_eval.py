"""vssl_eval: Juanola et al., A Critical Assessment of Visual Sound Source Localization, 2024.

Each picture comes with its own sound and with negatives: silence, noise, a sound from off screen.
One threshold for all pictures, in the map's own units, is set from the highest values of the maps
of negatives; a good model is bright above it on positives and dark under it on negatives. Maps are
not brought to 0..1, and masks are the pixels *above* a threshold.

    threshold  max: the highest of these maxima; max10: 1.1 times that; q3: their third quartile
    pIA        share of the picture above q3 on a negative;  AUC_N: area under share(pIA <= t)
    F_LOC      harmonic mean of the mean cIoU at q3 and 1 - pIA;  F_AUC: of AUC at q3 and AUC_N

pIA and AUC_N are taken of each kind of negatives, then averaged over the kinds that are there.

The thresholds are known only when all negatives were seen, so maps are looked at twice. They wait
on disk (`soundspot.protocols.spool`), one small file each, and are cut exactly; parts hold numbers
only, and memory does not grow with the maps.

The authors' printed thresholds cannot be maxima over all negatives: their "max" lies below their
third quartile for all six models. `vssl_eval_by_kind` reads them as the highest, over the three
kinds, of each kind's median and third quartile (our reading).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, final

import numpy as np

from soundspot.metrics.negatives import (
    UniversalThresholds,
    auc_n,
    f_auc,
    f_loc,
    universal_thresholds,
    universal_thresholds_by_kind,
)
from soundspot.metrics.overlap import share_at
from soundspot.metrics.ranked import Ranked, Scores, rank
from soundspot.protocols.batch import Batch, Rule, Unit, View
from soundspot.protocols.judging import (
    BOXES_AGREE,
    CIOU_METRICS,
    COUNTS_BOXES,
    NEGATIVES,
    SQUASHED,
    above_middle,
    areas,
    cious,
    column,
    means,
    overlap_parts,
)
from soundspot.protocols.protocol import Card, Parts, Protocol
from soundspot.protocols.resizing import resample, taps
from soundspot.protocols.spool import Spool
from soundspot.protocols.truths import SIDE

SOURCE = "Juanola et al., 2024, arXiv 2410.01020; github.com/xavijuanola/vssl_eval"
INTERPOLATION = "bilinear half-pixel: as the peer on VGG-SS"
TESTS = "VGG-SS and IS3, each picture also with silence, noise N(0, 1) and an off-screen sound"
SOUND = "16 kHz, 3 s"
DEVIATES = "values as they are, never brought to 0..1; " + COUNTS_BOXES
VIEW = View("bilinear")
CUTS = ("max", "max10", "q3")
"""Names of the three universal thresholds, in the order of `UniversalThresholds`."""

METRICS: Mapping[str, str] = MappingProxyType(
    {
        **{name: f"{sentence} (above the median)" for name, sentence in CIOU_METRICS.items()},
        "adaptive_share_0.5": "share of samples with cIoU >= 0.5, above the k-th highest pixel",
        "adaptive_mean": "mean cIoU, above the k-th highest pixel",
        "adaptive_auc": "area under share(cIoU >= t), above the k-th highest pixel",
        **{f"ciou_{cut}": f"mean cIoU above the universal threshold {cut}" for cut in CUTS},
        **{f"share_0.5_{cut}": f"share of samples with cIoU >= 0.5 above {cut}" for cut in CUTS},
        **{f"auc_{cut}": f"area under share(cIoU >= t) above {cut}" for cut in CUTS},
        **{f"pia_{kind}": f"share of the picture above q3, with {kind}" for kind in NEGATIVES},
        **{f"auc_n_{kind}": f"area under share(pIA <= t), with {kind}" for kind in NEGATIVES},
        "f_loc": "harmonic mean of ciou_q3 and 1 - pIA (mean over kinds)",
        "f_auc": "harmonic mean of auc_q3 and AUC_N (mean over kinds)",
    }
)
MEANS: Mapping[str, str] = MappingProxyType(
    {
        **{name: name for name in CIOU_METRICS},
        **{f"adaptive_{name}": f"adaptive_{name}" for name in ("share_0.5", "mean", "auc")},
    }
)


@final
@dataclass(frozen=True)
class VsslEval(Protocol):
    """Universal thresholds from all negatives together.

    Args:
        folder: where maps wait for the second look; None: a temporary one.
    """

    folder: Path | None = None

    name: ClassVar = "vssl_eval"
    version: ClassVar = 1
    card: ClassVar = Card(
        source=SOURCE,
        geometry=SQUASHED,
        interpolation=INTERPOLATION,
        threshold="> universal: highest value on negatives, 1.1 times it, third "
        "quartile of the negatives' highest values",
        truth=BOXES_AGREE,
        test_list=TESTS,
        sound=SOUND,
        deviates=DEVIATES,
    )
    metrics: ClassVar = METRICS
    means: ClassVar = MEANS
    headline: ClassVar = "f_loc"

    def judge(self, batch: Batch) -> list[Parts]:
        """The median's scores, the negatives' maxima, and where the maps wait."""
        spool = Spool(self.folder)
        return batch.once(("vssl_eval", self.folder), lambda: _judge(batch, spool))

    def scores(self, parts: Sequence[Parts]) -> dict[str, float]:
        """Second look: every map is cut at the universal thresholds."""
        every = np.concatenate(list(_maxima(parts).values()))
        return _scores(parts, universal_thresholds(every), Spool(self.folder))


@final
@dataclass(frozen=True)
class VsslEvalByKind(Protocol):
    """Universal thresholds from each kind of negatives, the highest of which counts.

    Args:
        folder: where maps wait for the second look; None: a temporary one.
    """

    folder: Path | None = None

    name: ClassVar = "vssl_eval_by_kind"
    version: ClassVar = 1
    card: ClassVar = Card(
        source=SOURCE,
        geometry=SQUASHED,
        interpolation=INTERPOLATION,
        threshold="> universal by kind: of each kind's highest values the median, 1.1 times "
        "it, the third quartile; of the kinds the highest",
        truth=BOXES_AGREE,
        test_list=TESTS,
        sound=SOUND,
        deviates=DEVIATES,
    )
    metrics: ClassVar = METRICS
    means: ClassVar = MEANS
    headline: ClassVar = "f_loc"

    def judge(self, batch: Batch) -> list[Parts]:
        """The median's scores, the negatives' maxima, and where the maps wait."""
        spool = Spool(self.folder)
        return batch.once(("vssl_eval", self.folder), lambda: _judge(batch, spool))

    def scores(self, parts: Sequence[Parts]) -> dict[str, float]:
        """Second look: every map is cut at the universal thresholds."""
        there = {kind: values for kind, values in _maxima(parts).items() if values.size}
        return _scores(parts, universal_thresholds_by_kind(there), Spool(self.folder))


def _judge(batch: Batch, spool: Spool) -> list[Parts]:
    parts: list[Parts] = []
    for n, shot in enumerate(batch.shots):
        if shot.sample.kind in NEGATIVES:
            units = [Unit(n, k) for k in range(len(shot.maps))]
            highest = np.array([float(batch.raw(unit).max()) for unit in units])
            kept = np.concatenate([spool.keep(_smaller(batch, unit), None) for unit in units])
            parts.append({f"_max_{shot.sample.kind}": highest, f"_{shot.sample.kind}": kept})
        elif batch.units(n):
            parts.append(_positive(batch, n, spool))
        else:
            parts.append({})
    return parts


def _positive(batch: Batch, shot: int, spool: Spool) -> Parts:
    middle = cious(batch, shot, VIEW, Rule(), above_middle)
    found = cious(batch, shot, VIEW, Rule(), _adaptive)
    names = ("share_0.5", "mean", "auc")
    adaptive = zip(names, overlap_parts(found).values(), strict=True)
    kept = [
        spool.keep(_smaller(batch, unit), batch.truth(unit, Rule())) for unit in batch.units(shot)
    ]
    return {
        **overlap_parts(middle),
        **{f"adaptive_{name}": value for name, value in adaptive},
        "_positive": np.concatenate(kept),
    }


def _adaptive(ranked: Ranked) -> float:
    return float(ranked.ciou(ranked.kth_largest(ranked.true_pixels), strict=True))


def _smaller(batch: Batch, unit: Unit) -> np.ndarray:
    """The raw map or its view, whichever takes less room; the view can be made from either."""
    raw = batch.raw(unit)
    return raw if raw.size <= SIDE * SIDE else batch.view(unit, VIEW)


def _maxima(parts: Sequence[Parts]) -> dict[str, np.ndarray]:
    return {kind: column(parts, f"_max_{kind}") for kind in NEGATIVES}


def _scores(parts: Sequence[Parts], cuts: UniversalThresholds, spool: Spool) -> dict[str, float]:
    scores = {**dict.fromkeys(METRICS, float("nan")), **means(parts, MEANS)}
    if np.isnan(cuts.third_quartile):
        return scores
    table = np.array([_ciou(found, cuts) for found in _kept(parts, "_positive", spool)])
    for name, found in zip(CUTS, table.reshape(-1, len(CUTS)).T, strict=True):
        scores[f"ciou_{name}"] = float(np.mean(found)) if found.size else float("nan")
        scores[f"share_0.5_{name}"] = share_at(found)
        scores[f"auc_{name}"] = float(np.mean(areas(found))) if found.size else float("nan")
    for kind in NEGATIVES:
        lit = [_lit(found, cuts) for found in _kept(parts, f"_{kind}", spool)]
        scores[f"pia_{kind}"] = float(np.mean(lit)) if lit else float("nan")
        scores[f"auc_n_{kind}"] = auc_n(lit)
    scores["f_loc"] = f_loc(scores["ciou_q3"], _over_kinds(scores, "pia"))
    scores["f_auc"] = f_auc(scores["auc_q3"], _over_kinds(scores, "auc_n"))
    return scores


def _kept(parts: Sequence[Parts], name: str, spool: Spool) -> Iterator[Ranked | None]:
    """The maps of these parts, one at a time; None where the truth is empty."""
    for numbers in column(parts, name).reshape(-1, 2):
        values, truth = spool.find(numbers)
        height, width = values.shape
        if values.shape != (SIDE, SIDE):
            rows, columns = (taps(n, SIDE, VIEW.interpolation) for n in (height, width))
            values = resample(values, rows, columns)
        yield None if truth is None and name == "_positive" else rank(values, truth)


def _ciou(ranked: Ranked | None, cuts: UniversalThresholds) -> Scores:
    return np.zeros(len(cuts)) if ranked is None else ranked.ciou(cuts, strict=True)


def _lit(ranked: Ranked | None, cuts: UniversalThresholds) -> float:
    return 0.0 if ranked is None else float(ranked.lit(cuts.third_quartile, strict=True))


def _over_kinds(scores: Mapping[str, float], name: str) -> float:
    values = np.array([scores[f"{name}_{kind}"] for kind in NEGATIVES])
    known = values[~np.isnan(values)]
    return float(np.mean(known)) if known.size else float("nan")
