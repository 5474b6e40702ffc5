"""Hearing before the first step: the same bytes in any parts, on any ranks, after any kill."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from gloo import on_ranks
from planted_pairs import tone
from soundspot import sound_bank
from soundspot.checkpoint import write_checkpoint
from soundspot.checkpoint_file import read_header
from soundspot.data.marks import Marks
from soundspot.errors import CheckpointError, MediaError, TrainingError
from soundspot.ranks import Ranks
from soundspot.sound_bank import AT_ONCE, TENSORS, VIEWS, SoundBank, Sounds, bank_of, hear
from soundspot.towers.logmel_cnn import LogMelCNN
from soundspot.training import hearing
from soundspot.training.hearing import BANK, LOCK, PARTS, Hearing
from soundspot.training.keeping import Lock
from soundspot.training.stopping import StoppedError

COUNT, BROKEN, EACH = 9, 4, 2
"""Sounds, which of them cannot be read, and how many are a part."""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)


def make_small(patch: pytest.MonkeyPatch) -> None:
    """Small parts, and few noises to hear behind them."""
    patch.setattr(hearing, "PART", EACH)
    patch.setattr(sound_bank, "NOISES", sound_bank.BATCH)


def read(number: int) -> np.ndarray:
    if number == BROKEN:
        raise MediaError("4.wav is broken")
    return tone(200.0 + 100 * number)[: 4000 + 300 * number]


def sounds() -> Sounds:
    return Sounds([f"{i}.wav" for i in range(COUNT)], read)


def tower() -> LogMelCNN:
    torch.manual_seed(0)
    return LogMelCNN().eval()


def heard_in(folder: Path, ranks: Ranks | None = None, **more: Any) -> Hearing:
    return Hearing(tower(), sounds(), folder, "origin", ranks or Ranks(), **more)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of the bank, heard undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        heard_in(folder).bank()
    return (folder / BANK).read_bytes()


def test_many_at_once_are_heard_as_one_by_one() -> None:
    together = hear(tower(), sounds(), range(COUNT))
    alone = [hear(tower(), sounds(), [i]) for i in range(COUNT)]
    assert together.broken == {"4.wav": "4.wav is broken"}
    assert together.views.shape == (COUNT - 1, VIEWS, 512)
    assert AT_ONCE > COUNT
    for name in ("whole", "views"):
        joined = torch.cat([getattr(heard, name) for heard in alone])
        torch.testing.assert_close(getattr(together, name), joined, rtol=1e-4, atol=1e-5)


def test_the_bank_holds_what_was_heard_and_is_mapped(tmp_path: Path, whole: bytes) -> None:
    bank, broken = heard_in(tmp_path).bank()
    assert (tmp_path / BANK).read_bytes() == whole
    assert broken == {"4.wav": "4.wav is broken"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [LOCK, BANK]
    waves = [read(i) for i in range(COUNT) if i != BROKEN]
    known = bank_of(tower(), waves)
    torch.testing.assert_close(bank.whole, known.whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(bank.empty, known.empty)
    stored = load_file(tmp_path / BANK)
    sent = pickle.dumps(bank)
    assert len(sent) < 1000
    for opened in (bank, pickle.loads(sent)):
        assert all(torch.equal(getattr(opened, name), stored[name]) for name in TENSORS)


def test_a_signal_stops_it_and_a_second_start_goes_on(tmp_path: Path, whole: bytes) -> None:
    said: list[str] = []

    def stop(progress: str) -> None:
        said.append(progress)
        if len(said) == 2:
            raise StoppedError.by(signal.SIGTERM, tmp_path, f"while hearing; {progress}")

    with pytest.raises(StoppedError, match="4 of 9 sounds are heard and kept; the same") as stopped:
        heard_in(tmp_path, stop=stop).bank()
    assert stopped.value.exit_code == 128 + signal.SIGTERM
    made = {p.name: p.stat().st_mtime_ns for p in (tmp_path / PARTS).glob("*.safetensors")}
    assert len(made) == 2
    half = tmp_path / PARTS / ".soundspot-half.safetensors"
    half.write_bytes(b"half")
    (tmp_path / PARTS / "00000001.safetensors").write_bytes(b"damaged")
    heard_in(tmp_path, stop=said.append).bank()
    assert said[2:] == [f"{n} of 9 sounds are heard and kept" for n in (4, 6, 8, 9)]
    assert (tmp_path / BANK).read_bytes() == whole


def test_sounds_of_others_are_refused(tmp_path: Path) -> None:
    def of_others() -> Hearing:
        return Hearing(tower(), sounds(), tmp_path, "other", Ranks())

    def stop(_: str) -> None:
        raise TrainingError("enough")

    with pytest.raises(TrainingError, match="enough"):
        heard_in(tmp_path, stop=stop).bank()
    with pytest.raises(TrainingError, match=r"00000000\.safetensors: belongs to other .* --bank"):
        of_others().bank()
    heard_in(tmp_path).bank()
    with pytest.raises(TrainingError, match=r"sounds.safetensors: belongs to other .* --bank"):
        of_others().bank()


def test_a_folder_that_cannot_be_written_is_refused_by_its_option(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(TrainingError, match=r"file: cannot be written .* another --bank"):
        heard_in(tmp_path / "file").bank()


def test_a_kept_bank_says_what_it_lacks_and_how_to_mend_it(
    tmp_path: Path, whole: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    heard_in(tmp_path).bank()
    assert "could not be read" not in capsys.readouterr().err
    (tmp_path / BANK).write_bytes(whole)
    heard_in(tmp_path).bank()
    assert capsys.readouterr().err == (
        f"soundspot: {tmp_path / BANK}: 1 sound could not be read when the others were heard, and "
        "is left out (4.wav is broken); delete this file to hear all of them again\n"
    )


def test_a_bank_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    tensors = {
        "whole": torch.ones(8, 512),
        "views": torch.ones(8, VIEWS, 512),
        "empty": torch.ones(4, 512),
    }
    header = {"kind": "sound_bank", "origin": "origin", "broken": {"4.wav": "broken"}}
    write_checkpoint(tmp_path / BANK, tensors, header)
    bank, broken = heard_in(tmp_path).bank()
    assert broken == {"4.wav": "broken"}
    assert torch.equal(bank.views, tensors["views"])


def test_nothing_to_hear_and_strictness_are_told(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"4\.wav is broken"):
        heard_in(tmp_path, strict=True).bank()

    def none(number: int) -> np.ndarray:
        raise MediaError(f"{number} is empty")

    job = Hearing(tower(), Sounds(["a", "b"], none), tmp_path / "none", "origin", Ranks())
    with pytest.raises(
        TrainingError, match="no sound can be read; the first that cannot: 0 is empty"
    ):
        job.bank()


def test_what_was_all_unreadable_is_heard_again(tmp_path: Path, whole: bytes) -> None:
    """As when a disk was not mounted at the first start."""

    def none(number: int) -> np.ndarray:
        raise MediaError(f"{number} is not there")

    job = Hearing(tower(), replace(sounds(), read=none), tmp_path, "origin", Ranks())
    with pytest.raises(TrainingError, match="no sound can be read"):
        job.bank()
    heard_in(tmp_path).bank()
    assert (tmp_path / BANK).read_bytes() == whole


def hear_on(ranks: Ranks, folder: str, shared: bool) -> tuple[str, bool]:
    """On each rank: hear, where the first alone may have the folder."""
    make_small(pytest.MonkeyPatch())
    own = Path(folder) if shared or ranks.leads else Path(folder) / "elsewhere"
    bank, _ = heard_in(own, ranks).bank()
    return str(bank.whole.double().sum().item()), bank.path is not None


@pytest.mark.parametrize("shared", [True, False])
def test_ranks_hear_the_same(shared: bool, tmp_path: Path, whole: bytes) -> None:
    folder = tmp_path / "bank"
    found = on_ranks(2, tmp_path, hear_on, str(folder), shared)
    assert (folder / BANK).read_bytes() == whole
    assert found[0][0] == found[1][0]
    assert [mapped for _, mapped in found] == [True, shared]


KILLED = """
import sys, os, signal
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
import test_train_hearing as here
from soundspot import files
here.make_small(here.pytest.MonkeyPatch())
calls, fsync = [], os.fsync
def dying(descriptor):
    calls.append(1)
    if len(calls) == {at}:
        os.kill(os.getpid(), signal.SIGKILL)
    fsync(descriptor)
files.os.fsync = dying
here.heard_in(here.Path({folder!r})).bank()
"""


@pytest.mark.slow
def test_kills_at_every_call_to_the_disk_change_nothing(tmp_path: Path, whole: bytes) -> None:
    for at in (1, 2, 3):
        code = KILLED.format(tests=str(Path(__file__).parent), at=at, folder=str(tmp_path / "b"))
        done = subprocess.run([sys.executable, "-c", code], check=False, env={**os.environ})
        assert done.returncode == -signal.SIGKILL
    heard_in(tmp_path / "b").bank()
    assert (tmp_path / "b" / BANK).read_bytes() == whole
    assert read_header(tmp_path / "b" / BANK)["broken"] == {"4.wav": "4.wav is broken"}


def changed(path: Path, at: int) -> None:
    """Flip a bit."""
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("at", [3, 40, 130, 700, -20_000, -1])
def test_a_damaged_bank_is_refused(tmp_path: Path, whole: bytes, at: int) -> None:
    """In its length, its metadata, its table, its numbers."""
    (tmp_path / BANK).write_bytes(whole)
    changed(tmp_path / BANK, at)
    with pytest.raises(CheckpointError, match=r"sounds.safetensors: .* or delete it: its sounds"):
        heard_in(tmp_path).bank()


def test_a_damaged_part_is_heard_again(tmp_path: Path, whole: bytes) -> None:
    def stop(progress: str) -> None:
        if progress.startswith("6"):
            raise TrainingError("enough")

    with pytest.raises(TrainingError, match="enough"):
        heard_in(tmp_path, stop=stop).bank()
    changed(tmp_path / PARTS / "00000001.safetensors", -1000)
    said: list[str] = []
    heard_in(tmp_path, stop=said.append).bank()
    assert [line[0] for line in said] == ["6", "8", "9"]
    assert (tmp_path / BANK).read_bytes() == whole


def test_a_part_that_is_damaged_while_others_are_heard_is_not_joined(tmp_path: Path) -> None:
    def stop(progress: str) -> None:
        if progress.startswith("9"):
            changed(tmp_path / PARTS / "00000001.safetensors", -1000)

    with pytest.raises(TrainingError, match=r"00000001.safetensors: damaged .* to hear it again"):
        heard_in(tmp_path, stop=stop).bank()
    assert not (tmp_path / BANK).exists()


def test_a_second_start_waits_for_the_first(
    tmp_path: Path, whole: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "WAIT", 0.01)
    said: list[str] = []
    with contextlib.ExitStack() as first:
        assert first.enter_context(Lock(tmp_path / LOCK)).try_()

        def stop(progress: str) -> None:
            said.append(progress)
            if len(said) == 2:
                (tmp_path / BANK).write_bytes(whole)
                first.close()

        bank, _ = heard_in(tmp_path, stop=stop).bank()
    assert said == ["another process hears the sounds"] * 2
    assert len(bank.whole) == COUNT - 1


def test_one_that_waits_leaves_when_asked_and_does_not_wait_for_other_sounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "WAIT", 0.01)

    def asked(progress: str) -> None:
        raise StoppedError.by(signal.SIGTERM, tmp_path, f"while hearing; {progress}")

    def enough(_: str) -> None:
        raise TrainingError("enough")

    with pytest.raises(TrainingError, match="enough"):
        heard_in(tmp_path, stop=enough).bank()
    with Lock(tmp_path / LOCK) as lock:
        assert lock.try_()
        with pytest.raises(StoppedError, match="while hearing; another process hears the sounds"):
            heard_in(tmp_path, stop=asked).bank()
        job = Hearing(tower(), sounds(), tmp_path, "other", Ranks())
        with pytest.raises(
            TrainingError, match=r"00000000\.safetensors: belongs .* another --bank"
        ):
            job.bank()


def test_files_are_heard_once_each_as_they_are(tmp_path: Path) -> None:
    """A changed one is refused, before all are heard and after; a broken one may be mended."""
    names = [f"{i}.wav" for i in range(COUNT)]
    marks = Marks(names, names)

    def other(number: int) -> Marks:
        return Marks(names, [f"new-{n}" if i == number else n for i, n in enumerate(names)])

    def enough(progress: str) -> None:
        if progress.startswith("6"):
            raise TrainingError("enough")

    with pytest.raises(TrainingError, match="enough"):
        heard_in(tmp_path, marks=marks, stop=enough).bank()
    for joined in (False, True):
        if joined:
            heard_in(tmp_path, marks=other(BROKEN)).bank()
            heard_in(tmp_path, marks=marks).bank()
        with pytest.raises(TrainingError, match=r"1 new or changed \(1\.wav\) and 1 gone"):
            heard_in(tmp_path, marks=other(1)).bank()
    with pytest.raises(TrainingError, match="belongs to other data or another sound tower"):
        Hearing(tower(), sounds(), tmp_path, "other", Ranks(), marks=marks).bank()


def test_a_bank_of_files_by_their_paths_is_refused(tmp_path: Path, whole: bytes) -> None:
    (tmp_path / BANK).write_bytes(whole)
    marks = Marks(["a"], ["1"])
    with pytest.raises(TrainingError, match=r"earlier version, which knew files by .* or delete"):
        heard_in(tmp_path, marks=marks).bank()


def test_a_mapped_bank_that_is_cut_short_says_so(tmp_path: Path, whole: bytes) -> None:
    (tmp_path / BANK).write_bytes(whole[:-500])
    with pytest.raises(Exception, match=r"cut short or damaged .* sounds are heard again"):
        SoundBank.mapped(tmp_path / BANK)
