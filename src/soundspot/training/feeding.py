"""Batches, made before they are needed: by threads of this process, or by processes.

Either way the order is fixed and a block depends on its number alone, so who makes it and when
changes nothing. Threads are enough where decoding releases Python's lock and steps are slow;
processes feed a GPU. They get no signals (`soundspot.processes`): the process that trains hears
them, and ends the others. What goes wrong is told alike: processes send errors as they send
batches, so that their text stays one line.
"""

from __future__ import annotations

import multiprocessing
import time
import warnings
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from threading import Timer
from typing import TypeAlias

import torch
from torch.utils.data import DataLoader, Dataset

from soundspot.batches import Batch, Batches, join
from soundspot.errors import OptionError, SoundspotError, TrainingError
from soundspot.files import one_line
from soundspot.processes import end_with_parent, ignore_stops, unreachable
from soundspot.ranks import Ranks

Unit: TypeAlias = tuple[int, int]
"""A step and a block of its batch."""
THREADS = 3
AHEAD = 3
"""Batches made before they are needed."""
START_METHOD = "forkserver"
"""Of processes: forking one that runs threads is not safe."""
TOLD = (SoundspotError, OSError, MemoryError)
"""Errors whose text says all; others are bugs, and keep where they came from."""
STOP_SECONDS = 2.0
"""A process that has not ended by then, since it was asked to, is killed."""
DEAD, RAISED = "DataLoader worker (pid", "Caught "
"""How torch begins the message of a process that is dead, and of an error that it passes on."""


@dataclass
class Feed:
    """The batches of this rank, step by step.

    Args:
        batches: what makes them.
        ranks: who shares each batch.
        workers: processes; 0: threads.
        waited: seconds that the last batch was waited for.
    """

    batches: Batches
    ranks: Ranks
    workers: int = 0
    waited: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        """Check that the blocks can be shared."""
        if self.batches.options.parts % self.ranks.count:
            raise OptionError(
                f"train: batches of {self.batches.options.parts} blocks cannot be shared by "
                f"{self.ranks.count} ranks; start a run with --blocks as a multiple of the ranks"
            )

    def __call__(self, first: int, last: int) -> Generator[Batch]:
        """This rank's batches of steps `first` to `last` (exclusive).

        Raises:
            TrainingError: a process that makes them is dead.
        """
        made = self._by_processes if self.workers else self._by_threads
        units = ((step, block) for step in range(first, last) for block in self._mine())
        with closing(made(units)) as blocks:
            for _ in range(first, last):
                start = time.perf_counter()
                batch = join([next(blocks) for _ in self._mine()])
                self.waited = time.perf_counter() - start
                yield batch

    def _mine(self) -> range:
        """The blocks of this rank."""
        each = self.batches.options.parts // self.ranks.count
        return range(each * self.ranks.number, each * (self.ranks.number + 1))

    def _by_threads(self, units: Iterable[Unit]) -> Generator[Batch]:
        pool, coming = ThreadPoolExecutor(THREADS), deque[Future[Batch]]()
        try:
            for unit in units:
                coming.append(pool.submit(self.batches.make, *unit))
                if len(coming) > AHEAD * len(self._mine()):
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _by_processes(self, units: Iterable[Unit]) -> Generator[Batch]:
        with warnings.catch_warnings():  # of more processes than cores, which were asked for
            warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
            loader = DataLoader(
                _Blocks(self.batches),
                batch_size=None,
                sampler=units,
                num_workers=self.workers,
                multiprocessing_context=START_METHOD,
                worker_init_fn=_begin,
            )
            blocks, team = _started(loader)
        try:
            while (made := _next_of(blocks)) is not None:
                if not isinstance(made, Batch):
                    raise made
                yield made
        finally:
            late = Timer(STOP_SECONDS, _kill, [team])
            late.start()
            del blocks  # asks the processes to end, and waits
            late.cancel()
            _kill(team)


class _Blocks(Dataset["Batch | Exception"]):
    """Blocks by (step, block), for a loader's processes."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __getitem__(self, unit: Unit) -> Batch | Exception:
        torch.set_num_threads(1)
        try:
            return self.batches.make(*unit)
        except TOLD as error:
            return error


def _begin(_: int) -> None:
    """What each process does first."""
    ignore_stops()
    end_with_parent()


def _started(
    loader: DataLoader[Batch | Exception],
) -> tuple[Iterator[Batch | Exception], list[BaseProcess]]:
    """What a loader's processes make, and these."""
    before = set(multiprocessing.active_children())
    with unreachable():
        forkserver.ensure_running()
        blocks = iter(loader)
    return blocks, [one for one in multiprocessing.active_children() if one not in before]


def _next_of(blocks: Iterator[Batch | Exception]) -> Batch | Exception | None:
    """A batch, or what went wrong; None at the end."""
    try:
        return next(blocks, None)
    except (RuntimeError, OSError, EOFError) as error:
        said = str(error)
        is_bug = said.startswith(RAISED) or (
            isinstance(error, RuntimeError) and not said.startswith(DEAD)
        )
        if is_bug:
            raise
    return TrainingError(
        f"a process that makes batches is dead ({one_line(said)}); "
        "start again, with fewer --workers if memory ran out"
    )


def _kill(team: Iterable[BaseProcess]) -> None:
    for process in team:
        if process.is_alive():
            process.kill()
