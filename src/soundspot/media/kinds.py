"""What something is that was given in place of a picture or a sound, in words of its user."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MediaError
from ..files import one_line


def kind_of(thing: object) -> str:
    """An array's shape and type of numbers; of all else its type."""
    if isinstance(thing, np.ndarray):
        shape = " x ".join(str(n) for n in thing.shape) or "scalar"
        return f"an array {shape} of {thing.dtype}"
    return f"of type {type(thing).__name__}"


def as_array(thing: object, name: str) -> NDArray[Any]:
    """Anything that numpy takes for an array, as one.

    Raises:
        MediaError: it takes it for none: rows of several lengths, a tensor on another device.
    """
    try:
        return np.asarray(thing)
    except (TypeError, ValueError, RuntimeError) as error:
        raise MediaError(
            f"{name} is {kind_of(thing)} and no array ({one_line(error)}); give a numpy array"
        ) from error
