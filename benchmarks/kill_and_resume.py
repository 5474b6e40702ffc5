"""Kill -9 at random moments, start again, and compare with a run that nothing happened to.

    python benchmarks/kill_and_resume.py                        training, hearing and packing
    python benchmarks/kill_and_resume.py --only training --kills 20 --seed 7

Each job is done twice on the same small data, made here: once undisturbed, and once by a process
that is killed (SIGKILL, which nothing can catch) as often as asked, each time somewhere further on,
and started again with the same command. Then it is left to end.

| job | is killed | what must be equal |
|---|---|---|
| training | after random steps, spread over the run | every tensor of the model, byte for byte |
| hearing | after random parts of the sounds | the file of the heard sounds, byte for byte |
| packing | after random shards, while processes decode | every file of the shards, byte for byte |

The moment is random below a step too: the kill comes up to `LATER` seconds after the step, part or
shard was seen. Checkpoints are written every `SAVE_EVERY` steps, so a part of them is hit while
it is written. Prints a line a kill; exit code 1 where anything differs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image
from safetensors.numpy import load_file

STEPS, SAVE_EVERY = 60, 2
RECORDINGS, PART = 96, 4
"""Sounds to hear, and how many are a part here (`training.hearing.PART` is larger)."""
PICTURES, PER_SHARD = 480, 8
LATER = 0.3
"""Seconds, at most, from what is waited for to the kill."""
POLL, PATIENCE = 0.005, 600.0
"""Seconds between looks, and after which a job is given up."""
RATE = 16_000
COMMAND = (
    "import sys; from soundspot.training import hearing; hearing.PART = {part}; "
    "from soundspot.cli import main; sys.exit(main(sys.argv[1:]))"
)


class Job(ABC):
    """Something that can be killed and started again.

    Args:
        source: the data it works on.
        folder: where its results go.
    """

    goal: int
    """How far it goes, in steps, parts or shards."""

    def __init__(self, source: Path, folder: Path) -> None:
        self.source, self.folder = source, folder

    @abstractmethod
    def command(self, out: Path) -> list[str]:
        """What to type after `soundspot`."""

    @abstractmethod
    def reached(self, out: Path) -> int:
        """How far a run is."""

    @abstractmethod
    def differing(self, one: Path, other: Path) -> tuple[int, list[str]]:
        """How many things were compared, and the names of those that differ."""

    def start(self, out: Path) -> subprocess.Popen[bytes]:
        """Start, or go on."""
        code = COMMAND.format(part=PART)
        errors = (self.folder / "errors.txt").open("ab")
        return subprocess.Popen(
            [sys.executable, "-c", code, *self.command(out)],
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )

    def finish(self, out: Path) -> None:
        """Start, or go on, to the end."""
        if self.start(out).wait(PATIENCE):
            said = (self.folder / "errors.txt").read_text()[-2000:]
            raise SystemExit(f"{' '.join(self.command(out))} failed: {said}")


class Training(Job):
    """Of a tiny model; a step is a line of the log."""

    goal = STEPS

    def command(self, out: Path) -> list[str]:
        """Small scenes, and a checkpoint every other step."""
        small = [
            "--scenes=2",
            "--side=64",
            "--gate=2",
            "--device=cpu",
            f"--save-every={SAVE_EVERY}",
        ]
        return ["train", str(self.source), f"--out={out}", f"--max-steps={STEPS}", *small]

    def reached(self, out: Path) -> int:
        """The last step of the log."""
        lines = _lines(out / "log.jsonl")
        return int(max((line["step"] for line in lines if "loss" in line), default=0))

    def differing(self, one: Path, other: Path) -> tuple[int, list[str]]:
        """Tensors of the models, and the losses in the logs."""
        mine, theirs = (load_file(out / "model.safetensors") for out in (one, other))
        names = [
            name
            for name in sorted(mine.keys() | theirs.keys())
            if name not in mine
            or name not in theirs
            or mine[name].tobytes() != theirs[name].tobytes()
        ]
        losses = [
            [(line["step"], line["loss"]) for line in _lines(out / "log.jsonl") if "loss" in line]
            for out in (one, other)
        ]
        return len(mine), names + (["the losses in log.jsonl"] if losses[0] != losses[1] else [])


class Hearing(Job):
    """Of all sounds before the first step."""

    goal = RECORDINGS // PART

    def command(self, out: Path) -> list[str]:
        """One step, behind all the sounds."""
        small = ["--scenes=2", "--side=64", "--gate=2", "--device=cpu", "--max-steps=1"]
        return ["train", str(self.source), f"--out={out}", *small]

    def reached(self, out: Path) -> int:
        """Parts that have their names."""
        if (out / "sounds.safetensors").exists():
            return self.goal
        return len(list(out.glob("sounds.parts/[0-9]*.safetensors")))

    def differing(self, one: Path, other: Path) -> tuple[int, list[str]]:
        """The bank."""
        return _differing_files(one, other, ["sounds.safetensors"])


class Packing(Job):
    """Of pictures with sounds, by two processes."""

    goal = PICTURES // PER_SHARD

    def command(self, out: Path) -> list[str]:
        """Small shards."""
        each = [f"--per-shard={PER_SHARD}", "--workers=2", "--drop=silent", "--seconds=2"]
        return ["data", "pack", str(self.source), f"--out={out}", *each]

    def reached(self, out: Path) -> int:
        """Shards that have their names."""
        return len(list(out.glob("shard-*.tar")))

    def differing(self, one: Path, other: Path) -> tuple[int, list[str]]:
        """Every file."""
        names = {path.name for out in (one, other) for path in out.iterdir()}
        return _differing_files(one, other, sorted(names))


JOBS: dict[str, type[Job]] = {"training": Training, "hearing": Hearing, "packing": Packing}


def endure(job: Job, kills: int, rng: random.Random, say: Callable[[str], None] = print) -> bool:
    """Do a job undisturbed and killed; whether both gave the same."""
    name = type(job).__name__.lower()
    job.folder.mkdir(parents=True, exist_ok=True)
    whole, parts = job.folder / "undisturbed", job.folder / "killed"
    job.finish(whole)
    killed = 0
    for target in _targets(job.goal, kills, rng):
        step = _kill_at(job, parts, target, rng.uniform(0, LATER))
        killed += step is not None
        said = "had ended by itself" if step is None else f"killed at {step} of {job.goal}"
        say(f"{name}: {said} (wanted: from {target} on)")
    job.finish(parts)
    count, differing = job.differing(whole, parts)
    verdict = "all equal" if not differing else f"DIFFER: {', '.join(differing)}"
    say(f"{name}: {killed} kills, {count} compared, {verdict}")
    return not differing and killed > 0


def _targets(goal: int, kills: int, rng: random.Random) -> list[int]:
    """Random moments, one in each of as many equal stretches."""
    ends = [1 + (goal - 1) * k // kills for k in range(kills + 1)]
    return [rng.randrange(a, max(a + 1, b)) for a, b in itertools.pairwise(ends)]


def _kill_at(job: Job, out: Path, target: int, later: float) -> int | None:
    """Start, wait until so far, and a little, and kill; None where it ended before."""
    process, end = job.start(out), time.monotonic() + PATIENCE
    while process.poll() is None and job.reached(out) < target and time.monotonic() < end:
        time.sleep(POLL)
    try:
        process.wait(later)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return job.reached(out)
    return None


def _differing_files(one: Path, other: Path, names: list[str]) -> tuple[int, list[str]]:
    contents = [[(out / n).read_bytes() if (out / n).exists() else None for n in names]
                for out in (one, other)]  # fmt: skip
    return len(names), [n for n, a, b in zip(names, *contents, strict=True) if a is None or a != b]


def _lines(log: Path) -> list[dict[str, float]]:
    """The whole lines of a log."""
    text = log.read_text() if log.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def make_data(root: Path, sets: int, pictures: int, sounds: int, side: int = 96) -> Path:
    """Sets of noisy pictures and of tones."""
    rng = np.random.default_rng(0)
    for number in range(sets):
        images, heard = root / "images" / f"set{number}", root / "sounds" / f"set{number}"
        images.mkdir(parents=True)
        heard.mkdir(parents=True)
        for i in range(number, pictures, sets):
            pixels = rng.integers(0, 255, (side // 8, side // 8, 3), np.uint8)
            large = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
            large.save(images / f"{i:05d}.jpg")
        for i in range(number, sounds, sets):
            time_axis = np.arange(RATE + 37 * i) / RATE
            tone = 0.3 * np.sin(2 * np.pi * 200 * 1.03**i * time_axis)
            soundfile.write(heard / f"{i:05d}.wav", tone, RATE)
    return root


SIZES = {"training": (4, 48, 12, 96), "hearing": (4, 8, RECORDINGS, 64),
         "packing": (4, PICTURES, 40, 640)}  # fmt: skip
"""Sets, pictures, sounds and side of each job's data."""


def main() -> int:
    """Kill and compare; exit code 1 where anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", metavar="JOB", choices=JOBS, nargs="+", default=list(JOBS))
    parser.add_argument("--kills", metavar="N", type=int, default=10)
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the moments")
    parser.add_argument("--folder", metavar="DIR", help="keep everything there; must not exist")
    told = parser.parse_args()
    root = Path(told.folder) if told.folder else Path(tempfile.mkdtemp(prefix="kill_and_resume-"))
    rng, good = random.Random(told.seed), True
    for name in told.only:
        source = make_data(root / f"{name}-data", *SIZES[name])
        good &= endure(JOBS[name](source, root / name), told.kills, rng)
    if not told.folder:
        shutil.rmtree(root)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
