"""What a training run can be told; light to import, since the command line lists it.

`TrainOptions` decides what is learned: a run is known by them, and goes on only with the same.
`Handling` decides how: it may change from one start of a run to the next.
"""

from __future__ import annotations

import math
from dataclasses import Field, dataclass, field
from typing import Any

from soundspot.errors import OptionError


def _option(default: Any, says: str) -> Any:
    return field(default=default, metadata={"help": says})


@dataclass(frozen=True)
class TrainOptions:
    """What is learned; each field's meaning is its `help`."""

    steps: int = _option(320, "steps in all")
    scenes: int = _option(32, "scenes in a batch, over all ranks")
    side: int = _option(224, "side of a scene in pixels")
    rate: float = _option(1e-3, "learning rate of the projections")
    tower_rate: float = _option(1e-4, "learning rate of the picture tower")
    decay: float = _option(1e-4, "weight decay")
    warm_up: int = _option(100, "steps in which the rates rise, at most half of all")
    ema: float = _option(0.99, "of the averaged weights, kept at each step")
    still: int = _option(8, "first blocks of the picture tower that keep their weights")
    mosaics: float = _option(0.22, "share of scenes that show several pictures")
    hear_all: bool = _option(False, "hear every sound of shards first; steps read pictures alone")
    gate: int = _option(32, "recordings, and noises or silences, to tell apart in a batch")
    objective: str = _option("", "what it learns by; empty: the model's own")
    bf16: bool = _option(False, "compute towers in bfloat16")
    blocks: int = _option(0, "parts a batch is made in, a multiple of the ranks; 0: one a rank")
    seed: int = _option(0, "of everything random")
    save_every: int = _option(80, "steps between checkpoints")

    @property
    def parts(self) -> int:
        """Blocks of a batch, at least one."""
        return self.blocks or 1

    def __post_init__(self) -> None:
        """Check the ranges."""
        if min(self.steps, self.save_every) < 1 or self.side < 64 or self.side % 32:
            raise OptionError(
                "train: steps and save-every are at least 1; side is a multiple of 32 from 64"
            )
        if self.scenes < 2:
            raise OptionError("train: scenes is at least 2; one is learned from beside another")
        if min(self.seed, self.warm_up, self.blocks) < 0:
            raise OptionError("train: seed, warm-up and blocks are 0 or more")
        if self.still < 0 or self.gate < 1:
            raise OptionError("train: still is 0 or more, gate at least 1")
        if self.blocks > min(self.scenes, self.gate):
            raise OptionError(
                f"train: {self.blocks} blocks share {self.scenes} scenes and {self.gate} gate "
                "rows; give as many or fewer blocks"
            )
        if not 0 <= self.mosaics <= 1:
            raise OptionError("train: mosaics is a share, 0 to 1")
        if not 0 <= self.ema < 1:
            raise OptionError("train: ema is 0 or more and below 1")
        rates = (self.rate, self.tower_rate, self.decay)
        if not (all(0 <= rate < math.inf for rate in rates) and self.rate):
            raise OptionError("train: rate is above 0; tower-rate and decay are 0 or more; finite")


@dataclass(frozen=True)
class Handling:
    """How a run is carried out; each field's meaning is its `help`."""

    keep: int = _option(2, "checkpoints that are kept, the newest ones")
    workers: int = _option(0, "processes that make batches; 0: threads of this one")
    chunk: int = _option(0, "scenes embedded at once on a rank (gradient caching); 0: all")
    compile: bool = _option(False, "compile the towers (torch.compile)")
    checkpoint: bool = _option(False, "compute the picture tower's blocks twice to save memory")
    strict: bool = _option(False, "stop at the first file that cannot be read")
    tensorboard: bool = _option(False, "write TensorBoard's files (soundspot[tensorboard])")
    validate: str = _option("", "a manifest to judge the model on now and then")
    validate_every: int = _option(0, "steps between judgements; 0: as save-every")
    validate_most: int = _option(200, "samples of the manifest that are judged, its first")
    patience: int = _option(0, "judgements without a better one after which to stop; 0: never")

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.keep < 1 or self.validate_most < 1:
            raise OptionError("train: keep and validate-most are at least 1")
        if min(self.workers, self.chunk, self.validate_every, self.patience) < 0:
            raise OptionError("train: workers, chunk, validate-every, patience are 0 or more")
        if self.patience and not self.validate:
            raise OptionError("train: patience needs --validate MANIFEST to be judged by")


def help_of(option: Field[Any]) -> str:
    """What an option means."""
    says: str = option.metadata["help"]
    return says


RECIPES: dict[str, TrainOptions] = {
    "two_tower": TrainOptions(),
    "attention": TrainOptions(steps=240, mosaics=0.3),
    "clusters": TrainOptions(steps=240, mosaics=0.3),
    "fusion": TrainOptions(),
    "pixel_sound": TrainOptions(steps=240),
}
"""The options that each model is trained with unless told otherwise."""
