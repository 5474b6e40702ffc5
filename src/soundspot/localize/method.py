"""What every localization method is: a frozen dataclass with one question to answer.

Its fields are its options, its `repr` rebuilds it (`occlusion(patch=48)`), and nothing is
remembered between calls. A method subclasses `Method` once, says `explain`, and is final.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, ClassVar

import torch

from soundspot.errors import OptionError
from soundspot.similarity import Evidence, Question, Similarity, fix_sound
from soundspot.watch import frozen

if TYPE_CHECKING:
    from torch import Tensor

    from soundspot.types import Images, Sounds


@dataclass(frozen=True, repr=False)
class Method(ABC):
    """A way to turn similarities into a localization map."""

    name: ClassVar[str]
    summary: ClassVar[str]
    """One sentence for `soundspot methods`."""
    needs: ClassVar[str]
    """The kind of model it works on, for `soundspot methods`."""
    parts: ClassVar[str] = ""
    """The field of a method that is made of other methods; they are given by position."""

    def __call__(self, model: Similarity, images: Images, sounds: Sounds) -> Evidence:
        """Where the sounds come from: raw maps, b h w, and the similarities, b.

        Raises:
            MethodError: this method cannot work on this model; the message names one that can.
            OptionError: another number of pictures than of sounds.
        """
        if len(images) != len(sounds):
            raise OptionError(f"one sound a picture: got {len(images)} and {len(sounds)}")
        with frozen(model):
            images, sounds = _with_gradients(images), _with_gradients(sounds)
            with torch.no_grad():
                question = fix_sound(model, sounds)
            return self.explain(question, images)

    @abstractmethod
    def explain(self, question: Question, images: Images) -> Evidence:
        """Answer for sounds already heard; call within `watch.frozen(question.model)`."""

    def __repr__(self) -> str:
        """The string that rebuilds it, options at their defaults left out."""
        given = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self) if _changed(self, f)]
        return f"{self.name}({', '.join(given)})" if given else self.name

    def _require(self, holds: bool, rule: str) -> None:
        """Refuse an option outside its range."""
        if not holds:
            raise OptionError(f"{self.name}: {rule}")


def is_number(value: object) -> bool:
    """Whether an option's value is a number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: object) -> bool:
    """Whether an option's value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def _with_gradients(values: Tensor) -> Tensor:
    """Tensors made in inference mode can never have gradients; their copies can."""
    return values.clone() if values.is_inference() else values


def _changed(method: Method, field: object) -> bool:
    default = getattr(field, "default", MISSING)
    return bool(getattr(method, field.name) != default)  # type: ignore[attr-defined]
