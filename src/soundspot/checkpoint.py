"""Checkpoints that describe themselves: safetensors with a JSON header, never pickle.

The header (key "soundspot" of the safetensors metadata) says what is inside:

    {"version": 1, "kind": "model", "model": "two_tower", "config": {...}, "facts": {...}}

Weights may be stored in half precision to stay small; they are always used in float32.
`load("default")` needs no network: the models named in `EMBEDDED` are part of the package.

A model whose towers are partly another's may leave those tensors out: `"base": {"name", "sha256"}`
names the embedded checkpoint, by the digest of its tensors, in which they are found again.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes

from soundspot.errors import CheckpointError, MediaError, SoundspotError
from soundspot.facts import Calibration, ModelFacts
from soundspot.files import require_file, write_beside
from soundspot.models import MODELS, SimilarityModel

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 1
HEADER_KEY = "soundspot"
HEADER_LIMIT = 100_000_000
"""Bytes; a longer safetensors header is not one."""
WEIGHTS = Path(__file__).parent / "weights"
EMBEDDED: dict[str, str] = {
    "default": "Two towers (EfficientNet-Lite0, log-mel CNN), learned from pairs without boxes.",
    "attention": "The sound chooses where to look (Senocak 2018).",
    "clusters": "Deep multimodal clustering: soft K-means of both modalities (Hu 2019).",
    "fusion": "Early fusion and a class activation map (Owens & Efros 2018).",
    "pixel_sound": "How much of the sound each pixel makes (Zhao 2018); separates sounds.",
}
"""Models that come with the package, and one sentence on each."""


def write_checkpoint(
    path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]
) -> None:
    """Write beside, then rename: a checkpoint is whole or not there.

    Raises:
        CheckpointError: the disk refuses.
    """
    text = json.dumps({"version": VERSION, **header}, sort_keys=True)
    data = save_bytes(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        metadata={HEADER_KEY: text},
    )
    try:
        with write_beside(path) as beside:
            beside.write_bytes(data)
    except MediaError as error:
        raise CheckpointError(str(error)) from None


def read_checkpoint(path: str | Path, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read header and tensors of a checkpoint of the given kind.

    Raises:
        CheckpointError: missing, not ours, of another kind or version, or cut short.
    """
    header = read_header(path)
    if header.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: checkpoint version {header.get('version')}, and this soundspot reads "
            f"version {VERSION}; use the soundspot that wrote it"
        )
    if header.get("kind") != kind:
        raise CheckpointError(
            f"{path}: holds a {header.get('kind')!r} checkpoint where a {kind!r} is needed"
        )
    try:
        return header, load_bytes(Path(path).read_bytes())
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cut short or damaged ({error}); copy it again") from None


def read_header(path: str | Path) -> dict[str, Any]:
    """Read the JSON header alone, without the tensors."""
    try:
        require_file(path)
    except SoundspotError as error:
        raise CheckpointError(str(error)) from None
    other = f"{path}: not a soundspot checkpoint (a safetensors file written by soundspot)"
    try:
        with Path(path).open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > HEADER_LIMIT:
                raise CheckpointError(other)
            header = json.loads(json.loads(file.read(length))["__metadata__"][HEADER_KEY])
    except (struct.error, ValueError, KeyError, TypeError, RecursionError):
        raise CheckpointError(other) from None
    if not isinstance(header, dict):
        raise CheckpointError(other)
    return header


def save(
    model: SimilarityModel,
    path: str | Path,
    *,
    half: bool = True,
    base: str | None = None,
    **notes: object,
) -> None:
    """Save a model with all it needs to be used again.

    Args:
        model: one of `soundspot.models`.
        path: where to; the name usually ends in .safetensors.
        half: store float32 weights as float16 (half the size, answers equal to about 1e-3).
        base: an embedded model; tensors that are the same there are left out.
        notes: whatever else the header should say (JSON), such as how it was trained.

    Raises:
        CheckpointError: the model is none of ours, its weights do not fit into float16 (or are
            not finite), the base is none that is embedded, or the disk refuses.
    """
    names = {kind: name for name, kind in MODELS.items()}
    if type(model) not in names:
        raise CheckpointError(
            f"{path}: a checkpoint holds one of {', '.join(MODELS)}, not a {type(model).__name__}"
        )
    tensors = model.state_dict()
    if half:
        tensors = {k: v.half() if v.dtype == torch.float32 else v for k, v in tensors.items()}
    wild = [k for k, v in tensors.items() if not bool(torch.isfinite(v).all())]
    if wild:
        raise CheckpointError(f"{path}: {wild[0]} is not finite as stored; try half=False")
    header: dict[str, Any] = {
        "kind": "model",
        "model": names[type(model)],
        "config": model.describe(),
    }
    if base is not None:
        tensors, header["base"] = _without_base(tensors, base)
    write_checkpoint(path, tensors, {**header, "facts": asdict(model.facts), "notes": notes})


def load(name: str | Path = "default", device: str | torch.device = "cpu") -> SimilarityModel:
    """Load a model by name or path, ready to use (evaluation mode).

    Args:
        name: a name that `soundspot models` lists, or the path of a checkpoint.
        device: where to.

    Raises:
        CheckpointError: unknown name, missing file, or a file that is no model of ours.
    """
    embedded = str(name) in EMBEDDED
    path = _embedded_path(str(name)) if embedded else Path(name)
    if not embedded and not os.path.exists(path):  # pathlib raises on names that are too long
        raise CheckpointError(
            f"{name}: neither a model that comes with soundspot ({', '.join(EMBEDDED)}) "
            "nor a checkpoint file"
        )
    header, tensors = read_checkpoint(path, "model")
    try:
        facts = _facts(header["facts"])
        facts = replace(facts, name=str(name) if embedded else path.stem)
        model = MODELS[header["model"]].from_config(header["config"], facts)
        if "base" in header:
            tensors = _with_base(tensors, header["base"], model.state_dict(), path)
        model.load_state_dict({k: v.float() for k, v in tensors.items()})
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RuntimeError,
        SoundspotError,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{path}: its header and weights do not fit this soundspot ({reason})"
        ) from None
    return model.eval().to(device)


def _embedded_path(name: str) -> Path:
    return WEIGHTS / f"{name}.safetensors"


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Of names and values, in the order of the names; the same whatever the header says."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _without_base(
    tensors: Mapping[str, Tensor], base: str
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors that differ from the base's, and how the header names the base."""
    if base not in EMBEDDED:
        raise CheckpointError(f"{base}: no embedded model; there are {', '.join(EMBEDDED)}")
    _, theirs = read_checkpoint(_embedded_path(base), "model")
    own = {
        name: value
        for name, value in tensors.items()
        if name not in theirs or not torch.equal(value.cpu(), theirs[name])
    }
    return own, {"name": base, "sha256": _digest(theirs)}


def _with_base(
    tensors: Mapping[str, Tensor], base: Mapping[str, str], wanted: Collection[str], path: Path
) -> dict[str, Tensor]:
    """The tensors, and from the base those that are wanted beside."""
    _, theirs = read_checkpoint(_embedded_path(base["name"]), "model")
    if _digest(theirs) != base["sha256"]:
        raise CheckpointError(
            f"{path}: stands on another {base['name']!r} model than the one that comes with this "
            "soundspot; use the soundspot that wrote it"
        )
    return {**{k: v for k, v in theirs.items() if k in wanted}, **tensors}


def _facts(stored: Mapping[str, Any]) -> ModelFacts:
    calibration = stored.get("calibration")
    known = {**stored, "heard": tuple(stored.get("heard", ()))}
    known["calibration"] = None if calibration is None else Calibration(**calibration)
    return ModelFacts(**known)
