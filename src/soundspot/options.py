"""What a training run can be told; light to import, since the command line lists it.

`TrainOptions` decides what is learned: a run is known by them, and goes on only with the same.
`Handling` decides how: it may change from one start of a run to the next.
"""

from __future__ import annotations

import math
from dataclasses import Field, dataclass, field, fields
from typing import Any

from soundspot.errors import OptionError

BOUNDS = ("least", "most")


def _option(default: Any, says: str, *, least: float | None = None, most: float = math.inf) -> Any:
    """A field with its meaning and, of a number, the finite ones that it may be."""
    return field(default=default, metadata={"help": says, "least": least, "most": most})


def _require_ranges(options: Any) -> None:
    """Check every field that has a range.

    Raises:
        OptionError: naming the option, its range and what was given.
    """
    for option in fields(options):
        value, least, most = getattr(options, option.name), *map(option.metadata.get, BOUNDS)
        if least is None or (math.isfinite(value) and least <= value <= most):
            continue
        name = option.name.replace("_", "-")
        finite = " and finite" if isinstance(value, float) else ""
        wanted = f"at least {least}{finite}" if most == math.inf else f"{least} to {most}"
        raise OptionError(f"train: {name} is {wanted}, not {value}")


BLOCKS = 16
"""Of the picture tower."""
LARGEST_SEED = 2**32 - 1
SIDES = 32
"""Pixels: what the picture tower divides a side by."""


@dataclass(frozen=True)
class TrainOptions:
    """What is learned; each field's meaning is its `help`."""

    steps: int = _option(320, "steps in all", least=1)
    scenes: int = _option(32, "scenes in a batch, over all ranks", least=2)
    side: int = _option(224, "side of a scene in pixels", least=64)
    rate: float = _option(1e-3, "learning rate of the projections", least=0)
    tower_rate: float = _option(1e-4, "learning rate of the picture tower", least=0)
    decay: float = _option(1e-4, "weight decay", least=0)
    warm_up: int = _option(100, "steps in which the rates rise, at most half of all", least=0)
    ema: float = _option(0.99, "of the averaged weights, kept at each step", least=0)
    still: int = _option(
        8,
        "first of the 16 blocks of the picture tower that keep their weights",
        least=0,
        most=BLOCKS,
    )
    mosaics: float = _option(0.22, "share of scenes that show several pictures", least=0, most=1)
    hear_all: bool = _option(False, "hear every sound of shards first; steps read pictures alone")
    gate: int = _option(32, "recordings, and noises or silences, to tell apart in a batch", least=1)
    objective: str = _option("", "what it learns by; empty: the model's own")
    bf16: bool = _option(False, "compute towers in bfloat16")
    blocks: int = _option(
        0, "parts a batch is made in, a multiple of the ranks; 0: one a rank", least=0
    )
    seed: int = _option(0, "of everything random", least=0, most=LARGEST_SEED)
    save_every: int = _option(80, "steps between checkpoints", least=1)

    @property
    def parts(self) -> int:
        """Blocks of a batch, at least one."""
        return self.blocks or 1

    def __post_init__(self) -> None:
        """Check the ranges."""
        _require_ranges(self)
        if self.side % SIDES:
            raise OptionError(f"train: side is a multiple of {SIDES}, not {self.side}")
        if not self.rate:
            raise OptionError("train: rate is above 0, not 0")
        if not self.ema < 1:
            raise OptionError(f"train: ema is below 1, not {self.ema}; of 1 nothing is learned")
        if self.blocks > min(self.scenes, self.gate):
            raise OptionError(
                f"train: blocks={self.blocks} share {self.scenes} scenes and {self.gate} gate "
                "rows; give as many blocks or fewer"
            )


@dataclass(frozen=True)
class Handling:
    """How a run is carried out; each field's meaning is its `help`."""

    keep: int = _option(2, "checkpoints that are kept, the newest ones", least=1)
    workers: int = _option(0, "processes that make batches; 0: threads of this one", least=0)
    chunk: int = _option(0, "scenes embedded at once on a rank (gradient caching); 0: all", least=0)
    compile: bool = _option(False, "compile the towers (torch.compile)")
    checkpoint: bool = _option(False, "compute the picture tower's blocks twice to save memory")
    strict: bool = _option(False, "stop at the first file that cannot be read")
    tensorboard: bool = _option(False, "write TensorBoard's files (soundspot[tensorboard])")
    validate: str = _option("", "a manifest to judge the model on now and then")
    validate_every: int = _option(0, "steps between judgements; 0: as save-every", least=0)
    validate_most: int = _option(200, "samples of the manifest that are judged, its first", least=1)
    patience: int = _option(
        0, "judgements without a better one after which to stop; 0: never", least=0
    )

    def __post_init__(self) -> None:
        """Check the ranges."""
        _require_ranges(self)
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
