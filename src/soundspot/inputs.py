"""What people give, as what a `Locator` takes; a slip of theirs is one line with its remedy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from soundspot.errors import MediaError, ModelError, OptionError
from soundspot.files import one_line, what_is
from soundspot.localize import Method, parse
from soundspot.media.audio import as_sound
from soundspot.media.image import as_picture
from soundspot.media.kinds import kind_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from soundspot.media.image import Picture
    from soundspot.similarity import Similarity


def read_pair(
    image: str | Path | Image | NDArray[np.generic],
    sound: str | Path | tuple[NDArray[np.generic], float],
    rate: int,
) -> tuple[Picture, NDArray[np.float32]]:
    """A picture, and a sound at a rate.

    Raises:
        MediaError: one of them cannot be read, or each is given in the other's place.
    """
    try:
        picture = as_picture(image)
    except MediaError as error:
        if _is_picture(sound) and not _is_picture(image):
            raise MediaError(
                f"{_shown(image)} is given as the picture and is none, and {_shown(sound)} as the "
                "sound and is a picture; give the picture first, then the sound"
            ) from error
        raise
    return picture, as_sound(sound, rate)


def require_model(model: Similarity) -> Similarity:
    """A model, if it is one: anything that can be called with pictures and sounds.

    Raises:
        ModelError: it is a name, None, a class or another thing.
    """
    given: object = model
    if isinstance(given, str | os.PathLike):
        name = os.fspath(given)
        raise ModelError(f"{name!r} is a model's name; give the model: soundspot.load({name!r})")
    if isinstance(given, type):
        raise ModelError(f"{given.__name__} is a class; give a model made of it")
    if not callable(given):
        raise ModelError(
            f"the model is of type {type(given).__name__}; give what soundspot.load() returns, or "
            "a function of pictures and sounds"
        )
    return model


def method_of(chosen: object) -> Method:
    """The method that a string or an object is.

    Raises:
        OptionError: it is neither.
    """
    if isinstance(chosen, str):
        return parse(chosen)
    if not isinstance(chosen, Method):
        raise OptionError(
            f"a method of type {type(chosen).__name__}; give a string such as 'occlusion', or an "
            "object of soundspot.localize"
        )
    return chosen


def _is_picture(thing: object) -> bool:
    """Whether something is a picture at first sight; files by their first bytes."""
    if not isinstance(thing, str | os.PathLike):
        return not isinstance(thing, tuple)
    path = Path(thing)
    what = what_is(path) if path.is_file() else None
    return what is not None and what.endswith("picture")


def _shown(thing: object) -> str:
    return one_line(thing) if isinstance(thing, str | os.PathLike) else f"what is {kind_of(thing)}"
