"""Batches, made before they are needed: by threads of this process, or by processes.

Either way the order is fixed and a block depends on its number alone, so who makes it and when
changes nothing. Threads are enough where decoding releases Python's lock and steps are slow;
processes feed a GPU. A process that dies stops the run with its last checkpoint intact.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch.utils.data import DataLoader, Dataset

from soundspot.batches import Batch, Batches, join
from soundspot.errors import OptionError, TrainingError
from soundspot.files import one_line
from soundspot.ranks import Ranks

Unit: TypeAlias = tuple[int, int]
"""A step and a block of its batch."""
THREADS = 3
AHEAD = 3
"""Batches made before they are needed."""
START_METHOD = "forkserver"
"""Of processes: forking one that runs threads is not safe."""


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
        loader = DataLoader(
            _Blocks(self.batches),
            batch_size=None,
            sampler=units,
            num_workers=self.workers,
            multiprocessing_context=START_METHOD,
        )
        try:
            yield from loader
        except (RuntimeError, ConnectionError, EOFError) as error:
            if isinstance(error, RuntimeError) and "worker" not in str(error):
                raise
            raise TrainingError(
                f"a process that makes batches is dead ({one_line(error)}); "
                "start again, with fewer --workers if memory ran out"
            ) from None


class _Blocks(Dataset[Batch]):
    """Blocks by (step, block), for a loader's processes."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __getitem__(self, unit: Unit) -> Batch:
        torch.set_num_threads(1)
        return self.batches.make(*unit)
