"""Anyone's model by its name: `package.module:function`, as Python's entry points spell it.

The current directory is searched too, so a file `mine.py` beside the data is `mine:similarity`.
What the name stands for must follow `soundspot.similarity`: called with pictures and sounds, it
answers one number a pair. A class is called without arguments first, and what it gives is the
model; whatever needs arguments is built in the module itself and named there.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from functools import reduce
from typing import TYPE_CHECKING, cast

import torch

from soundspot.errors import ModelError
from soundspot.facts import HasFacts, ModelFacts, facts_of
from soundspot.similarity import check_model

if TYPE_CHECKING:
    from soundspot.similarity import Similarity

NAME = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*):(?P<path>[^\W\d]\w*(\.[^\W\d]\w*)*)")
TRIAL_PAIRS = 2
"""Pairs of noise on which a model is tried before it is given real ones."""


def names_code(name: str) -> bool:
    """Whether a model's name is of the form `package.module:function`."""
    return NAME.fullmatch(name) is not None


def import_model(name: str) -> Similarity:
    """Import what `package.module:function` names.

    Raises:
        ModelError: no such module, or it cannot be imported; nothing of that name in it; not
            callable; a class that needs arguments; `facts` that are no `ModelFacts`.
    """
    parts = NAME.fullmatch(name)
    if parts is None:
        raise ModelError(f"{name}: a model in code is named package.module:function")
    module = _module(parts["module"], name)
    found = _named(module, parts["path"], name)
    model = _instance(found, name) if isinstance(found, type) else found
    if not callable(model):
        raise ModelError(
            f"{name}: is of type {type(model).__name__}, which cannot be called; "
            "name a function of pictures and sounds"
        )
    if isinstance(model, HasFacts) and not isinstance(cast("object", model.facts), ModelFacts):
        raise ModelError(f"{name}: its `facts` must be a soundspot.ModelFacts")
    if isinstance(model, torch.nn.Module):
        model.eval()
    return cast("Similarity", model)


def try_model(model: Similarity, device: torch.device) -> None:
    """Ask a model about noise: shapes, finite answers, and the first two laws of similarity.

    Raises:
        ModelError: naming what is wrong, an exception within the model included.
    """
    facts = facts_of(model)
    draw = torch.Generator().manual_seed(0)
    images = torch.rand((TRIAL_PAIRS, 3, facts.size, facts.size), generator=draw)
    length = round(facts.seconds * facts.sample_rate)
    sounds = torch.rand((TRIAL_PAIRS, length), generator=draw) * 2 - 1
    if isinstance(model, torch.nn.Module):
        model.to(device)
    try:
        check_model(model, images.to(device), sounds.to(device), gradients=False)
    except ModelError as error:
        raise ModelError(f"{facts.name}: {error}") from error
    except Exception as error:
        raise ModelError(
            f"{facts.name}: asked about {TRIAL_PAIRS} pictures ({_shape(images)}) and sounds "
            f"({_shape(sounds)}), it raised {_said(error)}"
        ) from error


def _module(module: str, name: str) -> object:
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            raise ModelError(
                f"{name}: there is no module {error.name!r} here or among the installed packages"
            ) from None
        raise ModelError(f"{name}: importing {module} raised {_said(error)}") from error
    except (Exception, SystemExit) as error:
        raise ModelError(f"{name}: importing {module} raised {_said(error)}") from error


def _named(module: object, path: str, name: str) -> object:
    try:
        return reduce(getattr, path.split("."), module)
    except AttributeError:
        public = sorted(k for k, v in vars(module).items() if k[0] != "_" and callable(v))
        there = ", ".join(public[:10]) or "nothing that can be called"
        raise ModelError(f"{name}: the module has no {path!r}; there is {there}") from None


def _instance(kind: type, name: str) -> object:
    try:
        return kind()
    except Exception as error:
        raise ModelError(
            f"{name}: is a class, and calling it without arguments raised {_said(error)}; "
            "build the model in the module and name it"
        ) from error


def _shape(tensor: torch.Tensor) -> str:
    return " ".join(map(str, tensor.shape))


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")
