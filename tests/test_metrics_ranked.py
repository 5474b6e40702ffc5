"""One sort against many: ranked scores equal those of masks, of slow loops and of scikit-learn."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from soundspot import metrics
from soundspot.judging.blind import centre_disc

SHAPE = (6, 5)
levels = st.integers(-3, 3).map(float)
maps = hnp.arrays(np.float64, SHAPE, elements=levels)
smooth_maps = hnp.arrays(np.float32, SHAPE, elements=st.floats(-9, 9, width=32))
truths = hnp.arrays(np.bool_, SHAPE).filter(np.any)
consensus = hnp.arrays(np.float64, SHAPE, elements=st.sampled_from([0.0, 0.5, 1.0])).filter(np.any)
thresholds = st.floats(-4, 4)

BY_HAND = np.array([[0.9, 0.8, 0.8, 0.5, 0.3]])
BY_HAND_TRUTH = np.array([[True, False, True, False, True]])


def slow_ap(scores, truth, envelope):
    """Average precision by its definition, threshold by threshold."""
    points = []
    for threshold in sorted(set(scores), reverse=True):
        chosen = [t for s, t in zip(scores, truth, strict=True) if s >= threshold]
        points.append((sum(chosen) / sum(truth), sum(chosen) / len(chosen)))
    area, before = 0.0, 0.0
    for i, (recall, precision) in enumerate(points):
        best = max(p for _, p in points[i:]) if envelope else precision
        area += (recall - before) * best
        before = recall
    return area


@given(maps | smooth_maps, truths, st.booleans())
def test_pixel_ap_by_its_definition(values, truth, envelope):
    expected = slow_ap(values.ravel().tolist(), truth.ravel().tolist(), envelope)
    assert metrics.pixel_ap(values, truth, envelope=envelope) == pytest.approx(expected)
    listed = metrics.average_precision(values, truth, envelope=envelope)
    assert listed == pytest.approx(expected)


@pytest.fixture(scope="module")
def sklearn():
    return pytest.importorskip("sklearn.metrics")


@given(values=maps, truth=truths)
def test_pixel_ap_is_scikit_learns(sklearn, values, truth):
    expected = sklearn.average_precision_score(truth.ravel(), values.ravel())
    assert metrics.pixel_ap(values, truth) == pytest.approx(expected)


def test_pixel_ap_by_hand():
    """Thresholds .9 (1 of 1), .8 (2 of 3), .3 (3 of 5)."""
    assert metrics.pixel_ap(BY_HAND, BY_HAND_TRUTH) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    late = np.array([[3.0, 2.0, 1.0]]), np.array([[False, True, True]])
    assert metrics.pixel_ap(*late) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert metrics.pixel_ap(*late, envelope=True) == pytest.approx(2 / 3)


@given(truths)
def test_pixel_ap_of_the_truth_itself_of_nothing_and_of_the_reverse(truth):
    assert metrics.pixel_ap(truth.astype(float), truth) == 1
    assert metrics.pixel_ap(np.zeros(SHAPE), truth) == pytest.approx(truth.mean())
    assert metrics.pixel_ap(1.0 - truth, truth) == pytest.approx(truth.mean())


@given(smooth_maps, truths)
def test_pixel_ap_asks_for_order_alone(values, truth):
    assert metrics.pixel_ap(values * 2, truth) == metrics.pixel_ap(values, truth)
    assert metrics.pixel_ap(values, truth, envelope=True) >= metrics.pixel_ap(values, truth) - 1e-12


def test_average_precision_at_its_edges():
    assert np.isnan(metrics.average_precision([0.3, 0.4], [False, False]))
    assert np.isnan(metrics.average_precision([], []))
    assert metrics.average_precision([0.3], [True]) == 1
    with pytest.raises(ValueError, match="NaN"):
        metrics.average_precision([np.nan], [True])
    with pytest.raises(ValueError, match="as many"):
        metrics.average_precision([1, 2], [True])


@given(maps | smooth_maps, truths | consensus, thresholds, st.booleans())
def test_ciou_at_a_threshold_is_that_of_the_mask(values, truth, threshold, strict):
    mask = metrics.at_least(values, threshold, strict=strict)
    ranked = metrics.rank(values, truth)
    expected = metrics.ciou(mask, truth)
    assert float(ranked.ciou(threshold, strict=strict)) == pytest.approx(expected)
    assert float(ranked.lit(threshold, strict=strict)) == pytest.approx(mask.mean())
    many = ranked.ciou([threshold, -99, 99], strict=strict)
    assert many == pytest.approx([expected, truth.sum() / (truth.sum() + (truth == 0).sum()), 0])


@given(maps | smooth_maps, truths | consensus)
def test_every_rule_has_two_forms(values, truth):
    ranked = metrics.rank(values, truth)
    scaled = ranked.min_max()
    k = ranked.true_pixels
    pairs = [
        (metrics.top_half(values), ranked.ciou(ranked.middle)),
        (metrics.top_half(values, strict=True), ranked.ciou(ranked.middle, strict=True)),
        (metrics.adaptive(values, truth), ranked.ciou(ranked.kth_largest(k))),
        (
            metrics.adaptive(values, truth, strict=True),
            ranked.ciou(ranked.kth_largest(k), strict=True),
        ),
        (metrics.half_of_range(values), scaled.ciou(0.5)),
        (metrics.upper_half_of_range(values), scaled.ciou(max(0.5, scaled.middle))),
        (metrics.fraction_of_maximum(values), ranked.ciou(0.1 * ranked.highest, strict=True)),
    ]
    for mask, score in pairs:
        assert float(score) == pytest.approx(metrics.ciou(mask, truth))
    fixed = [
        metrics.ciou(metrics.min_max(values) >= np.asarray(t, values.dtype), truth)
        for t in metrics.FIXED_THRESHOLDS
    ]
    assert scaled.ciou(metrics.FIXED_THRESHOLDS) == pytest.approx(fixed)


@given(smooth_maps, truths)
def test_ranked_order_statistics(values, truth):
    ranked = metrics.rank(values, truth)
    rising = np.sort(values, axis=None)
    np.testing.assert_array_equal(ranked.pixels, rising)
    assert (ranked.lowest, ranked.highest) == (rising[0], rising[-1])
    assert ranked.middle == rising[values.size // 2]
    assert ranked.kth_largest(3) == rising[-3]
    assert ranked.size == values.size
    assert ranked.true_pixels == truth.sum()
    for k in (0, values.size + 1):
        with pytest.raises(ValueError, match="k must be"):
            ranked.kth_largest(k)


def test_thresholds_have_the_maps_precision():
    """0.1 as a single is above 0.1 as a double; a map that holds it reaches it all the same."""
    single = np.array([[0.95, 0.0]], np.float32)  # a little below 0.95 as a double
    truth = np.array([[True, False]])
    assert float(metrics.rank(single, truth).ciou(0.95)) == 1
    assert metrics.at_least(single, 0.95).tolist() == [[True, False]]
    whole = np.array([[2, 1]])
    assert float(metrics.rank(whole, truth).ciou(1.5)) == 1


def test_a_truth_without_background():
    ranked = metrics.rank(np.array([[1.0, 2.0]]), np.array([[0.5, 1.0]]))
    assert float(ranked.ciou(2.0)) == pytest.approx(1 / 1.5)
    assert ranked.pixel_ap() == 1


@pytest.mark.parametrize("constant", [0.0, 1.0, -3.0])
def test_constant_maps(constant):
    values, truth = np.full((2, 2), constant), np.array([[True, False], [False, False]])
    assert not metrics.half_of_range(values).any()
    kept = metrics.half_of_range(values, constant="kept")
    assert kept.all() == (constant >= 0.5)
    ranked = metrics.rank(values, truth)
    assert float(ranked.min_max().ciou(0.5)) == 0
    assert float(ranked.min_max(constant="kept").ciou(0.5)) == (0.25 if constant >= 0.5 else 0)
    assert metrics.adaptive(values, truth).all()
    assert not metrics.adaptive(values, truth, strict=True).any()
    assert metrics.as_many_as_truth(values, truth).sum() == 1


@given(smooth_maps, truths)
def test_adaptive_takes_at_least_or_fewer_than_the_truth(values, truth):
    assert metrics.adaptive(values, truth).sum() >= truth.sum()
    assert metrics.adaptive(values, truth, strict=True).sum() < truth.sum()


def test_the_rules_score_1_on_the_truth():
    truth = metrics.truth_mask([(0.2, 0.2, 0.6, 0.9)], 20, 30)
    values = truth.astype(np.float32)
    for mask in (
        metrics.adaptive(values, truth),
        metrics.half_of_range(values),
        metrics.upper_half_of_range(values),
        metrics.fraction_of_maximum(values),
        metrics.at_least(values, 0.5),
    ):
        assert metrics.iou(mask, truth) == 1


@pytest.mark.parametrize("bad", [np.full((2, 2), np.nan), np.zeros((0, 2)), np.zeros(4)])
def test_maps_that_are_none(bad):
    truth = np.ones(bad.shape, bool)
    for rule in (
        lambda v: metrics.rank(v, truth),
        metrics.rank,
        metrics.min_max,
        metrics.half_of_range,
        metrics.upper_half_of_range,
        metrics.fraction_of_maximum,
        metrics.sounding,
        metrics.top_quarter_mean,
        lambda v: metrics.at_least(v, 0.5),
        lambda v: metrics.adaptive(v, truth),
        lambda v: metrics.pixel_ap(v, truth),
        lambda v: metrics.lit_share(v, 0.5),
        lambda v: metrics.piap([v], [truth]),
        lambda v: metrics.matched_ciou([v], [truth]),
        lambda v: metrics.noprior_matches([v], [truth]),
        lambda v: metrics.class_aware_ciou([v], [truth]),
        lambda v: metrics.cap([v], [truth]),
        lambda v: metrics.f_curve(v, truth),
    ):
        with pytest.raises(ValueError, match=r"map|truth"):
            rule(bad)


def test_what_ranked_refuses():
    values = np.eye(2)
    with pytest.raises(ValueError, match="empty"):
        metrics.rank(values, np.zeros((2, 2), bool))
    with pytest.raises(ValueError, match="resize"):
        metrics.rank(values, np.ones((1, 2), bool))
    with pytest.raises(ValueError, match="without a truth"):
        metrics.rank(values).ciou(0.5)
    with pytest.raises(ValueError, match="without a truth"):
        metrics.rank(values).pixel_ap()
    with pytest.raises(ValueError, match="threshold is NaN"):
        metrics.rank(values).lit(float("nan"))
    with pytest.raises(ValueError, match="threshold is NaN"):
        metrics.at_least(values, float("nan"))
    with pytest.raises(ValueError, match="share"):
        metrics.rank(values).top_mean(0)


def test_one_threshold_is_kept_for_the_whole_set():
    table = [[0.0, 0.6, 0.5], [0.9, 0.6, 0.4]]
    assert metrics.best_threshold(table, [0.1, 0.2, 0.3]) == (0.2, pytest.approx(0.625))
    first = metrics.best_threshold(table, [0.1, 0.2, 0.3], summary=np.max)
    assert first == (0.1, 0.9)
    assert metrics.best_threshold([[0.5, 0.5]], [0.7, 0.8]).threshold == 0.7
    assert np.isnan(metrics.best_threshold(np.empty((0, 19))).score)
    with pytest.raises(ValueError, match="thresholds"):
        metrics.best_threshold(table)


@given(hnp.arrays(np.float32, (3, 4), elements=st.floats(-90, 90, width=32)))
def test_sigmoid(values):
    exact = 1 / (1 + np.exp(-values.astype(np.float64)))
    got = metrics.sigmoid(values)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, exact, rtol=1e-5, atol=1e-37)
    np.testing.assert_array_equal(metrics.rank(values).sigmoid().pixels, np.sort(got, axis=None))


def test_the_disc_on_flickr_soundnet_by_ranks(shared_data):
    """The field's reference for a map that looks at nothing: 67.5 / 54.3 per cent."""
    boxes = json.loads((shared_data / "benchmarks/flickr_boxes.json").read_text())
    disc = centre_disc(224, 224)
    scores = []
    for found in boxes.values():
        people = [[tuple(v / 256 for v in box)] for box in found]
        ranked = metrics.rank(disc, metrics.consensus_map(people, 224, 224, edges="truncated"))
        scores.append(float(ranked.ciou(ranked.middle)))
    assert 100 * metrics.share_at(scores) == pytest.approx(67.47, abs=0.005)
    assert 100 * metrics.auc(scores) == pytest.approx(54.33, abs=0.005)
