"""Packing: the right frames and seconds, the same bytes however it went, nothing lost."""

from __future__ import annotations

import gc
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from pack_films import FRAMES, make_film, make_films, scene
from soundspot.cli import main
from soundspot.errors import DataError, MediaError, OptionError, SoundspotError
from soundspot.media.audio import read_sound
from soundspot.media.video import read_frame
from soundspot.shards import Shards
from soundspot.shards import packing as packing_module
from soundspot.shards.checking import check
from soundspot.shards.making import samples_of
from soundspot.shards.options import PackOptions, parse_per_shard
from soundspot.shards.packing import pack
from soundspot.shards.sources import Entry, open_source
from soundspot.types import Sample

SMALL = PackOptions(per_shard=3, seconds=0.5)
KILLED_AFTER = 9
"""Exit code of a child that stops dead."""


class NoBar:
    def update(self, n: int = 1) -> None: ...
    def close(self) -> None: ...


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def pack_here(source: str | Path, out: Path, **options: Any) -> Shards:
    """Pack in this process, check it, and open it."""
    pack(open_source(source), out, PackOptions(**options), workers=0)
    found = check(out, lambda _: NoBar())
    assert found.ok, found.lines()
    return Shards.open(out)


def as_jpeg(picture: np.ndarray) -> np.ndarray:
    """What is left of a picture in a JPEG of the default quality."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=90, subsampling=2)
    return np.asarray(Image.open(buffer))


def shows(seen: np.ndarray, film: Path, moment: float) -> bool:
    """Whether a packed picture is the frame of that moment, to the bit."""
    return np.array_equal(seen, as_jpeg(read_frame(film, moment)))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight films and one that is none, in two folders."""
    folder = make_films(tmp_path_factory.mktemp("films"), 8)
    (folder / "more" / "broken.mp4").write_text("not a film")
    return folder


@pytest.fixture(scope="module")
def undisturbed(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "shards"
    pack(open_source(films), out, SMALL, workers=0)
    return out


# --- frames and windows ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_film(tmp_path_factory.mktemp("one") / "a film.mp4", 5, 3.0)


@pytest.mark.parametrize(
    ("rule", "moment", "start", "stop"),
    [("middle", 1.5, 1.0, 2.0), ("first", 0.0, 0.0, 1.0)],
)
def test_one_moment_of_a_film(film, tmp_path, rule, moment, start, stop):
    shards = pack_here(film.parent, tmp_path / "out", frames=rule, seconds=1.0)
    assert len(shards) == 1
    raw = shards.raw(0)
    sound, rate = raw.wave()
    assert raw.meta["time"] == pytest.approx(moment, abs=0.06)
    assert raw.meta["source"] == raw.meta["id"] == "a film.mp4"
    assert shows(raw.picture(), film, raw.meta["time"])
    assert not shows(raw.picture(), film, raw.meta["time"] + 1)
    assert raw.meta["start"] == pytest.approx(start, abs=0.06)
    truth = read_sound(film, rate, raw.meta["start"], stop - start)
    assert sound == pytest.approx(truth, abs=2**-15)


def test_so_many_moments_a_second(film, tmp_path):
    shards = pack_here(film.parent, tmp_path / "out", frames="all", fps=2.0, seconds=1.0)
    raws = [shards.raw(n) for n in range(len(shards))]
    assert [raw.meta["time"] for raw in raws] == [0.25, 0.75, 1.25, 1.75, 2.25, 2.75]
    assert [raw.key for raw in raws] == [f"000000000-{n:06d}" for n in range(6)]
    assert [raw.meta["start"] for raw in raws] == [0, 0.25, 0.75, 1.25, 1.75, 2.25]
    for raw in raws:
        assert shows(raw.picture(), film, raw.meta["time"])
        sound, rate = raw.wave()
        truth = read_sound(film, rate, raw.meta["start"], raw.meta["seconds"])
        assert sound == pytest.approx(truth, abs=2**-15)


def test_long_tracks_are_read_in_stretches(film, tmp_path, monkeypatch):
    whole = pack_here(film.parent, tmp_path / "whole", frames="all", fps=4, seconds=0.3)
    monkeypatch.setattr("soundspot.shards.stretches.STRETCH_SECONDS", 0.5)
    parts = pack_here(film.parent, tmp_path / "parts", frames="all", fps=4, seconds=0.3)
    assert len(parts) == len(whole) == 12
    for n in range(12):
        assert parts.raw(n).wave()[0] == pytest.approx(whole.raw(n).wave()[0], abs=2**-14)


def test_several_pictures_a_sample(film, tmp_path):
    shards = pack_here(film.parent, tmp_path / "out", pictures=3, seconds=1.5)
    raw = shards.raw(0)
    assert len(raw.pictures) == 3
    assert np.diff(raw.meta["times"]) == pytest.approx([0.5, 0.5], abs=1e-3)
    for n, moment in enumerate(raw.meta["times"]):
        assert shows(raw.picture(n), film, moment)


def test_pictures_are_brought_to_a_side_and_never_enlarged(tmp_path):
    make_film(tmp_path / "in" / "wide.mp4", 1, 1.0, size=(320, 160))
    small = pack_here(tmp_path / "in", tmp_path / "small", side=80).raw(0)
    same = pack_here(tmp_path / "in", tmp_path / "same", side=160).raw(0)
    assert small.picture().shape == (80, 160, 3)
    assert same.picture().shape == (160, 320, 3)
    assert small.meta["size"] == same.meta["size"] == [320, 160]


def test_a_manifest_gives_pairs_with_their_times_and_nothing_else(film, tmp_path):
    Image.fromarray(scene(1, 0, (40, 30))).save(tmp_path / "p.png")
    soundfile.write(tmp_path / "s.wav", np.linspace(-0.5, 0.5, 16_000 * 3), 16_000)
    box = [[0.1, 0.1, 0.5, 0.5]]
    entries = [
        {"id": "pair", "image": "p.png", "sound": "s.wav", "boxes": box, "group": "secret"},
        {"id": "late", "video": str(film), "time": 2.5, "boxes": box},
        {"id": "quiet", "image": "p.png", "sound": "s.wav", "kind": "silence"},
    ]
    manifest = tmp_path / "pairs.jsonl"
    manifest.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    shards = pack_here(manifest, tmp_path / "out", seconds=1.0, order="source", frames="all")
    pair, late = shards.raw(0), shards.raw(1)
    assert len(shards) == 2
    assert shards.catalogue.counts["other_kinds"] == 1
    assert pair.wave()[0] == pytest.approx(np.linspace(-0.5, 0.5, 48_000)[16_000:32_000], abs=1e-4)
    assert (pair.meta["source"], pair.meta["sound"]) == ("p.png", "s.wav")
    assert late.meta["time"] == 2.5
    everything = b"".join(content(tmp_path / "out").values())
    assert b"secret" not in everything
    assert b"boxes" not in everything


def test_a_folder_of_sets(tmp_path):
    for number, name in enumerate(("cat", "dog")):
        for n in range(3):
            picture = tmp_path / "in" / "images" / name / f"{n}.png"
            picture.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(scene(n, 0, (32, 32))).save(picture)
        for n in range(2):
            sound = tmp_path / "in" / "sounds" / name / f"{n}.wav"
            sound.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(sound, np.full(4000, (1 + n + 4 * number) / 10), 16_000)
    shards = pack_here(tmp_path / "in", tmp_path / "out", order="source")
    heard = [round(float(shards.raw(n).wave()[0].mean()), 2) for n in range(6)]
    assert heard == [0.1, 0.2, 0.1, 0.5, 0.6, 0.5]


def test_real_clips(shared_data, tmp_path):
    shards = pack_here(shared_data / "videos", tmp_path / "out", seconds=3.0, side=128)
    films = sorted((shared_data / "videos").glob("*.mp4"))
    assert sorted(shards.raw(n).meta["id"] for n in range(len(shards))) == [f.name for f in films]
    for n in range(len(shards)):
        raw = shards.raw(n)
        film = shared_data / "videos" / raw.meta["source"]
        sound, rate = raw.wave()
        assert min(raw.picture().shape[:2]) == 128
        assert len(sound) == pytest.approx(3 * rate, rel=0.01)
        truth = read_sound(film, rate, raw.meta["start"], raw.meta["seconds"])
        assert sound == pytest.approx(truth, abs=2**-15)


# --- odd films ---------------------------------------------------------------------------------


def test_odd_films_are_packed_and_bad_ones_named(tmp_path):
    root = tmp_path / "in"
    good = {
        "uneven.mp4": make_film(
            root / "uneven.mp4", 1, times=[0, 0.04, 0.08, 0.5, 0.9, 0.95, 1.7, 1.8]
        ),
        "turned.mp4": make_film(root / "turned.mp4", 2, turn=90),
        "eight.mp4": make_film(root / "eight.mp4", 3, layout="7.1", rate=48_000),
        "fast.mkv": make_film(root / "fast.mkv", 4, rate=192_000),
    }
    make_film(root / "mute.mp4", 5, sound=0)
    make_film(root / "blind.mp4", 6, pictures=False)
    (root / "zero.mp4").write_bytes(b"")
    (root / "text.avi").write_text("hello")
    for name, options in (("a.mp4", {"fast_start": True}), ("b.mp4", {}), ("c.mkv", {})):
        whole = make_film(root / name, 7, **options)
        (root / f"cut {name}").write_bytes(whole.read_bytes()[: whole.stat().st_size * 3 // 4])
        whole.unlink()
    shards = pack_here(root, tmp_path / "out", seconds=1.0)
    packed = {shards.raw(n).meta["id"]: shards.raw(n) for n in range(len(shards))}
    assert packed.keys() == good.keys()
    assert packed["turned.mp4"].picture().shape == (64, 48, 3)
    for name, path in good.items():
        assert shows(packed[name].picture(), path, packed[name].meta["time"])
        assert len(packed[name].wave()[0]) == 16_000
    errors = {line["file"]: line["error"] for line in lines(tmp_path / "out" / "errors.jsonl")}
    reasons = {
        "mute.mp4": "without a sound track",
        "blind.mp4": "without pictures",
        "zero.mp4": "empty",
        "text.avi": "not a video",
        "cut a.mp4": "cut short",
        "cut b.mp4": "cut short",
        "cut c.mkv": "cut short",
    }
    assert errors.keys() == reasons.keys()
    for name, reason in reasons.items():
        assert reason in errors[name]
        assert str(tmp_path) not in errors[name]
    assert shards.catalogue.counts["failed"] == len(reasons)


def test_duplicates_still_and_silent_films_are_found_and_left_out(tmp_path):
    root = tmp_path / "in"
    make_film(root / "a.mp4", 1)
    make_film(root / "a again.mkv", 1, size=(128, 96), crf="30")
    make_film(root / "moving.mp4", 2)
    make_film(root / "other sound.mp4", 3)
    make_film(root / "silent.mp4", 4, loudness=0)
    make_film(root / "still.mp4", 5, still=True)
    shutil.copy(root / "moving.mp4", root / "zz copy.mp4")
    kept = pack_here(root, tmp_path / "kept", order="source", drop=("still",))
    assert kept.catalogue.counts["found"] == {"duplicates": 2, "still": 1, "silent": 1}
    dropped = ("duplicates", "still", "silent")
    left = pack_here(root, tmp_path / "left", order="source", drop=dropped)
    names = {left.raw(n).meta["id"] for n in range(len(left))}
    assert names == {"a again.mkv", "moving.mp4", "other sound.mp4"}
    found = {line["id"]: line["reason"] for line in lines(tmp_path / "left" / "left_out.jsonl")}
    assert found == {
        "a.mp4": "duplicates",
        "silent.mp4": "silent",
        "still.mp4": "still",
        "zz copy.mp4": "duplicates",
    }


def test_a_strict_packing_stops_and_can_be_finished_without(films, undisturbed, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(MediaError, match=r"broken\.mp4.*--strict"):
        pack(open_source(films), out, SMALL, workers=0, strict=True)
    assert not (out / "shards.json").exists()
    pack(open_source(films), out, SMALL, workers=0)
    assert content(out) == content(undisturbed)


def test_nothing_to_pack_is_said(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="nothing to pack"):
        open_source(tmp_path / "in")
    (tmp_path / "in" / "a.mp4").write_text("x")
    with pytest.raises(DataError, match="nothing could be packed: 1 of 1 entries failed"):
        pack(open_source(tmp_path / "in"), tmp_path / "out", workers=0)
    assert len(lines(tmp_path / "out" / "errors.jsonl")) == 1


# --- the same bytes, however it went -------------------------------------------------------------


def test_the_bytes_do_not_depend_on_the_number_of_workers(films, undisturbed, tmp_path):
    for workers in (1, 3):
        pack(open_source(films), tmp_path / str(workers), SMALL, workers=workers)
        assert content(tmp_path / str(workers)) == content(undisturbed)


def test_a_moved_source_gives_the_same_bytes(films, undisturbed, tmp_path, monkeypatch):
    shutil.copytree(films, tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    pack(open_source("elsewhere"), Path("out"), SMALL, workers=0)
    assert content(tmp_path / "out") == content(undisturbed)


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_a_crash_at_any_write_loses_and_doubles_nothing(films, undisturbed, tmp_path, step):
    """Stop dead at the n-th time that the disk is asked to keep something, then go on."""
    source = open_source(films)
    for n in range(1, 40, step):
        out = tmp_path / str(n)
        died = _dies(lambda out=out: pack(source, out, SMALL, workers=0), at_sync=n)
        if died:
            assert not (out / "shards.json").exists()
        pack(source, out, SMALL, workers=0)
        assert content(out) == content(undisturbed)
        shutil.rmtree(out)
        if not died:
            break
    assert n > 15


def _dies(act: Any, at_sync: int) -> bool:
    """Run in a forked child that exits at its n-th fsync, before it is done; whether it did.

    The parent's left-over codecs are freed first: their threads do not exist in the child.
    """
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        gc.freeze()
        left, real = at_sync, os.fsync

        def sync(file: int) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(KILLED_AFTER)
            real(file)

        os.fsync = sync
        try:
            act()
            os._exit(0)
        except BaseException:  # noqa: BLE001  the child must not go on as a second pytest
            traceback.print_exc()
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, KILLED_AFTER)
    return code == KILLED_AFTER


def test_killed_within_a_film_of_many_samples(tmp_path):
    make_film(tmp_path / "in" / "a.mp4", 1, 2.0)
    make_film(tmp_path / "in" / "b.mp4", 2, 2.0)
    make_film(tmp_path / "in" / "c.mp4", 1, 2.0)
    options = PackOptions(frames="all", fps=4, seconds=0.5, per_shard=5, drop=("duplicates",))
    source = open_source(tmp_path / "in")
    whole = pack(source, tmp_path / "whole", options, workers=0)
    assert whole.samples == 16
    for n in (4, 9, 17):
        out = tmp_path / str(n)
        _dies(lambda out=out: pack(source, out, options, workers=0), at_sync=n)
        pack(source, out, options, workers=0)
        assert content(out) == content(tmp_path / "whole")


def command(source: Path, out: Path) -> list[str]:
    settings = ["--per-shard", "3", "--seconds", "0.5", "--workers", "2"]
    return [sys.executable, "-m", "soundspot", "data", "pack", str(source), "--out", str(out),
            *settings]  # fmt: skip


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_with_its_workers_at_random_moments(films, undisturbed, tmp_path, kills):
    rng, out = random.Random(3), tmp_path / "out"
    for kill in range(kills):
        with subprocess.Popen(
            command(films, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as job:
            try:
                job.wait(0.8 + 0.15 * kill + rng.uniform(0, 0.4))
            except subprocess.TimeoutExpired:
                workers = _children(job.pid)
                job.send_signal(signal.SIGKILL)
                job.communicate()
                _wait_for_end(workers)
            else:
                break
    else:
        subprocess.run(command(films, out), check=False, capture_output=True)
    assert content(out) == content(undisturbed)


def _children(parent: int) -> list[int]:
    text = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(pid) for pid in text.read_text().split()] if text.exists() else []


def _wait_for_end(pids: list[int], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < deadline, "a worker outlives its killed parent"
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state != "Z"


def test_ctrl_c_says_so_in_one_line(films, undisturbed, tmp_path):
    out = tmp_path / "out"
    with subprocess.Popen(
        command(films, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as job:
        _wait_for(lambda: list(out.glob("*.tar")) or job.poll() is not None)
        job.send_signal(signal.SIGINT)
        _, err = job.communicate(timeout=60)
    if job.returncode not in (0, 1):  # it was not done yet
        assert job.returncode == 130
        assert "stopped; finished results are kept" in err
        assert "Traceback" not in err
        assert not list(out.glob(".soundspot-*"))
    pack(open_source(films), out, SMALL, workers=0)
    assert content(out) == content(undisturbed)


def _wait_for(condition: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_full_disk_is_one_line_and_leaves_whole_shards(films, undisturbed, tmp_path):
    """The files of a child may not grow beyond what the first shard needs."""
    out = tmp_path / "out"
    sizes = [(undisturbed / f"shard-{n:06d}.tar").stat().st_size for n in range(3)]
    limit = sizes[0] // 2
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
        "from soundspot.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *command(films, out)[3:-1], "0"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 2
    assert "shard-000000.tar cannot be written: file too large" in run.stderr.replace("\n", " ")
    assert "Traceback" not in run.stderr
    assert {path.name for path in out.iterdir()} <= {"packing.jsonl", *undisturbed_lists()}
    pack(open_source(films), out, SMALL, workers=0)
    assert content(out) == content(undisturbed)


def undisturbed_lists() -> set[str]:
    return {packing_module.ERRORS, packing_module.LEFT_OUT}


def test_a_lost_shard_is_packed_again(films, undisturbed, tmp_path):
    out = tmp_path / "out"
    source = open_source(films)
    assert _dies(lambda: pack(source, out, SMALL, workers=0), at_sync=13)
    (out / "shard-000001.tar").unlink()
    pack(source, out, SMALL, workers=0)
    assert content(out) == content(undisturbed)


# --- formats of sounds ---------------------------------------------------------------------------


def test_waves_hold_what_flac_holds(films, undisturbed, tmp_path):
    out = tmp_path / "out"
    options = replace(SMALL, sound="wav")
    assert _dies(lambda: pack(open_source(films), out, options, workers=0), at_sync=9)
    with pytest.raises(OptionError, match='unfinished packing with another sound: "wav", not'):
        pack(open_source(films), out, SMALL, workers=0)
    shards = pack_here(films, out, per_shard=3, seconds=0.5, sound="wav")
    whole = tmp_path / "whole"
    pack(open_source(films), whole, options, workers=2)
    assert content(out) == content(whole)
    others = Shards.open(undisturbed)
    for n in range(len(others)):
        raw, other = shards.raw(n), others.raw(n)
        assert (raw.sound_format, other.sound_format) == ("wav", "flac")
        assert shards.pictures(n).pictures == other.pictures
        assert raw.meta == other.meta
        assert np.array_equal(raw.wave()[0], other.wave()[0])


# --- folders that hold something else -----------------------------------------------------------


def test_a_second_call_on_finished_shards_changes_nothing(films, undisturbed, tmp_path):
    shutil.copytree(undisturbed, tmp_path / "out")
    pack(open_source(films), tmp_path / "out", SMALL, workers=0)
    assert content(tmp_path / "out") == content(undisturbed)


def test_what_the_first_version_began_is_refused_and_what_it_finished_left_alone(
    films, undisturbed, tmp_path
):
    half, out = tmp_path / "half", tmp_path / "out"
    assert _dies(lambda: pack(open_source(films), half, SMALL, workers=0), at_sync=9)
    as_once(half / "packing.jsonl")
    before = content(half)
    with pytest.raises(OptionError, match="that another version of soundspot began; finish it"):
        pack(open_source(films), half, SMALL, workers=0)
    assert content(half) == before
    shutil.copytree(undisturbed, out)
    as_once(out / "shards.json")
    before = content(out)
    pack(open_source(films), out, SMALL, workers=0)
    assert content(out) == before
    with pytest.raises(OptionError, match="finished shards with another sound: flac, not wav"):
        pack(open_source(films), out, replace(SMALL, sound="wav"), workers=0)


def as_once(path: Path) -> None:
    """Make a file say that it is of version 1, which knew one format of sounds."""
    text = re.sub(r'"version": \d', '"version": 1', path.read_text(), count=1)
    path.write_text(re.sub(r'\s*"sound": "flac",', "", text))


def test_other_settings_or_another_source_are_refused(films, undisturbed, tmp_path):
    out = tmp_path / "finished"
    shutil.copytree(undisturbed, out)
    with pytest.raises(OptionError, match=r"finished shards with another seconds: 0\.5, not 9"):
        pack(open_source(films), out, PackOptions(per_shard=3, seconds=9), workers=0)
    half = tmp_path / "half"
    assert _dies(lambda: pack(open_source(films), half, SMALL, workers=0), at_sync=9)
    with pytest.raises(OptionError, match="unfinished packing with another side: 256, not 99"):
        pack(open_source(films), half, PackOptions(per_shard=3, seconds=0.5, side=99), workers=0)
    shutil.copytree(films, tmp_path / "more films")
    make_film(tmp_path / "more films" / "new.mp4", 77)
    for folder in (out, half):
        with pytest.raises(OptionError, match="with another source"):
            pack(open_source(tmp_path / "more films"), folder, SMALL, workers=0)


def test_a_folder_with_other_things_is_refused(films, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OptionError, match=r"holds other things \(notes.txt\)"):
        pack(open_source(films), tmp_path, SMALL, workers=0)
    with pytest.raises(OptionError, match="is a file"):
        pack(open_source(films), tmp_path / "notes.txt", SMALL, workers=0)
    assert content(tmp_path) == {"notes.txt": b"mine"}


def test_two_at_once_are_refused(films, tmp_path):
    def second(_: object) -> None:
        with pytest.raises(OptionError, match="another process packs into it"):
            pack(open_source(films), tmp_path / "out", SMALL, workers=0)

    pack(open_source(films), tmp_path / "out", SMALL, workers=0, watch=second)


# --- decoders -------------------------------------------------------------------------------------


def test_anything_that_a_decoder_raises_is_an_error_of_its_entry(tmp_path, monkeypatch):
    def explode(*_: object) -> None:
        raise RuntimeError("two\nlines")

    make_film(tmp_path / "in" / "a.mp4", 1)
    make_film(tmp_path / "in" / "b.mp4", 2)
    monkeypatch.setattr("soundspot.shards.making.read_info", explode)
    with pytest.raises(DataError, match="nothing could be packed: 2 of 2"):
        pack(open_source(tmp_path / "in"), tmp_path / "out", workers=0)
    assert "cannot be packed: two lines" in lines(tmp_path / "out" / "errors.jsonl")[0]["error"]


# --- options and the command ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"frames": "last"}, {"fps": 0}, {"seconds": float("nan")}, {"side": 1}, {"quality": 96},
        {"rate": 100}, {"sound": "mp3"}, {"per_shard": 0}, {"drop": ("loud",)}, {"order": "random"},
        {"pictures": 0},
    ],
)  # fmt: skip
def test_options_out_of_range(wrong):
    with pytest.raises(OptionError, match=f"pack: {next(iter(wrong))}="):
        PackOptions(**wrong)


def test_shards_by_size(films, tmp_path):
    assert parse_per_shard("500MB") == {"per_shard": 10**7, "shard_bytes": 500_000_000}
    assert parse_per_shard("12") == {"per_shard": 12}
    with pytest.raises(OptionError, match="give samples"):
        parse_per_shard("5 apples")
    shards = pack_here(films, tmp_path / "out", shard_bytes=30_000)
    sizes = [shard.bytes for shard in shards.catalogue.shards]
    assert len(sizes) > 2
    assert min(sizes[:-1]) >= 30_000
    assert max(sizes) < 30_000 + 40_000


def test_the_command(films, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["data", "pack", str(films), "--out", str(out), "--workers", "0", "--check"]
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert "8 samples" in said.out
    assert "1 failed, with reasons in errors.jsonl" in said.out
    assert "all whole" in said.out
    assert said.err.count("broken.mp4") == 1
    assert main(["data", "check", str(out)]) == 0
    assert main(["data", "info", str(out), "--sheet", str(tmp_path / "sheet.png")]) == 0
    said = capsys.readouterr()
    assert "8 samples in 1 shards" in said.out
    assert "seconds=10.0" in said.out
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert len(np.unique(sheet.reshape(-1, 3), axis=0)) > 100
    assert main(["data", "info", str(out), "--json", str(out / "shards.json")]) == 2
    assert "lies among the shards" in capsys.readouterr().err
    assert main(["data", "info", str(films)]) == 2
    assert "no shards, or unfinished ones" in capsys.readouterr().err
    waves = tmp_path / "waves"
    arguments = [*arguments[:4], str(waves), *arguments[5:], "--sound", "wav"]
    assert main(arguments) == 1
    assert "all whole" in capsys.readouterr().out
    assert main(["data", "info", str(waves)]) == 0
    assert "sounds: wav (8)" in capsys.readouterr().out
    assert main([*arguments, "--fps", "3"]) == 2
    assert main([*arguments, "--drop", "loud"]) == 2


def test_an_entry_that_raises_after_samples_keeps_those(tmp_path):
    film = make_film(tmp_path / "in" / "a.mkv", 1, 2.0)
    entry = Entry(0, Sample("a", film, film, video=film), "a.mkv", None)
    made = list(samples_of(entry, PackOptions(frames="all", fps=FRAMES, seconds=0.2)))
    assert len(made) == 2 * FRAMES
    with pytest.raises(SoundspotError):
        list(
            samples_of(Entry(0, Sample("b", film, film / "x", video=film / "x"), "b", None), SMALL)
        )


def test_the_first_failures_are_printed_and_the_others_counted(tmp_path, capsys):
    """All of them stay in `errors.jsonl`."""
    lines = [{"id": f"{i}", "image": f"{i}.png", "sound": f"{i}.wav"} for i in range(23)]
    (tmp_path / "gone.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "out"
    code = main(["data", "pack", str(tmp_path / "gone.jsonl"), "--out", str(out), "--workers", "0"])
    said = capsys.readouterr().err
    assert code == 2  # nothing could be packed
    assert said.count("failed: ") == 10 + 1
    assert "failed: 13 more, named in errors.jsonl" in said
