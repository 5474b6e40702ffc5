"""The referee: models and methods on samples, beside maps that look at nothing and hear wrong.

    data -> plan -> blocks of samples -> maps -> parts of scores -> findings -> report

A number means little alone. Beside each method stand

- **blind rows** (`soundspot.judging.blind`): the centred disc, the whole image, smooth noise;
- **picture only**: what the model's picture tower finds salient, whatever is heard. What a method
  adds to it is what it owes to the sound;
- **wrong sound**: each method again, with the sound of another sample. A method whose score does
  not fall here does not listen.

Positives (pictures in which boxes say what sounds) and mixtures (several sources) judge the maps;
negatives (silence, noise, a sound from off screen) judge the confidence, and the maps too where a
protocol asks what is highlighted on them. A sample whose files cannot be read is named and counted
and never replaced by another.

Maps are judged block by block and dropped; a few numbers a sample and row are kept, and written to
a ledger where one is asked for, from which a run that was cut short goes on. Under torchrun each
process takes its turn at the blocks. Blocks hold the same samples every time, so all ways give the
same digits.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from soundspot import __version__
from soundspot.batch import fingerprint
from soundspot.checks import is_whole
from soundspot.data.manifest import read_manifest
from soundspot.errors import OptionError
from soundspot.facts import facts_of
from soundspot.judging.asking import Asker, BlindAsker, FolderAsker, ModelAsker
from soundspot.judging.exhibits import exhibits_of
from soundspot.judging.ledger import Ledger
from soundspot.judging.map_folder import MapFolder
from soundspot.judging.plan import Plan
from soundspot.judging.ranks import Crew
from soundspot.judging.referee import Referee
from soundspot.judging.summary import report_of
from soundspot.localize import Method
from soundspot.protocols import PROTOCOLS, make
from soundspot.report import OWN, Report
from soundspot.similarity import Similarity
from soundspot.types import Sample

SPOOL_SUFFIX = ".maps"
"""Of the folder beside a ledger where protocols keep maps that they look at twice."""

__all__ = ["FolderOfMaps", "Report", "Settings", "evaluate", "judge_all"]


class FolderOfMaps(NamedTuple):
    """Another program's maps, and its maps with wrong sounds where there are any."""

    maps: str | Path
    wrong: str | Path | None = None


@dataclass(frozen=True)
class Settings:
    """How to judge.

    Args:
        protocols: names, as `soundspot protocols` lists them.
        device: "auto" or a torch device name.
        batch: pairs in one forward pass.
        seed: of the random map, the wrong sounds and the bootstrap.
        progress: show a bar on standard error.
        heard: groups that the models met in training; None takes them from the models' facts.
        ledger: a file to write a line per sample and row to, and to go on from; None: nowhere.
        exhibits: so many best and worst samples of each method are drawn for the page.
    """

    protocols: Sequence[str] = (OWN,)
    device: str = "auto"
    batch: int = 8
    seed: int = 0
    progress: bool = False
    heard: Collection[str] | None = None
    ledger: str | Path | None = None
    exhibits: int = 0

    def __post_init__(self) -> None:
        """Check what can be checked before anything is read."""
        if not (is_whole(self.batch) and self.batch >= 1):
            raise OptionError(f"batch is {self.batch!r}; it must be at least 1")
        twice = [name for name, n in Counter(self.protocols).items() if n > 1]
        if twice:
            raise OptionError(f"the protocol {twice[0]} is given twice")
        if not self.protocols:
            raise OptionError(f"no protocol is given; there are {', '.join(PROTOCOLS)}")


def evaluate(
    model: Similarity,
    samples: str | os.PathLike[str] | Iterable[Sample],
    methods: str | Method | Sequence[str | Method],
    *,
    protocols: str | Sequence[str] = (OWN,),
    device: str = "auto",
    batch: int = 8,
    seed: int = 0,
    progress: bool = False,
    heard: Collection[str] | None = None,
    ledger: str | Path | None = None,
) -> Report:
    """Judge a model's methods on samples.

    Args:
        model: any similarity model.
        samples: the path of a manifest, or samples; they are gone through once, and their media
            are read as they are needed.
        methods: each becomes a row, with a wrong-sound control.
        protocols: names, as `soundspot protocols` lists them.
        device: "auto" or a torch device name.
        batch: pairs in one forward pass.
        seed: of the random map, the wrong sounds and the bootstrap.
        progress: show a bar on standard error.
        heard: groups that the model met in training; None takes them from the model's facts.
        ledger: a file to write a line per sample and row to, and to go on from; None: nowhere.

    Raises:
        SoundspotError: there are no samples to judge, or none of them could be read.
        ManifestError: the manifest cannot be read, or breaks its format.
        MethodError: a method cannot work on this model.
        ModelError: the model's answer is of the wrong shape, or holds NaN or infinity.
        OptionError: an unknown method, protocol or device, a method given twice, a batch below 1,
            or a ledger of another run.
    """
    if isinstance(samples, str | os.PathLike):
        samples = read_manifest(Path(samples))
    listed = [methods] if isinstance(methods, str | Method) else methods
    rules = [protocols] if isinstance(protocols, str) else protocols
    settings = Settings(tuple(rules), device, batch, seed, progress, heard, ledger)
    report = judge_all(samples, {facts_of(model).name: model}, listed, settings=settings)
    assert report is not None
    return report


def judge_all(
    samples: Iterable[Sample],
    models: Mapping[str, Similarity],
    methods: Sequence[str | Method] | Mapping[str, Sequence[str | Method]] | None = None,
    folders: Sequence[FolderOfMaps] = (),
    *,
    settings: Settings | None = None,
    crew: Crew | None = None,
) -> Report | None:
    """Judge several models, and other programs' maps, on samples.

    Args:
        samples: gone through once; their media are read as they are needed.
        models: by the name that their rows bear, where there are several.
        methods: asked of every model, or of each by its name; None: each model's own.
        folders: other programs' maps; each becomes a row, named as its folder.
        settings: how to judge.
        crew: the processes that share the samples; None: this one alone. Of several, only the
            leading one gets the report.

    Raises:
        SoundspotError: as `evaluate`.
    """
    settings, crew = settings or Settings(), crew or Crew()
    askers = _askers(models, methods, folders, settings)
    with ExitStack() as stack:
        spool = _spool(settings, crew, stack)
        protocols = [make(name, folder=spool) for name in settings.protocols]
        referee = Referee(Plan.of(samples), askers, protocols, settings.seed, crew)
        ledger = _ledger(referee, models, settings)
        referee.judge(ledger, settings.progress)
        if not crew.leads:
            return None
        try:
            report = report_of(referee, settings.heard, settings.seed)
        except FileNotFoundError:
            raise OptionError(
                f"{spool}: maps that belong to the ledger are gone; delete {settings.ledger} "
                "to start anew"
            ) from None
        drawn = exhibits_of(referee, report, settings.exhibits) if settings.exhibits else ()
        return replace(report, exhibits=tuple(drawn))


def _askers(
    models: Mapping[str, Similarity],
    methods: Sequence[str | Method] | Mapping[str, Sequence[str | Method]] | None,
    folders: Sequence[FolderOfMaps],
    settings: Settings,
) -> list[Asker]:
    several = len(models) > 1
    asked: list[Asker] = [
        ModelAsker(
            model,
            methods[name] if isinstance(methods, Mapping) else methods,
            prefix=f"{name}: " if several else "",
            device=settings.device,
            batch=settings.batch,
        )
        for name, model in models.items()
    ]
    for maps, wrong in folders:
        asked.append(
            FolderAsker(MapFolder.open(maps), None if wrong is None else MapFolder.open(wrong))
        )
    asked.append(BlindAsker(settings.seed))
    names = Counter(heading.name for asker in asked for heading in asker.headings)
    for name, count in names.items():
        if count > 1:
            raise OptionError(f"two rows are called {name!r}; rename a folder of maps or a model")
    return asked


def _spool(settings: Settings, crew: Crew, stack: ExitStack) -> Path:
    """A folder that all processes see; it stays where a ledger stays."""
    if settings.ledger is not None:
        return Path(f"{settings.ledger}{SPOOL_SUFFIX}")
    mine = stack.enter_context(TemporaryDirectory(prefix="soundspot-")) if crew.leads else None
    return Path(next(name for name in crew.gather(mine) if name is not None))


def _ledger(
    referee: Referee, models: Mapping[str, Similarity], settings: Settings
) -> Ledger | None:
    """The ledger of this very run: what would change a digit is in its first line."""
    if settings.ledger is None:
        return None
    digest = hashlib.sha256()
    for sample in referee.plan.samples:
        digest.update(repr(sample).encode("utf-8", "surrogateescape"))
    folders = [asker for asker in referee.askers if isinstance(asker, FolderAsker)]
    run: dict[str, Any] = {
        "samples": digest.hexdigest()[:16],
        "soundspot": __version__,
        "models": {name: fingerprint(m) for name, m in models.items()},
        "maps": {name: f.fingerprint() for a in folders for name, f in a.folders.items()},
        "rows": [heading.name for heading in referee.findings.headings],
        "protocols": {protocol.name: protocol.version for protocol in referee.protocols},
        "seed": settings.seed,
        "batch": settings.batch,
        "device": settings.device,
    }
    return Ledger(settings.ledger, run)
