"""An approach: how one picture and one mixture of sounds become several maps.

Each is one file: a final, frozen dataclass whose fields are its options. It finds as many sources
as it is asked for, or fewer where it has no more to say; how many there are is another question
(`counting`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from soundspot.errors import MethodError

if TYPE_CHECKING:
    from soundspot.band_mask import BandMask
    from soundspot.maps import FloatMap
    from soundspot.several.scene import Scene

M = TypeVar("M")


@dataclass(frozen=True, eq=False)
class Found:
    """One source, raw.

    Args:
        map: h w, at the approach's resolution, over the whole picture.
        similarity: in the units of the model's own similarities.
        voice: what the source sounds like in the model's space, d; None where the approach
            does not say.
        mask: how much of the sound is the source's; None where the approach does not separate.
    """

    map: FloatMap
    similarity: float
    voice: NDArray[np.float32] | None = None
    mask: BandMask | None = None


class Approach(ABC):
    """How several sources are told apart."""

    name: ClassVar[str]
    """What users type."""
    summary: ClassVar[str]
    """One sentence."""
    model: ClassVar[str] = "default"
    """The embedded model that it works on."""
    scaled: ClassVar[bool] = False
    """Whether its maps have the scale of the scene's method, so that its threshold cuts them."""
    separates: ClassVar[bool]
    """Whether each source can be listened to."""

    @abstractmethod
    def find(self, scene: Scene, sources: int) -> list[Found]:
        """Up to `sources` sources of a scene of one picture, best first.

        Raises:
            MethodError: the approach cannot work on this model.
        """


def model_of(scene: Scene, kind: type[M], approach: type[Approach]) -> M:
    """The scene's model, where it is of the kind that an approach was made for.

    Raises:
        MethodError: it is another.
    """
    model: object = scene.locator.model
    if not isinstance(model, kind):
        raise MethodError(
            f"{approach.name} needs the {approach.model} model, and {scene.locator.facts.name} is "
            f"another; load it with soundspot.load('{approach.model}')"
        )
    return model
