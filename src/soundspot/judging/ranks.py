"""Several processes on one job, as torchrun starts them: who I am, and what the others found.

torchrun gives each process its number (RANK) and their count (WORLD_SIZE); they talk over gloo,
which needs no accelerator. A process alone is the crew of one: it talks to nobody and imports
nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast

from soundspot.errors import OptionError
from soundspot.processes import require_meeting_place

T = TypeVar("T")
PATIENCE = timedelta(days=7)
"""How long a process that is done waits for the others; a dead one is noticed at once."""


@dataclass(frozen=True)
class Crew:
    """Processes that work together: this one's number, from 0, and how many there are."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and prints."""
        return self.rank == 0

    def gather(self, mine: T) -> list[T]:
        """What every process gives, in the order of their numbers; all must call it."""
        if self.size == 1:
            return [mine]
        import torch.distributed as dist

        found: list[T | None] = [None] * self.size
        dist.all_gather_object(found, mine)
        return cast("list[T]", found)


@contextmanager
def crew_of_environment() -> Iterator[Crew]:
    """The crew that torchrun started; without torchrun, this process alone.

    Raises:
        OptionError: RANK and WORLD_SIZE are no numbers, or the processes cannot reach each other.
    """
    try:
        size = int(os.environ.get("WORLD_SIZE", "1"))
        rank = int(os.environ.get("RANK", "0"))
    except ValueError:
        raise OptionError("RANK and WORLD_SIZE, which torchrun sets, must be numbers") from None
    if size <= 1:
        yield Crew()
        return
    require_meeting_place(size)
    import torch.distributed as dist

    try:
        dist.init_process_group("gloo", rank=rank, world_size=size, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise OptionError(f"the processes cannot reach each other: {error}") from error
    try:
        yield Crew(rank, size)
    finally:
        dist.destroy_process_group()
