"""The paper's table: its parts against closed forms and planted sources, the whole by one run."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

import planted
import soundspot
from soundspot.errors import SoundspotError
from soundspot.facts import ModelFacts
from soundspot.similarity import AskedAnew, fix_sound
from soundspot.types import Sample
from soundspot.watch import frozen

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import paper_cost  # noqa: E402
import paper_figure  # noqa: E402
import paper_levers  # noqa: E402
import paper_scores  # noqa: E402
import paper_sharpness  # noqa: E402
import paper_store  # noqa: E402
import paper_table  # noqa: E402
import paper_text  # noqa: E402
import paper_verdict  # noqa: E402

OWN, GRADIENT, GUIDED = "similarity_map", "input_gradient", "guided_backprop"
BOTH = f"combined({OWN}, {GUIDED})"
FACTS = ModelFacts("planted", planted.SIDE, planted.RATE, planted.SAMPLES / planted.RATE)


@pytest.fixture
def towers() -> planted.TwoTowers:
    model = planted.TwoTowers()
    model.facts = FACTS
    return model


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine pictures of the planted scene's colours, large squares, with their tones."""
    folder = tmp_path_factory.mktemp("planted")
    rng = np.random.default_rng(0)
    lines = []
    for colour in range(3):
        sound = folder / f"{colour}.wav"
        soundfile.write(sound, planted.tone(colour, planted.RATE).numpy(), planted.RATE)
        for i in range(3):
            pixels = 128 + 5 * rng.standard_normal((240, 320, 3))
            x, y = 20 + 80 * i, 20 + 40 * i
            pixels[y : y + 120, x : x + 120] = 255 * planted.COLOURS[colour].numpy()
            image = folder / f"{colour}-{i}.png"
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(image)
            box = [x / 320, y / 240, (x + 120) / 320, (y + 120) / 240]
            line = {"id": f"{colour}-{i}", "image": image.name, "sound": sound.name}
            lines.append({**line, "boxes": [box], "group": f"tone {colour}"})
            lines.append({**lines[-1], "id": f"{colour}-{i}-again"})
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.fixture
def samples(manifest: Path) -> list[Sample]:
    return paper_scores.one_clip(soundspot.read_manifest(manifest))


def test_one_clip_a_picture_and_group(samples: list[Sample]) -> None:
    assert [s.id for s in samples] == [f"{c}-{i}" for c in range(3) for i in range(3)]


def test_one_clip_of_the_validation_pairs(shared_data: Path) -> None:
    pairs = list(soundspot.read_manifest(shared_data / "val" / "pairs.jsonl"))
    chosen = paper_scores.one_clip(paper_scores.positives(pairs))
    assert len(chosen) == 114
    assert [s.id for s in chosen] == [s.id for s in pairs if s.id.endswith("-0")]


def test_a_subset_keeps_the_order_and_is_the_same_again(samples: list[Sample]) -> None:
    drawn = paper_scores.subset(samples, 4)
    assert drawn == paper_scores.subset(samples, 4)
    assert [samples.index(s) for s in drawn] == sorted(samples.index(s) for s in drawn)
    assert paper_scores.subset(samples, 100) == samples


def test_differences_are_those_of_the_report(
    towers: planted.TwoTowers, samples: list[Sample]
) -> None:
    report = soundspot.evaluate(towers, samples, [OWN, BOTH], device="cpu")
    judged = paper_scores.judge(towers, samples, [OWN, BOTH], "cpu")
    assert paper_scores.difference(judged, BOTH, OWN) == report.difference(BOTH, OWN)
    wrong = paper_scores.wrong_sound_name(OWN)
    assert paper_scores.over_wrong_sound(judged, OWN) == report.difference(OWN, wrong)
    assert math.isnan(paper_scores.difference(judged, OWN, "nobody").mean)
    twice = paper_scores.difference_together([judged, judged], BOTH, OWN)
    assert twice == pytest.approx(report.difference(BOTH, OWN))  # no more pictures than before
    assert json.loads(json.dumps(judged)) == judged


def test_the_blind_rows_of_the_report_are_those_of_the_tables(
    towers: planted.TwoTowers, samples: list[Sample]
) -> None:
    report = soundspot.evaluate(towers, samples[:2], [], device="cpu")
    assert [row.name for row in report.rows if row.kind == "blind"] == list(paper_text.BLIND)


def test_a_method_that_cannot_work_is_named(samples: list[Sample]) -> None:
    judged = paper_scores.judge(planted.Perceptron(), samples[:2], [OWN], "cpu")
    assert judged["refused"][OWN].startswith("similarity_map needs")
    assert not [r for r in judged["rows"].values() if r["kind"] == "method"]


def test_passes_are_counted(towers: planted.TwoTowers) -> None:
    scene = planted.scene()

    def passes(question: Any, method: str) -> tuple[int, int]:
        facts = paper_cost._passes(question, scene.images[:1], method)
        return facts["forward"], facts["backward"]

    with frozen(towers):
        question = fix_sound(towers, scene.sounds[:1])
        assert passes(question, OWN) == (1, 0)
        assert passes(question, GRADIENT) == (1, 1)
        assert passes(question, BOTH) == (1, 1)  # one pass serves both parts
        assert passes(question, "input_gradient(samples=3)") == (4, 3)
        assert passes(question, "occlusion(patch=16, stride=8)") == (1 + 3 * 3, 0)
        assert passes(AskedAnew(towers, scene.sounds[:1]), GUIDED) == (1, 1)


def test_a_pasted_box_is_where_the_crop_is() -> None:
    ground = np.full((448, 448, 3), 10, np.uint8)
    for size, shape in ((64, (100, 50)), (16, (90, 160)), (256, (100, 100))):
        crop = Image.new("RGB", shape, (200, 200, 200))
        picture, box = paper_sharpness.paste(ground, crop, size, (0.3, 1.0))
        rows, columns = np.nonzero((picture != 10).any(2))
        edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.multiply(box, 448).round().tolist() == edges
        assert box[3] == 1.0
        area = (edges[2] - edges[0]) * (edges[3] - edges[1])
        assert area == pytest.approx(size**2, rel=0.1)


def test_planted_sources_are_found_down_to_what_the_network_sees(
    towers: planted.TwoTowers, samples: list[Sample]
) -> None:
    sizes = (192, 96, 8)
    groups = sorted({str(s.group) for s in samples})
    trials = paper_sharpness.plant(samples, groups, sizes, count=6)
    assert [len(row) for row in trials] == [6, 6, 6]
    for i in range(6):  # a trial is the same source at every size
        assert len({row[i].source.id for row in trials}) == 1
    found = paper_sharpness.sharpness(towers, trials, "cpu")
    methods = paper_scores.cheap_methods()
    assert set(found) == {*methods, *map(paper_scores.wrong_sound_name, methods)}
    wrong = paper_sharpness.wrongly(trials[0])
    assert all(a.source.group != b.source.group for a, b in zip(wrong, trials[0], strict=True))
    for method in methods:
        heard = np.mean(found[method][:2])
        assert np.mean(found[paper_scores.wrong_sound_name(method)][:2]) < heard
        large, medium, tiny = paper_sharpness.shares(found, method)
        assert large >= 0.8
        assert medium >= 0.5
        assert tiny < 0.5  # half a pixel of the network's picture


def test_the_average_of_maps_is_the_combined_method(towers: planted.TwoTowers) -> None:
    scene = planted.scene()
    own, fine, both = (
        list(soundspot.parse(m)(towers, scene.images, scene.sounds).maps.numpy())
        for m in (OWN, GUIDED, BOTH)
    )
    np.testing.assert_allclose(paper_sharpness.averaged(own, fine), both, rtol=1e-5)


def test_sources_come_from_heard_groups_alone(samples: list[Sample]) -> None:
    trials = paper_sharpness.plant(samples, ["tone 1"], (64,), count=4)
    assert {p.source.group for p in trials[0]} == {"tone 1"}
    with pytest.raises(SoundspotError, match="no true box is large enough"):
        paper_sharpness.plant(samples, ["nobody"], (64,), count=4)


@pytest.mark.parametrize(
    ("shares", "smallest"),
    [
        ((1.0, 1.0, 0.5, 0.4), 32),
        ((1.0, 0.4, 1.0, 1.0), 128),
        ((0.4, 1.0, 1.0, 1.0), None),
        ((0.5, 0.5, 0.5, 0.5), 16),
    ],
)
def test_the_smallest_size_found(shares: tuple[float, ...], smallest: int | None) -> None:
    assert paper_sharpness.smallest_found(shares, (128, 64, 32, 16)) == smallest
    assert paper_sharpness.smallest_found(shares[::-1], (16, 32, 64, 128)) == smallest


def test_the_default_variants_are_the_methods(towers: planted.TwoTowers) -> None:
    scene = planted.scene()
    with frozen(towers):
        question = fix_sound(towers, scene.sounds)
        variants = paper_levers._variants(question, scene.images)
        for method, variant in (
            (GUIDED, f"{GUIDED}: blur 0.05"),
            ("input_gradient(reduce='l2')", f"{GRADIENT}: reduce l2"),
            (BOTH, f"own + {GUIDED}: blur 0.05"),
            (f"combined({OWN}, input_gradient(blur=0.0))", f"own + {GRADIENT}: blur 0.0"),
        ):
            maps = soundspot.parse(method).explain(question, scene.images).maps
            torch.testing.assert_close(variants[variant], maps)


def test_variants_score_as_the_methods_do(towers: planted.TwoTowers, samples: list[Sample]) -> None:
    found = paper_levers.levers(towers, samples, "cpu")
    judged = paper_scores.judge(towers, samples, [OWN, BOTH], "cpu")
    for method, variant in ((OWN, OWN), (BOTH, f"own + {GUIDED}: blur 0.05")):
        scores = [paper_scores.score(judged, method, key) for key in paper_scores.KEYS[:3]]
        assert found["variants"][variant]["scores"] == pytest.approx(scores)
    over = paper_scores.difference(judged, BOTH, OWN)
    facts = found["variants"][f"own + {GUIDED}: blur 0.05"]
    assert facts["over_own"] == pytest.approx(list(over))


def test_pairs_as_flickr_soundnet_has_them(
    towers: planted.TwoTowers, samples: list[Sample]
) -> None:
    """Boxes of several people, and no groups."""
    pairs = [replace(s, boxes=(), annotators=(s.boxes, s.boxes), group=None) for s in samples]
    assert paper_scores.one_clip(paper_scores.positives(pairs)) == pairs
    found = paper_levers.levers(towers, pairs, "cpu")
    assert found == paper_levers.levers(towers, samples, "cpu")  # they agree
    (trials,) = paper_sharpness.plant(pairs, [], (96,), count=2)
    assert all(p.source in pairs for p in trials)
    assert len(paper_figure.pairs(pairs, 4)) == 4


def test_normalisations() -> None:
    maps = torch.tensor([[[3.0, 1.0], [2.0, 10.0]]])
    wanted = torch.tensor([[[2 / 3, 0.0], [1 / 3, 1.0]]])
    torch.testing.assert_close(paper_levers.ranks(maps), wanted)
    standard = paper_levers.standard(maps)
    assert float(standard.mean()) == pytest.approx(0, abs=1e-6)
    assert float(standard.std()) == pytest.approx(1)
    assert not paper_levers.standard(torch.ones(1, 2, 2)).any()


def judged_of(own: list[int], both: list[int]) -> dict[str, Any]:
    """A judged model whose own map and combined map pass these pairs, random none."""
    wrong = paper_scores.wrong_sound_name
    parts = {OWN: own, GRADIENT: own, GUIDED: own, BOTH: both, "random": [0] * len(own)}
    parts |= {f"combined({OWN}, {GRADIENT})": own}
    parts |= {wrong(name): [0] * len(own) for name in (OWN, GRADIENT, GUIDED)}
    rows = {
        name: {
            "scores": {key: float(np.mean(values)) for key in paper_scores.KEYS},
            "values": dict.fromkeys(paper_scores.KEYS, values),
        }
        for name, values in parts.items()
    }
    return {"pictures": list(range(len(own))), "rows": rows, "refused": {}}


def test_the_verdict_follows_the_numbers() -> None:
    better = judged_of([1, 0] * 20, [1, 1] * 20)
    worse = judged_of([1, 1] * 20, [1, 0] * 20)
    same = judged_of([1, 0] * 20, [0, 1] * 20)
    text = "\n".join(paper_verdict.improvement({"a": better, "b": worse, "c": same}, {}))
    assert "holds in part (1 of 3)" in text
    assert "above zero for a + guided back-propagation; below zero for b" in text
    assert "b, where it does not show: its own map scores 100.0" in text
    assert "holds (1 of 1)" in paper_verdict.improvement({"a": better}, {})[0]
    assert "is not shown (0 of 1)" in paper_verdict.improvement({"b": worse}, {})[0]
    assert "holds (2 of 2)" in paper_verdict.free_structure({"a": better})[0]
    deaf = judged_of([0] * 40, [0] * 40)
    assert "is not shown (0 of 2)" in paper_verdict.free_structure({"a": deaf})[0]
    assert "none (0 of 1)" in "\n".join(paper_verdict.baselines({"a": deaf}))


def test_the_verdict_on_variants() -> None:
    variants = {OWN: {"scores": [0.5]}}
    for method in (GRADIENT, f"own + {GRADIENT}"):
        variants |= {f"{method}: blur 0.0": {"scores": [0.4]}}
        variants |= {f"{method}: blur 0.05": {"scores": [0.7]}}
    text = paper_verdict.reasons({"a": {"n": 9, "variants": variants}})[1]
    assert text == (
        "a, n = 9: input gradient (default 70.0): blur 0.0 -30.0; "
        "own map + input gradient (default 70.0): blur 0.0 -30.0."
    )


def test_the_verdict_on_resolution() -> None:
    hit, miss = [True] * 20, [False] * 20
    sharp = {OWN: [hit, miss], GRADIENT: [hit, hit], GUIDED: [hit, miss]}
    lines = paper_verdict.resolution({"a": sharp}, {}, (64, 32))
    assert "holds in part (1 of 2)" in lines[0]
    assert "own map 64 px, input gradient 32 px, guided back-propagation 64 px" in lines[1]
    assert "input gradient +50.0 (+50.0 to +50.0)" in lines[1]
    del sharp[GUIDED]
    assert "holds (1 of 1)" in paper_verdict.resolution({"a": sharp}, {}, (64, 32))[0]
    assert paper_verdict.resolution({"a": {}}, {}, (64, 32))[0].startswith(
        "**High resolution: not measured.**"
    )


def test_the_verdict_on_cost() -> None:
    def methods(gradient: float) -> dict[str, Any]:
        facts = {"time": gradient, "memory": 120.0}
        slow = {"time": 100.0, "forward": 122}
        forward = {"time": 1.0, "memory": 100.0}
        return {"methods": {"forward pass": forward, GRADIENT: facts, "occlusion": slow}}

    cheap = paper_verdict.low_cost({"a": methods(2.5)})
    assert "holds (1 of 1)" in cheap[0]
    assert "40 times cheaper, +20 MiB" in cheap[1]
    assert "is not shown (0 of 1)" in paper_verdict.low_cost({"a": methods(25.0)})[0]


def test_results_are_kept_until_something_changes(tmp_path: Path) -> None:
    path, calls = tmp_path / "work" / "kept.json", []

    def find() -> list[int]:
        calls.append(1)
        return [len(calls)]

    assert paper_store.Store(path).take("a", {"n": 1}, find) == [1]
    again = paper_store.Store(path)
    assert again.take("a", {"n": 1}, find) == [1]
    assert again.take("a", {"n": 2}, find) == [2]
    assert paper_store.Store(path, fresh=True).take("a", {"n": 2}, find) == [3]
    path.write_text("{")
    with pytest.raises(SoundspotError, match="--fresh"):
        paper_store.Store(path)


def test_weights_are_told_apart(towers: planted.TwoTowers) -> None:
    before = paper_store.fingerprint_of_model(towers)
    assert before == paper_store.fingerprint_of_model(planted.TwoTowers())
    with torch.no_grad():
        towers.sound.weight[0, 0] += 1
    assert before != paper_store.fingerprint_of_model(towers)


def test_the_command_names_no_folders_of_this_machine() -> None:
    assert paper_table.portable("flickr_soundnet:/a/b/flickr") == "flickr_soundnet:b/flickr"
    assert paper_table.portable("/a/b/c.x,default,/d/e/f.x") == "b/c.x,default,e/f.x"
    assert paper_table.portable("../shared/val/pairs.jsonl") == "../shared/val/pairs.jsonl"
    words = ["x/paper_table.py", "--data", "/somewhere/else/val/pairs.jsonl", "--quick"]
    command = "python benchmarks/paper_table.py --data val/pairs.jsonl --quick"
    assert paper_table._command(words) == command


def test_the_figure_draws_boxes_where_they_are(
    towers: planted.TwoTowers, samples: list[Sample], tmp_path: Path
) -> None:
    columns = paper_figure.pairs(samples, 2)
    assert len({column.title for column in columns}) == 2
    path = tmp_path / "figure.png"
    paper_figure.draw({"planted": towers}, columns, path, "cpu")
    step, head = paper_figure.CELL + paper_figure.GAP, paper_figure.TEXT + 2 * paper_figure.GAP
    page = np.asarray(Image.open(path))
    assert page.shape == (head + 4 * step, paper_figure.LABEL_WIDTH + 2 * step, 3)
    for row in range(4):
        x0, y0 = (round(v * paper_figure.CELL) for v in columns[0].boxes[0][:2])
        pixel = page[head + row * step + y0, paper_figure.LABEL_WIDTH + x0]
        assert tuple(pixel) == paper_figure.BOX_COLOUR


def test_the_published_figure_shows_the_sample_alone() -> None:
    columns = paper_figure.planted()
    assert {*paper_figure.CAT.parents, *paper_figure.MEOW.parents} == {*paper_figure.CAT.parents}
    assert paper_figure.CAT.parent == ROOT / "samples"
    widths = [box[2] - box[0] for column in columns for box in column.boxes]
    assert widths == sorted(widths, reverse=True)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "paper_table.py"), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_missing_manifest_is_one_line(tmp_path: Path, model_file: Path) -> None:
    done = run("--data", str(tmp_path / "none.jsonl"), "--models", str(model_file))
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("paper_table: ")
    assert "none.jsonl" in line


def test_models_of_one_name_are_refused() -> None:
    with pytest.raises(SoundspotError, match="different names"):
        paper_table._names("a/model.x,b/model.x")
    assert paper_table._names("attention, a/b.x") == {"attention": "attention", "b": "a/b.x"}


@pytest.mark.slow
def test_the_whole_table_and_its_second_run(
    tmp_path: Path, manifest: Path, model_file: Path
) -> None:
    out, work = tmp_path / "out" / "table.md", tmp_path / "work"
    words = ["--data", str(manifest), "--models", str(model_file), "--quick"]
    words += ["--out", str(out), "--work", str(work)]
    first = run(*words)
    assert first.returncode == 0, first.stderr
    text = out.read_text()
    assert first.stdout == text + "\n"
    headings = ("Verdicts", "Cost", "Resolution", "Reduction", "Figure", "Conventions")
    for heading in headings:
        assert f"\n## {heading}" in text
    for row in ("own map + guided back-propagation", "centre disc", "chance (area)"):
        assert f"| {row} |" in text
    assert str(tmp_path) not in text
    assert (out.parent / "paper_figure.jpg").is_file()
    assert (work / "figure.jpg").is_file()
    second = run(*words)
    assert second.stderr.count("kept from an earlier run") == 5
    assert sorted(path.name for path in work.iterdir()) == ["figure.jpg", "results.json"]
    assert out.read_text() == text
