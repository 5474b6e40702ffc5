"""What `soundspot evaluate` is asked to judge: checked and loaded, what is cheap to check first."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from soundspot.commands.common import model_named
from soundspot.commands.evaluate_methods import ALL, methods_named, methods_of
from soundspot.commands.evaluate_outputs import check_outputs
from soundspot.errors import OptionError, SoundspotError

if TYPE_CHECKING:
    from soundspot.benchmark import FolderOfMaps, Settings
    from soundspot.data import Dataset
    from soundspot.judging.ranks import Crew
    from soundspot.localize import Method
    from soundspot.similarity import Similarity
    from soundspot.types import Sample

EXHIBITS = 4
"""Best and worst samples of each method that the HTML report shows."""
DEFAULT_MODEL = "default"


@dataclass(frozen=True)
class Job:
    """What the arguments ask for, checked and loaded."""

    settings: Settings
    folders: list[FolderOfMaps]
    samples: list[Sample]
    models: dict[str, Similarity]
    methods: Mapping[str, Sequence[Method]] | None
    notes: tuple[str, ...] = ()
    """A line for each method of `all` that does not work on a model."""


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
    methods = methods_named(arguments.methods)
    names = _models_named(arguments)
    samples = list(_samples(arguments.data))
    check_outputs(arguments, samples, names, crew)
    models = _load_all(names, settings.device)
    every = methods is not None and arguments.methods.strip() == ALL
    asked = methods_of(models, methods, every, settings.device)
    return Job(settings, folders, samples, models, asked.methods, asked.notes)


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
    opened = {spec: open_data(spec) for spec in data}
    _refuse_videos_alone(opened)
    for spec in data:
        for sample in opened[spec].samples():
            if sample.id in home:
                raise OptionError(
                    f"{spec}: the id {sample.id!r} was taken by {home[sample.id]}; every sample "
                    "of a run needs its own"
                )
            home[sample.id] = spec
            yield sample


def _refuse_videos_alone(opened: Mapping[str, Dataset]) -> None:
    from soundspot.data.video_folder import VideoFolder

    if all(isinstance(data, VideoFolder) for data in opened.values()):
        raise OptionError(
            f"{', '.join(opened)}: videos without true boxes, so there is nothing to judge; write "
            "a manifest with a line a frame: id, video, time and boxes (docs/formats.md)"
        )


def _load_all(names: Sequence[str], device: str) -> dict[str, Similarity]:
    """The models by the names that their rows bear."""
    from soundspot.facts import facts_of

    models: dict[str, Similarity] = {}
    for name in names:
        model = model_named(name, device)
        label = facts_of(model).name
        if label in models:
            raise OptionError(f"two models are called {label!r}; rename one ({name})")
        models[label] = model
    return models
