"""A training process that tests can hurt: `python train_driver.py JOB`, JOB being JSON.

Keys: `data`, `out`, `tower`, `options`, `handling`, `model`; and, each with its own meaning,
`kill_after` (a step after which it kills itself), `kill_rank` (only on this rank), `once` (a file:
the kill happens while it does not exist), `kill_in_save` (kills itself while writing the
checkpoint of `kill_after`), `signal_after` (a step after which it signals its group of processes
to leave), `signal_rank` (only on this rank), `starve` (a rank and a step of which it cannot make a
batch), `met` (a file that collects the samples of each step).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from soundspot import files
from soundspot.batches import Batch
from soundspot.errors import MediaError, SoundspotError
from soundspot.options import Handling, TrainOptions
from soundspot.pair_batches import PairBatches
from soundspot.train import train
from soundspot.training.learning import Learner

torch.set_num_threads(1)
job: dict[str, Any] = json.loads(sys.argv[1])
rank = int(os.environ.get("RANK", "0"))
learn, make = Learner.learn, PairBatches.make


def die() -> None:
    """As from `kill -9`, at most once where that is asked for."""
    once = job.get("once")
    if once is None or not Path(once).exists():
        if once is not None:
            Path(once).touch()
        os.kill(os.getpid(), signal.SIGKILL)


def hurt(learner: Learner, batch: Batch, step: int) -> float:
    """Note what the step meets, learn, and perhaps die."""
    if "met" in job:
        with Path(f"{job['met']}.{rank}").open("a") as met:
            met.write(json.dumps([step, batch.files]) + "\n")
    loss = learn(learner, batch, step)
    if step + 1 == job.get("kill_after") and rank == job.get("kill_rank", 0):
        if job.get("kill_in_save"):
            files.os.fsync = lambda _: die()  # type: ignore[attr-defined, assignment]
        else:
            die()
    if step + 1 == job.get("signal_after") and rank == job.get("signal_rank", 0):
        os.killpg(0, signal.SIGTERM)
    return loss


def starved(batches: PairBatches, step: int, block: int = 0) -> Batch:
    """Make a batch, unless this rank is to have none."""
    if [rank, step] == job.get("starve"):
        raise MediaError(f"nothing for rank {rank}")
    return make(batches, step, block)


Learner.learn = hurt  # type: ignore[method-assign]
PairBatches.make = starved  # type: ignore[method-assign]


def main() -> None:
    """Train as told."""
    try:
        train(
            job["data"],
            job["out"],
            TrainOptions(**job["options"]),
            model=job.get("model", "two_tower"),
            sound_tower=job["tower"],
            device="cpu",
            handling=Handling(**job.get("handling", {})),
        )
    except SoundspotError as error:
        sys.exit(f"soundspot: {error}")


if __name__ == "__main__":  # processes that make batches import this file, patched as it is
    main()
