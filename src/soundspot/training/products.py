"""What comes out of a run: models as they will be used, and what they were made with."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundspot.checkpoint import save
from soundspot.files import write_beside
from soundspot.training.provenance import provenance

if TYPE_CHECKING:
    from soundspot.batches import Batches
    from soundspot.models import SimilarityModel
    from soundspot.recipes import RunConfig
    from soundspot.training.learning import Learner

MODEL, BEST, CONFIG, DIVERGED = (
    "model.safetensors",
    "best.safetensors",
    "run.yaml",
    "diverged.json",
)


@dataclass(frozen=True)
class Products:
    """The files of a run beside its log and checkpoints.

    Args:
        out: folder of the run.
        learner: what learned.
        batches: what it learned from; some objectives read a model out by looking at more of it.
    """

    out: Path
    learner: Learner
    batches: Batches

    def read_out(self) -> SimilarityModel:
        """A copy of the averaged model, as it will be used."""
        model = copy.deepcopy(self.learner.averaged).eval()
        self.learner.objective.finish(model, self.batches)
        return model

    def save(self, model: SimilarityModel, name: str, **notes: Any) -> None:
        """Save a model with what it was made with."""
        trained = asdict(self.learner.options)
        save(model, self.out / name, trained=trained, made_with=provenance(), **notes)


def write_config(out: Path, config: RunConfig) -> None:
    """Write what `--config` needs to make the same run, and what this one is made with."""
    made = "".join(f"# {name} {version}\n" for name, version in provenance().items())
    with write_beside(out / CONFIG) as beside:
        beside.write_text(f"# soundspot train --config {CONFIG}\n{made}{config.text()}")


def write_diverged(out: Path, step: int, loss: float, files: Iterable[str]) -> None:
    """Write which files were in the step whose loss is not finite."""
    found = {"step": step, "loss": str(loss), "files": list(files)}
    with write_beside(out / DIVERGED) as beside:
        beside.write_text(json.dumps(found, indent=2))
