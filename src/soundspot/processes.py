"""Processes that a job starts for itself: they get no signals meant for it, and end with it.

A terminal's Ctrl-C goes to a whole group of processes, and so does what schedulers send. If those
that make batches died of it, the process that trains could not end its step. It alone shall hear
the signal, and it ends the others. Two things keep them:

- a mask of blocked signals is inherited by whatever a process starts (POSIX, `pthread_sigmask`), so
  a child is out of reach from its first instruction on, before any of its own code runs;
- the end of a process closes its pipes, even after SIGKILL. A child that waits for that learns that
  its parent is gone, whoever else adopted it: `getppid`, which torch's loaders ask, names under
  "forkserver" the server and not the process that the work is for.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from soundspot.errors import OptionError

STOPS: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGINT)
"""Signals that ask a job to leave."""
if sys.platform != "win32":
    STOPS += (signal.SIGHUP,)

MEETING = ("RANK", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun sets, and other starters may not: who a process is, and where all meet."""


def require_meeting_place(count: int) -> None:
    """Refuse to work alone where several processes were meant to share the work.

    Args:
        count: of the processes, as WORLD_SIZE says.

    Raises:
        OptionError: the environment does not say where they meet.
    """
    if missing := [name for name in MEETING if not os.environ.get(name)]:
        raise OptionError(
            f"WORLD_SIZE is {count} without {' and '.join(missing)}, by which the processes find "
            "one another; set what is missing, or start with torchrun, which sets all"
        )


@contextmanager
def unreachable() -> Iterator[None]:
    """Processes that this thread starts within get no signal of `STOPS`, nor do theirs.

    That of multiprocessing which tracks resources is started here, since it unblocks signals.
    """
    if sys.platform == "win32":
        yield
        return
    from multiprocessing import resource_tracker

    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_stops() -> None:
    """Called in a process, in its main thread: signals of `STOPS` are its parent's business."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)


def end_with_parent() -> None:
    """Called in a process of multiprocessing: it ends as soon as the one that it works for does."""
    threading.Thread(target=_wait_and_end, daemon=True).start()


def _wait_and_end() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
