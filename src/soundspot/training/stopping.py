"""Signals that ask a run to save and leave: SIGTERM (spot machines, schedulers) and Ctrl-C.

Within `stop_requests` a signal is only noted; the run ends its step, keeps a checkpoint and
raises `StoppedError`. A second Ctrl-C interrupts at once, as usual.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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


@dataclass
class Request:
    """The signal that came, 0 while none has."""

    number: int = 0


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

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
