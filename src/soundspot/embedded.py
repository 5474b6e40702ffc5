"""The models that come with soundspot, and checkpoints that stand on one of them.

A model whose towers are partly another's may leave those tensors out: `"base": {"name", "sha256"}`
in its header names the embedded checkpoint, by the digest of its tensors, in which they are found
again.
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
    """The tensors that differ from the base's, and how the header names the base.

    Raises:
        CheckpointError: the base is none that is embedded.
    """
    import torch

    if base not in EMBEDDED:
        raise CheckpointError(f"{base}: no embedded model; there are {', '.join(EMBEDDED)}")
    _, theirs = read_checkpoint(embedded_path(base), "model")
    own = {
        name: value
        for name, value in tensors.items()
        if name not in theirs or not torch.equal(value.cpu(), theirs[name])
    }
    return own, {"name": base, "sha256": digest(theirs)}


def with_base(
    tensors: Mapping[str, Tensor], base: Mapping[str, str], wanted: Collection[str], path: Path
) -> dict[str, Tensor]:
    """The tensors, and from the base those that are wanted beside.

    Raises:
        CheckpointError: the base is another than the one that comes with this soundspot.
    """
    _, theirs = read_checkpoint(embedded_path(base["name"]), "model")
    if digest(theirs) != base["sha256"]:
        raise CheckpointError(
            f"{path}: stands on another {base['name']!r} model than the one that comes with this "
            "soundspot; use the soundspot that wrote it"
        )
    return {**{k: v for k, v in theirs.items() if k in wanted}, **tensors}


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Of names and values, in the order of the names; the same whatever the header says."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
