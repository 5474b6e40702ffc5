"""What to ask of a value that somebody gave before it is used: is it a number, or a known name?"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from numbers import Integral, Real
from typing import TypeGuard

LONGEST_NAME = 60
"""Characters of a name up to which one that is like it is sought."""


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a real number of Python's or numpy's; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is an integer of Python's or numpy's; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def instead(name: object, known: Iterable[str]) -> str:
    """What an error says after an unknown name: those that there are, and the one most like it."""
    names = list(known)
    typed = str(name).lower()
    near = difflib.get_close_matches(typed, names, 1) if len(typed) <= LONGEST_NAME else []
    return f"there are {', '.join(names)}" + (f"; did you mean {near[0]}?" if near else "")
