"""Every protocol against independent loops, stored scores, and the field's numbers."""

from __future__ import annotations

import importlib.util
import itertools
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from soundspot.errors import OptionError
from soundspot.judging.blind import centre_disc, whole_image
from soundspot.metrics import as_many_as_truth, ciou, points_inside, top_half, truth_mask
from soundspot.protocols import PROTOCOLS, Batch, Shot, from_json, make, to_json
from soundspot.protocols.spool import Spool
from soundspot.types import Sample, Source

ROOT = Path(__file__).resolve().parents[1]
EXPECTED = Path(__file__).with_name("expected_protocols.json")
SIDE = 224
KINDS = ("silence", "noise", "offscreen")
SIZES = ((224, 224), (240, 320), (360, 270), (256, 256))
GRIDS = ((7, 7), (14, 14), (9, 14), (40, 33))


def loops():
    """The loops of the benchmark, written the way the peers write theirs."""
    spec = importlib.util.spec_from_file_location("judging", ROOT / "benchmarks/judging.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def slow_ap(truth, score):
    """Average precision by going through every distinct score."""
    truth, score = np.asarray(truth) > 0, np.asarray(score)
    order = np.argsort(-score, kind="stable")
    hits, last = np.cumsum(truth[order]), np.append(np.diff(score[order]) != 0, True)
    at = np.flatnonzero(last)
    recall = np.concatenate([[0], hits[at] / truth.sum()])
    return float(np.sum(np.diff(recall) * hits[at] / (at + 1)))


def slow_roc(truths, scores):
    pairs = list(zip(truths, scores, strict=True))
    wins = [(a > b) + (a == b) / 2 for (s, a), (t, b) in itertools.product(pairs, pairs) if s > t]
    return float(np.mean(wins))


SLOW = SimpleNamespace(
    auc=lambda x, y: sum((x[i + 1] - x[i]) * (y[i + 1] + y[i]) / 2 for i in range(len(x) - 1)),
    average_precision_score=slow_ap,
    roc_auc_score=slow_roc,
)


def random_box(rng):
    x0, y0 = rng.uniform(-0.01, 0.6, 2).clip(0)
    width, height = rng.uniform(0.1, 0.4, 2)
    return (float(x0), float(y0), float(x0 + width), float(y0 + height))


def random_shots(count=40, seed=5, square=False):
    """Pictures of several shapes, maps of several sizes, several annotators, negatives."""
    rng = np.random.default_rng(seed)
    shots = []
    for n in range(count):
        height, width = (SIDE, SIDE) if square else SIZES[n % len(SIZES)]
        grid = (SIDE, SIDE) if square else GRIDS[n // 2 % len(GRIDS)]
        smooth = rng.normal(size=(5, 5)).repeat(grid[0] // 5 + 1, 0).repeat(grid[1] // 5 + 1, 1)
        values = (smooth[: grid[0], : grid[1]] + 0.3 * rng.random(grid)).astype(np.float32)
        sample = Sample(f"s{n}", Path(f"s{n}.jpg"), Path("s.wav"))
        boxes = tuple(random_box(rng) for _ in range(3))
        if n % 4 == 3:
            sample = replace(sample, kind=KINDS[n // 4 % 3])
        elif n % 5 == 0 and not square:
            sample = replace(sample, annotators=((boxes[0],), (boxes[1], boxes[2]), (boxes[0],)))
        else:
            sample = replace(sample, boxes=boxes[: 1 + n % 2])
        shots.append(Shot(sample, height, width, (values,), (float(rng.random()),), 0.25, 0.5))
    return shots


def judged(name, shots, size=7, folder=None):
    protocol = make(name, folder)
    batches = [shots[n : n + size] for n in range(0, len(shots), size)]
    return protocol, [part for batch in batches for part in protocol.judge(Batch(batch))]


def scores_of(name, shots, size=7, folder=None):
    protocol, parts = judged(name, shots, size, folder)
    return protocol.scores(parts)


def close(a, b, tolerance=1e-6):
    return a.keys() == b.keys() and all(
        abs(a[key] - b[key]) <= tolerance or (math.isnan(a[key]) and math.isnan(b[key]))
        for key in a
    )


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_same_scores_as_an_independent_loop(name):
    """On 224 x 224 to rounding; small maps may differ where torch rounds a plateau unevenly."""
    square = random_shots(36, square=True)
    assert close(scores_of(name, square), loops().LOOPS[name](square, SLOW))
    if name != "soundspot":  # the loop knows pictures of the map's size only
        shots = random_shots()
        assert close(scores_of(name, shots), loops().LOOPS[name](shots, SLOW), 2e-4)


def test_soundspot_at_the_pictures_own_size():
    rng = np.random.default_rng(3)
    for height, width in ((50, 80), (90, 40)):
        truth = truth_mask([(0.13, 0.21, 0.61, 0.5)], height, width)
        values = rng.random((height, width)).astype(np.float32)
        sample = Sample("a", Path("a"), Path("a"), boxes=((0.13, 0.21, 0.61, 0.5),))
        scores = scores_of("soundspot", [Shot(sample, height, width, (values,))])
        assert scores["as_truth_mean"] == pytest.approx(
            ciou(as_many_as_truth(values, truth), truth)
        )
        assert scores["top_half_mean"] == pytest.approx(ciou(top_half(values), truth))
        assert scores["pointing"] == points_inside(values, truth)
        assert math.isnan(scores["cut_mean"])


@pytest.mark.parametrize("name", PROTOCOLS)
def test_frozen_scores(name):
    """A protocol never changes what it computes; another number is another version."""
    stored = json.loads(EXPECTED.read_text())[name]
    protocol = make(name)
    assert stored["version"] == protocol.version, "store the new version's scores"
    expected = {key: math.nan if v is None else v for key, v in stored["scores"].items()}
    assert close(scores_of(name, random_shots()), expected), (
        f"{name} computes something else than its version {protocol.version}; give it a new one"
    )


@pytest.mark.parametrize("name", PROTOCOLS)
def test_batches_order_and_json_do_not_matter(name, tmp_path):
    shots = random_shots(20)
    protocol, parts = judged(name, shots, 20, tmp_path)
    _, again = judged(name, shots, 3, tmp_path)
    stored = [from_json(json.loads(json.dumps(to_json(part)))) for part in again]
    assert close(protocol.scores(parts), protocol.scores(stored), 1e-12)
    if name != "avsbench_batched":
        assert close(protocol.scores(parts), protocol.scores(parts[::-1]), 1e-12)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_a_protocol_says_is_what_it_gives(name):
    protocol, parts = judged(name, random_shots())
    scores = protocol.scores(parts)
    assert scores.keys() == protocol.metrics.keys()
    assert all(math.isnan(v) or -1e-12 <= v <= 1 + 1e-12 for v in scores.values())
    assert {protocol.headline, *protocol.means} <= protocol.metrics.keys()
    assert all(protocol.card.lines()[key] for key in ("source", "geometry", "threshold"))
    for score, part in protocol.means.items():
        values = [float(one[part]) for one in parts if part in one]
        assert scores[score] == pytest.approx(np.mean(values), nan_ok=True) or not values
    if protocol.overlap:
        assert all(0 <= one[protocol.overlap] <= 1 for one in parts if protocol.overlap in one)
    public = [v for one in parts for key, v in one.items() if not key.startswith("_")]
    assert all(isinstance(value, float) for value in public)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_no_shots_and_shots_of_no_use(name):
    protocol = make(name)
    assert all(math.isnan(value) for value in protocol.scores([]).values())
    unsaid = Shot(Sample("a", Path("a"), Path("a")), 9, 9, (np.eye(9, dtype=np.float32),))
    assert protocol.judge(Batch([unsaid])) == [{}]


PERFECT = {"lvs_cropped", "sspl_cropped"}
"""Forms in which the peer's fault keeps even the truth from scoring 1."""


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name not in PERFECT])
def test_the_truth_scores_one(name):
    """A truth of exactly half the frame, so that every rule can choose it."""
    sample = Sample("a", Path("a"), Path("a"), boxes=((0.0, 0.0, 0.5, 1.0),))
    values = truth_mask(sample.boxes, SIDE, SIDE).astype(np.float32)
    shot = Shot(sample, SIDE, SIDE, (values + np.float32(1e-3),), cut=0.5)
    negative = replace(shot, sample=Sample("n", Path("n"), Path("n"), kind="noise"))
    shots = [shot, replace(negative, maps=(np.full((SIDE, SIDE), 1e-4, np.float32),))]
    protocol, parts = judged(name, shots)
    strict = {"ssl_align_strict", "lvs", "lvs_corrected", "ssl_align", "avsbench"}
    if protocol.overlap and name not in {*strict, "avsbench_batched", "vssl_eval_by_kind"}:
        if name == "vssl_eval":
            assert protocol.scores(parts)["pia_noise"] == 0
        else:
            assert parts[0][protocol.overlap] == pytest.approx(1)


def test_a_cropped_truth_is_squeezed_only_where_the_peer_forgets_it():
    """A wide picture with its source in the middle: the corrected form finds all of it."""
    sample = Sample("a", Path("a"), Path("a"), boxes=((0.25, 0.0, 0.5, 1.0),))
    values = np.zeros((200, 400), np.float32)
    values[:, 100:200] = np.linspace(1, 2, 100)
    values[:, 200:300] = np.linspace(0, 0.5, 100)
    shots = [Shot(sample, 200, 400, (values,))]
    assert scores_of("sspl_corrected", shots)["ciou_mean"] > 0.99
    assert scores_of("sspl", shots)["ciou_mean"] > 0.98
    assert scores_of("sspl_cropped", shots)["ciou_mean"] < 0.7


def test_a_source_outside_the_square_is_not_found():
    sample = Sample("a", Path("a"), Path("a"), boxes=((0.0, 0.0, 0.2, 1.0),))
    shots = [Shot(sample, 200, 400, (np.eye(9, dtype=np.float32),))]
    assert scores_of("lvs_corrected", shots)["ciou_mean"] == 0
    assert scores_of("lvs", shots)["ciou_mean"] > 0


def test_boxes_or_people():
    """Two boxes of one person agree for the peers' code, not for the corrected form."""
    left, right = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
    sample = Sample("a", Path("a"), Path("a"), annotators=((left, left), (right,)))
    ramp = np.linspace(1, 0, SIDE, dtype=np.float32)[None].repeat(SIDE, 0)
    shots = [Shot(sample, SIDE, SIDE, (ramp,))]
    assert scores_of("ez_vsl", shots)["ciou_mean"] == pytest.approx(1 / 1.5)
    assert scores_of("ez_vsl_corrected", shots)["ciou_mean"] == pytest.approx(0.5)


def two_sources(found_second=True):
    left, right = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
    sample = Sample("a", Path("a"), Path("a"), sources=(Source((left,)), Source((right,))))
    ramp = np.linspace(1, 0, SIDE, dtype=np.float32)[None].repeat(SIDE, 0)
    return Shot(
        sample, SIDE, SIDE, (ramp, np.ascontiguousarray(ramp[:, :: -1 if found_second else 1]))
    )


def test_every_sound_of_a_picture_must_be_found():
    for name, all_, half in (("ssl_align", "iiou_share_0.5", "ciou_share_0.5"),
                             ("soundspot", "iiou_share_0.5", "as_truth_share_0.5")):  # fmt: skip
        assert scores_of(name, [two_sources()])[all_] == 1
        deaf = scores_of(name, [two_sources(found_second=False)])
        assert deaf[all_] == 0
        assert deaf[half] == 0.5


def test_sounds_of_one_picture_may_be_samples_of_their_own():
    both = two_sources(found_second=False)
    apart = [
        replace(
            both,
            sample=Sample(f"a{n}", Path("a"), Path("a"), boxes=source.boxes),
            maps=(both.maps[n],),
        )
        for n, source in enumerate(both.sample.sources)
    ]
    for name in ("ssl_align", "soundspot"):
        assert scores_of(name, apart)["iiou_share_0.5"] == 0
        assert scores_of(name, apart[:1])["iiou_auc"] == pytest.approx(
            1 if name == "ssl_align" else math.nan, nan_ok=True
        )


def test_dark_where_a_class_is_silent():
    sounding, silent = Source(((0.0, 0.0, 0.5, 0.5),)), Source(())
    sample = Sample("a", Path("a"), Path("a"), kind="mixture", sources=(sounding, silent))
    maps = (np.zeros((8, 8), np.float32), np.full((8, 8), 0.1, np.float32))
    maps[0][:4, :4] = 1
    maps[1][:2] = 0.9
    scores = scores_of("dsol", [Shot(sample, SIDE, SIDE, maps)])
    assert scores["nsa"] == pytest.approx(1 - 2.375 / 8, abs=0.005)  # 0.9 falls to 0.1 over a row
    assert scores["ciou_mean"] == pytest.approx((4 / 4.4) ** 2, abs=0.01)


def test_a_drawn_mask_is_the_truth_and_a_black_one_says_nothing_sounds(tmp_path):
    mask = np.zeros((448, 448), np.uint8)
    mask[:224] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    Image.fromarray(mask * 0).save(tmp_path / "black.png")
    logits = np.where(mask[::2, ::2] > 0, 3.0, -3.0).astype(np.float32)
    shots = [
        Shot(Sample(n, Path(n), Path(n), mask=tmp_path / f"{n}.png"), 448, 448, (logits,))
        for n in ("m", "black")
    ]
    scores = scores_of("avsbench", shots)
    assert scores["miou"] == pytest.approx((1 + 0.5) / 2)
    assert scores["f_score"] == pytest.approx(1)


def test_the_highest_point_depends_on_the_batch_only_where_the_peer_lets_it():
    shots = [shot for shot in random_shots(60) if shot.sample.kind == "positive"]
    shuffled = [shots[n] for n in np.random.default_rng(0).permutation(len(shots))]
    batched = [scores_of("avsbench_batched", some)["f_score"] for some in (shots, shuffled)]
    whole = [scores_of("avsbench", some)["f_score"] for some in (shots, shuffled)]
    assert whole[0] == pytest.approx(whole[1])
    assert batched[0] != pytest.approx(batched[1])
    assert batched[0] > whole[0]


def test_maps_wait_on_disk_between_the_looks(tmp_path):
    shots = random_shots(12)
    protocol, parts = judged("vssl_eval", shots, folder=tmp_path)
    files = list(tmp_path.rglob("*.map"))
    assert len(files) == 12
    assert all(path.stat().st_size < 20_000 for path in files)
    judged("vssl_eval", shots, folder=tmp_path)
    assert len(list(tmp_path.rglob("*.map"))) == 12
    assert close(protocol.scores(parts), scores_of("vssl_eval", shots), 1e-12)
    spool = Spool(tmp_path)
    truth = np.random.default_rng(1).choice([0, 0.5, 1], (SIDE, SIDE))
    values = np.random.default_rng(2).random((3, 4), np.float32)
    got, its_truth = spool.find(spool.keep(values, truth))
    np.testing.assert_array_equal(got, values)
    np.testing.assert_array_equal(its_truth, truth)
    with pytest.raises(FileNotFoundError):
        spool.find(np.array([1.0, 2.0]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maps": ()}, "'odd' needs 1 map"),
        ({"maps": (np.zeros((2, 2)),) * 2}, "'odd' needs 1 map"),
        ({"maps": (np.zeros(4),)}, "'odd': a map is h w"),
        ({"maps": (np.zeros((0, 3)),)}, "'odd': a map is h w"),
        ({"maps": (np.full((2, 2), np.nan),)}, "'odd': its map holds NaN"),
        ({"maps": (np.array([[0, np.inf]]),)}, "'odd': its map holds NaN"),
        ({"height": 0}, "'odd': its picture"),
        ({"confidences": (0.1, 0.2)}, "'odd' needs a confidence a map"),
        ({"confidences": (math.nan,)}, "'odd' needs a confidence a map, and no NaN"),
        ({"cut": math.nan}, "'odd' needs .* no NaN"),
    ],
)
def test_maps_that_do_not_fit_name_their_sample(change, message):
    sample = Sample("odd", Path("odd"), Path("odd"), boxes=((0.0, 0.0, 1.0, 1.0),))
    good = Shot(sample, 4, 4, (np.zeros((2, 2), np.float32),))
    Batch([good])
    with pytest.raises(ValueError, match=message):
        Batch([good, replace(good, **change)])


def test_names():
    with pytest.raises(OptionError, match=r"no protocol 'lsv'; there are soundspot, lvs"):
        make("lsv")
    with pytest.raises(OptionError, match=r"did you mean slavc\?$"):
        make("slvac")
    assert all(name == kind.name for name, kind in PROTOCOLS.items())
    assert {"lvs", "ez_vsl", "slavc", "sspl", "rc_grad", "dsol", "acl"} <= PROTOCOLS.keys()
    assert {"ssl_align", "vssl_eval", "avsbench", "soundspot"} <= PROTOCOLS.keys()


def test_every_score_is_in_the_docs():
    text = (ROOT / "docs/protocols.md").read_text()
    for name, protocol in PROTOCOLS.items():
        assert f"`{name}`" in text
        assert all(f"`{metric}`" in text for metric in protocol.metrics)


@pytest.fixture(scope="module")
def flickr(shared_data):
    found = json.loads((shared_data / "benchmarks/flickr_boxes.json").read_text())
    return [
        Sample(
            name,
            Path(name),
            Path(name),
            annotators=tuple((tuple(v / 256 for v in box),) for box in boxes),
        )
        for name, boxes in found.items()
    ]


@pytest.fixture(scope="module")
def vgg_ss(shared_data):
    clips = json.loads((shared_data / "benchmarks/vggss.json").read_text())
    return [
        Sample(
            clip["file"],
            Path(clip["file"]),
            Path("x"),
            boxes=tuple(tuple(np.clip(box, 0, 1).tolist()) for box in clip["bbox"]),
        )
        for clip in clips
    ]


def disc(sample):
    return centre_disc(SIDE, SIDE)


def whole(sample):
    return whole_image(SIDE, SIDE)


def oracle(sample):
    """The truth, its pixels ranked in one order, so that half of the pixels can be chosen."""
    batch = Batch([Shot(sample, SIDE, SIDE, (whole_image(SIDE, SIDE),))])
    truth = batch.truth(batch.units(0)[0])
    order = np.arange(SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE) / (SIDE * SIDE)
    return (order / 4 + (0 if truth is None else truth)).astype(np.float32)


def field_numbers(name, samples, map_of):
    scores = scores_of(name, [Shot(s, SIDE, SIDE, (map_of(s),)) for s in samples], 32)
    return round(100 * scores["ciou_share_0.5"], 1), round(100 * scores["auc"], 1)


@pytest.mark.parametrize(
    ("name", "map_of", "numbers"),
    [
        ("ez_vsl", disc, (67.5, 54.3)),
        ("lvs", disc, (67.1, 54.3)),
        ("ez_vsl", whole, (48.2, 48.9)),
        ("ez_vsl", oracle, (94.4, 80.4)),
    ],
)
def test_the_fields_numbers_on_flickr_soundnet(flickr, name, map_of, numbers):
    assert len(flickr) == 249
    assert field_numbers(name, flickr, map_of) == numbers


def has_area(sample):
    return any(x1 > x0 and y1 > y0 for x0, y0, x1, y1 in sample.boxes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "map_of", "numbers"),
    [
        ("ez_vsl", disc, (34.0, 37.4)),
        ("lvs", disc, (34.0, 37.4)),
        ("ez_vsl", whole, (22.0, 31.3)),
        ("ez_vsl", oracle, (50.5, 49.5)),
    ],
)
def test_the_fields_numbers_on_vgg_ss(vgg_ss, name, map_of, numbers):
    """Two clips have no box with an area. They are not judged, but count 0 in the oracle's row."""
    judged = [sample for sample in vgg_ss if map_of is oracle or has_area(sample)]
    assert (len(vgg_ss), len(judged)) == (5158, 5158 if map_of is oracle else 5156)
    assert field_numbers(name, judged, map_of) == numbers


@pytest.mark.slow
def test_the_benchmark_finds_the_same_scores_both_ways(shared_data):
    pytest.importorskip("sklearn")
    command = [sys.executable, "benchmarks/judging.py", str(shared_data / "benchmarks"), "--quick"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    assert f"{len(PROTOCOLS)} protocols, 12 maps of 224 x 224: the same scores" in run.stdout
