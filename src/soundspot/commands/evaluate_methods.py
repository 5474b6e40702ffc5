"""Which methods `soundspot evaluate` asks of each model, found out before any sample is read.

A method may need what a model does not have: a map of its own, gradients, a layer to look at. So
each is tried on one picture and one sound of noise. One that was asked for by name is then refused
with the model's name; `--methods all` leaves it out and says why. Occlusion works on every model
and takes hundreds of passes, so it is not tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from soundspot.errors import MethodError, ModelError, OptionError, SoundspotError
from soundspot.files import one_line

if TYPE_CHECKING:
    from soundspot.localize import Method
    from soundspot.similarity import Similarity

EVERY_METHOD = (
    "similarity_map",
    "input_gradient",
    "guided_backprop",
    "inner_gradient",
    "grad_cam",
    "combined(similarity_map, input_gradient)",
    "combined(similarity_map, guided_backprop)",
)
"""What `--methods all` means; occlusion takes its name to be asked for, being so slow."""
ALL = "all"


class Asked(NamedTuple):
    """The methods of each model by its name, None for its own; a line for each left out."""

    methods: Mapping[str, Sequence[Method]] | None
    notes: tuple[str, ...] = ()


def methods_named(text: str | None) -> list[Method] | None:
    """The methods to judge: named, all, or None for each model's own.

    Raises:
        OptionError: an unknown method or option.
    """
    from soundspot.localize import parse, parse_many

    if text is None:
        return None
    if text.strip() == ALL:
        return [parse(name) for name in EVERY_METHOD]
    return parse_many(text)


def methods_of(
    models: Mapping[str, Similarity], named: list[Method] | None, every: bool, device: str
) -> Asked:
    """The methods that each model is asked by.

    Args:
        models: by the name that their rows bear.
        named: what `methods_named` gave.
        every: they are all that there are, so what does not work on a model is left out.
        device: "auto" or a torch device name.

    Raises:
        MethodError: a method that was named cannot work on a model; says which.
        ModelError: a model raises, or answers with NaN.
        OptionError: no method of all works on a model.
    """
    if named is None:
        return Asked(None)
    if every:
        named = named + _own_methods(models, device)
    methods: dict[str, list[Method]] = {}
    notes: list[str] = []
    for label, model in models.items():
        refusals = _refusals(label, model, named, device)
        if refusals and not every:
            raise MethodError(f"{label}: {next(iter(refusals.values()))}")
        methods[label] = [method for method in named if repr(method) not in refusals]
        notes += _left_out(label, refusals)
        if not methods[label]:
            raise OptionError(f"none of all methods works on {label}; use --methods occlusion")
    return Asked(methods, tuple(notes))


def _own_methods(models: Mapping[str, Similarity], device: str) -> list[Method]:
    """The models' own methods that `all` does not name."""
    from soundspot.locating import Locator

    own = [Locator(model, device=device).method for model in models.values()]
    return list({repr(m): m for m in own if repr(m) not in EVERY_METHOD}.values())


def _left_out(label: str, refusals: Mapping[str, str]) -> Iterator[str]:
    """A line a reason."""
    for reason in dict.fromkeys(refusals.values()):
        names = ", ".join(name for name, why in refusals.items() if why == reason)
        yield f"{label}: left out {names}: {reason.partition('; use')[0]}"


def _refusals(
    label: str, model: Similarity, methods: Sequence[Method], device: str
) -> dict[str, str]:
    """Why methods cannot work on a model, by their strings; each part is tried once."""
    tried: dict[str, str | None] = {}
    refusals: dict[str, str] = {}
    for method in methods:
        for part in _to_try(method):
            if repr(part) not in tried:
                tried[repr(part)] = _try(label, model, part, device)
            why = tried[repr(part)]
            if why is not None:
                refusals.setdefault(repr(method), why)
    return refusals


def _to_try(method: Method) -> Iterator[Method]:
    """What a method needs a model for: its parts, and itself where it needs pictures of sizes."""
    from soundspot.localize import Combined, MultiScale, Occlusion

    if isinstance(method, Combined):
        for part in method.methods:
            yield from _to_try(part)
    elif isinstance(method, MultiScale):
        parts = list(_to_try(method.method))
        yield from parts
        quick = all(part.name != Occlusion.name for part in _leaves(method.method))
        yield from [method] if quick else []
    elif not isinstance(method, Occlusion):
        yield method


def _leaves(method: Method) -> Iterator[Method]:
    from soundspot.localize import Combined, MultiScale

    if isinstance(method, Combined):
        for part in method.methods:
            yield from _leaves(part)
    elif isinstance(method, MultiScale):
        yield from _leaves(method.method)
    else:
        yield method


def _try(label: str, model: Similarity, method: Method, device: str) -> str | None:
    """Why a method cannot work on a model; None where it can."""
    import numpy as np

    from soundspot.locating import Locator
    from soundspot.watch import frozen

    locator = Locator(model, method, device=device)
    facts, draw = locator.facts, np.random.default_rng(0)
    picture = draw.integers(0, 256, (facts.size, facts.size, 3), dtype=np.uint8)
    length = round(facts.seconds * facts.sample_rate)
    sound = draw.uniform(-1, 1, length).astype(np.float32)
    try:
        with frozen(model):
            locator.explain(locator.listen([sound]), locator.look([picture]))
    except MethodError as refused:
        return one_line(refused)
    except (SoundspotError, MemoryError):
        raise
    except Exception as error:  # a model may be anybody's code
        raise ModelError(
            f"{label}: asked by {method!r} about noise, it raised {type(error).__name__}: "
            f"{one_line(error)}"
        ) from error
    return None
