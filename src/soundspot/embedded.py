"""The models that come with soundspot, and checkpoints that stand on one of them.

All that training starts from hears with the default model's sound tower, which stands still. So
a checkpoint may leave that tower out: `"base": {"name", "sha256"}` in its header names the embedded
model that lends it, and the digest of the tensors that are borrowed, no others. The base's own
picture tower and heads may change, and the checkpoint still stands; tensors of its sound tower that
differ are stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundspot.checkpoint_file import read_checkpoint
from soundspot.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

LENT = "sound_tower."
"""How the names of tensors begin that an embedded model lends."""
WEIGHTS = Path(__file__).parent / "weights"
EMBEDDED: dict[str, str] = {
    "default": "Two towers (EfficientNet-Lite0, log-mel CNN), learned from pairs without boxes.",
    "attention": "The sound chooses where to look (Senocak 2018).",
    "clusters": "Deep multimodal clustering: soft K-means of both modalities (Hu 2019).",
    "fusion": "Early fusion and a class activation map (Owens & Efros 2018).",
    "pixel_sound": "How much of the sound each pixel makes (Zhao 2018); separates sounds.",
}
"""Models that come with the package, and one sentence on each."""
NOTES: dict[str, Any] = {
    "license": "apache-2.0",
    "labels": "The picture tower starts from ImageNet classification weights, and the sound tower "
    "imitates YAMNet, which was trained with AudioSet labels. What goes with what was learned from "
    "pairs alone.",
}
"""What holds of all of them, beside what their headers note."""


def embedded_path(name: str) -> Path:
    """Where an embedded model lies."""
    return WEIGHTS / f"{name}.safetensors"


def without_base(
    tensors: Mapping[str, Tensor], base: str
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors that the base does not lend, and how the header names it and the rest.

    Raises:
        CheckpointError: the base is none that is embedded.
    """
    import torch

    if base not in EMBEDDED:
        raise CheckpointError(f"{base}: no embedded model; there are {', '.join(EMBEDDED)}")
    lent = _lent(base)
    own = {
        name: value
        for name, value in tensors.items()
        if name not in lent or not torch.equal(value.cpu(), lent[name])
    }
    borrowed = {name: lent[name] for name in tensors.keys() - own.keys()}
    return own, {"name": base, "sha256": digest(borrowed)}


def with_base(
    tensors: Mapping[str, Tensor], base: Mapping[str, str], wanted: Collection[str], path: Path
) -> dict[str, Tensor]:
    """The tensors, and from the base those that are wanted beside.

    Raises:
        CheckpointError: they are not what they were when the checkpoint was written.
    """
    lent = _lent(base["name"])
    borrowed = {name: lent[name] for name in wanted if name in lent and name not in tensors}
    if digest(borrowed) != base["sha256"]:
        raise CheckpointError(
            f"{path}: hears with another sound tower than that of the {base['name']!r} model which "
            "comes with this soundspot; use the soundspot that wrote it"
        )
    return {**borrowed, **tensors}


def _lent(base: str) -> dict[str, Tensor]:
    """What an embedded model lends."""
    _, theirs = read_checkpoint(embedded_path(base), "model")
    return {name: value for name, value in theirs.items() if name.startswith(LENT)}


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Of names and values, in the order of the names; the same whatever the header says."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
