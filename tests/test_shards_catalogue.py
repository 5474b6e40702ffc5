"""`shards.json` damaged or edited by hand: one line that names the file and the key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from small_shards import SIZES, look, small_shards
from soundspot.cli import main
from soundspot.errors import DataError
from soundspot.shards import Shards

COUNT = sum(SIZES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small_shards(tmp_path)


def edit(folder: Path, path: str, value: Any) -> None:
    """Set, or with `...` delete, a value of `shards.json`."""
    file = folder / "shards.json"
    found = json.loads(file.read_text())
    *above, last = [int(word) if word.isdigit() else word for word in path.split("/")]
    holder = found
    for key in above:
        holder = holder[key]
    if value is ...:
        del holder[last]
    else:
        holder[last] = value
    file.write_text(json.dumps(found))


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("shards/0/sha256", None, r"shards\[0\]\.sha256 is null, not a string"),
        ("shards/2/index_sha256", 5, r"shards\[2\]\.index_sha256 is 5, not a string"),
        ("shards/1/bytes", "x", r'shards\[1\]\.bytes is "x", not a whole number'),
        ("shards/1/samples", True, r"shards\[1\]\.samples is true, not a whole number"),
        ("shards/1/samples", 1e3, r"shards\[1\]\.samples is 1000\.0, not a whole number"),
        ("shards/1/samples", 2**70, r"shards\[1\]\.samples is 1180.*, not a whole number"),
        ("shards/0/name", "../other", r"shards\[0\]\.name is .*, not a file name"),
        ("shards/0/name", "a\0b", r"shards\[0\]\.name is .*, not a file name"),
        ("shards/0/name", ..., r"shards\[0\]\.name is missing"),
        ("shards/0/colour", 1, r"shards\[0\]\.colour is unknown"),
        ("shards/0", "shard", r'shards\[0\] is "shard", not an object'),
        ("shards", 3, "shards is 3, not a list"),
        ("shards", ..., "shards is missing"),
        ("counts", [], r"counts is \[\], not an object"),
        ("counts/found", 3, r"counts\.found is 3, not an object"),
        ("counts/found", {"still": "many"}, r'counts\.found\.still is "many", not a number'),
        ("counts/packed", None, r"counts\.packed is null, not a number"),
        ("counts/seconds", float("nan"), r"counts\.seconds is NaN, not a number"),
        ("settings/seconds", "ten", r'settings\.seconds is "ten", not a number'),
        ("settings/seconds", -3, r"settings\.seconds=-3; it must be"),
        ("settings/sound", None, r"settings\.sound is null, not a string"),
        ("settings/drop", "still", r'settings\.drop is "still", not words'),
        ("settings/side", [1], r"settings\.side is \[1\], not a number"),
        ("source/entries", "many", r'source\.entries is "many", not a whole number'),
        ("samples", "ten", 'samples is "ten", not a whole number'),
    ],
)
def test_each_wrong_value_is_named(folder, path, value, says, capsys):
    edit(folder, path, value)
    with pytest.raises(DataError, match=rf"shards\.json is damaged \({says}.*\); pack again$"):
        Shards.open(folder)
    for part in ("info", "check"):
        assert main(["data", part, str(folder)]) == 2
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("key", ["samples", "counts/packed"])
def test_totals_that_contradict_the_shards_are_findings_of_a_check(folder, key, capsys):
    edit(folder, key, 80)
    found = look(folder)
    said = f"shards.json: {key.replace('/', '.')} is 80, its shards have {COUNT}"
    assert found.wrong == (said,)
    assert found.whole == COUNT
    assert main(["data", "check", str(folder)]) == 1
    assert said in capsys.readouterr().out
    assert len(Shards.open(folder)) == COUNT


@pytest.mark.parametrize("key", ["samples", "counts/packed", "counts/found"])
def test_totals_that_are_not_stated_are_not_missed(folder, key):
    edit(folder, key, ...)
    assert look(folder).ok
