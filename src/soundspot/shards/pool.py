"""Entries to samples in several processes, and back in order.

Each worker is a process with a pipe. It is given one entry at a time and sends what comes of it,
sample by sample. The parent passes samples on in the order of the entries, so whatever is written
does not depend on how many workers there are, or on who was faster.

- A worker that is done with an entry goes on to the next, up to `DEPTH` entries a worker ahead of
  the one whose turn it is, so that one long film does not stop the others.
- Memory is bounded: of an entry ahead of its turn at most `AHEAD` messages are taken; then the
  pipe fills and its worker pauses.
- A decoder that crashes takes its worker with it, not the job. Another worker starts; so that the
  result does not depend on who else took memory, the entry is tried once more when its turn comes,
  alone: other workers are stopped, and theirs begun again after it. What was passed on of an entry
  is not passed on twice. Only an entry that takes its worker along again has failed.
- A worker whose parent dies, even by SIGKILL, ends too.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TypeAlias

from soundspot.errors import SoundspotError
from soundspot.files import one_line
from soundspot.processes import end_with_parent
from soundspot.shards.making import Made, samples_of
from soundspot.shards.options import PackOptions
from soundspot.shards.sources import Entry

DEPTH, AHEAD = 4, 32
"""Entries in hand, for each worker; and messages of one that may wait for their turn."""
TRIES = 2
"""Of an entry whose worker dies."""
STOP_SECONDS = 5.0
"""A worker that was asked to end and has not by then is killed."""


@dataclass(frozen=True)
class End:
    """All of an entry's samples have come; `error` says why it failed."""

    error: str | None = None


Message: TypeAlias = Made | End


def in_this_process(entries: Iterable[Entry], options: PackOptions) -> Generator[Message]:
    """What comes of each entry, one after the other: samples, then an `End`."""
    for entry in entries:
        yield from _messages(entry, options)


def _messages(entry: Entry, options: PackOptions) -> Iterator[Message]:
    try:
        yield from samples_of(entry, options)
    except SoundspotError as error:
        yield End(str(error))
    except MemoryError:
        yield End(f"{entry.sample.image} takes more memory than there is")
    except Exception as error:  # noqa: BLE001  decoders raise anything on hostile bytes
        yield End(f"{entry.sample.image} cannot be packed: {one_line(error)}")
    else:
        yield End()


def in_processes(
    entries: Iterable[Entry], options: PackOptions, workers: int
) -> Generator[Message]:
    """The same, in the same order, from so many processes."""
    queue = iter(entries)
    jobs: deque[_Job] = deque()
    team = [_Worker(options) for _ in range(workers)]
    try:
        while True:
            _employ(team, jobs, queue)
            if not jobs:
                return
            if not jobs[0].waiting:
                _listen(team)
            while jobs and jobs[0].waiting:
                message = jobs[0].waiting.popleft()
                if isinstance(message, End):
                    jobs.popleft()
                yield message
    finally:
        for worker in team:
            worker.stop()


@dataclass
class _Job:
    """One entry: what came of it and was not passed on yet, and how far it is.

    Args:
        entry: which.
        waiting: messages that were not passed on yet.
        ended: the last message has come.
        parked: no worker has it, since one died of it or was stopped.
        deaths: workers that died of it.
        taken: samples that came of it.
        again: so many of them will come once more and are dropped.
    """

    entry: Entry | None = None
    waiting: deque[Message] = field(default_factory=deque)
    ended: bool = True
    parked: bool = False
    deaths: int = 0
    taken: int = 0
    again: int = 0

    def take(self, message: Message) -> None:
        """Note what came."""
        self.ended = isinstance(message, End)
        if not self.ended:
            self.again -= 1
            if self.again >= 0:
                return
            self.taken += 1
        self.waiting.append(message)


def _employ(team: Sequence[_Worker], jobs: deque[_Job], queue: Iterator[Entry]) -> None:
    """Give idle workers something to do; what took a worker along is first in line, and alone."""
    if jobs and jobs[0].deaths and not jobs[0].ended:
        if jobs[0].parked:
            for worker in team:
                worker.rest()
            team[0].begin(jobs[0])
        return
    parked = deque(job for job in jobs if job.parked and not job.deaths)
    for worker in team:
        if not worker.job.ended:
            continue
        if parked:
            worker.begin(parked.popleft())
        elif len(jobs) < DEPTH * len(team):
            if (entry := next(queue, None)) is None:
                return
            jobs.append(_Job(entry, ended=False))
            worker.begin(jobs[-1])


def _listen(team: Iterable[_Worker]) -> None:
    """Wait until a worker says something, unless too much of it waits already."""
    by_pipe = {
        worker.pipe: worker
        for worker in team
        if not worker.job.ended and len(worker.job.waiting) < AHEAD
    }
    for pipe in wait(list(by_pipe)) if by_pipe else ():
        assert isinstance(pipe, Connection)
        by_pipe[pipe].listen()


class _Worker:
    """One process and the job that it has."""

    def __init__(self, options: PackOptions):
        self._options = options
        self.job = _Job()
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process: SpawnProcess | None = context.Process(
            target=_work, args=(theirs, self._options), daemon=True
        )
        self._process.start()
        theirs.close()

    def begin(self, job: _Job) -> None:
        """Start on an entry, from its beginning."""
        self.job = job
        job.parked, job.again = False, job.taken
        with suppress(OSError):  # it is gone: noticed when its pipe is read
            self.pipe.send(job.entry)

    def listen(self) -> None:
        """Take one message."""
        try:
            message: Message = self.pipe.recv()
        except (EOFError, OSError):
            self._died()
        else:
            self.job.take(message)

    def rest(self) -> None:
        """Stop where it works, and lay its entry aside."""
        if not self.job.ended:
            self.stop()
            self._lay_aside()

    def _died(self) -> None:
        """Replace a process that is gone, and its entry is tried again, or failed."""
        assert self._process is not None
        self.pipe.close()
        self._process.join()
        code = self._process.exitcode or 0
        why = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        self.job.deaths += 1
        if self.job.deaths < TRIES:
            self._lay_aside()
            return
        name = self.job.entry.sample.image if self.job.entry else "an entry"
        self.job.take(End(f"{name} crashes the decoder or takes too much memory ({why}, twice)"))
        self._start()

    def _lay_aside(self) -> None:
        self.job.parked = True
        self.job = _Job()
        self._start()

    def stop(self) -> None:
        """End the process."""
        self.pipe.close()
        if self._process is None:
            return
        self._process.terminate()
        self._process.join(STOP_SECONDS)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()
        self._process = None


def _work(pipe: Connection, options: PackOptions) -> None:
    """What a worker does until its pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    end_with_parent()
    with suppress(EOFError, OSError):
        while True:
            entry: Entry = pipe.recv()
            for message in _messages(entry, options):
                pipe.send(message)
