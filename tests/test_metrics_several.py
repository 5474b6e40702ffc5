"""Several sources, pictures, frames and sizes, by hand and against searches of everything."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from soundspot import metrics

SHAPE = (4, 6)
LEFT = metrics.truth_mask([(0, 0, 0.5, 1)], *SHAPE)
RIGHT = ~LEFT
maps = hnp.arrays(np.float32, SHAPE, elements=st.integers(0, 5))
logits = hnp.arrays(np.float32, SHAPE, elements=st.floats(-20, 20, width=32))
masks = hnp.arrays(np.bool_, SHAPE)
truths = masks.filter(np.any)


def as_map(mask):
    return mask.astype(np.float32)


def test_class_aware_ciou_by_hand():
    loud = np.where(LEFT, 1.0, 0.15).astype(np.float32)  # 0.15 is dark at 0.2 max, lit at 0.1 max
    assert metrics.class_aware_ciou([loud, as_map(RIGHT)], [LEFT, RIGHT]) == 1
    assert metrics.class_aware_ciou([loud, as_map(RIGHT)], [LEFT, RIGHT], 0.1) == 0.75
    assert metrics.class_aware_ciou([as_map(RIGHT), as_map(LEFT)], [LEFT, RIGHT]) == 0
    assert metrics.class_aware_ciou([np.zeros(SHAPE)], [LEFT]) == 0
    for wrong in ([], [loud, loud]):
        with pytest.raises(ValueError, match="one map a class"):
            metrics.class_aware_ciou(wrong, [LEFT])


def test_nsa_is_the_dark_share():
    assert metrics.nsa([np.zeros(SHAPE), as_map(LEFT)]) == 0.75
    assert metrics.nsa([np.full(SHAPE, 0.2)]) == 1
    assert metrics.nsa([np.full(SHAPE, 0.2)], threshold=0.1) == 0
    assert math.isnan(metrics.nsa([]))
    for bad in (np.full(SHAPE, np.nan), np.empty((0, 2))):
        with pytest.raises(ValueError, match="silent class"):
            metrics.nsa([bad])


def test_cap_knows_its_classes_and_piap_does_not():
    good = [as_map(LEFT), as_map(RIGHT)]
    assert metrics.cap(good, [LEFT, RIGHT]) == metrics.piap(good, [LEFT, RIGHT]) == 1
    assert metrics.cap(good[::-1], [LEFT, RIGHT]) == 0.5  # AP of the reverse is the truth's share
    assert metrics.piap(good[::-1], [LEFT, RIGHT]) == 1
    assert (
        metrics.cap([good[0], None], [LEFT, RIGHT]) == metrics.piap(good[:1], [LEFT, RIGHT]) == 0.5
    )
    assert metrics.piap([*good, np.zeros(SHAPE)], [LEFT]) == 1  # maps left over score nothing
    assert metrics.piap([], [LEFT]) == 0
    with pytest.raises(ValueError, match="no truth"):
        metrics.piap(good, [])


@given(
    hnp.arrays(
        np.float64, st.tuples(st.integers(0, 4), st.integers(1, 4)), elements=st.floats(0, 1)
    )
)
def test_the_best_assignment_among_all(scores):
    count, truths_count = scores.shape
    slots = [*range(count), *[None] * truths_count]
    sums = [
        sum(scores[m, t] for t, m in enumerate(owners) if m is not None)
        for owners in itertools.permutations(slots, truths_count)
    ]
    owners = metrics.best_assignment(scores)
    given_away = [m for m in owners if m is not None]
    assert len(set(given_away)) == len(given_away)
    got = sum(scores[m, t] for t, m in enumerate(owners) if m is not None)
    assert got == pytest.approx(max(sums))


def test_too_many_truths_to_match():
    with pytest.raises(ValueError, match="12 at most"):
        metrics.best_assignment(np.ones((1, 13)))


@given(st.lists(maps, min_size=2, max_size=2), st.lists(truths, min_size=2, max_size=2))
def test_matched_ciou_is_the_better_of_two_ways(both, wanted):
    table = [[metrics.ciou(metrics.top_half(m), t) for t in wanted] for m in both]
    straight, crossed = table[0][0] + table[1][1], table[0][1] + table[1][0]
    assert metrics.matched_ciou(both, wanted).sum() == pytest.approx(max(straight, crossed))


def test_matched_ciou_takes_any_rule():
    got = metrics.matched_ciou([as_map(RIGHT)], [LEFT, RIGHT], metrics.half_of_range)
    assert got.tolist() == [0, 1]
    assert metrics.share_at(got, 0.3) == 0.5


def test_noprior_is_greedy_in_the_maps_order():
    spread = as_map(LEFT)
    spread[:, 3] = 0.5  # the first map: half of the picture is above its middle, all of it LEFT
    got = metrics.noprior_matches([spread, as_map(LEFT)], [LEFT, RIGHT])
    assert got == ((1, 0), (1, 0))  # the second finds LEFT taken, and overlaps nothing else
    middle = metrics.truth_mask([(1 / 3, 0, 5 / 6, 1)], *SHAPE)  # 4 of LEFT's, 8 of RIGHT's pixels
    assert metrics.noprior_matches([spread, as_map(middle)], [LEFT, RIGHT]) == (
        (1, pytest.approx(8 / 16)),
        (1, pytest.approx(8 / 12 * 8 / 12 + 4 / 12 * 12 / 24)),
    )


def test_noprior_counts_too_few_and_too_many_but_not_none():
    one = as_map(LEFT)
    assert metrics.noprior_matches([one], [LEFT, RIGHT]) == ((1, 0), (1, 0))
    assert metrics.noprior_matches([one, one], [LEFT]) == ((1, 0), (1, 0))
    assert metrics.noprior_matches([], [LEFT, RIGHT]) == ((), ())
    constant = metrics.noprior_matches([np.ones(SHAPE)], [LEFT])
    assert constant == ((0,), (pytest.approx(0.5),))


def test_avgn_swaps_score_and_truth():
    mask = LEFT | metrics.truth_mask([(0, 0, 1, 0.25)], *SHAPE)  # 12 + 3 pixels
    assert metrics.piap_avgn(mask, LEFT) == pytest.approx(12 / 15 + 3 / 15 * 15 / 24)
    assert metrics.pixel_ap(as_map(mask), LEFT) == pytest.approx(12 / 15)
    assert metrics.piap_avgn(LEFT, LEFT) == 1
    assert metrics.piap_avgn(np.zeros(SHAPE, bool), LEFT) == 0
    with pytest.raises(ValueError, match="mask"):
        metrics.piap_avgn(as_map(LEFT), LEFT)
    with pytest.raises(ValueError, match="empty"):
        metrics.piap_avgn(LEFT, np.zeros(SHAPE, bool))


def test_a_picture_counts_when_every_sound_is_found():
    scores, pictures = [0.9, 0.5, 0.7, 0.2, 1.0], ["a", "a", "b", "b", "c"]
    assert metrics.iiou_of_each(scores, pictures) == {"a": 0.5, "b": 0.2, "c": 1.0}
    assert metrics.iiou_share(scores, pictures) == pytest.approx(2 / 3)
    assert metrics.iiou_auc(scores, pictures) == pytest.approx(metrics.auc([0.5, 0.2, 1.0]))
    assert math.isnan(metrics.iiou_share([], []))
    assert math.isnan(metrics.iiou_auc([], []))
    for wrong in ([0.1], [np.nan, 0.1]):
        with pytest.raises(ValueError, match="names of pictures"):
            metrics.iiou_share(wrong, ["a", "b"])


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3)), min_size=1))
def test_interactive_scores_threshold_by_threshold(rows):
    """The authors count, at each threshold, the pictures whose every sound passes it."""
    pictures = {p for _, p in rows}

    def share(threshold):
        return sum(all(s >= threshold for s, q in rows if q == p) for p in pictures) / len(pictures)

    columns = tuple(zip(*rows, strict=True))
    assert metrics.iiou_share(*columns) == pytest.approx(share(0.5))
    area = sum((share(k / 20) + share((k + 1) / 20)) / 2 * 0.05 for k in range(20))
    assert metrics.iiou_auc(*columns) == pytest.approx(area)


def test_an_empty_truth_is_scored_on_the_background():
    nothing = np.zeros(SHAPE, bool)
    assert metrics.mask_iou(nothing, nothing) == 1
    assert metrics.mask_iou(LEFT, nothing) == 0.5
    assert metrics.mask_iou(~nothing, nothing) == 0
    assert metrics.mask_iou(LEFT, LEFT) == 1
    assert metrics.mask_iou(nothing, LEFT) == 0
    with pytest.raises(ValueError, match="True and False"):
        metrics.mask_iou(as_map(LEFT), LEFT)
    with pytest.raises(ValueError, match="shape"):
        metrics.mask_iou(LEFT, LEFT[:1])


@given(logits)
def test_a_pixel_sounds_above_a_half(values):
    expected = 1 / (1 + np.exp(-values.astype(np.float64)))
    clear = np.abs(expected - 0.5) > 1e-6
    np.testing.assert_array_equal(metrics.sounding(values)[clear], (expected > 0.5)[clear])
    assert not metrics.sounding(np.zeros((1, 1), np.float32)).any()


@given(logits, truths)
def test_the_f_curve_threshold_by_threshold(values, truth):
    probabilities = metrics.sigmoid(values)
    expected = []
    for threshold in np.arange(255) / 254:
        chosen = probabilities >= np.float32(threshold)
        hits = (chosen & truth).sum()
        precision, recall = hits / max(chosen.sum(), 1), hits / truth.sum()
        total = 0.3 * precision + recall
        expected.append(1.3 * precision * recall / total if total else 0.0)
    assert metrics.f_curve(probabilities, truth) == pytest.approx(np.array(expected))
    assert metrics.max_f([expected]) == pytest.approx(max(expected))


def test_f_by_hand():
    probabilities = np.array([[0.9, 0.6, 0.2, 0.1]], np.float32)
    truth = np.array([[True, False, True, False]])
    curve = metrics.f_curve(probabilities, truth)
    assert curve[0] == pytest.approx(1.3 * 0.5 * 1 / (0.3 * 0.5 + 1))
    assert curve[127] == pytest.approx(1.3 * 0.5 * 0.5 / (0.3 * 0.5 + 0.5))  # t = 0.5
    assert curve[254] == 0
    assert curve.max() == pytest.approx(1.3 * 1 * 0.5 / (0.3 * 1 + 0.5))  # only the first pixel
    assert metrics.max_f([metrics.f_curve(as_map(truth), truth)]) == 1


def test_one_maximum_for_the_set_is_below_one_a_batch():
    high, low = np.zeros(255), np.zeros(255)
    high[200], low[50] = 0.8, 0.6
    empty = np.full(255, np.nan)
    assert metrics.max_f([high, low, empty]) == pytest.approx(0.4)
    assert metrics.max_f_in_batches([[high], [low]]) == pytest.approx(0.7)
    assert metrics.max_f_in_batches([[high, low], [empty]]) == pytest.approx(0.2)
    assert math.isnan(metrics.max_f([empty]))
    assert math.isnan(metrics.max_f([]))
    assert math.isnan(metrics.max_f_in_batches([]))


def test_f_of_an_empty_truth_and_of_what_is_no_probability():
    assert np.isnan(metrics.f_curve(as_map(LEFT), np.zeros(SHAPE, bool))).all()
    with pytest.raises(ValueError, match="probabilities"):
        metrics.f_curve(as_map(LEFT) * 2, LEFT)
    with pytest.raises(ValueError, match="0 and 1"):
        metrics.f_curve(as_map(LEFT), LEFT * 0.5)
    with pytest.raises(ValueError, match="NaN"):
        metrics.f_curve(np.full(SHAPE, np.nan), np.zeros(SHAPE, bool))


def test_sizes_are_the_fields_in_its_own_frame():
    def bucket(side):
        truth = np.zeros((224, 224), bool)
        truth[:side, :side] = True
        return metrics.size_of(metrics.size_share(truth))

    sides = {31: "small", 32: "medium", 95: "medium", 96: "large", 143: "large", 144: "huge"}
    assert {side: bucket(side) for side in sides} == sides
    assert metrics.size_of(1) == "huge"
    assert metrics.size_of(0) == "small"
    assert metrics.SIZES == ("small", "medium", "large", "huge")
    assert [round(100 * cut, 2) for cut in metrics.SIZE_CUTS] == [2.04, 18.37, 41.33]
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="share"):
            metrics.size_of(wrong)


def test_half_agreement_counts_half_in_size():
    assert metrics.size_share(np.array([[1.0, 0.5, 0.0, 0.0]])) == 0.375
    with pytest.raises(ValueError, match="empty"):
        metrics.size_share(np.zeros((2, 2), bool))


@given(truths)
def test_no_small_or_medium_source_survives_the_middle_value(truth):
    if metrics.size_share(truth) < 0.25:
        best = metrics.ciou(metrics.top_half(truth.astype(float)), truth)
        assert best < 0.5
