"""Batch inference: a result file a shard, the same bytes on any number of ranks, resumable."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import soundfile
from PIL import Image

from pack_films import make_film
from soundspot.bulk import ManifestWork, ShardWork, locate_blocks, parse_save
from soundspot.cli import main
from soundspot.data.manifest import read_manifest
from soundspot.errors import OptionError
from soundspot.judging.ranks import Crew
from soundspot.locating import Locator
from soundspot.models import TwoTower
from soundspot.shards import Shards
from soundspot.shards.folder import shared
from soundspot.shards.index import open_index
from soundspot.shards.options import PackOptions
from soundspot.shards.packing import pack
from soundspot.shards.sources import open_source

T = TypeVar("T")
COUNT, EACH, BATCH = 7, 3, 2
TIMEOUT = 300


class Alone(Crew):
    """One rank of several that need not talk: the tests run them one after the other."""

    def gather(self, mine: T) -> list[T]:
        return [mine]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    entries = []
    for n in range(COUNT):
        picture = rng.integers(0, 256, (40 + n, 48, 3), np.uint8)
        Image.fromarray(picture).save(folder / f"{n}.png")
        soundfile.write(folder / f"{n}.wav", rng.uniform(-0.5, 0.5, 8000 * (n + 1)), 16_000)
        entries.append({"id": f"pair {n}", "image": f"{n}.png", "sound": f"{n}.wav"})
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


@pytest.fixture
def shards(manifest: Path, tmp_path: Path) -> Path:
    options = PackOptions(per_shard=EACH, order="source")
    pack(open_source(manifest), tmp_path / "shards", options, workers=0)
    return tmp_path / "shards"


@pytest.fixture
def locator(two_tower: TwoTower) -> Locator:
    return Locator(two_tower, "similarity_map", device="cpu")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(locator: Locator, shards: Path, out: Path, crew: Crew | None = None, batch: int = BATCH):
    work = ShardWork(Shards.open(shards))
    return locate_blocks(locator, work, out, maps=True, batch=batch, crew=crew)


def test_each_line_is_the_answer_about_its_sample(locator, shards, tmp_path):
    tally = run(locator, shards, tmp_path / "out")
    assert (tally.located, tally.already_done, tally.failed) == (COUNT, 0, 0)
    opened = Shards.open(shards)
    found = [line for n in range(3) for line in lines(tmp_path / "out" / f"shard-{n:06d}.jsonl")]
    for n, line in enumerate(found):
        raw = opened.raw(n)
        answer = locator.locate([raw.picture()], [raw.wave()[0]])[0]
        assert (line["key"], line["id"]) == (raw.key, f"pair {n}")
        assert line["confidence"] == pytest.approx(answer.confidence, abs=1e-3)
        assert line["size"] == [48, 40 + n]
        assert "seconds" not in line
        with tarfile.open(tmp_path / "out" / f"shard-{n // EACH:06d}.maps.tar") as tar:
            values = np.load(BytesIO(tar.extractfile(f"{raw.key}.npy").read()))
        assert values == pytest.approx(answer.map, abs=1e-4)


def test_ranks_give_the_bytes_of_one_process(locator, shards, tmp_path):
    run(locator, shards, tmp_path / "one")
    for rank in (1, 2, 0):
        run(locator, shards, tmp_path / "three", Alone(rank, 3))
    assert content(tmp_path / "three") == content(tmp_path / "one")


def test_a_second_start_makes_what_is_missing(locator, shards, tmp_path):
    out = tmp_path / "out"
    run(locator, shards, out)
    whole = content(out)
    (out / "shard-000001.jsonl").unlink()
    (out / ".soundspot-0123.jsonl").write_text("half")
    (out / "errors.jsonl").unlink()
    tally = run(locator, shards, out)
    assert (tally.located, tally.already_done) == (EACH, COUNT - EACH)
    assert content(out) == whole


def test_half_written_files_stay_while_others_are_at_work(tmp_path):
    half = tmp_path / "out" / ".soundspot-0123.jsonl"
    with shared(tmp_path / "out"):
        half.write_text("half")
        with shared(tmp_path / "out"):
            assert half.exists()
    assert half.exists()
    with shared(tmp_path / "out"):
        assert not half.exists()


def test_maps_of_ids_as_long_as_ids_may_be(locator, manifest, tmp_path):
    entries = lines(manifest)[:5]
    ids = ["a" * 96, "b" * 97, "c" * 200, "\u00e9" * 100, "\u97f3" * 32]
    for entry, name in zip(entries, ids, strict=True):
        entry["id"] = name
    listed = manifest.with_name("long.jsonl")
    listed.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    work = ManifestWork(list(read_manifest(listed)))
    for folder in ("one", "two"):
        assert locate_blocks(locator, work, tmp_path / folder, maps=True).located == len(ids)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    with tarfile.open(tmp_path / "one" / "part-000000.maps.tar") as tar:
        assert tar.getnames() == [f"{name}.npy" for name in ids]
        for name in tar.getnames():
            assert np.load(BytesIO(tar.extractfile(name).read())).ndim == 2


@pytest.mark.parametrize(("pictures", "middle"), [(1, 1.5), (2, 2.25), (3, 1.5)])
def test_a_film_is_heard_around_the_picture_that_is_looked_at(locator, tmp_path, pictures, middle):
    make_film(tmp_path / "in" / "a.mkv", 3, 3.0)
    options = PackOptions(pictures=pictures, seconds=3.0)
    pack(open_source(tmp_path / "in"), tmp_path / "shards", options, workers=0)
    shards = Shards.open(tmp_path / "shards")
    facts = replace(locator.facts, seconds=1.0)
    (pair,) = ShardWork(shards).pairs(0)
    picture, sound = pair.read(facts)
    whole, rate = shards.raw(0).wave()
    first = round((middle - 0.5) * rate)
    assert np.array_equal(picture, shards.raw(0).picture(pictures // 2))
    assert len(sound) == pytest.approx(rate, abs=1)
    assert sound[:-1] == pytest.approx(whole[first : first + rate][: len(sound) - 1], abs=1e-4)


def test_a_damaged_sample_is_counted_and_leaves_the_others_alone(locator, shards, tmp_path):
    run(locator, shards, tmp_path / "whole", batch=1)
    tar = shards / "shard-000000.tar"
    place = open_index(shards / "shard-000000.idx").place(1)
    damaged = bytearray(tar.read_bytes())
    damaged[place.offset + 700] ^= 1
    tar.write_bytes(damaged)
    for _ in range(2):
        tally = run(locator, shards, tmp_path / "out", batch=1)
        assert tally.failed == 1
        assert tally.located + tally.already_done == COUNT - 1
    found, before = (lines(tmp_path / f / "shard-000000.jsonl") for f in ("out", "whole"))
    assert "is damaged" in found[1]["error"]
    assert (found[0], found[2]) == (before[0], before[2])
    assert len(lines(tmp_path / "out" / "errors.jsonl")) == 1


def test_other_settings_are_refused(locator, shards, tmp_path):
    run(locator, shards, tmp_path / "out")
    with pytest.raises(OptionError, match=r"holds results made with batch 2, not 5; give the same"):
        run(locator, shards, tmp_path / "out", batch=5)
    assert parse_save("overlay,json") is None
    assert parse_save("lines") is False
    assert parse_save("lines, map") is True
    with pytest.raises(OptionError, match="'lines' goes alone"):
        parse_save("lines,overlay")


def test_a_manifest_in_blocks(locator, manifest, tmp_path, monkeypatch):
    monkeypatch.setattr("soundspot.bulk.LINES", 4)
    work = ManifestWork(list(read_manifest(manifest)))
    assert work.blocks() == [("part-000000", 4), ("part-000001", 3)]
    tally = locate_blocks(locator, work, tmp_path / "out", batch=3)
    assert tally.located == COUNT
    found = [line for n in range(2) for line in lines(tmp_path / "out" / f"part-{n:06d}.jsonl")]
    assert [line["id"] for line in found] == [f"pair {n}" for n in range(COUNT)]


def test_the_command(shards, manifest, model_file, tmp_path, capsys):
    model = ["--model", str(model_file), "--method", "similarity_map", "--device", "cpu"]
    assert main(["locate", str(shards), "--out-dir", str(tmp_path / "a"), *model]) == 0
    assert f"{COUNT} located, 0 done before" in capsys.readouterr().out
    assert main(["locate", str(shards), "--out-dir", str(tmp_path / "a"), *model]) == 0
    assert f"0 located, {COUNT} done before" in capsys.readouterr().out
    lined = ["locate", str(manifest), "--out-dir", str(tmp_path / "b"), "--save", "lines", *model]
    assert main(lined) == 0
    assert len(lines(tmp_path / "b" / "part-000000.jsonl")) == COUNT
    capsys.readouterr()
    for wrong, says in (
        ([str(shards)], "need --out-dir"),
        ([str(shards), "--out-dir", "x", "--save", "overlay"], "'lines' or 'lines,map'"),
        ([str(manifest.parent), "--out-dir", "x"], "folder"),
    ):
        assert main(["locate", *wrong, *model]) == 2
        assert says in capsys.readouterr().err


@pytest.mark.slow
def test_torchrun_gives_the_bytes_of_one_process(shards, model_file, tmp_path):
    for ranks, out in ((1, tmp_path / "one"), (2, tmp_path / "two")):
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", str(ranks), "-m", "soundspot", "locate", str(shards)),
            *("--out-dir", str(out), "--save", "lines,map", "--model", str(model_file)),
            *("--method", "similarity_map", "--device", "cpu"),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT
        )
        if done.returncode and "soundspot" not in done.stderr:
            pytest.skip(f"torchrun cannot start here: {done.stderr[-300:]}")
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count(f"{COUNT} located, 0 done before, 0 failed") == 1
    assert content(tmp_path / "two") == content(tmp_path / "one")
