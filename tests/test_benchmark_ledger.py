"""A run that is cut short goes on to the same digits; several processes give them too."""

import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from red_and_green import (
    Planted,
    mixtures_in,
    negatives_in,
    positives_in,
    write_manifest,
    write_scene,
)
from soundspot.benchmark import evaluate
from soundspot.cli import main
from soundspot.errors import OptionError
from soundspot.judging.ledger import Ledger
from soundspot.judging.referee import BLOCK

TESTS = Path(__file__).parent
START_TIMEOUT, RUN_TIMEOUT = 90, 180
"""Seconds."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_scene(tmp_path_factory.mktemp("scene"))
    scene = [*positives_in(folder), *negatives_in(folder), *mixtures_in(folder)[1:]]
    random.Random(0).shuffle(scene)
    write_manifest(folder / "all.jsonl", scene)
    return folder


@pytest.fixture(scope="module")
def options(folder):
    return (
        "evaluate",
        str(folder / "all.jsonl"),
        *("--model", "red_and_green:Planted"),
        *("--methods", "similarity_map,input_gradient"),
        *("--protocol", "soundspot,lvs,vssl_eval,avsbench"),
    )


@pytest.fixture(scope="module")
def whole(folder, options, tmp_path_factory):
    """The JSON and the ledger of a run that nothing cut short."""
    out = tmp_path_factory.mktemp("whole")
    files = ("--json", str(out / "report.json"), "--samples", str(out / "ledger.jsonl"))
    assert main([*options, *files]) == 0
    return out


def test_a_line_a_sample_and_row(whole):
    lines = [json.loads(line) for line in (whole / "ledger.jsonl").read_text().splitlines()]
    answers = [line for line in lines if "parts" in line]
    pairs = [(line["sample"], line["row"]) for line in answers]
    assert len(set(pairs)) == len(pairs)
    assert sum(row == "similarity_map" for _, row in pairs) == 22
    assert sum(row == "similarity_map, wrong sound" for _, row in pairs) == 1
    first = next(x for x in answers if (x["sample"], x["row"]) == ("0-red", "similarity_map"))
    assert first["parts"]["lvs"]["ciou_mean"] > 0
    assert len(first["confidence"]) == 1
    subjects = [line for line in lines if "truth" in line]
    assert len(subjects) == 22
    assert {line["truth"] for line in subjects if line["kind"] == "positive"} == {1 / 16}
    assert [line["block"] for line in lines if "block" in line] == [0, 1]


@pytest.mark.parametrize("kept", [0, 1e-6, 0.001, 0.3, 0.65, 0.9, 0.9999, 1])
def test_a_run_cut_anywhere_goes_on_to_the_same_digits(whole, options, tmp_path, kept):
    ledger = tmp_path / "ledger.jsonl"
    written = (whole / "ledger.jsonl").read_bytes()
    ledger.write_bytes(written[: math.ceil(kept * len(written))])
    shutil.copytree(whole / "ledger.jsonl.maps", tmp_path / "ledger.jsonl.maps")
    report = tmp_path / "report.json"
    assert main([*options, "--json", str(report), "--samples", str(ledger)]) == 0
    assert report.read_bytes() == (whole / "report.json").read_bytes()
    assert ledger.read_bytes() == written


def test_a_ledger_without_its_maps_is_refused(whole, options, tmp_path, capsys):
    """vssl_eval looks at maps twice: they stand beside the ledger."""
    shutil.copy(whole / "ledger.jsonl", tmp_path / "ledger.jsonl")
    assert main([*options, "--samples", str(tmp_path / "ledger.jsonl")]) == 2
    err = capsys.readouterr().err
    assert "ledger.jsonl.maps: " in err
    assert "delete" in err


def test_a_whole_ledger_is_only_read(whole, options, tmp_path, monkeypatch):
    def never(*_):
        raise AssertionError("a sample was judged again")

    monkeypatch.setattr("soundspot.judging.referee.Referee._lines", never)
    report = tmp_path / "report.json"
    files = ("--json", str(report), "--samples", str(whole / "ledger.jsonl"))
    assert main([*options, *files]) == 0
    assert report.read_bytes() == (whole / "report.json").read_bytes()


def started(options, *launcher):
    command = [sys.executable, *launcher, "-m", "soundspot", *options]
    paths = [str(TESTS), *(p for p in sys.path if p)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_a_killed_run_goes_on(folder, tmp_path):
    """Killed (-9) after its first whole block, by a model that is slow enough to be caught."""
    scene = [*positives_in(folder), *negatives_in(folder)] * 3
    scene = [
        type(sample)(**{**vars(sample), "id": f"{n}-{sample.id}"}) for n, sample in enumerate(scene)
    ]
    write_manifest(folder / "many.jsonl", scene)
    ledger, report = tmp_path / "ledger.jsonl", tmp_path / "report.json"
    run = (
        "evaluate", str(folder / "many.jsonl"), "--model", "red_and_green:slow",
        "--methods", "similarity_map", "--samples", str(ledger), "--json", str(report),
    )  # fmt: skip
    process = started(run)
    until = time.monotonic() + START_TIMEOUT
    while time.monotonic() < until and process.poll() is None:
        if ledger.exists() and b'"block"' in ledger.read_bytes():
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not report.exists()
    done = ledger.read_bytes().count(b'"block"')
    assert 1 <= done < len(scene) / BLOCK
    assert main([*run]) == 0
    again = evaluate(Planted(), scene, ["similarity_map"])
    assert json.loads(report.read_text())["rows"] == again.json()["rows"]


@pytest.mark.slow
def test_two_processes_give_the_same_table(options, whole, tmp_path):
    """Under torchrun, to the byte: report, ledger and what is printed."""
    report, ledger = tmp_path / "report.json", tmp_path / "ledger.jsonl"
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    run = (*options, "--json", str(report), "--samples", str(ledger))
    process = started(run, *launcher)
    try:
        out, err = process.communicate(timeout=RUN_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.skip(f"torchrun did not finish in {RUN_TIMEOUT} s")
    if process.returncode and "soundspot" not in err:
        pytest.skip(f"torchrun cannot start here: {err[-300:]}")
    assert process.returncode == 0, err[-2000:]
    assert report.read_bytes() == (whole / "report.json").read_bytes()
    assert ledger.read_bytes() == (whole / "ledger.jsonl").read_bytes()
    assert out.count("judged 22 of 22 samples") == 1


@pytest.mark.slow
def test_an_error_in_one_process_ends_all_with_one_line(folder, tmp_path):
    process = started(
        (
            "evaluate",
            str(folder / "all.jsonl"),
            "--model",
            "red_and_green:Planted",
            "--methods",
            "x",
        ),
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
    )
    try:
        _, err = process.communicate(timeout=RUN_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.skip(f"torchrun did not finish in {RUN_TIMEOUT} s")
    assert process.returncode != 0
    assert err.count("soundspot: unknown method 'x'") == 1


@pytest.mark.parametrize(
    ("change", "about"),
    [
        (("--methods", "similarity_map"), "other rows"),
        (("--protocol", "lvs"), "other protocols"),
        (("--batch", "3"), "other batch"),
        (("--model", "red_and_green:bare", "--methods", "occlusion"), "other models, rows"),
    ],
)
def test_the_ledger_of_another_run_is_refused(whole, options, capsys, change, about):
    before = (whole / "ledger.jsonl").read_bytes()
    run = [*options, "--samples", str(whole / "ledger.jsonl")]
    for flag, value in zip(change[::2], change[1::2], strict=True):
        if flag in run:
            run[run.index(flag) + 1] = value
        else:
            run += [flag, value]
    assert main(run) == 2
    err = capsys.readouterr().err
    assert about in err
    assert "give another name" in err
    assert (whole / "ledger.jsonl").read_bytes() == before


def test_other_samples_are_another_run(folder, whole, options, capsys, tmp_path):
    lines = (folder / "all.jsonl").read_text().splitlines(keepends=True)
    (folder / "fewer.jsonl").write_text("".join(lines[1:]))
    run = [str(folder / "fewer.jsonl") if o == str(folder / "all.jsonl") else o for o in options]
    assert main([*run, "--samples", str(whole / "ledger.jsonl")]) == 2
    assert "other samples" in capsys.readouterr().err


def test_what_is_no_ledger_is_left_alone(options, capsys, tmp_path):
    notes = tmp_path / "notes.jsonl"
    for text in ("my notes", '{"a": 1}\n', "\n", '{"soundspot": "evaluate", "run": 3}\n'):
        notes.write_text(text)
        assert main([*options, "--samples", str(notes)]) == 2
        assert "is no ledger" in capsys.readouterr().err
        assert notes.read_text() == text


def test_a_damaged_ledger_is_refused(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl", {"seed": 0})
    assert list(ledger.blocks()) == []
    ledger.append(0, [{"sample": "a"}])
    ledger.append(1, [{"sample": "b"}])
    assert list(ledger.blocks()) == [[{"sample": "a"}], [{"sample": "b"}]]
    text = ledger.path.read_text()
    ledger.path.write_text(text.replace('"a"}', '"a"'))
    with pytest.raises(OptionError, match="line 2: is damaged"):
        list(ledger.blocks())
    ledger.path.write_text(text.replace('"block": 1', '"block": 5'))
    with pytest.raises(OptionError, match="line 5: is damaged"):
        list(ledger.blocks())


@pytest.mark.parametrize(
    "line",
    [
        {"sample": "never heard of", "failed": "x"},
        {"sample": "0-red", "row": "none", "parts": {"lvs": {}}, "confidence": []},
        {"sample": "0-red", "row": "centre disc", "parts": {"lvs": 3}, "confidence": []},
        {"sample": ["0-red"]},
        {"nothing": 0},
    ],
)
def test_lines_that_this_run_does_not_write_are_refused(options, capsys, tmp_path, line):
    ledger = tmp_path / "ledger.jsonl"
    assert main([*options, "--samples", str(ledger)]) == 0
    capsys.readouterr()
    header, rest = ledger.read_text().split("\n", 1)
    ledger.write_text(f"{header}\n{json.dumps(line)}\n{rest}")
    assert main([*options, "--samples", str(ledger)]) == 2
    assert "is damaged; delete the file to start anew" in capsys.readouterr().err


def test_numbers_come_back_to_the_last_bit(tmp_path):
    values = [0.1 + 0.2, 1 / 3, 5e-324, float("inf"), 0.0]
    ledger = Ledger(tmp_path / "ledger.jsonl", {})
    list(ledger.blocks())
    ledger.append(0, [{"values": values}])
    assert next(ledger.blocks())[0]["values"] == values


def test_failures_are_noted_and_not_tried_again(folder, tmp_path):
    samples = positives_in(folder)
    gone = type(samples[0])(**{**vars(samples[0]), "id": "gone", "image": folder / "none.png"})
    ledger = tmp_path / "ledger.jsonl"
    first = evaluate(Planted(), [gone, *samples], ["similarity_map"], ledger=ledger)
    again = evaluate(Planted(), [gone, *samples], ["similarity_map"], ledger=ledger)
    assert again.json() == first.json()
    assert [failure.id for failure in again.failures] == ["gone"]
    assert '"failed": ' in ledger.read_text()
