"""The referee, on a planted model: a plain function whose source is known in each picture.

Every picture shows a red and a green square. A low tone comes from the red one, a higher tone from
the green one, anything else from nowhere. So the right sound must find its square, the wrong sound
the other, and no blind map can do either.
"""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from red_and_green import (
    FACTS,
    HEIGHT,
    TONES,
    WIDTH,
    Planted,
    bare,
    negatives_in,
    positives_in,
    write_scene,
)
from soundspot import metrics
from soundspot.benchmark import evaluate
from soundspot.errors import MethodError, ModelError, OptionError, SoundspotError
from soundspot.facts import Calibration
from soundspot.judging.asking import judged_size
from soundspot.judging.conventions import COMMON_CONVENTIONS, OWN_CONVENTIONS
from soundspot.protocols import Batch, Shot
from soundspot.protocols.batch import JUDGED_SIDE, Unit
from soundspot.protocols.soundspot import METRICS, Soundspot
from soundspot.report import AUROC_KEYS, MAP_KEYS, NEGATIVE_KINDS, Report, own_metric

CONVENTIONS = {**OWN_CONVENTIONS, **COMMON_CONVENTIONS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_scene(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def positives(folder):
    return positives_in(folder)


@pytest.fixture(scope="module")
def samples(folder, positives):
    return [*positives, *negatives_in(folder)]


@pytest.fixture(scope="module")
def report(samples):
    return evaluate(Planted(), iter(samples), ["similarity_map", "input_gradient"])


def scores(report: Report, name="similarity_map"):
    return report.row(name).scores


def test_the_planted_source_is_found(report):
    found = scores(report)
    assert found["as_truth/share_0.5"] == 1
    assert found["pointing"] == 1
    assert found["as_truth/auc"] > 0.85
    assert found["top_half/share_0.5"] == 0
    # the map's middle value is its zero, which is everywhere: the whole image is chosen
    assert found["top_half/auc"] == pytest.approx(metrics.auc([1 / 16]))
    for key in AUROC_KEYS:
        assert found[key] == 1


def test_the_wrong_sound_finds_the_other_square(report):
    control = report.row("similarity_map, wrong sound")
    assert control.kind == "control"
    assert control.scores["as_truth/share_0.5"] == 0
    assert control.scores["pointing"] == 0
    assert not set(control.scores) & set(AUROC_KEYS)


def test_the_picture_alone_cannot_tell_the_squares_apart(report):
    control = report.row("picture only")
    assert control.kind == "control"
    assert control.scores["pointing"] == 0  # the peaks tie, one in each square
    assert control.scores["as_truth/share_0.5"] < 0.5


def test_blind_rows_are_the_blind_maps_judged_alone(report, positives):
    disc = -np.hypot(
        (np.arange(HEIGHT)[:, None] + 0.5) / HEIGHT - 0.5,
        (np.arange(WIDTH)[None] + 0.5) / WIDTH - 0.5,
    )
    truths = [metrics.truth_mask(s.boxes, HEIGHT, WIDTH) for s in positives]
    ious = [metrics.iou(metrics.top_half(disc), truth) for truth in truths]
    assert scores(report, "centre disc")["top_half/auc"] == pytest.approx(metrics.auc(ious))
    whole = scores(report, "whole image")
    assert whole["top_half/auc"] == pytest.approx(metrics.auc([1 / 16]))
    assert whole["pointing"] == 0
    assert {row.name for row in report.rows if row.kind == "blind"} == {
        "centre disc",
        "whole image",
        "random",
    }


def test_rows_stand_in_order(report):
    assert [row.name for row in report.rows] == [
        "similarity_map",
        "input_gradient",
        "centre disc",
        "whole image",
        "random",
        "picture only",
        "similarity_map, wrong sound",
        "input_gradient, wrong sound",
    ]


def test_groups_and_counts(report, positives):
    assert (report.n, report.skipped, report.positives) == (19, 0, 7)
    assert report.ambiguous == 1
    assert report.negatives == {"silence": 4, "noise": 4, "offscreen": 4}
    groups = report.row("similarity_map").groups
    sizes = {"unambiguous": 6, "ambiguous": 1, "without red": 3, "red": 4, "green": 3}
    assert {group: entry["n"] for group, entry in groups.items()} == sizes
    assert groups["green"]["as_truth/share_0.5"] == 1
    assert groups["green"]["auroc/noise"] == 1
    disc = report.row("centre disc")
    parts = [disc.groups[colour] for colour in TONES]
    whole = sum(part["n"] * part["top_half/auc"] for part in parts) / len(positives)
    assert disc.scores["top_half/auc"] == pytest.approx(whole)


def test_heard_groups_come_from_the_call_or_the_model(positives):
    facts = replace(FACTS, heard=("red",))
    own = evaluate(Planted(facts), positives, ["similarity_map"])
    told = evaluate(Planted(facts), positives, ["similarity_map"], heard={"green"})
    for report, n in ((own, 4), (told, 3)):
        groups = report.row("similarity_map").groups
        assert (groups["heard"]["n"], groups["never heard"]["n"]) == (n, 7 - n)


def test_a_group_may_be_called_like_a_summary(positives):
    named = [replace(s, group="heard" if s.group == "red" else s.group) for s in positives]
    groups = evaluate(Planted(), named, [], heard={"green"}).row("random").groups
    assert (groups["heard"]["n"], groups["group heard"]["n"]) == (3, 4)


def test_json_has_its_form_and_no_nan(report):
    data = json.loads(json.dumps(report.json(), allow_nan=False))
    assert {"n", "skipped", "rows", "conventions", "model", "failures"} <= set(data)
    assert data["conventions"] == CONVENTIONS
    for row in data["rows"]:
        assert set(row) == {"name", "kind", "scores", "intervals", "groups"}
        keys = {*MAP_KEYS, *(AUROC_KEYS if row["kind"] == "method" else ())}
        long = {f"soundspot/{metric}" for metric in METRICS}
        assert set(row["scores"]) == set(row["intervals"]) == keys | long
        for key in keys:
            score, (low, high) = row["scores"][key], row["intervals"][key]
            assert score == row["scores"][f"soundspot/{own_metric(key)}"]
            assert 0 <= low - 1e-6 <= score <= high + 1e-6 <= 1 + 2e-6 or low == score == high
        for entry in row["groups"].values():
            assert set(entry) == {
                "n",
                *keys,
                *(f"soundspot/{metric}" for metric in Soundspot.means),
            }
    beaten = {(d["row"], d["against"]) for d in data["differences"]}
    assert ("similarity_map", "centre disc") in beaten
    assert ("similarity_map", "similarity_map, wrong sound") in beaten
    assert ("similarity_map", "input_gradient, wrong sound") not in beaten


def test_the_table_is_aligned_and_says_how_it_judged(report):
    table = report.table()
    assert table == str(report)
    assert "judged 19 of 19 samples: 7 positives (1 ambiguous), 4 silence" in table
    lines = table.splitlines()
    rows = [line for line in lines if line[:1] in set("abcdefgh") and line[1:3] == "  "]
    assert [row[3:].split("  ")[0] for row in rows[:8]] == [
        *[row.name for row in report.rows[:6]],
        "a, wrong sound",
        "b, wrong sound",
    ]
    assert any(line.startswith("a over centre disc") for line in lines)
    heads = next(line for line in lines if "pointing  silence" in line)
    end = heads.index("pointing") + len("pointing")
    for row in rows[:8]:
        assert row[end - 1].isdigit()
        assert row[end : end + 1] in ("", " ")
    for topic, text in CONVENTIONS.items():
        assert f"{topic}: {text.split()[0]}" in table
    assert "nan" not in table.lower()


def test_the_same_seed_gives_the_same_report_whatever_the_batch(report, samples):
    again = evaluate(Planted(), samples, ["similarity_map", "input_gradient"], batch=3)
    assert again.json() == report.json()
    other = evaluate(Planted(), samples, [], seed=1)
    assert other.row("random").scores != report.row("random").scores


def test_differences_are_paired(report):
    d = report.difference("similarity_map", "centre disc")
    assert d.mean == pytest.approx(
        scores(report)["as_truth/share_0.5"] - scores(report, "centre disc")["as_truth/share_0.5"]
    )
    assert report.difference("random", "random", "pointing") == (0, 0, 0, 1)
    with pytest.raises(OptionError, match="no row 'disc'"):
        report.difference("disc", "random")
    with pytest.raises(OptionError, match="compared by"):
        report.difference("random", "random", "auroc/noise")


def test_unreadable_files_are_named_counted_and_left_out(folder, positives, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes((folder / "0.png").read_bytes()[:40])
    bad = [
        replace(positives[0], id="no picture", image=tmp_path / "none.png"),
        replace(positives[0], id="half a picture", image=broken),
        replace(positives[1], id="no sound", sound=tmp_path / "none.wav"),
    ]
    report = evaluate(Planted(), [*bad, *positives], ["similarity_map"])
    good = evaluate(Planted(), positives, ["similarity_map"])
    assert (report.n, report.skipped) == (7, 3)
    assert [failure.id for failure in report.failures] == [
        "no picture",
        "half a picture",
        "no sound",
    ]
    assert report.row("similarity_map").json() == good.row("similarity_map").json()
    assert "none.png" in report.table()
    assert "3 not read" in report.table()
    assert report.json()["skipped"] == 3
    with pytest.raises(SoundspotError, match=r"none of the 3 samples.*'no picture'.*none\.png"):
        evaluate(Planted(), bad, ["similarity_map"])


def test_many_failures_are_not_all_printed(positives, tmp_path):
    lost = [replace(positives[0], id=f"lost{i}", sound=tmp_path / "none.wav") for i in range(30)]
    report = evaluate(Planted(), [*lost, *positives], [])
    assert "and 20 more not read" in report.table()
    assert len(report.json()["failures"]) == 30


def test_without_another_group_there_is_no_wrong_sound(positives):
    reds = [sample for sample in positives if sample.group == "red"]
    report = evaluate(Planted(), reds, ["similarity_map"])
    assert all("wrong sound" not in row.name for row in report.rows)
    assert any("wrong sound: 0 of 4" in note for note in report.notes)


def test_without_groups_another_picture_and_sound_will_do(positives):
    nameless = [replace(sample, group=None) for sample in positives]
    report = evaluate(Planted(), nameless, ["similarity_map"], heard={"red"})
    wrong = report.row("similarity_map, wrong sound")
    assert not np.isnan(wrong.values["pointing"]).any()
    assert {entry["n"] for entry in wrong.groups.values()} == {6, 1, 0}
    json.dumps(report.json(), allow_nan=False)


def test_a_wrong_sound_is_of_no_group_in_this_picture(positives):
    """Both colours are known to be in pictures 1 to 3: only picture 0 has a wrong sound."""
    report = evaluate(Planted(), positives, ["similarity_map"])
    answered = ~np.isnan(report.row("similarity_map, wrong sound").values["pointing"])
    assert [s.id for s, a in zip(positives, answered, strict=True) if a] == ["0-red"]
    assert any(note.startswith("wrong sound: 1 of 7 positives") for note in report.notes)


def test_a_model_that_only_knows_pairs(samples):
    report = evaluate(bare, samples[:2], ["occlusion(patch=56, stride=56)"])
    assert report.model == "bare"
    assert report.rows[0].name == "occlusion(patch=56, stride=56)"
    assert "no picture-only row: the model offers no feature_strength" in report.table()
    with pytest.raises(MethodError, match="similarity_map"):
        evaluate(bare, samples[:2], ["similarity_map"])


@pytest.mark.parametrize(("visible", "by_the_answer"), [(0.5, 0.0), (0.0, 1.0)])
def test_what_is_lit_on_negatives_by_the_map_and_by_the_answer(samples, visible, by_the_answer):
    """The map is at least 0.5 everywhere, and reaches more only where a tone has its square."""
    calibration = Calibration(20.0, -15.0, visible, {"similarity_map": 0.4})
    model = Planted(replace(FACTS, calibration=calibration), spoil=0.5)
    report = evaluate(model, samples, ["similarity_map"])
    found = scores(report)
    for kind in NEGATIVE_KINDS:
        assert found[f"soundspot/pia_{kind}"] == 1
        assert found[f"soundspot/gated_pia_{kind}"] == by_the_answer
    assert 0 <= found["soundspot/calibration_error"] < 0.1
    table = report.table()
    assert "negatives, at the model's own thresholds" in table
    answer = f"{100 * by_the_answer:.1f}"
    assert re.search(rf"a  similarity_map( +100\.0){{3}}( +{answer}){{3}} +\d\.\d\n", table)
    wrong = report.row("similarity_map, wrong sound").scores
    assert wrong["soundspot/gated_pia_noise"] == by_the_answer


def test_without_a_calibrated_threshold_nothing_is_lit(report):
    assert math.isnan(scores(report)["soundspot/gated_pia_noise"])
    assert "highlighted by the map" in report.table()  # for its calibration error


def test_blind_rows_alone(positives):
    report = evaluate(Planted(), positives, [])
    assert [row.kind for row in report.rows] == ["blind"] * 3 + ["control"]
    report.table()


def test_negatives_alone_have_nothing_to_locate(samples):
    negatives = [sample for sample in samples if sample.kind != "positive"]
    report = evaluate(Planted(), negatives, ["similarity_map"])
    assert all(math.isnan(score) for score in scores(report).values())
    assert any("no positives" in note for note in report.notes)
    json.dumps(report.json(), allow_nan=False)
    assert " - " in report.table()


def test_one_positive_is_enough(positives):
    report = evaluate(Planted(), positives[:1], ["similarity_map"])
    assert report.row("similarity_map").intervals["pointing"] == (1, 1)
    assert math.isnan(scores(report)["auroc/noise"])
    json.dumps(report.json(), allow_nan=False)


def test_mixtures_and_boxless_positives_are_counted_apart(positives):
    odd = [
        replace(positives[0], id="mix", kind="mixture"),
        replace(positives[0], id="free", boxes=()),
    ]
    report = evaluate(Planted(), [*odd, *positives], [])
    assert sum(report.unjudged.values()) == 2
    assert "judged 7 of 9 samples" in report.table()
    with pytest.raises(SoundspotError, match=r"no samples to judge.*mixtures.*without boxes"):
        evaluate(Planted(), odd, [])
    with pytest.raises(SoundspotError, match="none were given"):
        evaluate(Planted(), [], [])


def test_annotators_are_judged_by_their_consensus(positives):
    left, top = (0.0, 0.0, 0.5, 1.0), (0.0, 0.0, 1.0, 0.5)
    drawn = replace(positives[0], boxes=(), annotators=((left,), (top,)))
    nothing = np.zeros((2, 2), np.float32)
    truth = Batch([Shot(drawn, 2, 2, (nothing,))]).own_truth(Unit(0, 0))
    np.testing.assert_array_equal(truth, [[1.0, 0.5], [0.5, 0.0]])
    report = evaluate(Planted(), [drawn], [])
    whole = report.row("whole image").values["top_half/auc"]
    assert whole == pytest.approx(metrics.auc([2 / (2 + 1)]))


def test_nan_is_an_error_that_names_its_row(positives):
    with pytest.raises(ModelError, match="NaN"):
        evaluate(Planted(spoil=float("nan")), positives, ["similarity_map"])
    with pytest.raises(ModelError, match=r"^picture only, sample '0-red': .*NaN"):
        evaluate(Planted(spoil=float("nan")), positives, [])


def test_options_are_checked(positives):
    with pytest.raises(OptionError, match="twice"):
        evaluate(Planted(), positives, ["similarity_map", "similarity_map()"])
    with pytest.raises(OptionError, match="unknown method"):
        evaluate(Planted(), positives, ["magic"])
    with pytest.raises(OptionError, match="at least 1"):
        evaluate(Planted(), positives, [], batch=0)


def test_large_pictures_are_judged_smaller():
    assert judged_size(np.empty((480, 360, 3), np.uint8)) == (480, 360)
    assert judged_size(np.empty((3000, 4000, 3), np.uint8)) == (JUDGED_SIDE * 3 // 4, JUDGED_SIDE)
    assert judged_size(np.empty((1, 5000, 3), np.uint8)) == (1, JUDGED_SIDE)


def test_the_disc_on_the_validation_pairs_at_their_own_size(shared_data):
    """The referee's centre disc, one clip a pair, against the known share, AUC and pointing."""
    from soundspot.data.manifest import read_manifest

    samples = read_manifest(shared_data / "val/pairs.jsonl")
    pairs = [sample for sample in samples if sample.id.endswith("-0")]
    disc = scores(evaluate(Planted(), pairs, []), "centre disc")
    assert disc["as_truth/share_0.5"] == pytest.approx(0.518, abs=0.001)
    assert disc["as_truth/auc"] == pytest.approx(0.449, abs=0.001)
    assert disc["pointing"] == pytest.approx(0.667, abs=0.001)
    assert disc["top_half/share_0.5"] == pytest.approx(0.421, abs=0.001)


def test_progress_goes_to_standard_error(positives, capsys):
    evaluate(Planted(), positives[:1], [], progress=True)
    out, err = capsys.readouterr()
    assert not out
    assert "evaluating" in err
