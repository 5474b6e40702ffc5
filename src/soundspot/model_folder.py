"""A model as a folder, the way hub repositories are laid out.

    model.safetensors    the checkpoint (`soundspot.checkpoint_file`)
    config.json          {"soundspot": its header, "weights": {"file", "sha256", "bytes"}}
    README.md            the model card (`soundspot.card`)

The header stands in both files: in `config.json` for people and for the hub, in the checkpoint so
that it is whole alone. On loading, the digest of the weights and the two headers must agree, so a
file that was cut short, swapped or edited is not used unnoticed. `config.json` is written last: a
folder whose writing was interrupted is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundspot.checkpoint_file import (
    PICKLES,
    WOULD_WORK,
    check_kind,
    read_header,
    write_checkpoint,
)
from soundspot.errors import CheckpointError, MediaError
from soundspot.files import write_beside

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS_FILE, CONFIG_FILE, CARD_FILE = "model.safetensors", "config.json", "README.md"
FILES = (WEIGHTS_FILE, CONFIG_FILE, CARD_FILE)


def write_folder(
    folder: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any], card: str
) -> None:
    """Write the three files; a card that is there is kept, for people edit cards.

    Raises:
        CheckpointError: the folder holds files of these names that are another library's, or the
            disk refuses.
    """
    if (folder / CONFIG_FILE).exists():
        read_config(folder)
    elif any((folder / name).exists() for name in FILES):
        raise CheckpointError(
            f"{folder}: holds files that soundspot did not write; give a new or empty folder"
        )
    write_checkpoint(folder / WEIGHTS_FILE, tensors, header)
    weights = folder / WEIGHTS_FILE
    config = {
        "soundspot": read_header(weights),
        "weights": {
            "file": WEIGHTS_FILE,
            "sha256": sha256_of(weights),
            "bytes": weights.stat().st_size,
        },
    }
    if not (folder / CARD_FILE).exists():
        _write(folder / CARD_FILE, card)
    _write(folder / CONFIG_FILE, json.dumps(config, indent=2, sort_keys=True) + "\n")


def weights_of(folder: Path) -> Path:
    """The checkpoint in a folder, once its digest and header agree with `config.json`.

    Raises:
        CheckpointError: the folder holds no model of ours, or its files do not belong together.
    """
    config = read_config(folder)
    check_kind(folder / CONFIG_FILE, config["soundspot"], "model")
    weights = folder / WEIGHTS_FILE
    header = read_header(weights)
    if sha256_of(weights) != config["weights"]["sha256"]:
        raise CheckpointError(
            f"{weights}: is not the file that {CONFIG_FILE} beside it names by its sha256; fetch "
            "or copy both again"
        )
    if header != config["soundspot"]:
        differing = [k for k in {**header, **config["soundspot"]}
                     if header.get(k) != config["soundspot"].get(k)]  # fmt: skip
        raise CheckpointError(
            f"{folder / CONFIG_FILE}: says other {', '.join(differing)} than {WEIGHTS_FILE}; a "
            f"model is changed by saving it anew, or load {weights} alone"
        )
    return weights


def read_config(folder: Path) -> dict[str, Any]:
    """What `config.json` says; both of its entries are there.

    Raises:
        CheckpointError: there is none, or it is another library's; says what the folder holds.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(f"{folder}: {_held(folder)}; give {WOULD_WORK}")
    try:
        config = json.loads(path.read_bytes())
        stated = config["soundspot"], config["weights"]["sha256"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        stated = None, None
    if not (isinstance(stated[0], dict) and isinstance(stated[1], str)):
        raise CheckpointError(
            f"{folder}: a model of another library (its {CONFIG_FILE} is not soundspot's); give "
            f"{WOULD_WORK}"
        )
    return dict(config)


def sha256_of(path: Path) -> str:
    """The digest of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _held(folder: Path) -> str:
    """Why a folder without `config.json` is no model."""
    names = sorted(path.name for path in folder.iterdir())
    if WEIGHTS_FILE in names:
        return f"no {CONFIG_FILE} beside {WEIGHTS_FILE}, so it is unchecked (its path loads alone)"
    pickles = [name for name in names if name.lower().endswith(PICKLES)]
    if pickles:
        return f"no {WEIGHTS_FILE}, and {pickles[0]} is a pickle, which is never opened"
    ours = [name for name in names if name.endswith(".safetensors")]
    if ours:
        return f"a folder without {CONFIG_FILE}; name the file in it ({ours[0]})"
    return f"a folder without {CONFIG_FILE} and {WEIGHTS_FILE}"


def _write(path: Path, text: str) -> None:
    try:
        with write_beside(path) as beside:
            beside.write_text(text, encoding="utf-8")
    except MediaError as error:
        raise CheckpointError(str(error)) from None
