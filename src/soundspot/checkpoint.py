"""The model zoo: models by name, by path and by hub id; saving them again.

    load("attention")            a model that comes with soundspot (`soundspot.embedded`)
    load("runs/model.safetensors")      a file (`soundspot.checkpoint_file`)
    load("runs/model")                  a folder, as hub repositories are (`soundspot.model_folder`)
    load("owner/name@revision")         the same from the hub's local cache (`soundspot.hub`)

A name is looked up in this order, and the network is used only with `fetch=True`. Weights may be
stored in half precision to stay small; they are always used in float32.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundspot import hub
from soundspot.checkpoint_file import (
    HEADER_LIMIT,
    VERSION,
    read_checkpoint,
    read_header,
    write_checkpoint,
)
from soundspot.checks import instead
from soundspot.checksums import HEADER_KEY
from soundspot.embedded import EMBEDDED, NOTES, WEIGHTS, embedded_path, with_base
from soundspot.errors import CheckpointError, SoundspotError
from soundspot.facts import Calibration, ModelFacts
from soundspot.model_folder import weights_of
from soundspot.models import MODELS, SimilarityModel
from soundspot.models.saving import save_model

if TYPE_CHECKING:
    import torch

__all__ = [
    "EMBEDDED",
    "HEADER_KEY",
    "HEADER_LIMIT",
    "VERSION",
    "WEIGHTS",
    "load",
    "read_checkpoint",
    "read_header",
    "save",
    "write_checkpoint",
]


def save(
    model: SimilarityModel,
    path: str | Path,
    *,
    half: bool = True,
    base: str | None = None,
    **notes: object,
) -> None:
    """Save a model to a file or a folder: `SimilarityModel.save` as a function."""
    if not isinstance(model, SimilarityModel):
        raise CheckpointError(
            f"{path}: a checkpoint holds one of {', '.join(MODELS)}, not a {type(model).__name__}"
        )
    save_model(model, path, half=half, base=base, notes=notes)


def load(
    name: str | Path = "default",
    device: str | torch.device = "cpu",
    *,
    fetch: bool = False,
) -> SimilarityModel:
    """Load a model by name, path or hub id, ready to use (evaluation mode).

    Args:
        name: a name that `soundspot models` lists, the path of a checkpoint or of a model's
            folder, or OWNER/NAME, OWNER/NAME@REVISION of the Hugging Face Hub.
        device: where to.
        fetch: download a model of the hub, or its newest state, into the hub's local cache;
            without it only what was fetched before is used, and the network is not touched.

    Raises:
        CheckpointError: unknown name, missing file, a file that is no model of ours, or one whose
            digest is not what its folder says.
    """
    path, called = _find(str(name), fetch)
    header, tensors = read_checkpoint(path, "model")
    try:
        facts = replace(_facts(header["facts"]), name=called)
        model = MODELS[header["model"]].from_config(header["config"], facts)
        embedded = path == embedded_path(called)
        model.notes = {**(NOTES if embedded else {}), **header.get("notes", {})}
        if "base" in header:
            tensors = with_base(tensors, header["base"], model.state_dict(), path)
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


def _find(name: str, fetch: bool) -> tuple[Path, str]:
    """The checkpoint that a name means, and what the model is called."""
    identity = hub.hub_id(name)
    if fetch:
        if identity is None:
            raise CheckpointError(f"{name}: only models of the hub are fetched; give OWNER/NAME")
        return weights_of(hub.fetch(identity)), str(identity)
    if name in EMBEDDED:
        return embedded_path(name), name
    path = Path(name)
    if name and os.path.isdir(name):
        return weights_of(path), path.resolve().name
    if os.path.exists(name):  # pathlib raises on names that are too long
        return path, path.stem
    if identity is not None:
        return weights_of(hub.cached(identity)), str(identity)
    raise CheckpointError(
        f"{name}: neither a model that comes with soundspot ({instead(name, EMBEDDED)}) nor a "
        "checkpoint file or folder, nor OWNER/NAME of the hub"
    )


def _facts(stored: Mapping[str, Any]) -> ModelFacts:
    calibration = stored.get("calibration")
    known = {**stored, "heard": tuple(stored.get("heard", ()))}
    known["calibration"] = None if calibration is None else Calibration(**calibration)
    return ModelFacts(**known)
