"""Parts add up to the whole, to the last bit, in any order, and over processes."""

import itertools
import json
import math
import random

import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing
from hypothesis import given
from hypothesis import strategies as st

from soundspot import metrics


def detection():
    return metrics.Collected("detection_ap", metrics.detection_ap, 3)


def interactive():
    return metrics.Collected(
        "iiou", lambda pictures, scores: metrics.iiou_share(scores, pictures), 2
    )


RNG = np.random.default_rng(0)
SCORES = [(float(v),) for v in RNG.random(37)]
CURVES = [(row,) for row in [*RNG.random((9, 255)), np.full(255, np.nan)]]
DETECTIONS = [(float(a), float(b), bool(c < 0.6)) for a, b, c in RNG.random((23, 3))]
PICTURES = [(f"p{i % 5}", float(v)) for i, v in enumerate(RNG.random(17))]

MAKERS = {
    "mean": (metrics.accumulate_mean, SCORES),
    "share": (metrics.accumulate_share, SCORES),
    "auc": (metrics.accumulate_auc, SCORES),
    "f": (metrics.accumulate_f, CURVES),
    "detection": (detection, DETECTIONS),
    "interactive": (interactive, PICTURES),
}


def filled(make, samples):
    accumulator = make()
    for sample in samples:
        accumulator.update(*sample)
    return accumulator


def test_each_computes_what_its_function_does():
    values = [v for (v,) in SCORES]
    assert filled(metrics.accumulate_mean, SCORES).compute() == pytest.approx(
        np.mean(values), abs=1e-12
    )
    assert filled(metrics.accumulate_share, SCORES).compute() == metrics.share_at(values)
    assert filled(metrics.accumulate_auc, SCORES).compute() == pytest.approx(metrics.auc(values))
    curves = [row for (row,) in CURVES]
    assert filled(metrics.accumulate_f, CURVES).compute() == pytest.approx(
        metrics.max_f(curves), abs=1e-12
    )
    columns = tuple(zip(*DETECTIONS, strict=True))
    assert filled(detection, DETECTIONS).compute() == pytest.approx(metrics.detection_ap(*columns))
    pictures, scores = zip(*PICTURES, strict=True)
    assert filled(interactive, PICTURES).compute() == metrics.iiou_share(scores, pictures)


@pytest.mark.parametrize("name", MAKERS)
def test_merged_parts_equal_the_whole_to_the_last_bit_in_any_order(name):
    make, samples = MAKERS[name]
    whole = filled(make, samples).compute()
    shuffled = random.Random(1).sample(samples, len(samples))
    parts = [shuffled[:3], shuffled[3:4], [], shuffled[4:]]
    for order in itertools.permutations(parts):
        total = make()
        for part in order:
            total.merge(filled(make, part))
        assert total.compute() == whole


@given(st.lists(st.floats(0, 1), max_size=30), st.randoms())
def test_the_order_of_scores_does_not_matter(values, rng):
    mixed = rng.sample(values, len(values))
    for make in (metrics.accumulate_mean, metrics.accumulate_auc, metrics.accumulate_share):
        a, b = (filled(make, [(v,) for v in vs]).compute() for vs in (values, mixed))
        assert a == b or (math.isnan(a) and math.isnan(b))


@pytest.mark.parametrize("name", MAKERS)
def test_a_state_is_plain_and_rebuilds_the_accumulator(name):
    make, samples = MAKERS[name]
    accumulator = filled(make, samples)
    state = json.loads(json.dumps(accumulator.state()))
    again = make().from_state(state)
    assert again.compute() == accumulator.compute()
    again.update(*samples[0])
    assert again.compute() == filled(make, [*samples, samples[0]]).compute()
    assert accumulator.compute() == filled(make, samples).compute()  # a state is a copy


@pytest.mark.parametrize("name", MAKERS)
def test_reset_forgets_and_nothing_scores_nan(name):
    make, samples = MAKERS[name]
    accumulator = filled(make, samples)
    accumulator.reset()
    assert math.isnan(accumulator.compute())
    accumulator.merge(make())
    assert math.isnan(make().from_state(accumulator.state()).compute())
    accumulator.update(*samples[0])
    assert accumulator.compute() == filled(make, samples[:1]).compute()


def test_an_empty_truth_leaves_f_alone():
    accumulator = metrics.accumulate_f()
    accumulator.update(np.full(255, np.nan))
    assert math.isnan(accumulator.compute())


def test_what_accumulators_refuse():
    for bad in (1.5, float("nan"), [0.1, 0.2]):
        for make in (metrics.accumulate_mean, metrics.accumulate_share, metrics.accumulate_auc):
            with pytest.raises(ValueError, match=r"0\.\.1"):
                make().update(bad)
    with pytest.raises(ValueError, match="255 score"):
        metrics.accumulate_f().update([0.5])
    with pytest.raises(ValueError, match="3 values"):
        detection().update(0.5, 0.5)
    with pytest.raises(ValueError, match="none NaN"):
        detection().update(0.5, float("nan"), True)
    with pytest.raises(ValueError, match=r"share >= 0\.3"):
        metrics.accumulate_share(0.5).merge(metrics.accumulate_share(0.3))
    with pytest.raises(ValueError, match="not of 'mean'"):
        metrics.accumulate_mean().from_state({})
    with pytest.raises(ValueError, match="not of 'detection_ap'"):
        detection().merge(interactive())


def test_rows_of_numpy_are_plain_too():
    accumulator = detection()
    accumulator.update(np.float32(0.5), np.float64(2), np.bool_(True))
    assert json.loads(json.dumps(accumulator.state()))["collected"] == [[0.5, 2.0, True]]
    assert accumulator.compute() == 1


def test_without_a_group_gather_is_a_copy():
    accumulator = filled(metrics.accumulate_mean, SCORES)
    alone = metrics.gather(accumulator)
    assert alone is not accumulator
    assert alone.compute() == accumulator.compute()


def judge_my_share(rank, folder):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    found = {
        name: metrics.gather(filled(make, samples[rank::2])).compute()
        for name, (make, samples) in MAKERS.items()
    }
    (folder / f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


def test_two_processes_agree_with_one(tmp_path):
    torch.multiprocessing.spawn(judge_my_share, (tmp_path,), nprocs=2)
    alone = {name: filled(*of).compute() for name, of in MAKERS.items()}
    for rank in range(2):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == alone


def test_torchmetrics_counts_alike():
    torchmetrics = pytest.importorskip("torchmetrics")
    theirs, ours = torchmetrics.MeanMetric(), metrics.accumulate_mean()
    for (value,) in SCORES:
        theirs.update(value)
        ours.update(value)
    assert ours.compute() == pytest.approx(float(theirs.compute()), rel=1e-6)


def test_torchmetrics_scores_alike():
    classification = pytest.importorskip("torchmetrics.classification")
    seen = torch.tensor([visible for *_, visible in DETECTIONS])
    sure = torch.tensor([confidence for _, confidence, _ in DETECTIONS], dtype=torch.float64)
    ap, area = classification.BinaryAveragePrecision(), classification.BinaryAUROC()
    assert metrics.average_precision(sure, seen) == pytest.approx(float(ap(sure, seen)), rel=1e-6)
    got = metrics.auroc(sure[seen], sure[~seen])
    assert got == pytest.approx(float(area(sure, seen)), rel=1e-6)
