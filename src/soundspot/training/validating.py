"""Judging the averaged model now and then on pairs with boxes, and knowing when to stop.

The model is judged by the same referee as everybody else (`soundspot.benchmark`), by its own map,
beside maps that look at nothing and beside itself with wrong sounds: a score below the blind ones
shows at once. Of all scores one decides which model is the best, the share of pictures at IoU 0.5
with as many pixels as the truth. No weight ever depends on these boxes; which weights are kept, and
when training stops, does, so report results on other pairs than these.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from soundspot.benchmark import Settings, judge_all
from soundspot.data.manifest import read_manifest
from soundspot.errors import SoundspotError, TrainingError
from soundspot.judging.ranks import Crew
from soundspot.locating import locate
from soundspot.report import HEADLINE, Report, wrong_sound_name
from soundspot.training.journal import warn

if TYPE_CHECKING:
    from soundspot.media.image import Picture
    from soundspot.models import SimilarityModel
    from soundspot.options import Handling
    from soundspot.ranks import Ranks
    from soundspot.types import Sample

METHOD = "similarity_map"
SHOWN = 4
"""Maps that are drawn."""
POINTING = "pointing"


@dataclass
class Best:
    """The best judgement so far.

    Args:
        score: of it; -1 before the first.
        step: of it.
        since: judgements after it.
    """

    score: float = -1.0
    step: int = 0
    since: int = 0


class Verdict(NamedTuple):
    """What a judgement found; `scores` is empty on ranks that do not lead."""

    scores: dict[str, float]
    better: bool
    enough: bool


@dataclass
class Validation:
    """Judges a model on a manifest.

    Args:
        handling: of the run: which manifest, how often, how patient.
        ranks: who share the pairs.
        best: so far.
    """

    handling: Handling
    ranks: Ranks
    best: Best = field(default_factory=Best)

    def __post_init__(self) -> None:
        """Read the manifest before anything else is done."""
        told = self.handling
        self.samples: list[Sample] = []
        self.judged_on = ""
        if told.validate:
            some = itertools.islice(read_manifest(told.validate), told.validate_most)
            self.samples = list(some)
            self.judged_on = _digest(told.validate, told.validate_most)
            if not any(sample.boxes or sample.mask for sample in self.samples):
                raise TrainingError(
                    f"{told.validate}: no boxes among its first {told.validate_most} pairs; give a "
                    "manifest of pairs with boxes, or leave --validate out"
                )

    def due(self, step: int, save_every: int) -> bool:
        """Whether to judge after a step."""
        every = self.handling.validate_every or save_every
        return bool(self.samples) and step % every == 0

    def judge(self, model: SimilarityModel, step: int) -> Verdict:
        """Judge a model and compare it with the best; every rank must call it."""
        crew = Crew(self.ranks.number, self.ranks.count)
        settings = Settings(device=str(next(model.parameters()).device))
        report = judge_all(
            self.samples, {model.facts.name: model}, [METHOD], settings=settings, crew=crew
        )
        scores = {} if report is None else _scores(report)
        better = self.ranks.of_first(bool(scores) and scores["score"] > self.best.score)
        if better:
            self.best = Best(self.ranks.of_first(scores.get("score", 0.0)), step)
        else:
            self.best.since += 1
        enough = bool(self.handling.patience) and self.best.since >= self.handling.patience
        return Verdict(scores, better, enough)

    def maps(self, model: SimilarityModel) -> dict[str, Picture]:
        """The first pictures with what the model points at; those that cannot be read are left."""
        drawn = {}
        for sample in self.samples[:SHOWN]:
            try:
                result = locate(model, sample.image, sample.sound, METHOD)
            except SoundspotError:
                continue
            drawn[sample.id] = result.overlay()
        return drawn

    def state(self) -> dict[str, Any]:
        """What a later judgement depends on."""
        return {**asdict(self.best), "judged_on": self.judged_on}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Undo `state`; the best score on other pairs is forgotten, and that is said."""
        known = dict(state)
        before = known.pop("judged_on", self.judged_on)
        if not self.samples:
            self.judged_on = before
        if before in ("", self.judged_on):
            self.best = Best(**known)
        elif self.ranks.leads:
            warn(
                f"{self.handling.validate}: the run was judged on other pairs before, the best at "
                f"step {known['step']}; the best is now looked for from the beginning"
            )


def _digest(manifest: str, most: int) -> str:
    """Tells the first pairs of a manifest from others, by their lines."""
    with Path(manifest).open("rb") as file:
        lines = itertools.islice((line for line in file if line.strip()), most)
        return hashlib.sha256(b"\n".join(map(bytes.strip, lines))).hexdigest()


def _scores(report: Report) -> dict[str, float]:
    """The numbers of a judgement that a log shows; NaN ones are left out."""
    own = report.row(METHOD).scores
    blind = [row.scores[HEADLINE] for row in report.rows if row.kind == "blind"]
    names = [row.name for row in report.rows]
    wrong = wrong_sound_name(METHOD)
    found = {
        "score": own[HEADLINE],
        "pointing": own[POINTING],
        "best_blind": max((score for score in blind if not math.isnan(score)), default=math.nan),
        "wrong_sound": report.row(wrong).scores[HEADLINE] if wrong in names else math.nan,
    }
    return {name: round(score, 4) for name, score in found.items() if not math.isnan(score)}
