"""Metrics against closed forms, slow references, and the field's numbers on real boxes."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from soundspot import metrics
from soundspot.data.manifest import read_manifest
from soundspot.judging.blind import blind_maps, centre_disc, random_smooth

FIELD = 224
"""Pixels of the side at which the field judges."""

small_maps = hnp.arrays(np.float64, (7, 5), elements=st.integers(-4, 4).map(float))
masks = hnp.arrays(np.bool_, (7, 5)).filter(np.any)
scores = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=12)


def test_a_box_covers_every_pixel_it_touches():
    mask = metrics.truth_mask([(0.25, 0.5, 0.6, 0.75)], 4, 10)
    expected = np.zeros((4, 10), bool)
    expected[2:3, 2:6] = True
    np.testing.assert_array_equal(mask, expected)
    assert metrics.truth_mask([(0.501, 0.501, 0.502, 0.502)], 4, 10).sum() == 1


def test_the_field_truncates_and_may_lose_a_box():
    mask = metrics.truth_mask([(0.25, 0.5, 0.69, 0.75)], 4, 10, edges="truncated")
    assert mask.sum() == 1 * 4
    assert mask[2, 2:6].all()
    assert not metrics.truth_mask([(0.51, 0.5, 0.52, 1)], 4, 10, edges="truncated").any()


@given(st.integers(1, 300), st.integers(0, 299), st.integers(1, 300))
def test_whole_pixels_survive_the_way_through_fractions(width, x0, extent):
    x0 = min(x0, width - 1)
    x1 = min(x0 + extent, width)
    mask = metrics.truth_mask([(x0 / width, 0, x1 / width, 1)], 1, width)
    assert np.flatnonzero(mask).tolist() == list(range(x0, x1))


def test_boxes_unite_and_pixels_are_refused():
    both = metrics.truth_mask([(0, 0, 0.5, 1), (0.25, 0, 0.75, 1)], 4, 4)
    assert both.sum() == 12
    assert not metrics.truth_mask([], 4, 4).any()
    for box in [(0, 0, 120, 80), (0, 0, float("nan"), 1)]:
        with pytest.raises(ValueError, match="fractions"):
            metrics.truth_mask([box], 4, 4)


def test_consensus_counts_people_not_boxes():
    left, right, all_ = (0, 0, 0.5, 1), (0.5, 0, 1, 1), (0, 0, 1, 1)
    two = metrics.consensus_map([[left], [all_]], 1, 2)
    np.testing.assert_array_equal(two, [[1.0, 0.5]])
    three = metrics.consensus_map([[left, left], [right], [right]], 1, 2)
    np.testing.assert_array_equal(three, [[0.5, 1.0]])
    np.testing.assert_array_equal(metrics.consensus_map([[left]], 1, 2), [[1.0, 0.0]])
    assert not metrics.consensus_map([], 1, 2).any()


@given(masks, masks)
def test_ciou_of_a_mask_is_iou_by_counting(predicted, truth):
    expected = (predicted & truth).sum() / (predicted | truth).sum()
    assert metrics.iou(predicted, truth) == pytest.approx(expected)
    assert metrics.ciou(predicted, truth.astype(float)) == pytest.approx(expected)
    assert metrics.iou(truth, truth) == 1


def test_ciou_by_hand():
    truth = np.array([[1.0, 0.5, 0.0, 0.0]])
    predicted = np.array([[True, False, True, False]])
    assert metrics.ciou(predicted, truth) == pytest.approx(1 / (1.5 + 1))
    assert metrics.ciou(np.zeros((1, 4), bool), truth) == 0


@pytest.mark.parametrize(
    ("predicted", "truth", "message"),
    [
        (np.ones((2, 2), bool), np.zeros((2, 2), bool), "empty"),
        (np.ones((2, 2), bool), np.ones((2, 3), bool), "shape"),
        (np.ones((2, 2)), np.ones((2, 2), bool), "mask"),
        (np.ones((2, 2), bool), np.full((2, 2), np.nan), r"0\.\.1"),
        (np.ones((2, 2), bool), np.full((2, 2), 255.0), r"0\.\.1"),
    ],
)
def test_ciou_refuses(predicted, truth, message):
    with pytest.raises(ValueError, match=message):
        metrics.ciou(predicted, truth)
    with pytest.raises(ValueError, match="True and False"):
        metrics.iou(np.ones((2, 2), bool), np.ones((2, 2)))


@given(small_maps)
def test_top_half_is_the_sorted_middle(values):
    middle = np.sort(values.ravel())[values.size // 2]
    np.testing.assert_array_equal(metrics.top_half(values), values >= middle)
    np.testing.assert_array_equal(metrics.top_half(values, strict=True), values > middle)


@given(small_maps, masks)
def test_as_many_takes_exactly_so_many_and_the_brightest(values, truth):
    chosen = metrics.as_many_as_truth(values, truth)
    assert chosen.sum() == truth.sum()
    if not chosen.all():
        assert values[chosen].min() >= values[~chosen].max()
    np.testing.assert_array_equal(chosen, metrics.as_many_as_truth(3 * values + 1, truth))
    assert metrics.iou(metrics.as_many_as_truth(truth.astype(float), truth), truth) == 1


def test_ties_favour_no_region():
    """On a flat map each quarter of the picture gets its share of the chosen pixels."""
    for height, width in [(64, 48), (89, 144), (100, 377)]:
        truth = metrics.truth_mask([(0, 0, 0.5, 0.5)], height, width)
        chosen = metrics.as_many_as_truth(np.zeros((height, width)), truth)
        quarters = [h for half in np.array_split(chosen, 2) for h in np.array_split(half, 2, 1)]
        for quarter in quarters:
            assert quarter.mean() == pytest.approx(0.25, abs=0.03)


def test_a_flat_map_is_the_whole_image_to_top_half():
    assert metrics.top_half(np.full((3, 3), 7.0)).all()
    assert not metrics.top_half(np.full((3, 3), 7.0), strict=True).any()


@pytest.mark.parametrize(
    "values", [np.zeros((0, 3)), np.zeros(4), np.full((2, 2), np.nan), np.array([[np.inf, 0.0]])]
)
def test_maps_that_are_none(values):
    truth = np.ones(values.shape, bool)
    for metric in (
        metrics.top_half,
        lambda v: metrics.as_many_as_truth(v, truth),
        lambda v: metrics.points_inside(v, truth),
    ):
        with pytest.raises(ValueError, match=r"map|truth"):
            metric(values)


def test_wrong_shapes_are_not_broadcast():
    with pytest.raises(ValueError, match="resize"):
        metrics.as_many_as_truth(np.eye(4), np.ones((1, 4), bool))
    with pytest.raises(ValueError, match="resize"):
        metrics.points_inside(np.eye(4), np.ones((4, 1), bool))


def test_share_and_auc_in_closed_form():
    assert metrics.share_at([0.5, 0.49, 1]) == pytest.approx(2 / 3)
    assert metrics.auc([1, 1]) == pytest.approx(1)
    assert metrics.auc([0]) == pytest.approx(0.025)
    assert metrics.auc([0.5]) == pytest.approx(0.525)
    assert metrics.auc([0.15]) == pytest.approx(0.175)  # 3 * 0.05 is 0.15000000000000002
    assert math.isnan(metrics.share_at([]))
    assert math.isnan(metrics.auc([]))
    for summary in (metrics.share_at, metrics.auc, metrics.auc_of_each):
        with pytest.raises(ValueError, match="NaN"):
            summary([0.2, float("nan")])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_auc_is_the_trapezoid_of_the_shares(values):
    thresholds = [k / 20 for k in range(21)]
    shares = [sum(v >= t for v in values) / len(values) for t in thresholds]
    expected = sum((a + b) / 2 * 0.05 for a, b in itertools.pairwise(shares))
    assert metrics.auc(values) == pytest.approx(expected)


def test_pointing():
    truth = metrics.truth_mask([(0, 0, 0.5, 1)], 4, 4)
    values = np.zeros((4, 4))
    values[1, 1] = 1
    assert metrics.points_inside(values, truth)
    values[1, 3] = 1
    assert not metrics.points_inside(values, truth)  # one of two tied peaks lies outside
    values[1, 3] = 2
    assert not metrics.points_inside(values, truth)
    assert metrics.points_inside(truth.astype(float), truth)  # a plateau that is the truth


def test_a_constant_map_points_nowhere():
    assert not metrics.peak(np.ones((3, 3))).any()
    assert not metrics.points_inside(np.ones((3, 3)), np.ones((3, 3), bool))


def test_half_agreement_counts_as_inside():
    truth = np.array([[0.5, 0.0]])
    assert metrics.points_inside(np.array([[1.0, 0.0]]), truth)
    assert not metrics.points_inside(np.array([[0.0, 1.0]]), truth)


@given(scores, scores)
def test_auroc_by_counting_pairs(positives, negatives):
    wins = [(p > n) + (p == n) / 2 for p in positives for n in negatives]
    assert metrics.auroc(positives, negatives) == pytest.approx(sum(wins) / len(wins))
    flipped = 1 - metrics.auroc(negatives, positives)
    assert metrics.auroc(positives, negatives) == pytest.approx(flipped)


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 3)), min_size=1), scores)
def test_a_weight_is_a_number_of_copies(weighted, negatives):
    values, weights = zip(*weighted, strict=True)
    copies = [float(v) for v, w in weighted for _ in range(w)]
    got = metrics.auroc(values, negatives, weights)
    assert got == pytest.approx(metrics.auroc(copies, negatives), nan_ok=True)


def test_auroc_at_its_edges():
    assert math.isnan(metrics.auroc([], [1]))
    assert math.isnan(metrics.auroc([1], []))
    assert metrics.auroc([np.inf], [-np.inf]) == 1
    with pytest.raises(ValueError, match="NaN"):
        metrics.auroc([np.nan], [1])
    with pytest.raises(ValueError, match="weights"):
        metrics.auroc([1], [1], [1, 2])
    assert metrics.auroc([1, 1], [1, 1, 1]) == 0.5


def test_the_interval_of_a_mean_is_the_textbook_one():
    values = np.random.default_rng(1).normal(3, 2, 400)
    low, high = metrics.mean_interval(values)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.02)
    assert high == pytest.approx(values.mean() + half, abs=0.02)
    assert metrics.mean_interval(values) == (low, high)
    assert metrics.mean_interval(values, seed=1) != (low, high)


def test_copies_of_a_sample_tell_nothing_new():
    values = np.random.default_rng(2).random(60)
    alone = metrics.mean_interval(values)
    together = metrics.mean_interval(np.repeat(values, 5), np.repeat(np.arange(60), 5).tolist())
    blind = metrics.mean_interval(np.repeat(values, 5))
    assert together == pytest.approx(alone)
    assert blind.high - blind.low < 0.6 * (alone.high - alone.low)


def test_blocks_of_draws_do_not_change_the_interval(monkeypatch):
    values = np.random.default_rng(3).random(50)
    whole = metrics.mean_interval(values)
    monkeypatch.setattr("soundspot.metrics.intervals.BLOCK_CELLS", 777)
    assert metrics.mean_interval(values) == pytest.approx(whole)


def test_intervals_at_their_edges():
    assert all(map(math.isnan, metrics.mean_interval([])))
    assert metrics.mean_interval([0.3]) == (0.3, 0.3)
    assert all(map(math.isnan, metrics.auroc_interval([], [1])))
    assert all(map(math.isnan, metrics.paired_difference([], [])))
    with pytest.raises(ValueError, match="NaN"):
        metrics.mean_interval([np.nan])
    with pytest.raises(ValueError, match="cluster names"):
        metrics.mean_interval([1, 2], ["a"])


def test_the_interval_of_auroc_is_delongs():
    """DeLong et al. 1988: the variance comes from how far each sample's wins spread."""
    rng = np.random.default_rng(4)
    positives, negatives = rng.normal(1, 1, 300), rng.normal(0, 1, 200)
    wins = (positives[:, None] > negatives).astype(float)
    half = 1.96 * np.sqrt(wins.mean(1).var() / 300 + wins.mean(0).var() / 200)
    low, high = metrics.auroc_interval(positives, negatives)
    assert low == pytest.approx(wins.mean() - half, abs=0.004)
    assert high == pytest.approx(wins.mean() + half, abs=0.004)
    assert metrics.auroc_interval([2, 3], [0, 1]) == (1, 1)


def test_positives_and_negatives_of_a_picture_are_drawn_together():
    """In one cluster all draws are alike; apart they are not."""
    positives, negatives = [0.0, 2.0], [1.0, 1.5]
    low, high = metrics.auroc_interval(positives, negatives, ["a", "a"], ["a", "a"])
    assert low == high == 0.5
    low, high = metrics.auroc_interval(positives, negatives)
    assert (low, high) == (0, 1)


def test_a_paired_difference_is_found_and_a_null_one_is_not():
    rng = np.random.default_rng(5)
    base = rng.random(200)
    better = metrics.paired_difference(base + 0.05 + rng.normal(0, 0.1, 200), base)
    assert 0 < better.low < better.mean < better.high
    assert better.p < 0.01
    same = metrics.paired_difference(base, base)
    assert same == (0, 0, 0, 1)
    worse = metrics.paired_difference(base, base + 0.05 + rng.normal(0, 0.1, 200))
    assert worse.high < 0
    assert worse.p < 0.01


@settings(max_examples=20)
@given(st.integers(1, 40), st.integers(1, 40), st.text(max_size=5))
def test_blind_maps_have_the_pictures_size_and_depend_on_the_id_alone(height, width, name):
    for blind in blind_maps(seed=3).values():
        values = blind(height, width, name)
        assert values.shape == (height, width)
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        np.testing.assert_array_equal(values, blind(height, width, name))


def test_random_maps_differ_by_id_and_by_seed():
    a = random_smooth(9, 9, "a")
    assert not np.array_equal(a, random_smooth(9, 9, "b"))
    assert not np.array_equal(a, random_smooth(9, 9, "a", seed=1))


def test_the_disc_of_half_a_wide_picture():
    half = metrics.top_half(centre_disc(100, 200))
    assert half.mean() == pytest.approx(0.5, abs=0.01)
    inside = [(y + 0.5, x + 0.5) for y, x in np.argwhere(half)]
    radii = [np.hypot(y / 100 - 0.5, x / 200 - 0.5) for y, x in inside]
    assert max(radii) == pytest.approx(np.sqrt(0.5 / np.pi), abs=0.01)


def percent(values):
    return 100 * metrics.share_at(values), 100 * metrics.auc(values)


@pytest.fixture(scope="module")
def flickr(shared_data):
    boxes = json.loads((shared_data / "benchmarks/flickr_boxes.json").read_text())
    people = [[[tuple(v / 256 for v in box)] for box in found] for found in boxes.values()]
    return [metrics.consensus_map(p, FIELD, FIELD, edges="truncated") for p in people]


@pytest.mark.parametrize(("strict", "share", "area"), [(False, 67.47, 54.33), (True, 67.07, 54.29)])
def test_the_disc_on_flickr_soundnet(flickr, strict, share, area):
    disc = metrics.top_half(centre_disc(FIELD, FIELD), strict=strict)
    got = percent([metrics.ciou(disc, truth) for truth in flickr])
    assert len(flickr) == 249
    assert got == pytest.approx((share, area), abs=0.005)


def test_the_whole_image_on_flickr_soundnet(flickr):
    everything = np.ones((FIELD, FIELD), bool)
    got = percent([metrics.ciou(everything, truth) for truth in flickr])
    assert got == pytest.approx((48.19, 48.95), abs=0.005)


@pytest.mark.parametrize(("strict", "share", "area"), [(False, 34.04, 37.45), (True, 33.96, 37.44)])
def test_the_disc_on_vggss(shared_data, strict, share, area):
    clips = json.loads((shared_data / "benchmarks/vggss.json").read_text())
    boxes = [[tuple(np.clip(box, 0, 1)) for box in clip["bbox"]] for clip in clips]
    truths = [metrics.truth_mask(b, FIELD, FIELD, edges="truncated") for b in boxes]
    disc = metrics.top_half(centre_disc(FIELD, FIELD), strict=strict)
    usable = [metrics.iou(disc, truth) for truth in truths if truth.any()]
    assert len(usable) == len(clips) - 2
    assert percent(usable) == pytest.approx((share, area), abs=0.005)


def test_the_disc_on_the_validation_pairs(shared_data):
    samples = read_manifest(shared_data / "val/pairs.jsonl")
    boxes = [sample.boxes for sample in samples if sample.id.endswith("-0")]
    disc = metrics.top_half(centre_disc(FIELD, FIELD))
    got = percent([metrics.iou(disc, metrics.truth_mask(b, FIELD, FIELD)) for b in boxes])
    assert len(boxes) == 114
    assert got == pytest.approx((42.11, 39.91), abs=0.005)
