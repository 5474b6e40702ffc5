"""Standard output and error whose reader may leave: `... | head`, a tee that dies, a lost terminal.

A progress bar and a printed line are for whoever looks. When nobody does, writing them fails, and a
job of days must not end of it. `lasting` puts a stream in the place of `sys.stderr` (and, of a
command that writes files, of `sys.stdout`) that from then on writes to nowhere. The descriptor
itself is turned there, so that C libraries, and Python when it ends, find nothing wrong either.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import TextIO

GONE = {errno.EPIPE, errno.EIO}
"""What writing to a pipe without a reader, or to a terminal that is gone, fails with."""


class LastingStream(io.TextIOBase):
    """A text stream that goes on in silence when it cannot be written.

    Args:
        stream: to write to; it stays open.
        any_error: whatever the reason (a full disk), not only that its reader is gone.
    """

    def __init__(self, stream: TextIO, any_error: bool) -> None:
        self._stream, self._any_error = stream, any_error

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream."""
        return self._stream.encoding

    def write(self, text: str) -> int:
        """Write, where it is possible."""
        try:
            self._stream.write(text)
        except OSError as error:
            self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Flush, where it is possible."""
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def writable(self) -> bool:
        """It always is."""
        return True

    def isatty(self) -> bool:
        """As the stream."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """As the stream."""
        return self._stream.fileno()

    def close(self) -> None:
        """Nothing: the stream belongs to others."""

    def _give_up(self, error: OSError) -> None:
        if not self._any_error and error.errno not in GONE:
            raise error
        to_nowhere(self._stream)


def to_nowhere(stream: TextIO) -> None:
    """Turn a stream's descriptor to nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


@contextmanager
def lasting(error: TextIO, output: TextIO | None) -> Iterator[None]:
    """Within, `sys.stderr` is lasting, whatever goes wrong, and `sys.stdout` where it is given.

    Args:
        error: the standard error.
        output: the standard output, of which only a reader that is gone is ignored; None leaves it.
    """
    with ExitStack() as stack:
        stack.enter_context(redirect_stderr(LastingStream(error, any_error=True)))
        if output is not None:
            stack.enter_context(redirect_stdout(LastingStream(output, any_error=False)))
        yield
