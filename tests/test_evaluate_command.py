"""`soundspot evaluate` from end to end, on the planted scene: every option, and what it writes."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from red_and_green import (
    HEIGHT,
    WIDTH,
    mixtures_in,
    negatives_in,
    positives_in,
    write_manifest,
    write_scene,
)
from soundspot import metrics
from soundspot.cli import main
from soundspot.judging.blind import centre_disc
from soundspot.protocols import PROTOCOLS

PLANTED = ("--model", "red_and_green:Planted", "--methods", "similarity_map")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_scene(tmp_path_factory.mktemp("scene"))
    write_manifest(folder / "pairs.jsonl", positives_in(folder))
    write_manifest(folder / "negatives.jsonl", negatives_in(folder))
    write_manifest(folder / "mixtures.jsonl", mixtures_in(folder))
    return folder


@pytest.fixture
def evaluate(capsys):
    def call(*arguments):
        code = main(["evaluate", *map(str, arguments)])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def judged(evaluate, tmp_path):
    """The JSON of a run that must go well, by row."""

    def call(*arguments, code=0):
        target = tmp_path / "report.json"
        found, _, err = evaluate(*arguments, "--json", target)
        assert found == code, err
        data = json.loads(target.read_text())
        return data, {row["name"]: row for row in data["rows"]}

    return call


def test_every_protocol_has_its_table_scores_and_conventions(folder, evaluate, judged):
    data, rows = judged(folder / "pairs.jsonl", *PLANTED, "--protocol", "soundspot,lvs,ez_vsl")
    assert {row["kind"] for row in data["rows"]} == {"method", "blind", "control"}
    for row in rows.values():
        for key in ("lvs/ciou_share_0.5", "lvs/ciou_mean", "lvs/auc", "ez_vsl/auc"):
            assert 0 <= row["scores"][key] <= 1
    assert set(data["protocols"]) == {"soundspot", "lvs", "ez_vsl"}
    assert data["protocols"]["lvs"]["conventions"]["geometry"]
    code, out, _ = evaluate(folder / "pairs.jsonl", *PLANTED, "--protocol", "lvs")
    assert code == 0
    assert "protocol lvs, version 1" in out
    assert "lvs, geometry: " in out
    assert "as many as truth" not in out
    for name in rows:
        assert name.replace("similarity_map, wrong", "a, wrong") in out


def test_a_protocols_scores_are_those_of_its_own_rule(folder, judged):
    """The disc at the peers' 224 x 224, above the middle value, by hand."""
    _, rows = judged(folder / "pairs.jsonl", *PLANTED, "--protocol", "lvs")
    side = 224
    y, x = (np.arange(side)[:, None] + 0.5) / side - 0.5, (np.arange(side) + 0.5) / side - 0.5
    inside = np.hypot(y, x * np.ones_like(y))
    disc = metrics.top_half((-inside).astype(np.float32), strict=True)
    ious = []
    for sample in positives_in(folder):
        x0, y0, x1, y1 = (round(v * side) for v in sample.boxes[0])
        truth = np.zeros((side, side), bool)
        truth[y0:y1, x0:x1] = True
        ious.append((disc & truth).sum() / (disc | truth).sum())
    assert rows["centre disc"]["scores"]["lvs/ciou_mean"] == pytest.approx(np.mean(ious), abs=2e-3)
    assert rows["centre disc"]["scores"]["lvs/auc"] == pytest.approx(metrics.auc(ious), abs=0.01)


def test_all_protocols_on_all_kinds_of_samples(folder, judged):
    data = [folder / f"{kind}.jsonl" for kind in ("pairs", "negatives", "mixtures")]
    report, rows = judged(*data, *PLANTED, "--protocol", "all")
    assert set(report["protocols"]) == set(PROTOCOLS)
    assert (report["n"], report["positives"], report["mixtures"]) == (23, 7, 4)
    for row in rows.values():
        for score in row["scores"].values():
            assert score is None or 0 <= score <= 1
    assert rows["similarity_map"]["scores"]["vssl_eval/f_loc"] is not None


def test_mixtures_are_asked_source_by_source(folder, judged):
    """Each clean tone finds its square, so all sounds of every picture are found."""
    report, rows = judged(folder / "mixtures.jsonl", *PLANTED, "--protocol", "soundspot,ssl_align")
    planted = rows["similarity_map"]["scores"]
    assert planted["soundspot/iiou_share_0.5"] == 1
    for name in ("centre disc", "whole image", "random", "picture only"):
        assert rows[name]["scores"]["soundspot/iiou_share_0.5"] == 0
    assert [k for k in planted if k.startswith("ssl_align/iiou")]
    assert report["n"] == 4
    assert "wrong sound: 0 of 4 positives and mixtures" in " ".join(report["notes"])


def test_several_models_have_rows_under_their_names(folder, judged, evaluate, model_file):
    data, rows = judged(
        folder / "pairs.jsonl", "--models", f"{model_file},red_and_green:Planted",
        "--methods", "similarity_map",
    )  # fmt: skip
    assert data["model"] == "tiny, planted"
    assert list(rows)[:2] == ["tiny: similarity_map", "planted: similarity_map"]
    assert {"tiny: picture only", "planted: similarity_map, wrong sound"} <= set(rows)
    assert "random" in rows
    _, alone = judged(folder / "pairs.jsonl", *PLANTED)
    assert rows["planted: similarity_map"]["scores"] == alone["similarity_map"]["scores"]
    beaten = {(d["row"], d["against"]) for d in data["differences"]}
    assert ("planted: similarity_map", "planted: picture only") in beaten
    assert ("planted: similarity_map", "tiny: picture only") not in beaten
    code, _, err = evaluate(
        folder / "pairs.jsonl", "--models", "red_and_green:Planted,red_and_green:other"
    )
    assert (code, err.count("\n")) == (2, 1)
    assert "two models are called 'planted'" in err


def test_a_model_file_in_the_current_directory(folder, judged, tmp_path, monkeypatch):
    """A plain function, with no facts of its own."""
    (tmp_path / "whereabouts.py").write_text(
        "def brightness(images, sounds):\n    return images.mean((1, 2, 3)) + sounds.std(1)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    data, rows = judged(folder / "pairs.jsonl", "--model", "whereabouts:brightness")
    assert data["model"] == "brightness"
    assert "input_gradient" in rows


def write_own_models(folder, monkeypatch):
    """`own:bright` has gradients and no map of its own; `own:blunt` has not even gradients."""
    (folder / "own.py").write_text(
        "from soundspot import ModelFacts\n\n\n"
        "def bright(images, sounds):\n    return images.mean((1, 2, 3)) + sounds.std(1)\n\n\n"
        "def blunt(images, sounds):\n    return bright(images.detach(), sounds)\n\n\n"
        "bright.facts = ModelFacts('bright', size=64, sample_rate=8000, seconds=0.25)\n"
        "blunt.facts = ModelFacts('blunt', size=64, sample_rate=8000, seconds=0.25)\n"
    )
    monkeypatch.syspath_prepend(str(folder))


def test_all_methods_are_those_that_work_and_the_others_are_named(
    folder, evaluate, judged, tmp_path, monkeypatch
):
    write_own_models(tmp_path, monkeypatch)
    both = ("--models", "red_and_green:Planted,own:bright", "--methods", "all")
    data, rows = judged(folder / "pairs.jsonl", *both)
    assert "planted: similarity_map" in rows
    assert "bright: input_gradient" in rows
    left_out = [note for note in data["notes"] if note.startswith("bright: left out")]
    assert "bright: similarity_map" not in rows
    assert left_out[0].startswith("bright: left out similarity_map, combined(similarity_map, in")
    assert "needs a model with a map of its own" in left_out[0]
    _, _, err = evaluate(folder / "pairs.jsonl", *both)
    assert set(left_out) <= set(err.splitlines())


@pytest.mark.parametrize(
    ("model", "methods", "about"),
    [
        ("own:bright", "input_gradient,similarity_map", "bright: similarity_map needs a model"),
        ("own:bright", "combined(occlusion, similarity_map)", "bright: similarity_map needs"),
        ("own:bright", "multi_scale(similarity_map)", "bright: similarity_map needs"),
        ("own:blunt", "all", "none of all methods works on blunt; use --methods occlusion"),
    ],
)
def test_a_method_that_cannot_work_on_a_model_is_refused_before_any_work(
    folder, evaluate, tmp_path, monkeypatch, model, methods, about
):
    write_own_models(tmp_path, monkeypatch)
    models = model if methods == "all" else f"red_and_green:Planted,{model}"
    code, out, err = evaluate(folder / "pairs.jsonl", "--models", models, "--methods", methods)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert about in err


def test_videos_without_boxes_are_refused_with_what_they_need(evaluate, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"no matter")
    code, out, err = evaluate(tmp_path, *PLANTED)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "videos without true boxes" in err
    assert "id, video, time and boxes" in err


def test_a_long_method_is_spelt_out_under_the_table(folder, evaluate, judged):
    long = "combined(similarity_map, input_gradient, blur=0.05)"
    words = (
        "--model",
        "red_and_green:Planted",
        "--methods",
        f"{long},input_gradient(blur=0.05001)",
    )
    code, out, _ = evaluate(folder / "pairs.jsonl", *words)
    assert code == 0
    table = out.partition("more by protocol")[0]
    assert "a  combined(...) " in table
    assert f"a: {long}" in table
    assert max(map(len, out.splitlines())) <= 110
    _, rows = judged(folder / "pairs.jsonl", *words)
    assert long in rows


def maps_of(folder, target, samples):
    """The disc as another program's maps: one file a map."""
    target.mkdir()
    for sample in samples:
        values = np.array(centre_disc(HEIGHT, WIDTH), dtype=np.float64)
        names = [f"{sample.id}.{i}" for i in range(len(sample.sources))] or [sample.id]
        for name in names:
            np.save(target / f"{name}.npy", values)
    return target


def test_maps_of_another_program_are_judged_as_a_row(folder, judged, tmp_path):
    samples = [*positives_in(folder), *negatives_in(folder), *mixtures_in(folder)]
    maps = maps_of(folder, tmp_path / "peer", samples)
    data = [folder / f"{kind}.jsonl" for kind in ("pairs", "negatives", "mixtures")]
    report, rows = judged(*data, "--maps", maps, "--protocol", "soundspot,lvs,ssl_align")
    assert list(rows) == ["peer", "centre disc", "whole image", "random"]
    disc = rows["centre disc"]["scores"]
    for key, score in disc.items():
        if not key.startswith(("lvs", "ssl_align")):  # there the blind disc is made at 224 x 224
            assert rows["peer"]["scores"][key] == score, key
    assert rows["peer"]["scores"]["lvs/auc"] == pytest.approx(disc["lvs/auc"], abs=0.05)
    assert rows["peer"]["kind"] == "method"
    assert any("no wrong-sound row" in note for note in report["notes"])
    assert any("0 of 23 samples have a confidence" in note for note in report["notes"])


def test_maps_stand_beside_models_and_may_have_confidences(folder, judged, tmp_path):
    samples = [*positives_in(folder), *negatives_in(folder)]
    maps = maps_of(folder, tmp_path / "peer", samples)
    wrong = maps_of(folder, tmp_path / "peer-wrong", positives_in(folder))
    lines = [{"id": s.id, "confidence": float(s.kind == "positive")} for s in samples]
    (maps / "confidences.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    data = [folder / "pairs.jsonl", folder / "negatives.jsonl"]
    _, rows = judged(*data, *PLANTED, "--maps", maps, "--wrong-maps", wrong)
    assert list(rows)[:2] == ["similarity_map", "peer"]
    assert "peer, wrong sound" in rows
    assert rows["peer"]["scores"]["auroc/noise"] == 1
    (maps / "confidences.jsonl").unlink()
    table = "id,confidence\n" + "".join(f"{s.id},{s.kind == 'positive':d}\n" for s in samples)
    (maps / "confidences.csv").write_text(table)
    _, again = judged(*data, *PLANTED, "--maps", maps, "--wrong-maps", wrong)
    assert again["peer"] == rows["peer"]


def test_a_map_that_is_missing_or_broken_is_counted_and_never_replaced(
    folder, evaluate, judged, tmp_path
):
    positives = positives_in(folder)
    maps = maps_of(folder, tmp_path / "peer", positives)
    (maps / f"{positives[0].id}.npy").unlink()
    (maps / f"{positives[1].id}.npy").write_bytes(b"\x93NUMPY nothing")
    np.save(maps / f"{positives[2].id}.npy", np.array([object()]), allow_pickle=True)
    data, _ = judged(folder / "pairs.jsonl", "--maps", maps, code=1)
    assert data["answered"]["peer"] == [4, 7]
    assert data["answered"]["random"] == [7, 7]
    assert [(f["row"], f["id"]) for f in data["failures"]] == [
        ("peer", sample.id) for sample in positives[:3]
    ]
    assert (data["n"], data["skipped"]) == (7, 0)
    code, out, _ = evaluate(folder / "pairs.jsonl", "--maps", maps)
    assert code == 1
    assert "peer: judged 4 of 7 samples" in out
    assert f"{positives[0].id}.npy does not exist" in " ".join(out.split())


def test_data_sets_are_named_with_their_roots(folder, judged, evaluate, tmp_path):
    """Two clips in the layout of VGG-SS, beside a manifest; one has lost its sound."""
    for sub in ("frames", "audio"):
        (tmp_path / "vggss" / sub).mkdir(parents=True)
    entries = []
    for sample in positives_in(folder)[1:3]:
        clip = f"{sample.id}abcde_000030"
        shutil.copy(sample.image, tmp_path / f"vggss/frames/{clip}.png")
        shutil.copy(sample.sound, tmp_path / f"vggss/audio/{clip}.wav")
        entries.append({"file": clip, "class": sample.group, "bbox": [*map(list, sample.boxes)]})
    (tmp_path / "vggss/vggss.json").write_text(json.dumps(entries))
    spec = f"vgg_ss:{tmp_path / 'vggss'}"
    data, rows = judged(spec, folder / "pairs.jsonl", *PLANTED)
    assert (data["n"], data["skipped"]) == (9, 0)
    assert rows["similarity_map"]["scores"]["as_truth/share_0.5"] == 1
    (tmp_path / f"vggss/audio/{entries[0]['file']}.wav").unlink()
    code, out, _ = evaluate(spec, folder / "pairs.jsonl", *PLANTED)
    assert code == 1
    assert "judged 8 of 9 samples" in out
    assert f"not read: {entries[0]['file']}" in out
    entries[1]["bbox"] = [[0, 0, 9]]
    (tmp_path / "vggss/vggss.json").write_text(json.dumps(entries))
    code, out, _ = evaluate(spec, folder / "pairs.jsonl", *PLANTED)
    assert code == 1
    assert "judged 7 of 9 samples" in out
    assert f"not read: {entries[1]['file']}" in out
    assert "entry 2: a box must be four finite numbers" in " ".join(out.split())
    code, _, err = evaluate(f"{spec}?split=none", *PLANTED)
    assert (code, err.count("\n")) == (2, 1)


def test_csv_has_a_line_a_row_and_score(folder, evaluate, judged, tmp_path):
    target = tmp_path / "report.csv"
    _, rows = judged(
        folder / "pairs.jsonl", *PLANTED, "--protocol", "soundspot,lvs", "--csv", target
    )
    lines = list(csv.DictReader(io.StringIO(target.read_text())))
    assert list(lines[0]) == [
        "model",
        "row",
        "kind",
        "protocol",
        "metric",
        "score",
        "low",
        "high",
        "n",
    ]
    for line in lines:
        score = rows[line["row"]]["scores"][f"{line['protocol']}/{line['metric']}"]
        assert score == (float(line["score"]) if line["score"] else None)
    lvs = [x for x in lines if (x["protocol"], x["metric"]) == ("lvs", "auc")]
    assert {x["row"]: x["n"] for x in lvs} == {**dict.fromkeys(rows, "7"),
                                               "similarity_map, wrong sound": "1"}  # fmt: skip
    assert {x["model"] for x in lvs} == {"planted", ""}
    code, out, _ = evaluate(folder / "pairs.jsonl", *PLANTED, "--csv", "-")
    assert code == 0
    assert out.startswith("model,row,kind")


class Balanced(HTMLParser):
    """Every tag that opens is closed, and nothing outside the page is asked for."""

    VOID = frozenset(("meta", "img", "line"))

    def __init__(self):
        super().__init__()
        self.open, self.tags = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            assert name not in ("href", "onclick", "onload")
            assert name != "src" or value.startswith("data:image/jpeg;base64,")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_escapes_other_peoples_names(folder, evaluate, tmp_path):
    rude = "<script>alert('&')</script>"
    lines = (folder / "pairs.jsonl").read_text().replace('"red"', json.dumps(rude))
    gone = {"id": "gone & lost", "image": "<b>.png", "sound": "red0.wav", "boxes": [[0, 0, 1, 1]]}
    (folder / "rude.jsonl").write_text(lines + json.dumps(gone) + "\n")
    page = tmp_path / "page.html"
    data = [folder / "rude.jsonl", folder / "mixtures.jsonl"]
    code, _, _ = evaluate(*data, *PLANTED, "--protocol", "soundspot,lvs", "--html", page)
    assert code == 1
    text = page.read_text()
    parser = Balanced()
    parser.feed(text)
    assert not parser.open
    assert "script" not in parser.tags
    assert "b" not in parser.tags
    assert "&lt;script&gt;" in text
    assert text.count("<svg class=") == 2
    assert parser.tags.count("img") == 8
    for part in ("Success over threshold", "Failures by size", "Failures by group", "worst",
                 "gone &amp; lost", "How this protocol judges",
                 "similarity_map over centre disc"):  # fmt: skip
        assert part in text
    assert "http" not in text.replace("http-equiv", "").split("<dl>")[0]


@pytest.mark.parametrize(
    ("arguments", "about"),
    [
        (("--protocol", "lsv"), "no protocol 'lsv'; there are soundspot, lvs"),
        (("--protocol", "lvs,lvs"), "the protocol lvs is given twice"),
        (("--protocol", ","), "no protocol is given; there are soundspot, lvs"),
        (("--methods", "magic"), "unknown method 'magic'"),
        (("--model", "nowhere"), "neither a model that comes with soundspot (there are default"),
        (("--model", "no.such.module:f"), "there is no module 'no'"),
        (("--model", "red_and_green:nothing"), "the module has no 'nothing'; there is"),
        (("--model", "red_and_green:RATE"), "is of type int, which cannot be called"),
        (("--model", "red_and_green:PlantedQuestion"), "without arguments raised TypeError"),
        (("--model", "red_and_green:tone"), "it raised TypeError"),
        (("--models", "default,default"), "the model default is given twice"),
        (("--maps", "nowhere"), "is no folder"),
        (("--maps", ".", "--wrong-maps", ".", "--wrong-maps", "."), "2 --wrong-maps for 1 --maps"),
        (("--json", "-", "--csv", "-"), "would both print"),
        (("--html", "-"), "written to files"),
        (("--batch", "0"), "at least 1"),
        (("--json", "pairs.jsonl"), "is read from"),
        (("--html", "0.png"), "is read from"),
        (("--samples", "red0.wav"), "is read from"),
        (("--maps", ".", "--json", "0-red.npy"), "is read from"),
        (("--maps", ".", "--csv", "confidences.csv"), "is read from"),
        (("--csv", "x", "--json", "x"), "written twice"),
        (("--csv", "0.png/x"), "cannot be written"),
        (("--samples", "."), "is a folder"),
        (("pairs.jsonl",), "was taken by pairs.jsonl"),
        (("none.jsonl",), "none.jsonl does not exist"),
        (("vggss:/data",), "no data set 'vggss'; there are flickr_soundnet"),
    ],
)
def test_bad_use_is_one_line_before_any_work(folder, evaluate, monkeypatch, arguments, about):
    monkeypatch.chdir(folder)
    before = sorted(os.listdir())
    code, out, err = evaluate("pairs.jsonl", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert about in err
    assert "evaluating" not in err
    assert sorted(os.listdir()) == before


def test_json_scores_are_not_rounded_away(folder, judged, tmp_path):
    """The mean of the samples' own parts, to more digits than any comparison asks for."""
    ledger = tmp_path / "samples.jsonl"
    arguments = (*PLANTED, "--protocol", "lvs", "--samples", ledger)
    _, rows = judged(folder / "pairs.jsonl", *arguments)
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    parts = [x["parts"]["lvs"]["ciou_mean"] for x in lines if x.get("row") == "random"]
    assert rows["random"]["scores"]["lvs/ciou_mean"] == pytest.approx(np.mean(parts), rel=1e-10)


def test_the_lists_of_a_data_set_are_not_written_over(folder, evaluate):
    truth = folder / "vggss.json"
    truth.write_text(json.dumps([{"file": "a_1", "class": "dog", "bbox": [[0, 0, 0.5, 1]]}]))
    before = truth.read_bytes()
    code, _, err = evaluate(f"vgg_ss:{folder}", *PLANTED, "--json", truth)
    assert (code, truth.read_bytes()) == (2, before)
    assert "is read from" in err
    code, _, err = evaluate(f"manifest:{folder}/pairs.jsonl", "--csv", folder / "pairs.jsonl")
    assert (code, "is read from" in err) == (2, True)


def test_a_model_that_answers_wrongly_is_refused(folder, evaluate, tmp_path, monkeypatch):
    (tmp_path / "wrongly.py").write_text(
        "def pairs(images, sounds):\n    return images.mean()\n\n\n"
        "def batchwise(images, sounds):\n    return images.mean((1, 2, 3)) - images.mean()\n\n\n"
        "def fails(images, sounds):\n    raise RuntimeError('two\\nlines')\n\n\n"
        "def claims(images, sounds):\n    return images.mean((1, 2, 3))\n\n\n"
        "claims.facts = {'size': 3}\n\n\n"
        "def moody(images, sounds):\n    assert sounds.std() > 0.5, 'too quiet'\n"
        "    return images.mean((1, 2, 3))\n"
    )
    (tmp_path / "broken.py").write_text("import nothing_of_the_kind\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, about in {
        "wrongly:pairs": "one number a pair, shape (2,)",
        "wrongly:batchwise": "law 1 broken",
        "wrongly:fails": "it raised RuntimeError: two lines",
        "wrongly:claims": "must be a soundspot.ModelFacts",
        "wrongly:moody": "moody: asked about 0-red, 1-red, 1-green",
        "broken:f": "importing broken raised ModuleNotFoundError",
    }.items():
        code, _, err = evaluate(folder / "pairs.jsonl", "--model", name)
        said = [line for line in err.splitlines() if line.startswith("soundspot:")]
        assert (code, len(said), "Traceback" in err) == (2, 1, False)
        assert about in said[0]


def test_nothing_is_left_out_in_silence(folder, evaluate, tmp_path):
    line = {"id": "free", "image": "0.png", "sound": "red0.wav"}
    (folder / "free.jsonl").write_text(json.dumps(line) + "\n")
    code, out, _ = evaluate(folder / "pairs.jsonl", folder / "free.jsonl", *PLANTED)
    assert code == 0
    assert "judged 7 of 8 samples" in out
    assert "left out: 1 positives without boxes" in out


def test_python_dash_m_is_the_command(folder):
    done = subprocess.run(
        [sys.executable, "-m", "soundspot", "evaluate", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--wrong-maps" in done.stdout


def test_scores_of_nothing_are_null(folder, judged):
    _, rows = judged(folder / "negatives.jsonl", *PLANTED, "--protocol", "lvs")
    assert rows["similarity_map"]["scores"]["lvs/auc"] is None
