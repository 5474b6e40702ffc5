"""What `soundspot evaluate` is asked to judge: checked and loaded, what is cheap to check first."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from soundspot.commands.evaluate_outputs import check_outputs
from soundspot.errors import OptionError, SoundspotError

if TYPE_CHECKING:
    from soundspot.benchmark import FolderOfMaps, Settings
    from soundspot.judging.ranks import Crew
    from soundspot.localize import Method
    from soundspot.similarity import Similarity
    from soundspot.types import Sample

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
EXHIBITS = 4
"""Best and worst samples of each method that the HTML report shows."""
DEFAULT_MODEL = "default"
ALL = "all"


@dataclass(frozen=True)
class Job:
    """What the arguments ask for, checked and loaded."""

    settings: Settings
    folders: list[FolderOfMaps]
    samples: list[Sample]
    models: dict[str, Similarity]
    methods: list[Method] | None


def agreed_job(arguments: argparse.Namespace, crew: Crew) -> Job:
    """The job; where one process cannot begin, all raise its error."""
    job: Job | None = None
    error: SoundspotError | None = None
    try:
        job = _job(arguments, crew)
    except SoundspotError as refused:
        error = refused
    for found in crew.gather(error):
        if found is not None:
            raise found
    assert job is not None
    return job


def _job(arguments: argparse.Namespace, crew: Crew) -> Job:
    """What is cheap to check comes first, models last."""
    settings = _settings(arguments, crew)
    folders = _folders(arguments)
    methods = _methods_named(arguments.methods)
    names = _models_named(arguments)
    samples = list(_samples(arguments.data))
    check_outputs(arguments, samples, names, crew)
    models = _load_all(names, settings.device)
    if methods is not None and arguments.methods.strip() == ALL:
        methods += _own_methods(models, settings.device)
    return Job(settings, folders, samples, models, methods)


def _settings(arguments: argparse.Namespace, crew: Crew) -> Settings:
    from soundspot.benchmark import Settings
    from soundspot.protocols import PROTOCOLS, make

    names = [name.strip() for name in arguments.protocol.split(",") if name.strip()]
    names = list(PROTOCOLS) if names == [ALL] else names
    for name in names:
        make(name)
    return Settings(
        protocols=tuple(names),
        device=_device(arguments.device, crew),
        batch=arguments.batch,
        progress=True,
        ledger=arguments.samples,
        exhibits=EXHIBITS if arguments.html else 0,
    )


def _device(name: str, crew: Crew) -> str:
    """Several processes of one machine take an accelerator each."""
    import torch

    if name != "auto" or crew.size == 1 or not torch.cuda.is_available():
        return name
    return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"


def _folders(arguments: argparse.Namespace) -> list[FolderOfMaps]:
    from soundspot.benchmark import FolderOfMaps
    from soundspot.judging.map_folder import MapFolder

    maps, wrong = arguments.maps, arguments.wrong_maps
    if wrong and len(wrong) != len(maps):
        raise OptionError(f"{len(wrong)} --wrong-maps for {len(maps)} --maps; give one for each")
    for folder in (*maps, *wrong):
        MapFolder.open(folder)
    return [FolderOfMaps(m, w) for m, w in zip(maps, wrong or [None] * len(maps), strict=True)]


def _models_named(arguments: argparse.Namespace) -> list[str]:
    """The models asked for; none but the default where no maps are given."""
    given = [*(arguments.model or []), *(arguments.models or "").split(",")]
    names = [name.strip() for name in given if name.strip()]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise OptionError(f"the model {twice[0]} is given twice")
    return names or ([] if arguments.maps else [DEFAULT_MODEL])


def _samples(data: Sequence[str]) -> Iterator[Sample]:
    """All samples of all data; an id names one sample only."""
    from soundspot.data import open_data

    home: dict[str, str] = {}
    for spec in data:
        for sample in open_data(spec).samples():
            if sample.id in home:
                raise OptionError(
                    f"{spec}: the id {sample.id!r} was taken by {home[sample.id]}; every sample "
                    "of a run needs its own"
                )
            home[sample.id] = spec
            yield sample


def _load_all(names: Sequence[str], device: str) -> dict[str, Similarity]:
    """The models by the names that their rows bear."""
    from soundspot.checkpoint import EMBEDDED, load
    from soundspot.facts import facts_of
    from soundspot.locating import pick_device
    from soundspot.user_model import import_model, names_code, try_model

    models: dict[str, Similarity] = {}
    for name in names:
        model: Similarity
        if names_code(name) and name not in EMBEDDED and not os.path.exists(name):
            model = import_model(name)
            try_model(model, pick_device(device))
        else:
            model = load(name)
        label = facts_of(model).name
        if label in models:
            raise OptionError(f"two models are called {label!r}; rename one ({name})")
        models[label] = model
    return models


def _methods_named(text: str | None) -> list[Method] | None:
    """The methods to judge: named, all, or None for each model's own."""
    from soundspot.localize import parse, parse_many

    if text is None:
        return None
    if text.strip() == ALL:
        return [parse(name) for name in EVERY_METHOD]
    return parse_many(text)


def _own_methods(models: dict[str, Similarity], device: str) -> list[Method]:
    """The models' own methods that `all` does not name."""
    from soundspot.locating import Locator

    own = [Locator(model, device=device).method for model in models.values()]
    return list({repr(m): m for m in own if repr(m) not in EVERY_METHOD}.values())
