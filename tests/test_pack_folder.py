"""The folder that is packed into: other people's files, and what a kill or a hand left there."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from pack_films import make_film, make_films, scene
from soundspot.cli import main
from soundspot.errors import DataError, MediaError, OptionError
from soundspot.shards import Shards
from soundspot.shards.catalogue import refuse_shards
from soundspot.shards.options import PackOptions
from soundspot.shards.packing import Progress, pack
from soundspot.shards.sources import open_source

OPTIONS = PackOptions(per_shard=2, seconds=0.5)
FOREIGN = (
    "errors.jsonl", "left_out.jsonl", "shard-000000.tar", "shard-000000.idx", "packing.jsonl",
    "photos.tar", "notes.jsonl", ".soundspot-0123.tar",
)  # fmt: skip


class StoppedError(Exception):
    """A packing is left in the middle."""


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_films(tmp_path_factory.mktemp("films"), 6, 0.6)
    for n in range(3):
        (folder / f"broken {n}.mp4").write_text("not a film")
    return folder


@pytest.fixture(scope="module")
def undisturbed(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "shards"
    pack(open_source(films), out, OPTIONS, workers=0)
    return out


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def half_packed(films: Path, out: Path, done: int = 8) -> Path:
    """A packing that stopped when so many entries were done."""

    def watch(progress: Progress) -> None:
        if progress.done == done:
            raise StoppedError

    with pytest.raises(StoppedError):
        pack(open_source(films), out, OPTIONS, workers=0, watch=watch)
    assert (out / "packing.jsonl").exists()
    return out


# --- other people's files --------------------------------------------------------------------


@pytest.mark.parametrize("name", FOREIGN)
def test_files_without_a_packing_are_refused_and_left_alone(films, tmp_path, name):
    (tmp_path / name).write_text("mine, and no line")
    with pytest.raises(OptionError, match=r"holds other things \(.*\); choose an empty"):
        pack(open_source(films), tmp_path, OPTIONS, workers=0)
    assert content(tmp_path) == {name: b"mine, and no line"}


@pytest.mark.parametrize("notes", ['{"id": 1}\n', "[]\n", "3", '{"soundspot": "train"}\n'])
def test_other_notes_of_the_same_name_are_refused(films, tmp_path, notes):
    (tmp_path / "packing.jsonl").write_text(notes)
    with pytest.raises(OptionError, match=r"holds other things \(packing.jsonl\)"):
        pack(open_source(films), tmp_path, OPTIONS, workers=0)
    assert content(tmp_path) == {"packing.jsonl": notes.encode()}


@pytest.mark.parametrize("notes", ["", '{"soundspot": "pac', '{"soundspot": "packing", "version'])
def test_notes_cut_in_their_first_line_are_begun_anew_where_nothing_else_is(
    films, undisturbed, tmp_path, notes
):
    (tmp_path / "packing.jsonl").write_text(notes)
    (tmp_path / "errors.jsonl").write_text("mine")
    with pytest.raises(OptionError, match=r"holds other things \(errors.jsonl\)"):
        pack(open_source(films), tmp_path, OPTIONS, workers=0)
    assert content(tmp_path) == {"packing.jsonl": notes.encode(), "errors.jsonl": b"mine"}
    (tmp_path / "errors.jsonl").unlink()
    pack(open_source(films), tmp_path, OPTIONS, workers=0)
    assert content(tmp_path) == content(undisturbed)


@pytest.mark.parametrize("name", ["photos.tar", "shard-000009.tar", "list.jsonl", "shards.txt"])
def test_an_unfinished_packing_has_its_own_files_only(films, undisturbed, tmp_path, name):
    out = half_packed(films, tmp_path / "out")
    (out / name).write_text("mine")
    before = content(out)
    with pytest.raises(OptionError, match="holds other things"):
        pack(open_source(films), out, OPTIONS, workers=0)
    assert content(out) == before
    (out / name).unlink()
    (out / ".soundspot-0123456789ab.tar").write_text("half")
    pack(open_source(films), out, OPTIONS, workers=0)
    assert content(out) == content(undisturbed)


def test_shards_behind_a_lost_one_are_packed_again(films, undisturbed, tmp_path):
    out = half_packed(films, tmp_path / "out")
    assert (out / "shard-000001.tar").exists()
    (out / "shard-000000.tar").unlink()
    half_packed(films, out, done=1)
    assert not (out / "shard-000001.tar").exists()
    pack(open_source(films), out, OPTIONS, workers=0)
    assert content(out) == content(undisturbed)


def test_shards_are_refused_as_the_place_of_other_results(undisturbed, tmp_path):
    refuse_shards(tmp_path)
    with pytest.raises(OptionError, match="holds shards; choose another --out-dir"):
        refuse_shards(undisturbed, "--out-dir")


# --- what is left behind ---------------------------------------------------------------------


def test_a_kill_before_the_notes_are_gone_leaves_them_only_to_the_next_call(
    films, undisturbed, tmp_path
):
    out = half_packed(films, tmp_path / "out")
    notes = (out / "packing.jsonl").read_bytes()
    pack(open_source(films), out, OPTIONS, workers=0)
    (out / "packing.jsonl").write_bytes(notes)
    pack(open_source(films), out, OPTIONS, workers=0)
    assert content(out) == content(undisturbed)
    (out / "packing.jsonl").write_text("mine")
    pack(open_source(films), out, OPTIONS, workers=0)
    assert (out / "packing.jsonl").read_text() == "mine"


@pytest.mark.parametrize("how", ["deleted", "cut", "changed"])
def test_a_list_that_was_lost_is_written_again(films, undisturbed, tmp_path, caplog, how):
    out = half_packed(films, tmp_path / "out")
    errors = out / "errors.jsonl"
    assert len(errors.read_bytes()) > 10
    if how == "deleted":
        errors.unlink()
    else:
        errors.write_bytes(errors.read_bytes()[:-9] + (b"x" * 30 if how == "changed" else b""))
    with caplog.at_level(logging.WARNING):
        pack(open_source(films), out, OPTIONS, workers=0)
    assert "errors.jsonl: was lost or changed; its first lines are written again" in caplog.text
    assert content(out) == content(undisturbed)


# --- what is said ----------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["a  b", " ends in a space ", "tab\tnew\nline", "."])
def test_errors_name_files_from_the_source_on_wherever_it_lies(
    films, undisturbed, tmp_path, monkeypatch, place
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    shutil.copytree(films, place, dirs_exist_ok=True)
    pack(open_source(place), tmp_path / "out", OPTIONS, workers=0)
    assert content(tmp_path / "out") == content(undisturbed)


def test_a_name_that_repeats_its_folder_stays_whole(tmp_path, monkeypatch):
    for root in (tmp_path / "a", tmp_path / "b"):
        (root / "b a").mkdir(parents=True)
        (root / "b a" / "two  spaces.mp4").write_text("no film")
        make_film(root / "good.mp4", 1, 0.6)
    monkeypatch.chdir(tmp_path)
    for root in ("a", "b"):
        pack(open_source(root), Path(f"out {root}"), OPTIONS, workers=0)
    assert content(Path("out a")) == content(Path("out b"))
    (line,) = lines(Path("out a/errors.jsonl"))
    assert line["file"] == "b a/two  spaces.mp4"
    assert line["error"].startswith("b a/two spaces.mp4 is not a video")


def test_where_all_is_left_out_the_option_and_the_list_are_named(tmp_path, capsys):
    make_film(tmp_path / "in" / "a.mp4", 1, 0.6, loudness=0)
    arguments = ["data", "pack", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--workers", "0", "--drop", "silent"]) == 2
    said = capsys.readouterr().err
    assert "nothing could be packed: 1 samples were left out by --drop silent, see" in said
    assert "left_out.jsonl" in said
    assert "failed" not in said
    (tmp_path / "in" / "b.mp4").write_text("no film")
    with pytest.raises(DataError, match=r"1 of 2 entries failed, see .*errors.jsonl; 1 samples"):
        pack(open_source(tmp_path / "in"), tmp_path / "o", PackOptions(drop=("silent",)), workers=0)


def test_times_behind_the_end_are_said_with_film_and_end(tmp_path):
    film = make_film(tmp_path / "a film.mkv", 1, 2.0)
    short = make_film(tmp_path / "short.mkv", 2, 4.0, sound=1.0)
    wanted = [
        {"id": "far", "video": str(film), "time": 100},
        {"id": "near", "video": str(film), "time": 2.6},
        {"id": "quiet", "video": str(short), "time": 3},
        {"id": "good", "video": str(film), "time": 1},
    ]
    manifest = tmp_path / "pairs.jsonl"
    manifest.write_text("".join(json.dumps(line) + "\n" for line in wanted))
    pack(open_source(manifest), tmp_path / "out", PackOptions(seconds=1), workers=0)
    errors = {line["id"]: line["error"] for line in lines(tmp_path / "out" / "errors.jsonl")}
    assert errors == {
        "far": "a film.mkv ends at 2.00 s, before 100 s; give an earlier time",
        "near": "a film.mkv ends at 2.00 s, before 2.6 s; give an earlier time",
        "quiet": "short.mkv: its sound ends at 1.00 s, before the window of its picture, which "
        "begins at 2.50 s; give an earlier time",
    }


def test_a_film_whose_sound_ends_before_its_middle_says_what_packing_can_do(tmp_path):
    make_film(tmp_path / "in" / "short.mkv", 2, 5.0, sound=1.0)
    source = open_source(tmp_path / "in")
    with pytest.raises(MediaError, match=r"ends at 1\.00 s, .*pack it with --frames first or all"):
        pack(source, tmp_path / "out", PackOptions(seconds=1), workers=0, strict=True)
    first = PackOptions(seconds=1, frames="first")
    assert pack(source, tmp_path / "first", first, workers=0).samples == 1
    every = PackOptions(seconds=1, frames="all")
    assert pack(source, tmp_path / "all", every, workers=0).counts["failed"] == 0


# --- the contact sheet -----------------------------------------------------------------------


def test_a_contact_sheet_has_no_more_room_than_its_pictures_need(tmp_path):
    from soundspot.shards.sheet import GAP, LINES, TEXT, TILE, WAVE, caption, contact_sheet

    folder = tmp_path / "in"
    folder.mkdir()
    for n in range(8):
        Image.fromarray(scene(n, 0, (320, 160))).save(folder / f"{n}.png")
        soundfile.write(folder / f"{n}.wav", np.sin(np.arange(8000) / 9), 16_000)
    entries = [{"id": f"pair {n}", "image": f"{n}.png", "sound": f"{n}.wav"} for n in range(8)]
    (folder / "p.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    pack(open_source(folder / "p.jsonl"), tmp_path / "out", OPTIONS, workers=0)
    shards = Shards.open(tmp_path / "out")
    sheet = contact_sheet(shards)
    high = TILE // 2 + WAVE + LINES * TEXT + GAP
    assert sheet.shape == (2 * high + TEXT + 2 * GAP, GAP + 6 * (TILE + GAP), 3)
    raw = shards.raw(0)
    assert caption(raw, 0.5) == (raw.meta["source"], "0.5 s of sound", raw.key)


def test_long_texts_lose_their_middle():
    from PIL import ImageFont

    from soundspot.shards.sheet import fitted

    font = ImageFont.load_default(12)
    text = "a name of a film that is longer than its tile.mp4"
    short = fitted(text, 200, font)
    assert font.getlength(short) <= 200 < font.getlength(text)
    assert (short[:6], short[-4:], short.count("...")) == ("a name", ".mp4", 1)
    assert fitted("short.mp4", 200, font) == "short.mp4"
    assert fitted(text, 1, font) == "..."
