"""Test ids in training lists, however either list writes them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_layouts import write
from soundspot.cli import main
from soundspot.data.leaks import find_leaks, normal_id, read_ids
from soundspot.errors import DataError

CLIP = "-0UuUoXQUoI_000107"


@pytest.mark.parametrize(
    ("cells", "identity"),
    [
        ((CLIP,), CLIP),
        ((f"{CLIP}\r\n",), CLIP),
        ((f" {CLIP} ",), CLIP),
        ((f"{CLIP}.jpg",), CLIP),
        ((f"videos/x/{CLIP}.mp4",), CLIP),
        ((f"videos\\{CLIP}.WAV",), CLIP),
        (("-0UuUoXQUoI_107",), CLIP),
        (("-0UuUoXQUoI", "107"), CLIP),
        (("-0UuUoXQUoI", "107.000"), CLIP),
        (("-0UuUoXQUoI_107_117",), CLIP),
        (("-0UuUoXQUoI_000107_000117",), CLIP),
        (("-0UuUoXQUoI_107000_117000.mp4",), CLIP),
        (("7tMPoaU2oL4_0_10000",), "7tMPoaU2oL4_000000"),
        (("10000130166", "202"), "10000130166"),
        (("10000130166.png",), "10000130166"),
        (("videos/0/0/0/2615133000.mp4",), "2615133000"),
        (("-0UuUoXQUoI", "dog"), "-0UuUoXQUoI"),
        (("HnUOaSfTA6c_000_00007",), "HnUOaSfTA6c_000_00007"),
        (("HnUOaSfTA6c_000_00010",), "HnUOaSfTA6c_000_00010"),
    ],
)
def test_normal_forms(cells, identity):
    assert normal_id(*cells) == identity


@given(st.from_regex(r"[\w-]{11}", fullmatch=True), st.integers(0, 99_999))
def test_a_normal_form_is_its_own(video, second):
    identity = normal_id(f"{video}_{second}")
    assert normal_id(identity) == identity


def test_every_kind_of_list(tmp_path):
    paths = [
        write(tmp_path, "l.txt", f"{CLIP}\r\n"),
        write(tmp_path, "l.csv", "-0UuUoXQUoI,107,playing double bass,test\n"),
        write(tmp_path, "h.csv", f"video,audio,label\n{CLIP},x,non-sounding\n"),
        write(tmp_path, "c.csv", '# YTID, start\n-0UuUoXQUoI, 107.000, 117.000, "/m/1"\n'),
        write(tmp_path, "v.json", [{"file": f"{CLIP} ", "class": "x", "bbox": []}]),
        write(tmp_path, "s.json", [f"{CLIP}.mp4"]),
        write(tmp_path, "d.json", {f"{CLIP}.jpg": [[0, 0, 1, 1]]}),
        write(tmp_path, "p.json", [{"image": f"/mnt/x/{CLIP}.jpg", "audio": "y"}]),
        write(tmp_path, "m.jsonl", json.dumps({"id": CLIP, "image": "a", "sound": "b"})),
    ]
    for path in paths:
        assert list(read_ids(path)) == [CLIP]
    for one, other in itertools.product(paths, paths):
        assert [leak.id for leak in find_leaks([one], [other]).found] == [CLIP]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.txt", "\n\n", "holds no ids"),
        ("l.csv", ",x\n", "line 1: holds no id"),
        ("l.json", "[]", "holds no ids"),
        ("l.json", '["a",\n{"b": 1}]', "line 2, entry 2: .* names no id"),
        ("l.json", "[7]", "entry 1: 7 names no id"),
        ("l.jsonl", "{}", "line 1: the key 'id' is missing"),
    ],
)
def test_lists_without_ids(tmp_path, name, content, message):
    path = write(tmp_path, name, content)
    with pytest.raises(DataError, match=message):
        read_ids(path)


def test_the_leaks_of_the_field(shared_data: Path, tmp_path: Path, capsys):
    """Lists like those that several codes share: 3,709 of 5,158 and 20 of 250."""
    benchmarks = shared_data / "benchmarks"
    rng = np.random.default_rng(0)
    clips = [entry["file"] for entry in json.loads((benchmarks / "vggss.json").read_text())]
    others = [f"{'fill' + str(n):-<11}_{n % 500:06d}" for n in range(140_291)]
    mixed = rng.permutation([*clips[:3709], *others])
    vgg = write(tmp_path, "vggss_144k.txt", "\n".join(mixed) + "\n")
    ids = (benchmarks / "flickr_test_senocak.txt").read_text().split()
    mixed = rng.permutation([*ids[:20], *(f"9{n:010d}" for n in range(143_980))])
    flickr = write(tmp_path, "flickr_144k.csv", "\n".join(mixed) + "\n")

    found = find_leaks([vgg], [benchmarks / "vggss.json"])
    assert (len(found.found), found.test, found.train) == (3709, 5158, 144_000)
    assert len(find_leaks([vgg], [benchmarks / "vggss_test.csv"]).found) == 3709
    found = find_leaks([flickr], [benchmarks / "flickr_test_senocak.txt"])
    assert (len(found.found), found.test, found.train) == (20, 250, 144_000)

    assert (
        main(["data", "leaks", "--train", str(vgg), "--test", str(benchmarks / "vggss.json")]) == 1
    )
    out = capsys.readouterr().out
    assert out.startswith("3,709 of 5,158 test ids are among the 144,000 for training")
    assert "... and 3,699 more" in out


def test_the_command(tmp_path, capsys):
    train = write(tmp_path, "train.txt", f"other\n{CLIP}\n")
    test = write(tmp_path, "test.csv", "-0UuUoXQUoI,107\nclean_clip1_000001\n")
    clean = write(tmp_path, "clean.csv", "clean_clip1_000001\n")
    assert main(["data", "leaks", "--train", str(train), "--test", str(test), "--json", "-"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found == {"train": 2, "test": 2, "leaks": 1, "ids": [CLIP]}
    both = ["data", "leaks", "--train", str(train), str(test), "--test", str(clean)]
    assert main(both) == 1
    assert main(["data", "leaks", "--train", str(train), "--test", str(clean)]) == 0
    assert "0 of 1 test ids" in capsys.readouterr().out
    assert main(["data", "leaks", "--train", str(tmp_path / "none"), "--test", str(test)]) == 2
    assert "none: cannot be read" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main(["data", "leaks", "--train", str(train)])
    assert stop.value.code == 2
