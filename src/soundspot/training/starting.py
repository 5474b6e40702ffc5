"""Before the first step: the model that is started from, and the data behind a path.

A model is named as methods are: `two_tower`, or `two_tower(pool=peak, softness=5)` with options of
its `Config`. The picture tower starts from ImageNet weights (learned WITH labels; its first blocks
stay as they are), the sound tower from distilled ones and stands still, all else from nothing.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from soundspot.checkpoint import load, read_checkpoint
from soundspot.data.pairs import Pairs, read_pairs
from soundspot.errors import OptionError, TrainingError
from soundspot.facts import ModelFacts
from soundspot.files import make_folder
from soundspot.models import MODELS, SimilarityModel
from soundspot.pair_batches import PairBatches
from soundspot.shard_batches import ShardBatches, read_clips
from soundspot.shards import Shards, is_shards
from soundspot.sound_bank import Broken, SoundBank, open_bank, read_waves
from soundspot.towers.efficientnet_lite import load_imagenet

if TYPE_CHECKING:
    from soundspot.batches import Batches
    from soundspot.options import TrainOptions
    from soundspot.ranks import Ranks
    from soundspot.towers.logmel_cnn import LogMelCNN

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


def open_data(path: str | Path) -> Pairs | Shards:
    """The data behind a path, opened and not yet read.

    Args:
        path: a manifest, a folder of sets (`data.pairs`) or of shards.

    Raises:
        TrainingError: nothing to pair.
        DataError: shards that are unfinished or damaged, or a manifest that breaks its format.
    """
    shards = is_shards(path) or any(Path(path).glob("*.tar"))
    return Shards.open(path) if shards else read_pairs(path)


def open_batches(
    data: Pairs | Shards,
    tower: LogMelCNN,
    options: TrainOptions,
    kept: Path,
    ranks: Ranks,
    *,
    waves: bool,
    strict: bool,
) -> tuple[Batches, str]:
    """What makes the batches of data, and a digest that tells data and tower from others.

    Args:
        data: from `open_data`.
        tower: what hears the sounds.
        options: of the run.
        kept: folder where heard sounds are kept.
        ranks: who shares the batches; the first alone reads and writes `kept`.
        waves: bring waveforms, for objectives that hear for themselves.
        strict: what cannot be read stops the run.

    Raises:
        TrainingError: the sounds of another run in `kept`.
        MediaError: something cannot be read, where that is strictly forbidden.
    """
    if isinstance(data, Shards):
        origin = origin_of(tower, (entry.sha256 for entry in data.catalogue.shards))
        bank, _ = _bank(tower, kept, origin, ranks, lambda b: read_clips(data, b, strict=strict))
        return ShardBatches(data, bank, options, waves=waves, strict=strict), origin
    origin = origin_of(tower, map(str, _files_of(data)))
    bank, broken = _bank(
        tower, kept, origin, ranks, lambda b: read_waves(data.all_sounds, b, strict=strict)
    )
    readable = data.without(broken) if broken else data
    return PairBatches(readable, bank, options, waves=waves, strict=strict, broken=broken), origin


def origin_of(tower: nn.Module, names: Iterable[str]) -> str:
    """A digest of the sound tower and of the data's names, to tell runs apart."""
    digest = hashlib.sha256()
    for weight in tower.state_dict().values():
        digest.update((weight.cpu() + 0).numpy().tobytes())  # -0 and 0 are the same weight
    for name in names:
        digest.update(name.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _files_of(pairs: Pairs) -> Iterable[Path]:
    yield from pairs.all_sounds
    for pictures in pairs.pictures:
        yield from pictures


def _bank(
    tower: LogMelCNN, kept: Path, origin: str, ranks: Ranks, waves: Any
) -> tuple[SoundBank, Broken]:
    """The sounds, heard by the first rank and told to the others."""

    def hear() -> tuple[SoundBank, Broken]:
        make_folder(kept)
        bank, broken = open_bank(tower, kept, origin, waves)
        if len(bank.whole) < 2:
            raise TrainingError("one sound alone cannot be told from another; give two or more")
        return bank, broken

    found = ranks.first_does(hear)
    bank, broken = found if found else (None, {})
    own = {f.name: getattr(bank, f.name) for f in fields(SoundBank)} if bank else {}
    return SoundBank(**ranks.tensors_of_first(own)), ranks.of_first(broken)
