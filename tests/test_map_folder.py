"""Maps of other programs: what is read, what is refused, and that nothing outside is touched."""

import io
import json

import numpy as np
import pytest

from soundspot.errors import MediaError, OptionError
from soundspot.judging.map_folder import MapFolder, read_map


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "maps").mkdir()
    return tmp_path / "maps"


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "uint8", "int64", "bool"])
def test_any_real_numbers_of_any_size(folder, kind):
    values = np.arange(6).reshape(2, 3).astype(kind)
    np.save(folder / "a.npy", values)
    (found,) = MapFolder.open(folder).maps("a")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values.astype(np.float32))


def test_fortran_order_and_slices_keep_their_places(folder):
    values = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    np.save(folder / "a.npy", values)
    np.testing.assert_array_equal(read_map(folder / "a.npy"), values)


def test_one_map_a_source(folder):
    for i in range(2):
        np.save(folder / f"duet.{i}.npy", np.full((2, 2), i))
    maps = MapFolder.open(folder).maps("duet", 2)
    assert [m.max() for m in maps] == [0, 1]
    with pytest.raises(MediaError, match=r"duet\.2\.npy does not exist"):
        MapFolder.open(folder).maps("duet", 3)
    np.save(folder / "solo.npy", np.ones((2, 2)))
    assert len(MapFolder.open(folder).maps("solo", 1)) == 1


def zipped():
    data = io.BytesIO()
    np.savez(data, np.ones((2, 2)))
    return data.getvalue()


def header(shape, kind="<f4"):
    """An .npy file that claims a shape and holds nothing."""
    data = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        data, {"descr": kind, "fortran_order": False, "shape": shape}
    )
    return data.getvalue()


@pytest.mark.parametrize(
    ("content", "about"),
    [
        (b"", "is empty"),
        (b"\x93NUMPY", "no .npy array"),
        (b"\x89PNG rest", "no .npy array"),
        (zipped(), "no .npy array"),
        (header((10**6, 10**6)), "no .npy array|has shape"),
        (header((2, 2)), "no .npy array"),
        (header((2, 2), "|O"), "no .npy array"),
    ],
)
def test_files_that_are_no_maps(folder, content, about):
    (folder / "a.npy").write_bytes(content)
    with pytest.raises(MediaError, match=about) as error:
        MapFolder.open(folder).maps("a")
    assert "a.npy" in str(error.value)


@pytest.mark.parametrize(
    ("values", "about"),
    [
        (np.zeros(4), r"shape \(4,\)"),
        (np.zeros((1, 2, 2)), "a map is h w"),
        (np.zeros((0, 3)), "not empty"),
        (np.array([[1.0, np.nan]]), "NaN"),
        (np.array([[1.0, np.inf]]), "NaN or infinity"),
        (np.array([[1e300, 0]]), "NaN or infinity"),
        (np.array([["a"]]), "real numbers"),
        (np.array([[1j]]), "real numbers"),
    ],
)
def test_arrays_that_are_no_maps(folder, values, about):
    np.save(folder / "a.npy", values)
    with pytest.raises(MediaError, match=about):
        MapFolder.open(folder).maps("a")


@pytest.mark.parametrize("name", ["../secret", "sub/inside", "/secret", "a\\b", "a\0b", "..", ""])
def test_nothing_outside_the_folder_is_read(folder, name):
    np.save(folder.parent / "secret.npy", np.ones((2, 2)))
    with pytest.raises(MediaError, match=r"no file name|does not exist"):
        MapFolder.open(folder).maps(name)


def test_confidences(folder):
    lines = [{"id": "a", "confidence": 0.5}, {"id": "duet", "confidence": [1, 0.25]}]
    (folder / "confidences.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    maps = MapFolder.open(folder)
    assert maps.confidences("a", 1) == (0.5,)
    assert maps.confidences("duet", 2) == (1, 0.25)
    assert maps.confidences("other", 1) == ()
    with pytest.raises(MediaError, match="2 confidences for 1 maps of 'duet'"):
        maps.confidences("duet", 1)
    (folder / "confidences.jsonl").unlink()
    (folder / "confidences.csv").write_text("id,source,confidence\na,0,0.5\nduet,0,1\nduet,1,.25\n")
    assert MapFolder.open(folder).said == maps.said


@pytest.mark.parametrize(
    ("name", "text", "about"),
    [
        ("jsonl", '{"id": "a"}\n', "line 1: must be"),
        ("jsonl", '{"id": "a", "confidence": "high"}\n', "line 1: must be"),
        ("jsonl", '{"id": "a", "confidence": true}\n', "line 1: must be"),
        ("jsonl", '\n{"id": "a", "confidence": NaN}\n', "line 2: must be"),
        ("jsonl", "[]\n", "line 1: must be"),
        ("jsonl", '{"id": "a", "confidence": 1}\n' * 2, "line 2: the id 'a' stands twice"),
        ("jsonl", "\udcff", "cannot be read"),
        ("csv", "a,0.5\n", "line 1: the header"),
        ("csv", "id,confidence\na,high\n", "line 2: must be id,confidence"),
        ("csv", "id,score\na,1\n", "line 1: the header must name"),
        ("csv", "id,confidence\na,1\na,1\n", "line 3: source 0 of 'a' where 1"),
    ],
)
def test_confidences_that_cannot_be_read(folder, name, text, about):
    (folder / f"confidences.{name}").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(OptionError, match=about) as error:
        MapFolder.open(folder)
    assert f"confidences.{name}" in str(error.value)


def test_a_folder_that_is_none_or_says_things_twice(folder, tmp_path):
    with pytest.raises(OptionError, match="is no folder"):
        MapFolder.open(tmp_path / "none")
    for name in ("jsonl", "csv"):
        (folder / f"confidences.{name}").write_text("")
    with pytest.raises(OptionError, match="keep one"):
        MapFolder.open(folder)


def test_changed_maps_change_the_fingerprint(folder):
    np.save(folder / "a.npy", np.zeros((2, 2)))
    before = MapFolder.open(folder).fingerprint()
    assert MapFolder.open(folder).fingerprint() == before
    np.save(folder / "a.npy", np.zeros((3, 2)))
    assert MapFolder.open(folder).fingerprint() != before
    before = MapFolder.open(folder).fingerprint()
    (folder / "b.npy").symlink_to(folder / "nowhere")
    assert MapFolder.open(folder).fingerprint() == before
