"""What judging costs: all protocols, against a loop written the way the peers write theirs.

    python benchmarks/judging.py DATA/benchmarks [--samples 120] [--quick]

DATA/benchmarks holds `vggss.json`; its 5,158 samples' boxes are judged on smooth random maps of
224 x 224, every fourth as a negative. Both ways are timed in turn, round after round, on the same
samples in one process and one thread, and must give the same scores to 1e-6; then the library
judges all samples, and its peak memory is printed. The loop needs scikit-learn.

Processor time is compared, so that other programs do not bend the ratio; wall time stands beside
it (the library writes maps to disk for `vssl_eval`, the loop keeps them in memory).

The loop (`peers`) resizes, sorts, cuts and sums anew for each protocol and each threshold, in
numpy, torch and scikit-learn. The library sorts a map once and looks thresholds up.

Predicted before the first run: the loop's 255 thresholds of F (twice) and 38 of ACL dominate, about
120 ms of 200 ms a map; the library needs about 5 ms, a fortieth. The limit is a tenth.

Measured (two shared cores with AVX-512): the loop 70 ms, of which F 29 and ACL 17, the library
4 ms, 0.052 of it. The library is as predicted. The loop is not: its passes over whole maps are
vectorised, and the prediction had them at about three times what they cost.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tqdm import tqdm

from soundspot.judging.blind import random_smooth
from soundspot.protocols import PROTOCOLS, Batch, Parts, Protocol, Shot, make
from soundspot.types import Kind, Sample

SIDE = 224
BATCH = 32
TOLERANCE = 1e-6
KINDS: tuple[Kind, ...] = ("silence", "noise", "offscreen")
GOLDEN = 0.6180339887498949

Array = NDArray[Any]
Scores = dict[str, float]


def main() -> None:
    """Time both, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of vggss.json")
    parser.add_argument("--samples", type=int, default=120, help="that both ways judge")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a smoke test: 12 samples, one round")
    arguments = parser.parse_args()
    sklearn = import_module("sklearn.metrics")

    torch.set_num_threads(1)
    count, rounds = (12, 1) if arguments.quick else (arguments.samples, arguments.rounds)
    samples = read(arguments.data / "vggss.json")
    some = list(shots(islice(samples, count)))
    ours(iter(some[:BATCH]))
    slow_times: list[tuple[float, float]] = []
    fast_times: list[tuple[float, float]] = []
    for _ in range(rounds):
        slow, times = timed(lambda: peers(some, sklearn))
        slow_times.append(times)
        fast, times = timed(lambda: ours(iter(some)))
        fast_times.append(times)
    compare(slow, fast)
    print(f"{len(PROTOCOLS)} protocols, {count} maps of {SIDE} x {SIDE}: the same scores")
    for place, clock in enumerate(("processor", "wall")):
        loop, library = (
            [1e3 * times[place] / count for times in both] for both in (slow_times, fast_times)
        )
        ratio = statistics.median(f / s for f, s in zip(library, loop, strict=True))
        print(
            f"{clock:10} time a map: the loop {statistics.median(loop):6.1f} ms, the library "
            f"{statistics.median(library):5.1f} ms, {ratio:.3f} of it (limit 0.100)"
        )
    if not arguments.quick:
        everything = list(read(arguments.data / "vggss.json"))
        bar = tqdm(shots(iter(everything)), total=len(everything), disable=None)
        _, (_, seconds) = timed(lambda: ours(iter(bar)))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"all {len(everything)} maps: {seconds:.0f} s, peak memory {peak:.0f} MiB (limit 1024)"
        )


def read(path: Path) -> Iterator[Sample]:
    """VGG-SS's samples, every fourth as a negative of one of the three kinds."""
    for number, clip in enumerate(json.loads(path.read_text())):
        name = clip["file"]
        boxes = tuple(tuple(np.clip(box, 0, 1).tolist()) for box in clip["bbox"])
        if number % 4 == 3:
            yield Sample(name, Path(name), Path(name), kind=KINDS[number // 4 % 3])
        else:
            yield Sample(name, Path(name), Path(name), boxes=boxes)


def shots(samples: Iterator[Sample]) -> Iterator[Shot]:
    """A smooth random map for each sample, with a threshold and a confidence."""
    for sample in samples:
        made = random_smooth(SIDE, SIDE, sample.id)
        yield Shot(sample, SIDE, SIDE, (made,), (float(made.max()),), cut=0.5, visible=1.0)


def ours(stream: Iterator[Shot]) -> Scores:
    """The library's scores."""
    protocols = [make(name) for name in PROTOCOLS]
    parts: dict[str, list[Parts]] = {name: [] for name in PROTOCOLS}
    while some := list(islice(stream, BATCH)):
        batch = Batch(some)
        for protocol in protocols:
            parts[protocol.name].extend(protocol.judge(batch))
    return {key: v for one in protocols for key, v in keyed(one, parts[one.name]).items()}


def keyed(protocol: Protocol, parts: Sequence[Parts]) -> Scores:
    """The scores of one protocol as PROTOCOL/METRIC."""
    return {f"{protocol.name}/{name}": v for name, v in protocol.scores(parts).items()}


def compare(slow: Mapping[str, float], fast: Mapping[str, float]) -> None:
    """Stop unless both ways gave the same scores."""
    if slow.keys() != fast.keys():
        sys.exit(f"only one of the two has {sorted(slow.keys() ^ fast.keys())}")
    apart = {key: (slow[key], fast[key]) for key in slow if not same(slow[key], fast[key])}
    if apart:
        sys.exit(f"the scores differ: {apart}")


def same(a: float, b: float) -> bool:
    """Whether two scores agree; NaN agrees with NaN."""
    return abs(a - b) <= TOLERANCE or (a != a and b != b)


def timed(task: Callable[[], Scores]) -> tuple[Scores, tuple[float, float]]:
    """A task's answer, its processor time and its wall time."""
    processor, wall = time.process_time(), time.perf_counter()
    answer = task()
    return answer, (time.process_time() - processor, time.perf_counter() - wall)


# The loop. One function a peer, one sample at a time, nothing shared. `sk` is sklearn.metrics.


def peers(shots: Sequence[Shot], sk: Any) -> Scores:
    """Every protocol's scores, computed separately."""
    scores: Scores = {}
    for name, evaluate in LOOPS.items():
        scores.update({f"{name}/{key}": v for key, v in evaluate(shots, sk).items()})
    return scores


def resized(shot: Shot, mode: str, corners: bool, which: int = 0, crop: bool = False) -> Array:
    """A map in the frame; `crop`: only the picture's central square of it."""
    size, top, left = frame(shot) if crop else ((SIDE, SIDE), 0, 0)
    tensor = torch.from_numpy(np.asarray(shot.maps[which], np.float32))[None, None]
    whole = F.interpolate(tensor, size=size, mode=mode, align_corners=corners)[0, 0].numpy()
    return np.asarray(whole[top : top + SIDE, left : left + SIDE])


def frame(shot: Shot) -> tuple[tuple[int, int], int, int]:
    """Size after scaling the shorter side, and where the central square begins."""
    short = min(shot.height, shot.width)
    height, width = int(SIDE * shot.height / short), int(SIDE * shot.width / short)
    return (height, width), round((height - SIDE) / 2), round((width - SIDE) / 2)


def truth(shot: Shot, people: bool = False, crop: bool = False, which: int = 0) -> Array:
    """The field's truth map: boxes truncated to pixels; consensus of annotators or union."""
    sample = shot.sample
    if sample.sources:
        return np.minimum(boxed(shot, sample.sources[which].boxes, crop), 1)
    if any(sample.annotators):
        if people:
            held = sum(np.minimum(boxed(shot, one, crop), 1) for one in sample.annotators)
            return np.minimum(held / min(2, len(sample.annotators)), 1)
        return np.minimum(sum(boxed(shot, one, crop) for one in sample.annotators) / 2, 1)
    return np.minimum(boxed(shot, sample.boxes, crop), 1)


def boxed(shot: Shot, boxes: Sequence[Sequence[float]], crop: bool) -> Array:
    """How many boxes hold each pixel."""
    (height, width), top, left = frame(shot) if crop else ((SIDE, SIDE), 0, 0)
    count = np.zeros((SIDE, SIDE))
    for x0, y0, x1, y1 in boxes:
        a, c = (min(max(int(v * width + 1e-6) - left, 0), SIDE) for v in (x0, x1))
        b, d = (min(max(int(v * height + 1e-6) - top, 0), SIDE) for v in (y0, y1))
        layer = np.zeros((SIDE, SIDE))
        layer[b:d, a:c] = 1
        count += layer
    return count


def ciou(infer: Array, gt: Array) -> float:
    """The field's formula; 0 where there is nothing to find."""
    below = np.sum(gt) + np.sum(infer * (gt == 0))
    return float(np.sum(infer * gt) / below) if np.sum(gt) > 0 else 0.0


def median(values: Array) -> float:
    """Element N // 2 of the sorted map."""
    return float(np.sort(values.flatten())[int(values.shape[0] * values.shape[1] / 2)])


def ranged(values: Array) -> Array:
    """The map brought to 0..1."""
    low, high = values.min(), values.max()
    return values if low == high else np.asarray((values - low) / (high - low))


def area(ious: Sequence[float], sk: Any) -> float:
    """AUC over 21 thresholds."""
    thresholds = [0.05 * i for i in range(21)]
    return float(sk.auc(thresholds, [np.mean(np.array(ious) >= t) for t in thresholds]))


def triple(ious: Sequence[float], sk: Any) -> Scores:
    """Share, mean and AUC."""
    share = float(np.mean(np.array(ious) >= 0.5))
    return {"ciou_share_0.5": share, "ciou_mean": float(np.mean(ious)), "auc": area(ious, sk)}


def visible(shots: Sequence[Shot]) -> list[Shot]:
    """The positives."""
    return [shot for shot in shots if shot.sample.kind == "positive"]


def plain(mode: str, corners: bool, cut: Callable[[Array], Array], **form: bool) -> Any:
    """The loop of a protocol that cuts each map by itself."""
    crop_map, options = form.pop("crop_map", False), form

    def evaluate(shots: Sequence[Shot], sk: Any) -> Scores:
        ious = []
        for shot in visible(shots):
            pred = resized(shot, mode, corners, crop=crop_map)
            infer = np.zeros((SIDE, SIDE))
            infer[cut(pred)] = 1
            ious.append(ciou(infer, truth(shot, **options)))
        return triple(ious, sk)

    return evaluate


def over_half(pred: Array) -> Array:
    """SSPL: at or above 0.5 of the range; nothing of a constant map."""
    return np.asarray((ranged(pred) >= 0.5) & (pred.min() < pred.max()))


def rc_grad(pred: Array) -> Array:
    """RC-Grad: below the median 0, then at or above 0.5."""
    pred = ranged(pred).copy()
    pred[pred < median(pred)] = 0
    return np.asarray(pred >= 0.5)


def slavc(shots: Sequence[Shot], sk: Any, people: bool = False) -> Scores:
    """SLAVC: positives and negatives, ranked by confidence."""
    ious, seen, sure = [], [], []
    for shot in shots:
        pred = resized(shot, "bicubic", True)
        gt = truth(shot, people) if shot.sample.kind == "positive" else np.zeros((SIDE, SIDE))
        ious.append(ciou((pred >= median(pred)).astype(float), gt))
        seen.append(shot.sample.kind == "positive")
        sure.append(np.sort(pred.flatten())[-pred.size // 4 :].mean(dtype=np.float64))
    found = [iou for iou, s in zip(ious, seen, strict=True) if s]
    curves = corrected_curves if people else thinned_curves
    ap, best = curves(np.array(ious), np.array(seen), np.array(sure))
    return {
        **triple(found, sk),
        "ap": ap,
        "max_f1": best,
        "loc_acc": float(np.mean(np.array(found) > 0.5)),
    }


def counts(ious: Array, seen: Array, sure: Array, level: float) -> tuple[int, int, int]:
    """True positives, false positives, false negatives."""
    tp = fp = fn = 0
    for iou, is_seen, confidence in zip(ious, seen, sure, strict=True):
        if confidence >= level:
            tp, fp = (tp + 1, fp) if is_seen and iou >= 0.5 else (tp, fp + 1)
        elif is_seen:
            fn += 1
    return tp, fp, fn


def f1(p: float, r: float) -> float:
    """Harmonic mean."""
    return 2 * p * r / (p + r) if p + r > 0 else 0.0


def thinned_curves(ious: Array, seen: Array, sure: Array) -> tuple[float, float]:
    """AP and F1 as SLAVC's code has them."""

    def point(level: float) -> tuple[float, float]:
        tp, fp, fn = counts(ious, seen, sure, level)
        return tp / (tp + fp) if tp + fp else 1.0, tp / (tp + fn) if tp + fn else 1.0

    curve = [point(level) for level in np.sort(sure)[:-1][:: -max(1, len(sure) // 200)]]
    precision = [max(p for p, _ in curve[i:]) for i in range(len(curve))]
    ap = sum(precision[i] * (curve[i + 1][1] - curve[i][1]) for i in range(len(curve) - 1))
    levels = sorted(sure)[:: max(1, len(sure) // 10)]
    return float(ap), max(f1(*point(level)) for level in levels)


def corrected_curves(ious: Array, seen: Array, sure: Array) -> tuple[float, float]:
    """AP and F1 over every confidence, recall of all that is visible, from recall 0."""
    curve = []
    for level in sorted(set(sure), reverse=True):
        tp, fp, _ = counts(ious, seen, sure, level)
        curve.append((tp / (tp + fp), tp / int(np.sum(seen))))
    recall = [0.0, *(r for _, r in curve)]
    best = [max(p for p, _ in curve[i:]) for i in range(len(curve))]
    ap = sum(best[i] * (recall[i + 1] - recall[i]) for i in range(len(curve)))
    return float(ap), max(f1(p, r) for p, r in curve)


def dsol(shots: Sequence[Shot], sk: Any) -> Scores:
    """DSOL: above a tenth of the maximum; NSA on negatives."""
    ious, dark = [], []
    for shot in shots:
        pred = resized(shot, "bilinear", False)
        if shot.sample.kind == "positive":
            cut = pred > np.float32(0.1 * float(np.max(pred)))
            ious.append(ciou(cut.astype(float), truth(shot)))
        else:
            dark.append(float(np.sum(pred <= 0.2) / pred.size))
    nsa = float(np.mean(dark)) if dark else float("nan")
    return {**triple(ious, sk), "ciou_share_0.3": float(np.mean(np.array(ious) >= 0.3)), "nsa": nsa}


def acl(shots: Sequence[Shot], sk: Any, stretch: bool = True) -> Scores:
    """ACL: 19 thresholds over the whole set, the best AUC kept."""
    results = []
    for threshold in [i / 20 for i in range(1, 20)]:
        ious = []
        for shot in visible(shots):
            pred = resized(shot, "bicubic", False)
            pred = ranged(pred) if stretch else pred
            ious.append(ciou((pred >= np.float32(threshold)).astype(float), truth(shot)))
        results.append(triple(ious, sk))
    return max(results, key=lambda result: round(result["auc"], 9))


def ssl_align(shots: Sequence[Shot], sk: Any, strict: bool = False) -> Scores:
    """SSL-Align: as many pixels as the truth has, and the median; one sound a picture."""
    adaptive, middle = [], []
    for shot in visible(shots):
        pred, gt = resized(shot, "bilinear", True), truth(shot)
        some = int((gt != 0).sum())
        if not some:
            adaptive.append(0.0)
            middle.append(0.0)
            continue
        level = np.sort(pred.flatten())[pred.size - some]
        infer = pred > level if strict else pred >= level
        adaptive.append(ciou(infer.astype(float), gt))
        middle.append(ciou((pred > median(pred)).astype(float), gt))
    first, second = triple(adaptive, sk), triple(middle, sk)
    return {
        **first,
        "median_share_0.5": second["ciou_share_0.5"],
        "median_mean": second["ciou_mean"],
        "median_auc": second["auc"],
        "iiou_share_0.5": first["ciou_share_0.5"],
        "iiou_auc": first["auc"],
        "iiou_median_share_0.5": second["ciou_share_0.5"],
        "iiou_median_auc": second["auc"],
    }


def vssl(shots: Sequence[Shot], sk: Any, by_kind: bool = False) -> Scores:
    """vssl_eval: everything is kept in memory, then cut at thresholds from the negatives."""
    kept = [(shot, resized(shot, "bilinear", False)) for shot in shots]
    highest = {
        kind: [float(s.maps[0].max()) for s in shots if s.sample.kind == kind] for kind in KINDS
    }
    if by_kind:
        top = max(float(np.median(values)) for values in highest.values())
        q3 = max(float(np.percentile(values, 75)) for values in highest.values())
    else:
        every = [value for values in highest.values() for value in values]
        top, q3 = max(every), float(np.percentile(every, 75))
    median_scores = plain("bilinear", False, lambda pred: pred > median(pred))(shots, sk)
    scores = {**median_scores, **{f"adaptive_{k}": v for k, v in strict_scores(kept, sk).items()}}
    for name, cut in (("max", top), ("max10", 1.1 * top), ("q3", q3)):
        cuts = [(p > np.float32(cut), truth(s)) for s, p in kept if s.sample.kind == "positive"]
        result = triple([ciou(infer.astype(float), gt) for infer, gt in cuts], sk)
        scores[f"ciou_{name}"], scores[f"auc_{name}"] = result["ciou_mean"], result["auc"]
        scores[f"share_0.5_{name}"] = result["ciou_share_0.5"]
    lit_means, areas = [], []
    for kind in KINDS:
        lit = [float(np.mean(p > np.float32(q3))) for s, p in kept if s.sample.kind == kind]
        thresholds = [i / 20 for i in range(21)]
        aoc = float(sk.auc(thresholds, [np.mean(np.array(lit) <= t) for t in thresholds]))
        scores[f"pia_{kind}"], scores[f"auc_n_{kind}"] = float(np.mean(lit)), aoc
        lit_means.append(np.mean(lit))
        areas.append(aoc)
    scores["f_loc"] = f1(scores["ciou_q3"], 1 - float(np.mean(lit_means)))
    scores["f_auc"] = f1(scores["auc_q3"], float(np.mean(areas)))
    return scores


def strict_scores(kept: Sequence[tuple[Shot, Array]], sk: Any) -> Scores:
    """Pixels above the k-th highest, k the truth's."""
    ious = []
    for shot, pred in kept:
        if shot.sample.kind == "positive":
            gt = truth(shot)
            some = int((gt != 0).sum())
            level = np.sort(pred.flatten())[pred.size - some] if some else pred.max()
            ious.append(ciou((pred > level).astype(float), gt))
    result = triple(ious, sk)
    return {
        "share_0.5": result["ciou_share_0.5"],
        "mean": result["ciou_mean"],
        "auc": result["auc"],
    }


def avsbench(shots: Sequence[Shot], sk: Any, every: int = 0) -> Scores:
    """AVSBench: mIoU of sigmoid > 0.5, F over 255 thresholds; `every`: maximum per so many."""
    ious, curves = [], []
    for shot in shots:
        prob = torch.sigmoid(torch.from_numpy(resized(shot, "bilinear", False)))
        empty = np.zeros((SIDE, SIDE))
        gt = torch.from_numpy(truth(shot) > 0 if shot.sample.kind == "positive" else empty).float()
        mask = (prob > 0.5).float()
        if gt.sum() == 0:
            ious.append(float(((1 - gt) * (1 - mask)).sum() / gt.numel()))
            curves.append(torch.full((255,), torch.nan))
        else:
            ious.append(float((mask * gt).sum() / torch.max(mask, gt).sum()))
            curves.append(f_curve(prob, gt))
    table = torch.stack(curves).double().numpy()
    batches = np.split(table, range(every, len(table), every)) if every else [table]
    best = []
    for batch in batches:
        known = batch[~np.isnan(batch).any(axis=1)]
        best.append(float(known.mean(axis=0).max()) if len(known) else 0.0)
    return {"miou": float(np.mean(ious)), "f_score": float(np.mean(best))}


def f_curve(prob: torch.Tensor, gt: torch.Tensor) -> torch.Tensor:
    """F at each threshold."""
    curve = torch.zeros(255, dtype=torch.float64)
    for i, threshold in enumerate(torch.from_numpy((np.arange(255) / 254).astype(np.float32))):
        chosen = (prob >= threshold).float()
        tp = (chosen * gt).sum().double()
        precision, recall = tp / (chosen.sum().double() + 1e-20), tp / gt.sum().double()
        if tp > 0:
            curve[i] = 1.3 * precision * recall / (0.3 * precision + recall)
    return curve


def avgn(shots: Sequence[Shot], sk: Any, corrected: bool = False) -> Scores:
    """AVGN: SLAVC's cut and pixel-wise average precision, its arguments swapped or not."""
    ious, precisions = [], []
    for shot in visible(shots):
        pred, gt = resized(shot, "bicubic", True), truth(shot)
        infer = (pred >= median(pred)).astype(float)
        ious.append(ciou(infer, gt))
        if not gt.any():
            precisions.append(0.0)
        elif corrected:
            precisions.append(sk.average_precision_score((gt > 0).ravel(), pred.ravel()))
        else:
            precisions.append(sk.average_precision_score(infer.ravel(), gt.ravel()))
    share = float(np.mean(np.array(ious) >= 0.3))
    return {**triple(ious, sk), "ciou_share_0.3": share, "piap": float(np.mean(precisions))}


def soundspot(shots: Sequence[Shot], sk: Any) -> Scores:
    """Ours, for pictures of the map's size with one source each."""
    rows: dict[str, list[float]] = {}
    ious: dict[str, list[float]] = {"as_truth": [], "top_half": [], "cut": []}
    for shot in visible(shots):
        pred = np.asarray(shot.maps[0])
        gt = touched(shot)
        flat, some = pred.ravel(), int(gt.sum())
        order = np.lexsort(((np.arange(flat.size) * GOLDEN) % 1, -flat))
        infer = np.zeros(flat.size)
        infer[order[:some]] = 1
        ious["as_truth"].append(ciou(infer.reshape(pred.shape), gt))
        ious["top_half"].append(ciou((pred >= median(pred)).astype(float), gt))
        ious["cut"].append(ciou((pred >= np.float32(shot.cut or 0)).astype(float), gt))
        rows.setdefault("pointing", []).append(float(gt[pred == pred.max()].all()))
        ap = sk.average_precision_score((gt > 0).ravel(), flat)
        rows.setdefault("pixel_ap", []).append(float(ap))
    sure = [shot.confidences[0] for shot in visible(shots)]
    scores = {name: float(np.mean(values)) for name, values in rows.items()}
    for rule, values in ious.items():
        share, mean, auc = triple(values, sk).values()
        scores.update({f"{rule}_share_0.5": share, f"{rule}_mean": mean, f"{rule}_auc": auc})
    for kind in KINDS:
        some_kind = [shot for shot in shots if shot.sample.kind == kind]
        lit = [float(np.mean(s.maps[0] >= np.float32(s.cut or 0))) for s in some_kind]
        scores[f"pia_{kind}"] = float(np.mean(lit))
        others = [shot.confidences[0] for shot in some_kind]
        gate = [float(s.confidences[0] >= (s.visible or 0)) for s in some_kind]
        scores[f"gated_pia_{kind}"] = float(
            np.mean([a * b for a, b in zip(lit, gate, strict=True)])
        )
        truths = [1] * len(sure) + [0] * len(others)
        scores[f"auroc_{kind}"] = float(sk.roc_auc_score(truths, sure + others))
    unsure = [shot.confidences[0] for shot in shots if shot.sample.kind in KINDS]
    scores["calibration_error"] = said_and_so(sure, unsure)
    return {**scores, "iiou_share_0.5": float("nan"), "iiou_auc": float("nan")}


def said_and_so(sure: Sequence[float], unsure: Sequence[float]) -> float:
    """Expected calibration error, bin by bin; the last bin holds 1 too."""
    every = [*((c, 1, 1 / len(sure)) for c in sure), *((c, 0, 1 / len(unsure)) for c in unsure)]
    if not all(0 <= said <= 1 for said, _, _ in every):
        return float("nan")
    total = 0.0
    for n in range(10):
        inside = [(c, so, w) for c, so, w in every if min(int(c * 10), 9) == n]
        total += abs(sum(w * (c - so) for c, so, w in inside)) / 2
    return total


def touched(shot: Shot) -> Array:
    """Every pixel that a box touches, at the picture's own size."""
    mask = np.zeros((shot.height, shot.width))
    for x0, y0, x1, y1 in shot.sample.boxes:
        rows = slice(int(np.floor(y0 * shot.height + 1e-6)), int(np.ceil(y1 * shot.height - 1e-6)))
        columns = slice(int(np.floor(x0 * shot.width + 1e-6)), int(np.ceil(x1 * shot.width - 1e-6)))
        mask[rows, columns] = 1
    return mask


def strict_median(pred: Array) -> Array:
    """LVS."""
    return np.asarray(pred > median(pred))


def weak_median(pred: Array) -> Array:
    """EZ-VSL."""
    return np.asarray(pred >= median(pred))


LOOPS: dict[str, Callable[[Sequence[Shot], Any], Scores]] = {
    "lvs": plain("bilinear", False, strict_median),
    "lvs_cropped": plain("bilinear", False, strict_median, crop_map=True),
    "lvs_corrected": plain("bilinear", False, strict_median, crop_map=True, crop=True, people=True),
    "ez_vsl": plain("bilinear", True, weak_median),
    "ez_vsl_corrected": plain("bilinear", True, weak_median, people=True),
    "slavc": slavc,
    "slavc_corrected": lambda shots, sk: slavc(shots, sk, people=True),
    "sspl": plain("bilinear", False, over_half),
    "sspl_cropped": plain("bilinear", False, over_half, crop_map=True),
    "sspl_corrected": plain("bilinear", False, over_half, crop_map=True, crop=True, people=True),
    "rc_grad": plain("bilinear", False, rc_grad),
    "rc_grad_corrected": plain("bilinear", False, rc_grad, people=True),
    "dsol": dsol,
    "acl": acl,
    "acl_raw": lambda shots, sk: acl(shots, sk, stretch=False),
    "ssl_align": ssl_align,
    "ssl_align_strict": lambda shots, sk: ssl_align(shots, sk, strict=True),
    "vssl_eval": vssl,
    "vssl_eval_by_kind": lambda shots, sk: vssl(shots, sk, by_kind=True),
    "avsbench": avsbench,
    "avsbench_batched": lambda shots, sk: avsbench(shots, sk, every=5),
    "avgn": avgn,
    "avgn_corrected": lambda shots, sk: avgn(shots, sk, corrected=True),
    "soundspot": soundspot,
}

if __name__ == "__main__":
    main()
