"""Track files: what is in each frame, and who sounded when."""

from __future__ import annotations

import json

import pytest

from soundspot.errors import DataError, MediaError
from soundspot.streaming import TrackedBox
from soundspot.track_file import frame_line, read_tracks, summarise, summary_text, track_text
from test_render_film import BOX, moment

HEADER = {"kind": "tracks", "version": 1, "film": "clip.mp4"}


def line(time, *ids, confidence=0.9, score=0.5):
    boxes = [{"id": i, "box": [i, 0, i + 10, 10], "score": score} for i in ids]
    return {
        "time": time,
        "index": 0,
        "visible": bool(ids),
        "confidence": confidence,
        "boxes": boxes,
    }


def test_a_frames_line_is_plain_and_rounded():
    shown = moment(1 / 3, 0.912345)
    data = frame_line(shown)
    assert data == {
        "time": 0.333333,
        "index": 0,
        "visible": True,
        "confidence": 0.9123,
        "boxes": [{"id": 1, "box": list(BOX), "score": 0.8}],
    }
    assert json.loads(json.dumps(data)) == data
    assert frame_line(moment(0.0, 0.1))["boxes"] == []
    assert TrackedBox(1, BOX, 0.8) == shown.tracks[0]


def test_who_sounded_when():
    lines = [line(0.0, 1), line(1.0, 1, 2, score=0.7), line(2.0), line(3.0, 1, confidence=0.5)]
    summary = summarise(lines, 3.5)
    assert summary["judged"] == 4
    assert summary["seconds"] == 3.5
    assert summary["visible"] == pytest.approx(2.5 / 3.5, abs=1e-4)
    assert summary["confidence"] == pytest.approx((3 * 0.9 + 0.5 * 0.5) / 3.5, abs=1e-4)
    one, two = summary["tracks"]
    assert one["intervals"] == [[0.0, 2.0], [3.0, 3.5]]
    assert (one["seconds"], one["score"]) == (2.5, pytest.approx(0.5667, abs=1e-4))
    assert one["best"] == {"time": 1.0, "box": [1, 0, 11, 10], "score": 0.7}
    assert two["intervals"] == [[1.0, 2.0]]
    text = summary_text(summary)
    assert text.startswith("3.5 s in 4 judged frames: a visible source 71 % of the time")
    assert "#1: 0.0-2.0, 3.0-3.5 s, score 0.57, best at 1.0 s in [1, 0, 11, 10]" in text


def test_a_frame_counts_as_long_as_it_is_shown():
    """One long frame weighs as much as many short ones."""
    short = [line(n / 10, 1, confidence=1.0) for n in range(10)]
    summary = summarise([*short, line(1.0, confidence=0.0)], 2.0)
    assert (summary["visible"], summary["confidence"]) == (0.5, 0.5)


def test_many_tracks_are_shown_in_short():
    text = summary_text(summarise([line(n, n + 1) for n in range(12)], 12.0))
    assert text.count("\n") == 9
    assert text.endswith("and 4 shorter ones")
    flicker = summary_text(summarise([line(n / 2, *([1] if n % 2 else [])) for n in range(20)], 10))
    assert "..." in flicker


def test_nothing_was_judged():
    summary = summarise([], 0.0)
    assert summary == {"judged": 0, "seconds": 0, "visible": 0, "confidence": 0, "tracks": []}
    assert summary_text(summary).startswith("0.0 s in 0 judged frames")


def test_written_and_read(tmp_path):
    lines = [line(0.0, 1), line(1.0)]
    summary = summarise(lines, 2.0)
    path = tmp_path / "t.jsonl"
    path.write_text("".join(track_text(HEADER, lines, summary)))
    found = read_tracks(path)
    assert (found.header, found.frames, found.summary) == (HEADER, lines, summary)
    cut = path.read_text()[: -len(json.dumps({"summary": summary})) // 2]
    path.write_text(cut)
    found = read_tracks(path)
    assert (found.frames, found.summary) == (lines, None)


def test_what_is_no_track_file(tmp_path):
    path = tmp_path / "t.jsonl"
    for text, says in (
        ('{"id": "a"}\n', r"t.jsonl:1: has no header of a track file"),
        ("[1]\n", "has no header"),
        ("no\nmore\n", r"t.jsonl:1: is not JSON"),
        (json.dumps({**HEADER, "version": 2}), "version 2"),
        (json.dumps(HEADER) + "\nno\n{}\n", r"t.jsonl:2: is not JSON"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=says):
            read_tracks(path)
    with pytest.raises(MediaError, match="does not exist"):
        read_tracks(tmp_path / "none.jsonl")
