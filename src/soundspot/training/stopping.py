"""Signals that ask a run to leave: SIGTERM (schedulers), Ctrl-C, SIGHUP (a lost connection).

Within `stop_requests` a signal is only noted; the run ends its step (or the part of the sounds that
it hears), keeps a checkpoint and raises `StoppedError`. Within `Request.at_once`, around work that
has nothing to keep, it does not wait for the end. A second Ctrl-C interrupts at once, as usual; not
so one of several ranks, which may get one twice, from a scheduler and from torchrun. Where SIGHUP
is ignored, as under nohup, it stays so.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from soundspot.errors import TrainingError
from soundspot.processes import STOPS

SIGNALLED = 128
"""A shell's exit code for a program that signal n ended is 128 + n."""


class StoppedError(TrainingError):
    """A signal asked a run to leave; what it learned is kept.

    Args:
        message: what is kept and how to go on.
        signal_number: which signal it was.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = SIGNALLED + signal_number

    @classmethod
    def by(cls, signal_number: int, run: Path, when: str) -> StoppedError:
        """As a signal asked, "after step 3, which is kept"."""
        name = signal.Signals(signal_number).name
        return cls(f"{run}: stopped by {name} {when}; the same command goes on", signal_number)


class _LeaveError(BaseException):
    """Leave at once; no handler of ordinary errors may catch it."""


@dataclass
class Request:
    """The signal that came, 0 while none has."""

    number: int = 0
    urgent: bool = False

    @contextmanager
    def at_once(self, run: Path, when: str) -> Iterator[None]:
        """Work that a signal may cut off anywhere, since nothing of it would be kept.

        Args:
            run: that leaves.
            when: as `StoppedError` says it.

        Raises:
            StoppedError: a signal came, before or within.
        """
        try:
            try:
                self.urgent = True
                if self.number:
                    raise _LeaveError
                yield
            finally:
                self.urgent = False
        except _LeaveError:
            raise StoppedError.by(self.number, run, when) from None


@contextmanager
def stop_requests(patient: bool = False) -> Iterator[Request]:
    """Note signals instead of dying of them; outside the main thread, none can be noted.

    Args:
        patient: a second Ctrl-C is only noted too.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(number: int, _: FrameType | None) -> None:
        request.number = request.number or number
        if not patient:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if request.urgent:
            raise _LeaveError

    before = {number: signal.signal(number, note) for number in STOPS if not _is_silenced(number)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_silenced(number: signal.Signals) -> bool:
    """Whether whoever started this process wants it to outlive a lost connection."""
    is_hangup = number not in {signal.SIGTERM, signal.SIGINT}
    return is_hangup and signal.getsignal(number) == signal.SIG_IGN
