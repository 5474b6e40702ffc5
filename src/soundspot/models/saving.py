"""From a model to its file or folder: tensors, and a header from which it is built again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from soundspot import hub
from soundspot.card import card
from soundspot.checkpoint_file import PICKLES, write_checkpoint
from soundspot.embedded import without_base
from soundspot.errors import CheckpointError
from soundspot.files import one_line
from soundspot.model_folder import write_folder

if TYPE_CHECKING:
    from torch import Tensor

    from soundspot.models.model import SimilarityModel

FILE_SUFFIX = ".safetensors"
OTHER_FILE = re.compile(r"\.[a-z][a-z0-9]{0,4}", re.IGNORECASE)
"""A suffix as files have it; `model-v1.5` is the name of a folder."""


def save_model(
    model: SimilarityModel,
    path: str | Path,
    *,
    half: bool = True,
    base: str | None = None,
    notes: Mapping[str, Any],
) -> None:
    """Save to a file where the name ends in .safetensors, else to a folder."""
    check_name(path)
    path = Path(path)
    tensors, header = _stored(model, str(path), half, base, notes)
    if path.suffix.lower() == FILE_SUFFIX:
        write_checkpoint(path, tensors, header)
    else:
        title = path.resolve().name
        write_folder(path, tensors, header, _card(model, header, title, json.dumps(title)))


def check_name(name: str | Path) -> None:
    """Refuse the name of another kind of file; a folder that is there may have any name.

    Raises:
        CheckpointError: saying what would work.
    """
    suffix = Path(name).suffix.lower()
    other = suffix in PICKLES or OTHER_FILE.fullmatch(suffix) is not None
    if suffix != FILE_SUFFIX and other and not Path(name).is_dir():
        raise CheckpointError(
            f"{one_line(name)}: models are saved as {FILE_SUFFIX}, or to a folder, whose name has "
            f"no suffix; leave out {suffix}"
        )


def push_model(
    model: SimilarityModel,
    repo: str,
    *,
    half: bool = True,
    private: bool | None = None,
    notes: Mapping[str, Any],
) -> str:
    """Save to a folder and upload it; returns the repository's address."""
    tensors, header = _stored(model, repo, half, None, notes)
    text = _card(model, header, repo.rpartition("/")[2], f'"{repo}", fetch=True')
    with TemporaryDirectory(prefix="soundspot-") as name:
        write_folder(Path(name), tensors, header, text)
        return hub.push(Path(name), repo, private)


def _card(model: SimilarityModel, header: Mapping[str, Any], title: str, load: str) -> str:
    count = sum(parameter.numel() for parameter in model.parameters())
    return card(header, count, title=title, load=load)


def _stored(
    model: SimilarityModel, where: str, half: bool, base: str | None, notes: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What a checkpoint holds: tensors, and the header as JSON has it."""
    from soundspot.models import MODELS

    names = {kind: name for name, kind in MODELS.items()}
    if type(model) not in names:
        raise CheckpointError(
            f"{where}: a checkpoint holds one of {', '.join(MODELS)}, not a {type(model).__name__}"
        )
    tensors = model.state_dict()
    if half:
        tensors = {k: v.half() if v.dtype == torch.float32 else v for k, v in tensors.items()}
    wild = [k for k, v in tensors.items() if not bool(torch.isfinite(v).all())]
    if wild:
        raise CheckpointError(f"{where}: {wild[0]} is not finite as stored; try half=False")
    header = {"kind": "model", "model": names[type(model)], "config": model.describe()}
    if base is not None:
        tensors, header["base"] = without_base(tensors, base)
    header |= {"facts": asdict(model.facts), "notes": {**model.notes, **notes}}
    try:
        return tensors, json.loads(json.dumps(header))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{where}: a note is no JSON ({error})") from None
