"""Many pairs at once: a manifest in, one set of files an entry out; resumable.

Each entry's files are written beside and renamed, so a file that is there is whole: an entry
whose files are all there is done, and a second run goes on with the rest. A bad entry is
reported, noted in `errors.jsonl` and passed over.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from soundspot.data.media import picture_of, sound_of
from soundspot.errors import OptionError, SoundspotError
from soundspot.facts import Calibration, ModelFacts
from soundspot.files import one_line, write_beside
from soundspot.judging.ranks import Crew
from soundspot.locating import Locator
from soundspot.result import Result
from soundspot.shards.folder import shared
from soundspot.types import Sample

SETTINGS = "run.settings"
"""A name that no entry's file can have: those end in one of the suffixes of `OUTPUTS`."""
ERRORS = "errors.jsonl"


def _save_json(result: Result, path: Path) -> None:
    with write_beside(path) as beside:
        beside.write_text(json.dumps(result.json(), indent=2) + "\n")


OUTPUTS: dict[str, tuple[str, Callable[[Result, Path], None]]] = {
    "overlay": (".png", Result.save),
    "json": (".json", _save_json),
    "map": (".npy", Result.save_map),
}
"""What can be saved of an entry: suffix and writer."""


@dataclass(frozen=True)
class Tally:
    """How a run over a manifest went."""

    located: int
    already_done: int
    failed: int


def locate_all(
    locator: Locator,
    samples: Sequence[Sample],
    out_dir: Path,
    save: Sequence[str] = ("overlay", "json"),
    *,
    batch: int = 8,
    crew: Crew | None = None,
) -> Tally:
    """Locate each sample and save what is asked for under its id in `out_dir`.

    Args:
        locator: the model and method.
        samples: what to locate.
        out_dir: made where missing; may hold an earlier, unfinished run with the same settings.
        save: any of "overlay", "json", "map".
        batch: pairs in one forward pass.
        crew: the processes that share the samples; all must call this.

    Raises:
        OptionError: unknown output, or `out_dir` holds results made with other settings.
    """
    unknown = [name for name in save if name not in OUTPUTS]
    if unknown or not save:
        what = f"unknown output {', '.join(unknown)}" if unknown else "no output is named"
        raise OptionError(f"{what}; there are {', '.join(OUTPUTS)} and, alone or with map, lines")
    _refuse_inputs(samples, out_dir, save)
    named = {"model": locator.facts.name, "weights": fingerprint(locator.model)}
    with shared(out_dir):
        claim(out_dir, {**named, "method": repr(locator.method), **overridden(locator)})
        return _locate_share(locator, samples, out_dir, save, batch, crew or Crew())


def _locate_share(
    locator: Locator,
    samples: Sequence[Sample],
    out_dir: Path,
    save: Sequence[str],
    batch: int,
    crew: Crew,
) -> Tally:
    """What falls to this process; the tally of all."""
    samples = samples[crew.rank :: crew.size]
    todo = [s for s in samples if not all(path.exists() for _, path in _files(s, out_dir, save))]
    failures: list[dict[str, str]] = []
    with tqdm(total=len(samples), initial=len(samples) - len(todo), unit="pair") as bar:

        def fail(sample: Sample, error: SoundspotError) -> None:
            failures.append({"id": sample.id, "error": str(error)})
            bar.write(f"{sample.id}: {error}", file=sys.stderr)
            bar.update()

        for group in _batches(_read(todo, locator.facts, fail), batch):
            readable, pictures, sounds = zip(*group, strict=True)
            for sample, result in zip(readable, locator.locate(pictures, sounds), strict=True):
                try:
                    for name, path in _files(sample, out_dir, save):
                        OUTPUTS[name][1](result, path)
                except SoundspotError as error:
                    fail(sample, error)
                else:
                    bar.update()
    every = crew.gather((len(todo), len(samples) - len(todo), failures))
    failed = [failure for _, _, some in every for failure in some]
    if crew.leads:
        with write_beside(out_dir / ERRORS) as beside:
            beside.write_text("".join(json.dumps(failure) + "\n" for failure in failed))
    tried, done = (sum(numbers) for numbers in ([e[0] for e in every], [e[1] for e in every]))
    return Tally(tried - len(failed), done, len(failed))


Loaded = tuple[Sample, NDArray[np.uint8], NDArray[np.float32]]


def _read(
    samples: Iterable[Sample], facts: ModelFacts, fail: Callable[[Sample, SoundspotError], None]
) -> Iterator[Loaded]:
    """Read media one sample at a time; what cannot be read goes to `fail`.

    Of a video as much sound is read around the frame as the model hears.
    """
    for sample in samples:
        try:
            picture = picture_of(sample)
            loaded = (sample, picture, sound_of(sample, facts.sample_rate, facts.seconds))
        except SoundspotError as error:
            fail(sample, error)
        else:
            yield loaded


def _batches(items: Iterator[Loaded], size: int) -> Iterator[list[Loaded]]:
    while group := list(islice(items, size)):
        yield group


def _files(sample: Sample, out_dir: Path, save: Sequence[str]) -> list[tuple[str, Path]]:
    return [(name, out_dir / f"{sample.id}{OUTPUTS[name][0]}") for name in save]


def fingerprint(model: object) -> str:
    """A digest of a module's weights, so that two files of one name are told apart.

    Of a model that somebody else wrote the source counts too.
    """
    digest = hashlib.sha256()
    if isinstance(model, torch.nn.Module):
        for name, tensor in sorted(model.state_dict().items()):
            digest.update(name.encode())
            values = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(values.view(torch.uint8).numpy().tobytes())  # numpy has no bfloat16
    digest.update(_source(model))
    return digest.hexdigest()[:16]


def _source(model: object) -> bytes:
    """The text of the module that a model comes from; nothing where it is ours or unknown."""
    home = getattr(model, "__module__", None) or type(model).__module__
    if home.split(".")[0] == "soundspot" or home not in sys.modules:
        return b""
    try:
        return inspect.getsource(sys.modules[home]).encode("utf-8", "surrogateescape")
    except (OSError, TypeError):
        return b""


def overridden(locator: Locator) -> dict[str, float]:
    """The thresholds that are not the model's own."""
    own = locator.facts.calibration or Calibration()
    given = {"threshold": locator.threshold, "visible": locator.visible}
    usual = {"threshold": own.thresholds.get(repr(locator.method)), "visible": own.visible}
    return {k: v for k, v in given.items() if v is not None and v != usual[k]}


def _refuse_inputs(samples: Sequence[Sample], out_dir: Path, save: Sequence[str]) -> None:
    """Refuse a folder where a result would take the place of a picture or sound that is read."""
    read = {path.resolve() for sample in samples for path in (sample.image, sample.sound)}
    for sample in samples:
        for _, path in _files(sample, out_dir, save):
            if path.resolve() in read:
                raise OptionError(f"{path}: is read from; choose another --out-dir")


def claim(out_dir: Path, settings: Mapping[str, str | float]) -> None:
    """Note the settings in the folder; refuse one that holds results of other settings."""
    note = out_dir / SETTINGS
    if note.exists():
        try:
            found = json.loads(note.read_text())
        except ValueError:
            found = None
        if found != settings:
            raise OptionError(
                f"{out_dir}: holds results made with {_difference(found, settings)}; give the same "
                "or choose another --out-dir"
            )
        return
    with write_beside(note) as beside:
        beside.write_text(json.dumps(settings) + "\n")


def _difference(found: object, settings: Mapping[str, str | float]) -> str:
    """What a folder's settings say where they are not ours: "batch 8, not 5"."""
    if not isinstance(found, dict):
        return "settings that cannot be read"
    names = sorted(found.keys() | settings.keys())
    differ = [name for name in names if found.get(name) != settings.get(name)]
    return ", ".join(
        f"{name} {_word(found.get(name))}, not {_word(settings.get(name))}" for name in differ
    )


def _word(value: object) -> str:
    return "none" if value is None else one_line(value)
