"""`soundspot evaluate`: models, methods and other programs' maps against true boxes."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from soundspot.commands.common import add_device, refuse_overwriting, write_json
from soundspot.errors import OptionError, SoundspotError

if TYPE_CHECKING:
    from soundspot.benchmark import FolderOfMaps, Settings
    from soundspot.judging.ranks import Crew
    from soundspot.localize import Method
    from soundspot.report import Report
    from soundspot.similarity import Similarity
    from soundspot.types import Sample

SENTENCE = "Score methods against true boxes."
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


def define(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add = parser.add_argument
    add("data", metavar="DATA", nargs="+", help="manifests, or data sets as NAME:ROOT")
    add(
        "--model",
        metavar="NAME",
        action="append",
        help="from `soundspot models`, a file, or package.module:function (default: default)",
    )
    add("--models", metavar="M,N", help="several of them, between commas")
    add("--maps", metavar="DIR", action="append", default=[], help="ID.npy of another program")
    add(
        "--wrong-maps",
        metavar="DIR",
        action="append",
        default=[],
        help="its maps with wrong sounds, one DIR for each --maps",
    )
    add("--methods", metavar="A,B", help="methods, or all (default: each model's own)")
    add(
        "--protocol",
        "--protocols",
        metavar="P,Q",
        default="soundspot",
        help="how to judge, or all (default: soundspot)",
    )
    add("--json", metavar="FILE", help="write the report as JSON; - prints it")
    add("--csv", metavar="FILE", help="a line a row and score; - prints it")
    add("--html", metavar="FILE", help="a page with tables, curves, best and worst samples")
    add("--samples", metavar="FILE", help="a line a sample and row, written as it goes; a run that "
        "was cut short goes on from it")  # fmt: skip
    add("--batch", metavar="N", type=int, default=8, help="pairs at a time (default: 8)")
    add_device(parser)


def run(arguments: argparse.Namespace) -> int:
    """Judge and print the tables; exit code 1 where samples could not be judged."""
    from soundspot.judging.ranks import crew_of_environment

    with crew_of_environment() as crew:
        try:
            return _run(arguments, crew)
        except SoundspotError:
            if crew.leads:
                raise
            return 2


def _run(arguments: argparse.Namespace, crew: Crew) -> int:
    from soundspot.benchmark import judge_all

    job = _agreed(arguments, crew)
    report = judge_all(
        job.samples, job.models, job.methods, job.folders, settings=job.settings, crew=crew
    )
    if report is None:
        return 0
    _deliver(arguments, report)
    return 1 if report.failures else 0


@dataclass(frozen=True)
class _Job:
    """What the arguments ask for, checked and loaded."""

    settings: Settings
    folders: list[FolderOfMaps]
    samples: list[Sample]
    models: dict[str, Similarity]
    methods: list[Method] | None


def _agreed(arguments: argparse.Namespace, crew: Crew) -> _Job:
    """The job; where one process cannot begin, all raise its error."""
    job: _Job | None = None
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


def _job(arguments: argparse.Namespace, crew: Crew) -> _Job:
    """What is cheap to check comes first, models last."""
    settings = _settings(arguments, crew)
    folders = _folders(arguments)
    methods = _methods_named(arguments.methods)
    names = _models_named(arguments)
    samples = list(_samples(arguments.data))
    _check_outputs(arguments, samples, names, crew)
    models = _load_all(names, settings.device)
    if methods is not None and arguments.methods.strip() == ALL:
        methods += _own_methods(models, settings.device)
    return _Job(settings, folders, samples, models, methods)


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


def _check_outputs(
    arguments: argparse.Namespace, samples: Iterable[Sample], models: Sequence[str], crew: Crew
) -> None:
    """Refuse outputs that are read from, written twice, or cannot be written, before any work."""
    outputs = [arguments.json, arguments.csv, arguments.html, arguments.samples]
    media = (path for sample in samples for path in _media(sample))
    lists = (path for spec in arguments.data for path in _lists(spec))
    refuse_overwriting(outputs, [*lists, *models, *media])
    for folder in (*arguments.maps, *arguments.wrong_maps):
        refuse_overwriting(outputs, _maps_written_over(folder, outputs))
    if [arguments.json, arguments.csv].count("-") > 1:
        raise OptionError("--json - and --csv - would both print; write one to a file")
    for name in (arguments.html, arguments.samples):
        if name == "-":
            raise OptionError("--html and --samples are written to files, not printed")
    for name in outputs:
        if name and name != "-" and crew.leads:
            _try_writing(name)


def _lists(spec: str) -> Iterator[Path]:
    """The manifest, or the files that a data set's options name."""
    from soundspot.data import open_data

    data = open_data(spec)
    yield data.root
    for option in data.options():
        yield data.root / str(getattr(data, option.name))


def _maps_written_over(folder: str, outputs: Iterable[str | None]) -> Iterator[Path]:
    """The outputs that would be a map or the confidences of a folder of maps."""
    from soundspot.judging.map_folder import CONFIDENCES, SUFFIX

    for path in (Path(name).resolve() for name in outputs if name and name != "-"):
        named = path.suffix == SUFFIX or path.name in CONFIDENCES
        if named and path.parent == Path(folder).resolve():
            yield path


def _media(sample: Sample) -> Iterator[Path]:
    sources = ((s.sound, s.image, s.mask) for s in sample.sources)
    files = (
        sample.image,
        sample.sound,
        sample.mask,
        sample.video,
        *(f for s in sources for f in s),
    )
    return (path for path in files if path is not None)


class _TriedError(Exception):
    """Raised on purpose, to leave `write_beside` without a file."""


def _try_writing(name: str) -> None:
    from soundspot.files import write_beside

    with suppress(_TriedError), write_beside(name):
        raise _TriedError


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


def _deliver(arguments: argparse.Namespace, report: Report) -> None:
    """Print the tables, unless something else is printed, and write what was asked for."""
    if "-" not in (arguments.json, arguments.csv):
        print(report.table())
    if arguments.json:
        write_json(arguments.json, report.json())
    if arguments.csv:
        from soundspot.report.tidy import csv_of

        _write(arguments.csv, csv_of(report))
    if arguments.html:
        from soundspot.report.html import html_of

        _write(arguments.html, html_of(report))


def _write(target: str, text: str) -> None:
    from soundspot.files import write_beside

    if target == "-":
        print(text, end="")
        return
    with write_beside(target) as beside:
        beside.write_text(text, encoding="utf-8")
