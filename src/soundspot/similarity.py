"""The only thing a model must be: a function of pictures and sounds that answers a number a pair.

    similarity(images: b 3 H W, sounds: b samples) -> b

No towers, no embeddings, not even a class: the founding paper's *free network structure*. Three
laws make "any function" precise, and `check_model` tests them on any model:

1. Row i of the answer depends on row i of the arguments alone.
2. Asked twice, it answers the same.
3. For gradient methods: a finite, non-zero gradient reaches the images.

**Encode once, ask often.** `fix_sound(model, sounds)` gives a `Question`: a function of pictures
alone. A model that can hear once and answer many times (a two-tower model) brings its own
question by offering `fix_sound`; any other model is asked with the sound each time.

A question may also offer a map of its own (`OffersMap`) or its picture-only map
(`OffersFeatureStrength`); methods ask for these by type and refuse where they are missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self, runtime_checkable

import torch

from soundspot.errors import ModelError
from soundspot.files import one_line

if TYPE_CHECKING:
    from soundspot.types import Images, Maps, Similarities, Sounds

TOLERANCE = 1e-4
"""Largest relative change of an answer that the laws put down to rounding."""


class Similarity(Protocol):
    """Any function from pictures and sounds to one number a pair."""

    def __call__(self, images: Images, sounds: Sounds, /) -> Similarities:
        """Shape: b 3 H W, b samples -> b."""
        ...


class Evidence(NamedTuple):
    """What a method found: the maps (b h w, raw) and the model's similarities (b)."""

    maps: Maps
    similarities: Similarities


class Question(Protocol):
    """Sounds held fixed: a function of as many pictures as there are sounds."""

    @property
    def model(self) -> Similarity:
        """The model that is asked: what `watch` freezes and whose layers it records."""
        ...

    def __call__(self, images: Images, /) -> Similarities:
        """Shape: b 3 H W -> b."""
        ...

    def of(self, rows: Sequence[int], /) -> Self:
        """The question about the sounds in `rows`; a row may come several times."""
        ...


@runtime_checkable
class FixesSound(Protocol):
    """A model that hears once and answers about many pictures."""

    def fix_sound(self, sounds: Sounds, /) -> Question:
        """Hear `b samples`; the question is about b pictures."""
        ...


@runtime_checkable
class OffersMap(Protocol):
    """A question that has a localization map of its own (similarity map, attention, CAM)."""

    def own_map(self, images: Images, /) -> Evidence:
        """The model's own map and, from the same pass, its similarities."""
        ...


@runtime_checkable
class OffersFeatureStrength(Protocol):
    """A question that can show what its picture tower finds salient, whatever is heard."""

    def feature_strength(self, images: Images, /) -> Maps:
        """The control row "picture only": b h w, blind to the sound by construction."""
        ...


@runtime_checkable
class OffersInnerMap(Protocol):
    """A model that names the layer whose output, b c h w, is all that it knows of the picture."""

    inner_map: str


@dataclass(frozen=True)
class AskedAnew:
    """The question of a model that only knows pairs: it hears the sound at each asking."""

    model: Similarity
    sounds: Sounds

    def __call__(self, images: Images) -> Similarities:
        """Shape: b 3 H W -> b."""
        answer = self.model(images, self.sounds)
        _check_shape(answer, len(images))
        return answer

    def of(self, rows: Sequence[int]) -> AskedAnew:
        """The question about the sounds in `rows`."""
        return AskedAnew(self.model, self.sounds[list(rows)])


def fix_sound(model: Similarity, sounds: Sounds) -> Question:
    """Hold the sounds fixed, by the model's own short cut where it has one."""
    if isinstance(model, FixesSound):
        return model.fix_sound(sounds)
    return AskedAnew(model, sounds)


def check_model(
    model: Similarity, images: Images, sounds: Sounds, *, gradients: bool = True
) -> None:
    """Test the three laws on at least two pairs; silent when all hold.

    Args:
        model: any function that follows the protocol.
        images: b 3 H W in [0, 1], b >= 2, rows that differ.
        sounds: b samples in [-1, 1], rows that differ.
        gradients: test law 3 too; a model that only `occlusion` will ask needs none.

    Raises:
        ModelError: naming the law that is broken.
    """
    count = images.shape[0]
    if count < 2 or sounds.shape[0] != count:
        raise ModelError(
            f"check_model needs the same number of pictures and sounds, at least 2: "
            f"got {count} and {sounds.shape[0]}"
        )
    with torch.no_grad():
        answer = model(images, sounds)
        _check_shape(answer, count)
        if not bool(torch.isfinite(answer).all()):
            raise ModelError("the model's answer holds NaN or infinity")
        if not _close(answer, model(images, sounds)):
            raise ModelError(
                "law 2 broken: asked twice, the model answers differently "
                "(dropout or batch norm in training mode? call model.eval())"
            )
        alone = torch.cat([model(images[i : i + 1], sounds[i : i + 1]) for i in range(count)])
        others = model(images.flip(0), sounds.flip(0)).flip(0)
    if not (_close(answer, alone) and _close(answer, others)):
        raise ModelError(
            "law 1 broken: a row's answer depends on the other rows "
            "(batch norm in training mode, or a normalisation over the batch?)"
        )
    if gradients:
        _check_gradient(model, images, sounds)


def _check_shape(answer: Similarities, count: int) -> None:
    if not isinstance(answer, torch.Tensor) or answer.shape != (count,):
        shape = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
        raise ModelError(
            f"a model answers with a tensor, one number a pair, shape ({count},): got {shape}"
        )


def _check_gradient(model: Similarity, images: Images, sounds: Sounds) -> None:
    asked = images.detach().clone().requires_grad_()
    try:
        with torch.enable_grad():
            answer = model(asked, sounds)
    except RuntimeError as error:
        raise ModelError(
            f"law 3 broken: the model fails when asked for a gradient ({one_line(error)}); "
            "use the method `occlusion`, which needs none"
        ) from error
    if not answer.requires_grad:
        raise ModelError(
            "law 3 broken: no gradient reaches the images (is the model wrapped in no_grad, "
            "or not a torch function?); use the method `occlusion`, which needs none"
        )
    (gradient,) = torch.autograd.grad(answer.sum(), asked, allow_unused=True)
    rows = None if gradient is None else gradient.flatten(1)
    if rows is None or not bool(torch.isfinite(rows).all() and (rows != 0).any(1).all()):
        raise ModelError(
            "law 3 broken: the gradient at the images is zero or not finite; "
            "use the method `occlusion`, which needs none"
        )


def _close(a: Similarities, b: Similarities) -> bool:
    scale = max(float(a.detach().abs().max()), 1e-6)
    return float((a - b).detach().abs().max()) <= TOLERANCE * scale
