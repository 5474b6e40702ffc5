"""Before the first step: the model that is started from, and the data behind a path.

A model is named as methods are: `two_tower`, or `two_tower(pool=peak, softness=5)` with options of
its `Config`. The picture tower starts from ImageNet weights (learned WITH labels; its first blocks
stay as they are), the sound tower from distilled ones and stands still, all else from nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from soundspot.checkpoint import load, read_checkpoint
from soundspot.clip_batches import ClipBatches, clips_of
from soundspot.data.pairs import Pairs, read_pairs
from soundspot.errors import OptionError, TrainingError
from soundspot.facts import ModelFacts
from soundspot.files import one_line
from soundspot.heard_batches import HeardBatches, sounds_in
from soundspot.models import MODELS, SimilarityModel
from soundspot.pair_batches import PairBatches
from soundspot.shards import Shards, is_shards
from soundspot.shards.several import expand, open_shards
from soundspot.sound_bank import sounds_of
from soundspot.towers.efficientnet_lite import load_imagenet
from soundspot.training.hearing import ALONE, LEAST

if TYPE_CHECKING:
    from soundspot.batches import Batches
    from soundspot.options import TrainOptions
    from soundspot.sound_bank import Sounds
    from soundspot.training.hearing import Hearing

METHOD = "combined(similarity_map, guided_backprop)"
"""The finished model's own choice."""


@dataclass(frozen=True)
class ModelName:
    """A model and the options of its `Config` that differ from their defaults."""

    kind: str
    config: dict[str, Any]

    @classmethod
    def read(cls, text: str) -> ModelName:
        """Read `two_tower` or `two_tower(pool=peak, softness=5)`.

        Raises:
            OptionError: no such model or option, or a value outside its range.
        """
        try:
            tree = ast.parse(text.strip(), mode="eval").body
            called = tree.func if isinstance(tree, ast.Call) else tree
            given = tree.keywords if isinstance(tree, ast.Call) else []
            kind = called.id if isinstance(called, ast.Name) else ""
            config = {str(k.arg): _value(k.value) for k in given}
            wrong = isinstance(tree, ast.Call) and bool(tree.args)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            kind, config, wrong = "", {}, True
        if wrong or kind not in MODELS:
            raise OptionError(
                f"unknown model {text[:80]!r}; there are {', '.join(MODELS)}, with options as in "
                "two_tower(pool=peak)"
            )
        known = [f.name for f in fields(MODELS[kind].Config)]
        unknown = [name for name in config if name not in known]
        if unknown:
            raise OptionError(
                f"{kind} does not take {unknown[0]!r}; its options are {', '.join(known)}"
            )
        try:
            MODELS[kind].Config(**config)
        except TypeError as error:
            raise OptionError(f"{text[:80]}: a value is of the wrong kind ({error})") from None
        return cls(kind, config)

    def __str__(self) -> str:
        """The string that reads as the same, its options in order."""
        given = ", ".join(f"{name}={value!r}" for name, value in sorted(self.config.items()))
        return f"{self.kind}({given})" if given else self.kind


def _value(node: ast.expr) -> Any:
    """A literal; a bare word is a string."""
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)


def start_model(
    name: ModelName, sound_tower: str | Path, options: TrainOptions, device: torch.device
) -> SimilarityModel:
    """A model at the start: ImageNet picture tower, distilled sound tower, the rest fresh.

    Args:
        name: which model.
        sound_tower: what `soundspot distill` wrote, or "default" for the default model's.
        options: of the run.
        device: where to.

    Raises:
        CheckpointError: the sound tower cannot be read.
        TrainingError: the ImageNet weights are missing.
    """
    torch.manual_seed(options.seed)
    facts = ModelFacts(name=name.kind, size=options.side, method=METHOD)
    model = MODELS[name.kind].from_config(name.config, facts)
    load_imagenet(model.image_tower)
    if str(sound_tower) == "default":
        weights = load().sound_tower.state_dict()
    else:
        _, weights = read_checkpoint(sound_tower, "tower")
    model.sound_tower.load_state_dict({key: w.float() for key, w in weights.items()})
    blocks = model.image_tower.blocks
    still = (model.image_tower.stem, *blocks[: options.still], *(b.depthwise for b in blocks))
    for part in (model.sound_tower, *still):
        part.requires_grad_(False)
    return model.to(device)


def open_data(paths: Sequence[str]) -> Pairs | Shards:
    """The data behind paths, opened and not yet read.

    Args:
        paths: a manifest, a folder of sets (`data.pairs`), or one or more folders of shards, also
            as patterns.

    Raises:
        TrainingError: nothing to pair.
        OptionError: several, and not all of them shards.
        DataError: shards that are unfinished or damaged, or a manifest that breaks its format.
    """
    paths = expand(paths)
    if all(map(_holds_shards, paths)):
        shards = open_shards(paths)
        if len(shards) < LEAST:
            raise TrainingError(f"{one_line(paths[0])}: {ALONE}")
        return shards
    if len(paths) > 1:
        other = next(path for path in paths if not _holds_shards(path))
        raise OptionError(
            f"train: {one_line(other)} holds no shards, and only shards are mixed; give one source "
            "alone, or pack each (`soundspot data pack`)"
        )
    return read_pairs(paths[0])


def _holds_shards(path: str) -> bool:
    return is_shards(path) or any(Path(path).glob("*.tar"))


def notes_on(data: Pairs | Shards, options: TrainOptions) -> list[str]:
    """What a run's owner should know of its data beforehand."""
    if options.hear_all and isinstance(data, Shards) and data.catalogue.version < 2:
        return [
            "shards of version 1 are read whole, sounds too; pack again into another folder to "
            "read pictures alone"
        ]
    return []


def open_batches(
    data: Pairs | Shards,
    hearing: Callable[[Sounds], Hearing],
    options: TrainOptions,
    *,
    waves: bool,
    strict: bool,
) -> Batches:
    """What makes the batches of data; every sound that must be heard before is heard.

    Args:
        data: from `open_data`.
        hearing: how sounds are heard before the first step.
        options: of the run.
        waves: bring waveforms, for objectives that hear for themselves.
        strict: what cannot be read stops the run.

    Raises:
        TrainingError: the sounds of another run where they are kept.
        OptionError: all sounds are to be heard before, for an objective that learns from waveforms.
        MediaError: something cannot be read, where that is strictly forbidden.
    """
    if options.hear_all and waves and isinstance(data, Shards):
        raise OptionError(
            "train: this objective learns from waveforms, which --hear-all leaves unread; give "
            "--no-hear-all"
        )
    bank, broken = hearing(_sounds_before(data, options)).bank()
    if len(bank.whole) < LEAST:
        raise TrainingError(ALONE)
    if isinstance(data, Shards) and options.hear_all:
        return HeardBatches(data, bank, options, broken, strict=strict)
    if isinstance(data, Shards):
        return ClipBatches(data, bank, options, waves=waves, strict=strict)
    readable = data.without(broken) if broken else data
    return PairBatches(readable, bank, options, waves=waves, strict=strict, broken=broken)


def _sounds_before(data: Pairs | Shards, options: TrainOptions) -> Sounds:
    """What is heard before the first step."""
    if not isinstance(data, Shards):
        return sounds_of([*map(data.name_of, data.all_sounds)], data.all_sounds)
    return sounds_in(data) if options.hear_all else clips_of(data)
