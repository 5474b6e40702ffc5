"""What flows through the referee: several sources, several processes' turns, and no maps kept."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from red_and_green import FACTS, Planted, mixtures_in, negatives_in, positives_in, write_scene
from soundspot.benchmark import FolderOfMaps, Settings, evaluate, judge_all
from soundspot.errors import ManifestError, OptionError, SoundspotError
from soundspot.facts import Calibration
from soundspot.judging.findings import Columns
from soundspot.judging.plan import Plan, asked
from soundspot.types import Source


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_scene(tmp_path_factory.mktemp("scene"))


def test_a_positive_may_have_several_sources(folder):
    """As in sets of pictures whose every sound is annotated: each source is asked about."""
    samples = [replace(mixture, kind="positive") for mixture in mixtures_in(folder)]
    report = evaluate(Planted(), samples, ["similarity_map"], protocols=["soundspot", "ssl_align"])
    row = report.row("similarity_map")
    assert report.positives == 4
    assert row.scores["soundspot/iiou_share_0.5"] == 1
    assert row.scores["as_truth/share_0.5"] == 1


def test_a_source_without_a_sound_is_asked_with_the_pictures(folder):
    mixture = mixtures_in(folder)[1]
    red, green = mixture.sources
    mixed = replace(mixture, sound=folder / "red0.wav", sources=(replace(red, sound=None), green))
    assert asked(mixed) == (mixed, green)
    report = evaluate(Planted(), [mixed], ["similarity_map"])
    assert report.row("similarity_map").scores["soundspot/iiou_share_0.5"] == 1
    deaf = replace(mixed, sound=folder / "noise.wav")
    report = evaluate(Planted(), [deaf], ["similarity_map"])
    assert report.row("similarity_map").scores["soundspot/iiou_share_0.5"] == 0


def test_a_wrong_sound_for_each_source(folder):
    """Both colours are in picture 1; a blue thing sounds elsewhere."""
    mixture = mixtures_in(folder)[1]
    elsewhere = replace(
        positives_in(folder)[0], id="blue", group="blue", sound=folder / "offscreen.wav"
    )
    report = evaluate(Planted(), [mixture, elsewhere], ["similarity_map"])
    wrong = report.row("similarity_map, wrong sound")
    assert wrong.answered == 2
    assert wrong.scores["soundspot/iiou_share_0.5"] == 0


def test_on_negatives_a_wrong_sound_row_has_its_methods_answers(folder):
    calibrated = replace(FACTS, calibration=Calibration(thresholds={"similarity_map": 0.5}))
    samples = [*positives_in(folder), *negatives_in(folder)]
    report = evaluate(Planted(calibrated), samples, ["similarity_map"], protocols=["soundspot"])
    method, wrong = report.row("similarity_map"), report.row("similarity_map, wrong sound")
    for key in ("soundspot/pia_noise", "soundspot/pia_silence"):
        assert wrong.scores[key] == method.scores[key] == 0
        assert tuple(wrong.intervals[key]) == (0, 0)
    assert method.scores["soundspot/cut_share_0.5"] == 1
    assert wrong.scores["soundspot/cut_share_0.5"] == 0


def test_wrong_sounds_are_of_other_pictures_and_groups(folder):
    samples = [*positives_in(folder), *mixtures_in(folder)]
    plan = Plan.of(samples)
    for sample in samples:
        for heard in plan.wrong_sounds(sample, 0):
            assert heard.group not in {s.group for s in samples if s.image == sample.image}
            assert heard.sound not in {h.sound for h in asked(sample)}
    assert not list(plan.wrong_sounds(samples[0], 0))  # both colours are in every picture now
    alone = Plan.of([*positives_in(folder), *negatives_in(folder)])
    first = alone.samples[0]
    order = [h.id for h in alone.wrong_sounds(first, 0)]
    assert sorted(order) == ["1-green", "2-green", "3-green"]
    assert order == [h.id for h in alone.wrong_sounds(first, 0)]
    shuffles = {tuple(h.id for h in alone.wrong_sounds(first, seed)) for seed in range(10)}
    assert len(shuffles) > 1


def test_a_manifests_path_is_read(folder, tmp_path):
    sample = positives_in(folder)[0]
    line = {"id": sample.id, "image": str(sample.image), "sound": str(sample.sound)}
    manifest = tmp_path / "pairs.jsonl"
    manifest.write_text(json.dumps({**line, "boxes": [list(box) for box in sample.boxes]}))
    for path in (manifest, str(manifest)):
        report = evaluate(Planted(), path, "similarity_map", protocols="soundspot")
        assert report.positives == 1
    with pytest.raises(ManifestError, match=r"nowhere\.jsonl: cannot be read"):
        evaluate(Planted(), "nowhere.jsonl", ["similarity_map"])


@pytest.mark.parametrize("samples", [None, ["pairs.jsonl"], {"id": 1}])
def test_what_is_no_sample_is_refused(samples):
    with pytest.raises(OptionError, match=r"give a manifest's path, or soundspot\.Sample objects"):
        evaluate(Planted(), samples, ["similarity_map"])


def test_an_id_stands_once(folder):
    sample = positives_in(folder)[0]
    with pytest.raises(SoundspotError, match="the id '0-red' stands twice"):
        Plan.of([sample, sample])


def test_a_source_that_makes_no_sound_is_not_judged(folder):
    mixture = mixtures_in(folder)[1]
    red, _ = mixture.sources
    silent = replace(mixture, sources=(red, Source((), "green", folder / "green0.wav")))
    report = evaluate(Planted(), [silent], ["similarity_map"])
    assert report.row("similarity_map").scores["as_truth/share_0.5"] == 1
    nothing = replace(mixture, id="none", sources=(Source((), "green"),))
    report = evaluate(Planted(), [silent, nothing], ["similarity_map"])
    assert report.unjudged == {"mixtures without sources that have boxes": 1}


def test_columns_give_parts_back():
    parts = [{"a": 1.0, "b": 2.0}, {}, {"b": float("nan"), "_c": np.arange(3.0)}]
    columns = Columns()
    for number, part in zip((4, 2, 0), parts, strict=True):
        columns.add(number, part)
    found = columns.parts()
    assert list(found) == [4, 2, 0]
    assert found[4] == parts[0]
    assert found[2] == {}
    assert np.isnan(found[0]["b"])
    assert (found[0]["_c"] == np.arange(3)).all()
    np.testing.assert_array_equal(columns.column("a", 5), [np.nan] * 4 + [1])
    assert np.isnan(columns.column("none", 5)).all()


def many(folder, count):
    sample = positives_in(folder)[0]
    return [replace(sample, id=f"s{i}") for i in range(count)]


def test_memory_does_not_grow_with_the_samples(folder, tmp_path):
    """Four times the maps of half a megabyte: the peak stays."""
    for i in range(256):
        target = tmp_path / f"s{i}.npy"
        if i:
            target.hardlink_to(tmp_path / "s0.npy")
        else:
            np.save(target, np.random.default_rng(0).standard_normal((360, 360), np.float32))
    peaks = []
    for count in (64, 256):
        tracemalloc.start()
        folders = [FolderOfMaps(tmp_path)]
        judge_all(many(folder, count), {}, folders=folders, settings=Settings(protocols=("lvs",)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 5_000_000


def test_samples_are_gone_through_once(folder):
    def once():
        yield from positives_in(folder)

    report = judge_all(once(), {"planted": Planted()}, ["similarity_map"])
    assert report.n == 7
