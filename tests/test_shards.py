"""Shards: one seek a sample, damage named and contained, an order that needs no list."""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import os
import pickle
import subprocess
import sys
import tarfile
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from small_shards import RATE, SIZES, flac, flip, jpeg, look, small_shards
from soundspot.cli import main
from soundspot.errors import DataError, MediaError, OptionError
from soundspot.shards import Order, Shards, is_shards
from soundspot.shards.alike import Print, Seen
from soundspot.shards.catalogue import Catalogue, ShardFile
from soundspot.shards.format import BLOCK, BrokenTarError, members_of, stretch_of
from soundspot.shards.index import Place, index_bytes, open_index, parse_index, scan
from soundspot.shards.order import permuted
from soundspot.shards.writer import ShardWriter


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small_shards(tmp_path)


# --- reading -------------------------------------------------------------------------------------


def test_every_sample_is_found_by_its_number(folder):
    assert is_shards(folder)
    shards = Shards.open(folder)
    assert len(shards) == sum(SIZES)
    assert list(shards.names()) == [f"{n:09d}" for n in range(10)]
    for n in (9, 0, 5, 4, 6, 3):
        raw = shards.raw(n)
        assert (raw.key, raw.meta["id"], len(raw.pictures)) == (f"{n:09d}", f"n{n}", 1 + n % 2)
        assert raw.sound == flac(n)
        assert abs(raw.picture().mean() - 5 * n) < 2
        assert raw.picture(at_least=(8, 6)).shape == (6, 8, 3)
        heard, rate = raw.wave()
        assert rate == RATE
        assert heard == pytest.approx(soundfile.read(io.BytesIO(flac(n)))[0], abs=1e-6)
    for wrong in (-1, 10):
        with pytest.raises(IndexError):
            shards.raw(wrong)


def test_python_and_other_tools_read_the_tar(folder):
    with tarfile.open(folder / "shard-000000.tar") as tar:
        names = tar.getnames()
        owners = {(m.uid, m.gid, m.uname, m.mtime, m.mode) for m in tar}
    assert names[:3] == ["000000000.jpg", "000000000.json", "000000000.flac"]
    assert names[3:5] == ["000000001.000.jpg", "000000001.001.jpg"]
    assert owners == {(0, 0, "", 0, 0o644)}
    assert (folder / "shard-000000.tar").stat().st_size % tarfile.RECORDSIZE == 0


WEBDATASET = """
import json, sys, webdataset
for sample in webdataset.WebDataset(sys.argv[1:], shardshuffle=False):
    found = {k: v.hex() if isinstance(v, bytes) else v for k, v in sample.items()}
    print(json.dumps({k: v for k, v in found.items() if k != "__local_path__"}))
"""


@pytest.mark.skipif(importlib.util.find_spec("webdataset") is None, reason="no webdataset here")
def test_webdataset_reads_the_same_samples(folder):
    """In a process of its own: the library leaves files and threads open."""
    urls = [str(folder / f"shard-{n:06d}.tar") for n in range(len(SIZES))]
    command = [sys.executable, "-c", WEBDATASET, *urls]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in run.stdout.splitlines()]
    shards = Shards.open(folder)
    assert [sample["__key__"] for sample in found] == list(shards.names())
    for n, sample in enumerate(found):
        raw = shards.raw(n)
        names = ["jpg"] if len(raw.pictures) == 1 else ["000.jpg", "001.jpg"]
        assert tuple(bytes.fromhex(sample[name]) for name in names) == raw.pictures
        assert bytes.fromhex(sample["flac"]) == raw.sound
        assert json.loads(bytes.fromhex(sample["json"])) == raw.meta


def test_few_shards_stay_open(folder):
    shards = Shards(folder, Shards.open(folder).catalogue, open_shards=1)
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    for n in (0, 5, 9, 0, 5, 9):
        assert shards.raw(n).meta["id"] == f"n{n}"
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_threads_and_processes_do_not_disturb_each_other(folder):
    shards = Shards(folder, Shards.open(folder).catalogue, open_shards=1)
    wrong: list[int] = []

    def work(seed: int) -> None:
        for n in np.random.default_rng(seed).integers(0, 10, 100).tolist():
            if shards.raw(n).meta["id"] != f"n{n}":
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert pickle.loads(pickle.dumps(shards)).raw(7).key == shards.raw(7).key


# --- damage --------------------------------------------------------------------------------------


@pytest.mark.parametrize("member", range(3))
@pytest.mark.parametrize("part", ["header", "content"])
def test_a_flipped_bit_costs_one_sample_and_is_named(folder, member, part):
    tar = folder / "shard-000000.tar"
    place = open_index(folder / "shard-000000.idx").place(2)
    with tarfile.open(tar) as opened:
        at = [m for m in opened.getmembers() if m.name.startswith("000000002.")][member]
    assert place.offset <= at.offset < place.offset + place.length
    flip(tar, at.offset + 3 if part == "header" else at.offset_data + at.size // 2)
    shards = Shards.open(folder)
    with pytest.raises(MediaError, match=r"shard-000000\.tar, sample .*2 is damaged"):
        shards.raw(2)
    assert [shards.raw(n).meta["id"] for n in (0, 1, 3, 4)] == ["n0", "n1", "n3", "n4"]
    found = look(folder)
    assert not found.ok
    assert found.whole == 9
    assert any("sample 000000002" in text for text in found.wrong)
    assert main(["data", "check", str(folder)]) == 1


def test_a_shard_cut_short_loses_what_was_behind(folder, capsys):
    tar = folder / "shard-000002.tar"
    place = open_index(folder / "shard-000002.idx").place(2)
    os.truncate(tar, place.offset + place.length // 2)
    shards = Shards.open(folder)
    assert [shards.raw(n).meta["id"] for n in (6, 7)] == ["n6", "n7"]
    for n in (8, 9):
        with pytest.raises(MediaError, match=r"shard-000002\.tar, sample"):
            shards.raw(n)
    assert main(["data", "check", str(folder)]) == 1
    said = capsys.readouterr().out
    assert "8 of 10 samples in 3 shards are whole" in said
    assert "shard-000002.tar, sample 000000008: is cut short" in said


def test_a_missing_shard_is_named(folder):
    (folder / "shard-000001.tar").unlink()
    shards = Shards.open(folder)
    with pytest.raises(MediaError, match=r"shard-000001\.tar cannot be read"):
        shards.raw(5)
    assert shards.raw(6).meta["id"] == "n6"
    assert look(folder).wrong[0].startswith("shard-000001.tar: cannot be read")


@pytest.mark.parametrize("how", ["missing", "flipped", "cut", "of another shard", "empty"])
def test_a_lost_index_is_made_anew_and_said(folder, how, caplog):
    index = folder / "shard-000002.idx"
    true = index.read_bytes()
    if how == "missing":
        index.unlink()
    elif how == "flipped":
        flip(index, 40)
    elif how == "cut":
        os.truncate(index, 50)
    elif how == "empty":
        index.write_bytes(b"")
    else:
        index.write_bytes((folder / "shard-000001.idx").read_bytes())
    found = look(folder)
    assert not found.ok
    assert found.whole == 10
    assert "shard-000002.idx" in found.wrong[0]
    with caplog.at_level(logging.WARNING):
        assert Shards.open(folder).raw(8).meta["id"] == "n8"
    assert "shard-000002.idx" in caplog.text
    assert "made anew" in caplog.text
    assert index.read_bytes() == true
    assert look(folder).ok


def test_an_index_is_never_made_of_damaged_bytes(folder, caplog):
    """It would call the damage whole; what can be read is read, the file is not written."""
    (folder / "shard-000000.idx").unlink()
    with tarfile.open(folder / "shard-000000.tar") as opened:
        last = next(m for m in opened.getmembers() if m.name.startswith("000000003."))
    flip(folder / "shard-000000.tar", last.offset + 3)
    shards = Shards.open(folder)
    assert [shards.raw(n).meta["id"] for n in range(3)] == ["n0", "n1", "n2"]
    for n in (3, 4):
        with pytest.raises(MediaError, match="damaged"):
            shards.raw(n)
    assert not (folder / "shard-000000.idx").exists()
    assert "made anew" in caplog.text
    assert "SHA-256 is not that of shards.json" in caplog.text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text[: len(text) // 2], "cannot be read"),
        (lambda text: text.replace('"soundspot": "shards"', '"soundspot": "shoes"'), "another"),
        (lambda text: text.replace('"version": 2', '"version": 3'), "version"),
        (lambda text: text.replace('"samples": 5,', '"samples": -5,'), "damaged"),
        (lambda text: text.replace("shard-000000", "../shard-0"), "damaged"),
        (lambda _: '{"soundspot": "shards", "version": 1}', "damaged"),
    ],
)
def test_a_damaged_catalogue_is_one_line(folder, change: Callable[[str], str], says, capsys):
    text = (folder / "shards.json").read_text()
    (folder / "shards.json").write_text(change(text))
    with pytest.raises(DataError, match=says):
        Shards.open(folder)
    assert main(["data", "check", str(folder)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_shards_beside_those_of_the_catalogue_are_named(folder):
    (folder / "shard-000009.tar").write_bytes(b"")
    assert look(folder).wrong == ("shard-000009.tar: is not in shards.json",)


def test_pictures_and_sounds_that_do_not_decode_are_named(tmp_path):
    with ShardWriter.opened(tmp_path, "shard-000000") as writer:
        writer.add("000000000", [b"no picture"], b"no sound", b"{}")
    catalogue = Catalogue((writer.entry("shard-000000"),))
    (tmp_path / "shards.json").write_text(catalogue.text())
    raw = Shards.open(tmp_path).raw(0)
    with pytest.raises(MediaError, match="sample 000000000: the picture does not decode"):
        raw.picture()
    with pytest.raises(MediaError, match="sample 000000000: the sound does not decode"):
        raw.wave()
    assert look(tmp_path).whole == 0


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_no_flip_in_a_stretch_goes_unseen(at, change):
    """Headers are checked by their sums; contents, and everything together, by the CRC."""
    stretch = bytearray(stretch_of("k", [b"picture" * 200], b"sound" * 300, b"{}"))
    places, keys, wrong = scan(io.BytesIO(bytes(stretch) + bytes(2 * BLOCK)))
    assert (len(places), keys, wrong) == (1, ["k"], None)
    stretch[at % len(stretch)] ^= change
    again, _, _ = scan(io.BytesIO(bytes(stretch) + bytes(2 * BLOCK)))
    assert [place.crc for place in again] != [places[0].crc]


def test_keys_that_would_break_the_format_are_refused():
    for key in ("", "a.b", "a/b", "ä", "a b", "x" * 90):
        with pytest.raises(ValueError, match="cannot be a sample"):
            stretch_of(key, [b""], b"", b"")
    with pytest.raises(BrokenTarError):
        list(members_of(b"x" * BLOCK))


def test_a_shard_that_fails_leaves_nothing(tmp_path):
    def fail() -> None:
        with ShardWriter.opened(tmp_path, "shard-000000") as writer:
            writer.add("a", [b"p"], b"s", b"{}")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


# --- the order -----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700), st.integers(0, 2**63), st.integers(0, 50), st.integers(1, 40),
       st.integers(1, 9))  # fmt: skip
def test_an_epoch_holds_every_sample_once(count, seed, epoch, block, group):
    order = Order(count, seed, epoch, block, group)
    found = order.at(np.arange(count))
    assert sorted(found.tolist()) == list(range(count))
    assert np.array_equal(order.at(np.arange(count)[::-1]), found[::-1])


def test_any_number_of_ranks_sees_the_same_batches():
    order = Order(1000, seed=1)
    for batch in range(15):
        positions = np.arange(batch * 64, batch * 64 + 64)
        whole = sorted(order.at(positions).tolist())
        for world in (1, 2, 3, 8):
            parts = [order.at(positions[rank::world]) for rank in range(world)]
            assert sorted(np.concatenate(parts).tolist()) == whole


def test_epochs_and_seeds_differ_and_repeat():
    one = Order(5000, 1, 0).at(np.arange(5000))
    assert np.array_equal(one, Order(5000, 1, 0).at(np.arange(5000)))
    for other in (Order(5000, 1, 1), Order(5000, 2, 0)):
        same = (one == other.at(np.arange(5000))).mean()
        assert same < 0.01


def test_the_order_stays_the_same_between_versions():
    """Runs are resumed across versions: these numbers are part of the format."""
    assert Order(1000, 7, 3, block=10, group=4).at([0, 1, 2, 500, 999]).tolist() == EXPECTED


EXPECTED = [300, 81, 77, 149, 195]


def test_reads_stay_within_a_group_of_blocks():
    order = Order(100_000, 5, block=100, group=8)
    for start in range(0, 100_000, 800):
        numbers = order.at(np.arange(start, min(start + 800, 100_000)))
        assert len(np.unique(numbers // 100)) <= 2 * 8 + 1


def test_a_mixed_group_is_a_uniform_shuffle():
    """Chi-square of (first place of each of 8 numbers) over 8,000 seeds: 49 degrees of freedom."""
    numbers, keys = np.tile(np.arange(8), 8000), np.repeat(np.arange(8000), 8)
    table = np.zeros((8, 8))
    np.add.at(table, (numbers, permuted(numbers, 8, keys.astype(np.uint64))), 1)
    chi = float(((table - 1000) ** 2 / 1000).sum())
    assert chi < 49 + 5 * np.sqrt(2 * 49)


def test_neighbours_are_torn_apart():
    numbers = Order(20_000, 3).at(np.arange(20_000))
    assert np.abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.05
    assert (np.abs(np.diff(numbers)) == 1).mean() < 0.01


@pytest.mark.parametrize("wrong", [{"count": 0}, {"block": 0}, {"seed": -1}, {"epoch": -1}])
def test_orders_out_of_range(wrong):
    with pytest.raises(OptionError, match="order:"):
        Order(**{"count": 10, **wrong})
    with pytest.raises(OptionError, match="positions are 0 to 9"):
        Order(10).at([10])


# --- size ---------------------------------------------------------------------------------------


def synthetic(folder: Path, shards: int, each: int) -> Shards:
    """So many entries that all point at the same few samples: one tar and index, many names."""
    stretch = stretch_of("000000000", [jpeg(1)], flac(1), b"{}")
    tar, index = folder / "one.tar", folder / "one.idx"
    tar.write_bytes(stretch)
    index.write_bytes(index_bytes([Place.of(0, stretch)] * each, ["000000000"] * each))
    for n in range(shards):
        os.link(tar, folder / f"s{n}.tar")
        os.link(index, folder / f"s{n}.idx")
    entries = tuple(ShardFile(f"s{n}", each, len(stretch), "", "") for n in range(shards))
    return Shards(folder, Catalogue(entries))


def operations(shards: Shards, batches: int = 4) -> int:
    """Lines of Python that reading a few batches of 32 runs through, after a first one."""
    order = shards.order(seed=1)

    def read(batch: int) -> None:
        positions = np.arange(32) + 32 * batch
        for number in order.at(positions).tolist():
            shards.raw(number)

    count = 0

    def trace(*_: Any) -> Any:
        nonlocal count
        count += 1
        return trace

    read(0)
    sys.settrace(trace)
    for batch in range(1, batches + 1):
        read(batch)
    sys.settrace(None)
    return count


def test_a_step_costs_the_same_with_a_thousand_entries_and_a_million(tmp_path):
    """Counted in lines of Python, which no busy machine can disturb; times: benchmarks."""
    counts, peaks = [], []
    for shards, each in ((1, 1000), (100, 1000), (10, 100_000)):
        folder = tmp_path / str(shards)
        folder.mkdir()
        opened = synthetic(folder, shards, each)
        assert len(opened) == shards * each
        counts.append(operations(opened))
        tracemalloc.start()
        operations(opened)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert max(counts) < 1.6 * min(counts)
    assert max(peaks) < 3 * min(peaks) + 300_000


def test_indexes_are_mapped_not_loaded(tmp_path):
    path = tmp_path / "big.idx"
    count = 300_000
    path.write_bytes(index_bytes([Place(n, 3, 2, 1, 4) for n in range(count)], ["k"] * count))
    tracemalloc.start()
    index = open_index(path)
    assert index.place(count - 1) == (count - 1, 3, 2, 1, 4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(index) == count
    assert peak < 300_000
    assert parse_index(path.read_bytes()).place(7) == (7, 3, 2, 1, 4)


# --- duplicates ---------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_fingerprints_are_found_up_to_their_tolerance(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    prints = [Print(*(int(v) for v in rng.integers(0, 2**64, 2, np.uint64))) for _ in range(50)]
    seen = Seen()
    for one in prints:
        assert seen.find(one) is None
        seen.add(one)
    which = data.draw(st.integers(0, 49))
    flips = data.draw(st.sets(st.integers(0, 63), min_size=0, max_size=9))
    changed = prints[which].picture
    for bit in flips:
        changed ^= 1 << bit
    found = seen.find(Print(changed, prints[which].sound))
    assert found == (which if len(flips) <= 7 else None)
    assert Print.parse(str(prints[which])) == prints[which]
