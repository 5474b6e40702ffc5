"""Signals that ask a run to save and leave: SIGTERM (spot machines, schedulers) and Ctrl-C.

Within `stop_requests` a signal is only noted; the run ends its step (or the part of the sounds that
it hears), keeps a checkpoint and raises `StoppedError`. Within `Request.at_once`, around work that
has nothing to keep, it does not wait for the end. A second Ctrl-C interrupts at once, as usual.
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

SIGNALS = (signal.SIGTERM, signal.SIGINT)
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
def stop_requests() -> Iterator[Request]:
    """Note signals instead of dying of them; outside the main thread, none can be noted."""
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(number: int, _: FrameType | None) -> None:
        request.number = number
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if request.urgent:
            raise _LeaveError

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
