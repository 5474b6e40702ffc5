"""`soundspot evaluate` on videos: several times of one film, and the field's clips as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from films import GREEN, RED, SIZE, scene, tones, write_film
from soundspot.cli import main

TIMES = np.arange(0, 4, 0.1).round(1).tolist()
MOVED = (8, 36, 32, 60)
"""Where the red square is in the film's second half."""


def shares(box: tuple[int, int, int, int]) -> list[float]:
    return [value / side for value, side in zip(box, SIZE * 2, strict=True)]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The red square sounds, jumps at 2 s, and from 3 s on the green one sounds."""
    pictures = [scene(red=RED if time < 2 else MOVED) for time in TIMES]
    wave = tones([(0, 3, "red"), (3, 4, "green")], 4)
    return write_film(tmp_path_factory.mktemp("film") / "jump.mp4", TIMES, pictures, wave)


def evaluated(tmp_path: Path, data: str, *words: str) -> tuple[dict[str, Any], dict[str, Any]]:
    report = tmp_path / "report.json"
    assert main(["evaluate", data, *words, "--json", str(report)]) == 0
    found = json.loads(report.read_text())
    return found, {row["name"]: row["scores"] for row in found["rows"]}


def manifest(folder: Path, entries: list[dict[str, Any]]) -> str:
    path = folder / "entries.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return str(path)


PLANTED = ("--model", "red_and_green:Planted", "--methods", "similarity_map")


def moments(film: Path, boxes: list[tuple[int, int, int, int]]) -> list[dict[str, Any]]:
    at = (0.5, 2.5, 3.5)
    return [
        {"id": f"jump-{time}", "video": str(film), "time": time, "boxes": [shares(box)]}
        for time, box in zip(at, boxes, strict=True)
    ]


def test_each_time_of_a_film_has_its_own_frame_sound_and_boxes(tmp_path: Path, film: Path) -> None:
    right = manifest(tmp_path, moments(film, [RED, MOVED, GREEN]))
    report, rows = evaluated(tmp_path, right, *PLANTED)
    assert (report["n"], report["positives"], report["failures"]) == (3, 3, [])
    assert rows["similarity_map"]["soundspot/as_truth_share_0.5"] == 1
    assert rows["similarity_map"]["soundspot/pointing"] == 1
    swapped = manifest(tmp_path, moments(film, [MOVED, RED, RED]))
    _, rows = evaluated(tmp_path, swapped, *PLANTED)
    assert rows["similarity_map"]["soundspot/as_truth_mean"] < 0.3


def test_a_time_behind_the_end_is_a_failure_with_a_name(
    tmp_path: Path, film: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = [*moments(film, [RED, MOVED, GREEN])]
    entries[1]["time"] = 60
    assert main(["evaluate", manifest(tmp_path, entries), *PLANTED]) == 1
    out, err = capsys.readouterr()
    assert "jump-2.5" in out + err
    assert "60" in out + err


def real_clips(shared_data: Path) -> list[dict[str, Any]]:
    return list(json.loads((shared_data / "videos" / "boxes.json").read_text()))


def test_the_clips_of_vgg_ss_as_a_manifest_and_as_the_data_set(
    tmp_path: Path, shared_data: Path, model_file: Path
) -> None:
    clips = real_clips(shared_data)
    entries = [
        {
            "id": clip["id"],
            "video": str(shared_data / clip["video"]),
            "boxes": clip["boxes"],
            "group": clip["class"],
        }
        for clip in clips
    ]
    words = ("--model", str(model_file), "--methods", "similarity_map")
    report, rows = evaluated(tmp_path, manifest(tmp_path, entries), *words)
    assert (report["n"], report["positives"], report["failures"]) == (len(clips), len(clips), [])
    assert "similarity_map, wrong sound" in rows
    truth = [{"file": c["id"], "class": c["class"], "bbox": c["boxes"]} for c in clips]
    (tmp_path / "vggss.json").write_text(json.dumps(truth))
    (tmp_path / "videos").symlink_to((shared_data / "videos").resolve())
    _, same = evaluated(tmp_path, f"vgg_ss:{tmp_path}?media=videos", *words)
    assert same == rows


def test_a_clip_judged_at_several_times(
    tmp_path: Path, shared_data: Path, model_file: Path
) -> None:
    clip = real_clips(shared_data)[0]
    entries = [
        {"id": f"{time}", "video": str(shared_data / clip["video"]), "time": time, "boxes": boxes}
        for time, boxes in ((2.0, clip["boxes"]), (5.0, [[0, 0, 0.5, 0.5]]), (8.0, clip["boxes"]))
    ]
    lines = tmp_path / "lines.jsonl"
    words = ("--model", str(model_file), "--methods", "similarity_map", "--samples", str(lines))
    report, _ = evaluated(tmp_path, manifest(tmp_path, entries), *words)
    assert (report["n"], report["failures"]) == (3, [])
    found = [json.loads(line) for line in lines.read_text().splitlines()]
    truths = {line["sample"]: line["truth"] for line in found if "truth" in line}
    assert truths["5.0"] == pytest.approx(0.25, abs=0.01)
    assert truths["2.0"] == truths["8.0"] > 0.5
