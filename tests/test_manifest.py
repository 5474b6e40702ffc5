"""The manifest: what a line says is what a `Sample` says, and a bad line is named."""

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soundspot.data.check import Notes
from soundspot.data.manifest import BOX_TOLERANCE, read_manifest
from soundspot.errors import ManifestError
from soundspot.types import Sample, Source

GOOD = {"id": "a", "image": "i/a.jpg", "sound": "s/a.wav", "boxes": [[0.1, 0.2, 0.5, 0.6]]}


def write(folder, *records):
    path = folder / "data.jsonl"
    lines = [r if isinstance(r, str) else json.dumps(r) for r in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read(folder, *records):
    return list(read_manifest(write(folder, *records)))


def test_an_annotators_box_without_area_is_dropped_and_counted(tmp_path):
    people = [[[0.2, 0.3, 0.2, 0.3]], [[0, 0, 1, 1], [0.5, 0, 0.6, 0]]]
    path = write(tmp_path, {**GOOD, "annotators": people})
    notes = Notes()
    (sample,) = read_manifest(path, notes)
    assert sample.annotators == ((), ((0.0, 0.0, 1.0, 1.0),))
    assert notes.oddities == {"boxes without area, dropped": [f"{path}, line 1"] * 2}


def test_a_full_line_becomes_a_sample(tmp_path):
    record = {
        **GOOD,
        "group": "dog",
        "kind": "offscreen",
        "ambiguous": True,
        "sound_class": "bark",
        "annotators": [[[0, 0, 1, 1]], [], [[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]],
        "sources": [
            {"boxes": [[0, 0, 0.5, 1]], "group": "cat", "sound": "s/cat.wav", "picture": "x"},
            {"boxes": []},
        ],
    }
    (sample,) = read(tmp_path, record)
    assert sample == Sample(
        id="a",
        image=tmp_path / "i/a.jpg",
        sound=tmp_path / "s/a.wav",
        boxes=((0.1, 0.2, 0.5, 0.6),),
        group="dog",
        kind="offscreen",
        annotators=(
            ((0.0, 0.0, 1.0, 1.0),),
            (),
            ((0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)),
        ),
        sources=(
            Source(((0.0, 0.0, 0.5, 1.0),), "cat", tmp_path / "s/cat.wav"),
            Source(()),
        ),
        ambiguous=True,
    )


def test_the_least_line_and_nulls(tmp_path):
    least = {"id": "a", "image": "a.jpg", "sound": "a.wav"}
    nulls = {**least, "id": "b", "boxes": None, "group": None, "kind": None, "video": None}
    a, b = read(tmp_path, least, nulls)
    assert a == Sample(id="a", image=tmp_path / "a.jpg", sound=tmp_path / "a.wav")
    assert (b.boxes, b.group, b.kind) == ((), None, "positive")


def test_absolute_paths_stay_and_blank_lines_are_skipped(tmp_path):
    away = tmp_path.parent / "far.wav"
    samples = read(tmp_path, "", {**GOOD, "sound": str(away)}, "  ", {**GOOD, "id": "b"}, "")
    assert [s.id for s in samples] == ["a", "b"]
    assert samples[0].sound == away


def test_a_byte_order_mark_and_windows_line_ends(tmp_path):
    path = tmp_path / "data.jsonl"
    text = json.dumps({**GOOD, "group": "Glöckchen"}, ensure_ascii=False) + "\r\n"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n")
    assert [s.group for s in read_manifest(path)] == ["Glöckchen"]


def test_lines_are_read_as_they_are_asked_for(tmp_path):
    samples = read_manifest(write(tmp_path, GOOD, {**GOOD, "id": "b"}, "broken"))
    assert [s.id for s in itertools.islice(samples, 2)] == ["a", "b"]
    with pytest.raises(ManifestError, match="line 3"):
        next(samples)


def test_boxes_a_little_outside_are_clipped(tmp_path):
    box = [-BOX_TOLERANCE, 0, 1 + BOX_TOLERANCE, 1]
    (sample,) = read(tmp_path, {**GOOD, "boxes": [box]})
    assert sample.boxes == ((0.0, 0.0, 1.0, 1.0),)


BAD = {
    "{": "cannot be read as JSON",
    "[" * 100_000: "cannot be read as JSON",
    "[1, 2]": "must be a JSON object",
    '{"id": "a", "id": "b"}': "'id' stands twice",
    '{"id": "a", "boxes": ' + "9" * 5000 + "}": "cannot be read as JSON",
}
WRONG = [
    ("id", ..., "'id' is missing"),
    ("id", 7, "'id' must be a string, not 7"),
    *(
        ("id", name, "not safe as a file name")
        for name in (
            *("", "../x", "a/b", "a\\b", "..", ".hidden", "a.", " a", "a\nb", "a:b", "a\0"),
            *("x" * 201, "\ud800"),
        )
    ),
    ("image", ..., "'image' is missing"),
    ("image", ["a.jpg"], "'image' must be a string"),
    ("image", " ", "give the name of a file"),
    ("sound", ..., "'sound' is missing"),
    ("sound", "a\0b", "give the name of a file"),
    ("sound", "\ud800", "give the name of a file"),
    ("group", 3, "'group' must be a string"),
    ("kind", "music", "use one of positive, silence"),
    ("kind", 1, "'kind' must be a string"),
    ("ambiguous", 1, "'ambiguous' must be true or false"),
    ("boxes", {}, "'boxes' must be a list"),
    ("boxes", [0, 0, 1, 1], "must be four numbers"),
    ("boxes", [[0, 0, 1]], "must be four numbers"),
    ("boxes", [[0, 0, 1, "1"]], "must be four numbers"),
    ("boxes", [[0, 0, 1, True]], "must be four numbers"),
    ("boxes", [[0, 0, 1, None]], "must be four numbers"),
    ("boxes", [[0, 0, 1, float("nan")]], "fractions"),
    ("boxes", [[0, 0, 1, float("inf")]], "fractions"),
    ("boxes", [[0, 0, 10**400, 1]], "fractions"),
    ("boxes", [[0, 0, 1.02, 1]], "fractions"),
    ("boxes", [[10, 20, 120, 200]], "fractions"),
    ("boxes", [[0.5, 0, 0.5, 1]], "empty"),
    ("boxes", [[0, 0.7, 1, 0.2]], "empty"),
    ("boxes", [[1.001, 0, 1.01, 1]], "empty"),
    ("boxes", [GOOD["boxes"][0], [0, 0, 2, 2]], r"'boxes'\[1\]"),
    ("annotators", [{}], r"'annotators'\[0\] must be a list"),
    ("annotators", [[0, 0, 1, 1]], r"'annotators'\[0\]\[0\] must be four numbers"),
    ("annotators", [[], [[0, 0.7, 1, 0.2]]], r"'annotators'\[1\]\[0\].* empty"),
    ("annotators", [[[0, 0, 0, 1], [0, 0, 2, 1]]], r"'annotators'\[0\]\[1\].* fractions"),
    ("sources", [[]], r"'sources'\[0\]: must be an object"),
    ("sources", [{}], "'boxes' is missing"),
    ("sources", [{"boxes": [[0, 0, 3, 1]]}], r"'sources'\[0\]: 'boxes'\[0\].* fractions"),
    ("sources", [{"boxes": [], "sound": 3}], "'sound' must be a string"),
    ("video", "a.mp4", "'image' is taken out of the video; leave it out"),
    ("time", 1.5, "'time' belongs to a 'video'"),
]


@pytest.mark.parametrize(("line", "message"), BAD.items(), ids=range(len(BAD)))
def test_a_broken_line_is_named(tmp_path, line, message):
    path = write(tmp_path, GOOD, line)
    with pytest.raises(ManifestError, match=message) as caught:
        list(read_manifest(path))
    assert str(caught.value).startswith(f"{path}, line 2: ")


@pytest.mark.parametrize(("key", "value", "message"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_value_is_named_with_its_line(tmp_path, key, value, message):
    record = {**GOOD, "id": "b", key: value}
    if value is ...:
        del record[key]
    path = write(tmp_path, GOOD, "", record)
    with pytest.raises(ManifestError, match=message) as caught:
        list(read_manifest(path))
    text = str(caught.value)
    assert text.startswith(f"{path}, line 3")
    assert "\n" not in text
    assert len(text) < len(str(path)) + 250


def test_an_id_given_twice_names_both_lines(tmp_path):
    with pytest.raises(ManifestError, match=r"line 3: the id 'a' was taken by line 1"):
        read(tmp_path, GOOD, {**GOOD, "id": "b"}, GOOD)


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_file_is_an_error(tmp_path, text):
    path = tmp_path / "empty.jsonl"
    path.write_text(text)
    with pytest.raises(ManifestError, match="has no samples"):
        list(read_manifest(path))


def test_a_missing_file_a_folder_and_bytes(tmp_path):
    with pytest.raises(ManifestError, match="cannot be read"):
        list(read_manifest(tmp_path / "none.jsonl"))
    with pytest.raises(ManifestError, match="cannot be read"):
        list(read_manifest(tmp_path))
    path = tmp_path / "latin.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b"\n\xff\xfe\n")
    with pytest.raises(ManifestError, match="line 2: is not UTF-8"):
        list(read_manifest(str(path)))


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
keys = st.sampled_from(["id", "boxes", "annotators", "sources", "kind", "image", "time"])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(keys, values) | values)
def test_any_json_is_a_sample_or_a_manifest_error(tmp_path, value):
    record = {**GOOD, **value} if isinstance(value, dict) else value
    path = write(tmp_path, json.dumps(record))
    try:
        samples = list(read_manifest(path))
    except ManifestError as error:
        message = str(error)
    else:
        message = ""
        assert all(0 <= v <= 1 for s in samples for box in s.boxes for v in box)
        assert all(Path(s.id).name == s.id for s in samples)
    assert "\n" not in message


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60))
def test_any_bytes_are_a_manifest_error(tmp_path, data):
    path = tmp_path / "bytes.jsonl"
    path.write_bytes(data)
    with pytest.raises(ManifestError):
        list(read_manifest(path))


def test_the_validation_manifests(shared_data):
    counts = {"pairs": 342, "negatives": 330, "mixtures": 60}
    for name, count in counts.items():
        samples = list(read_manifest(shared_data / "val" / f"{name}.jsonl"))
        assert len(samples) == count
        assert all(s.image.is_file() and s.sound.is_file() for s in samples)
    assert all(len(s.sources) == 2 for s in samples)


@pytest.mark.parametrize(
    ("key", "meant"), [("box", "boxes"), ("Boxes", "boxes"), ("bbox", "boxes"), ("audio", "sound")]
)
def test_a_key_that_looks_misspelt_is_refused_with_its_line(tmp_path, key, meant):
    record = {k: v for k, v in GOOD.items() if k != meant}
    path = write(tmp_path, {**GOOD, "id": "first"}, {**record, key: GOOD[meant]})
    with pytest.raises(ManifestError, match=f"line 2: the key .{key}. is not known; .*'{meant}'"):
        list(read_manifest(path))


def test_other_keys_are_free(tmp_path):
    """Also one that looks misspelt, where what it would stand for is there; or the film's sound."""
    beside = {**GOOD, "box": "a note", "audio": 5, "sound_class": "dog"}
    film = {"id": "b", "video": "b.mp4", "boxes": [], "audio": "b.wav"}
    assert [sample.id for sample in read(tmp_path, beside, film)] == ["a", "b"]
