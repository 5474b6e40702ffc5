"""Errors of a benchmark as the command line says them: one line, and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from soundspot.errors import SoundspotError


@contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """End the program with one line about what soundspot refuses within."""
    try:
        yield
    except SoundspotError as error:
        print(f"{program}: {error}", file=sys.stderr)
        sys.exit(2)
