"""Lists, ids, paths and boxes: what is harmless is read, the rest is refused with file and line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_layouts import annotation, write
from soundspot.data.boxes import (
    CLIPPED,
    DROPPED,
    box_from_corner_and_size,
    box_from_fractions,
    box_from_pixels,
    pixel_fraction,
    read_xml_boxes,
)
from soundspot.data.check import Notes
from soundspot.data.lists import Ids, Place, listed_id, read_entries, read_rows
from soundspot.errors import DataError

HERE = Place(Path("list.csv"), "line 7")


# --- boxes -----------------------------------------------------------------------------------


def test_whole_pixels_of_the_224_frame_come_back_exactly():
    assert [int(224 * pixel_fraction(v, 224)) for v in range(225)] == list(range(225))
    assert all(0 <= pixel_fraction(v, 224) <= 1 for v in range(225))
    assert any(int(224 * (v / 224)) != v for v in range(225))  # why a division will not do


def test_the_256_frame_is_exact_in_binary():
    for v in range(257):
        assert int(224 * pixel_fraction(v, 256)) == int(224 * v / 256)


@given(st.integers(1, 5000), st.data())
def test_any_frame_gives_whole_pixels_back(side, data):
    v = data.draw(st.integers(0, side))
    assert int(side * pixel_fraction(v, side)) == v


def test_boxes_are_clipped_dropped_and_counted():
    notes = Notes()
    assert box_from_fractions([-0.5, 0, 0.5, 1], notes, HERE) == (0, 0, 0.5, 1)
    assert box_from_fractions([0.2, 0.2, -2.9e16, 0.5], notes, HERE) is None
    assert box_from_fractions([0.2, 0.2, 0.2, 0.5], notes, HERE) is None
    assert box_from_pixels([0, 0, 256, 128], 256, notes, HERE) == (0, 0, 1, 0.5)
    assert notes.oddities == {CLIPPED: [str(HERE)] * 2, DROPPED: [str(HERE)] * 2}


def test_corner_and_size_are_not_two_corners():
    box = box_from_corner_and_size([0.5, 0.25, 0.25, 0.5], Notes(), HERE)
    assert box == (0.5, 0.25, 0.75, 0.75)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0, 0, 1], "four finite numbers"),
        ([0, 0, 1, "1"], "four finite numbers"),
        ([0, 0, 1, True], "four finite numbers"),
        ([0, 0, 1, float("nan")], "four finite numbers"),
        ([0, 0, 1, 10**400], "four finite numbers"),
        ({"x": 1}, "four finite numbers"),
        (None, "four finite numbers"),
        ([0, 0, 120, 80], "outside its picture; check its units"),
    ],
)
def test_a_box_that_is_none(values, message):
    with pytest.raises(DataError, match=f"list.csv, line 7: .*{message}"):
        box_from_fractions(values, Notes(), HERE)


# --- annotations in XML ----------------------------------------------------------------------


@pytest.mark.parametrize("names", [True, False])
def test_xml_boxes(tmp_path, names):
    boxes = [[1, 2, 250, 256], [60, 80, 60, 80]]
    path = write(tmp_path, "1.xml", annotation(boxes, names))
    assert [box for box, _ in read_xml_boxes(path)] == boxes
    assert read_xml_boxes(write(tmp_path, "2.xml", annotation([]))) == []


BOMB = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<annotation><x><bbox><n/><xmin>&b;</xmin></bbox></x></annotation>"""
OUTSIDE = """<?xml version="1.0"?>
<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a><x>&e;</x></a>"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "line 2: declares a document type"),
        (OUTSIDE, "line 2: declares a document type"),
        (BOMB.encode("utf-16"), "declares a document type|encoding"),
        ("<a>\n<b>\n</a>", "line 3: cannot be read as XML"),
        ("", "line 1: cannot be read as XML"),
        ("\x00\x01", "line 1: cannot be read as XML"),
        ("<a>&undefined;</a>", "line 1: cannot be read as XML"),
        (annotation([[1, 2, 3, 4]]).replace("4", "four"), "line 3: a bbox must hold whole numbers"),
        ("<a><b><bbox><xmin>1</xmin></bbox></b></a>", "line 1: a bbox must hold xmin, ymin"),
        ("<a>" + "<b>" * 400_000, "no annotation is that long"),
    ],
)
def test_broken_and_hostile_xml(tmp_path, text, message):
    path = write(tmp_path, "1.xml", text)
    with pytest.raises(DataError, match=message) as caught:
        read_xml_boxes(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80))
def test_any_bytes_are_boxes_or_a_data_error(tmp_path, data):
    path = write(tmp_path, "any.xml", b"<a>" + data)
    with pytest.raises(DataError):
        read_xml_boxes(path)


# --- rows and entries ------------------------------------------------------------------------


def test_rows_of_any_system(tmp_path):
    path = write(tmp_path, "l.csv", b'\xef\xbb\xbfone,"a, b"\r\n\r\n  two  ,c \r\nthree')
    rows = list(read_rows(path))
    assert [row.cells for row in rows] == [("one", "a, b"), ("two", "c"), ("three",)]
    assert [row.place.spot for row in rows] == ["line 1", "line 3", "line 4"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ok\n\xff\xfe\n", "line 2: is not UTF-8"),
        (b"ok\na\0b\n", "line 2: holds a NUL"),
        (b'ok\n"open,1\nmore\n', "line [23]: "),
        (b'ok\n"a"b,1\n', "line 2: cannot be read as CSV"),
        (b'ok\n"two\nlines"\n', "runs over several lines"),
    ],
)
def test_broken_rows(tmp_path, content, message):
    path = write(tmp_path, "l.csv", content)
    with pytest.raises(DataError, match=message):
        list(read_rows(path))


def test_missing_lists_and_folders(tmp_path):
    for read in (read_rows, read_entries):
        for path in (tmp_path, tmp_path / "none.csv"):
            with pytest.raises(DataError, match="cannot be read"):
                list(read(path))


@pytest.mark.parametrize("indent", [None, 1])
def test_entries_know_their_lines(tmp_path, indent):
    values = [{"a": i} for i in range(5)]
    found = list(read_entries(write(tmp_path, "l.json", json.dumps(values, indent=indent))))
    assert [entry.value for entry in found] == values
    lines = ["line 1"] * 5 if indent is None else [f"line {2 + 3 * i}" for i in range(5)]
    spots = [f"{line}, entry {i + 1}" for i, line in enumerate(lines)]
    assert [entry.place.spot for entry in found] == spots


@given(
    st.lists(
        st.recursive(
            st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
        )
    )
    | st.dictionaries(st.text(), st.integers() | st.text())
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_entries_are_what_json_says(tmp_path, value):
    for indent in (None, 2):
        found = list(read_entries(write(tmp_path, "l.json", json.dumps(value, indent=indent))))
        if isinstance(value, dict):
            assert {entry.key: entry.value for entry in found} == value
        else:
            assert [entry.value for entry in found] == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: must be a JSON list"),
        ("7", "line 1: must be a JSON list"),
        ("[1,\n2,\n}", r"line 3, entry 3: cannot be read as JSON"),
        ("[1,\n2", "line 2, entry 2: is not followed"),
        ("[1,\n2,]", "line 2, entry 2: is not followed"),
        ("[1 2]", "entry 1: is not followed"),
        ("[,1]", "entry 1: cannot be read"),
        ("[1] [2]", "goes on after its closing"),
        ('{"a": 1,\n"a": 2}', "line 2, entry 2: the id 'a' was taken by line 1, entry 1"),
        ('{"a" 1}', 'must be a pair "key": value'),
        ('[{"a": 1, "a": 2}]', "the key 'a' stands twice"),
        ("[" * 100_000, "cannot be read as JSON"),
        (b"[1,\n\xff]", "line 2: is not UTF-8"),
    ],
)
def test_broken_entries(tmp_path, text, message):
    path = write(tmp_path, "l.json", text)
    with pytest.raises(DataError, match=message) as caught:
        list(read_entries(path))
    assert "\n" not in str(caught.value)


# --- ids and paths ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        ("2432219254.png", "2432219254"),
        ("videos/0/0/0/2615133000.mp4", "2615133000"),
        (" -0BIyqJj9ZU_000030 ", "-0BIyqJj9ZU_000030"),
        ("a\\b\\c.WAV", "c"),
        ("v1.5", "v1.5"),
    ],
)
def test_ids_of_lists(text, identity):
    assert listed_id(text, HERE) == identity


@pytest.mark.parametrize(
    "text",
    [
        *("../../etc/passwd", "/etc/passwd", "a/../../b", "..", "C:\\x", "c:x", "\\\\host\\x"),
        *("", " ", ".", "a\0b", "a\nb", ".hidden", "a:b", "x" * 201, "a/b/.."),
    ],
)
def test_paths_that_leave_the_folder_are_refused(text):
    with pytest.raises(DataError, match=r"^list\.csv, line 7: "):
        listed_id(text, HERE)


def test_ids_given_twice_name_both_lines():
    ids = Ids()
    ids.take("a", Place(Path("x"), "line 1"))
    ids.take("A", Place(Path("x"), "line 2"))
    with pytest.raises(DataError, match=r"^x, line 9: the id 'a' was taken by line 1"):
        ids.take("a", Place(Path("x"), "line 9"))
    folded = Ids(fold=True)
    assert folded.taken("Stra\u00dfe", "line 1") is None
    assert "only in case" in (folded.taken("STRASSE", "line 2") or "")
    assert folded.taken("e\u0301", "line 3") is None
    assert "line 3" in (folded.taken("\u00e9", "line 4") or "")
