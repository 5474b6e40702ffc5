"""A checkpoint's file: safetensors with a JSON header, never pickle.

The header (key "soundspot" of the safetensors metadata) says what is inside:

    {"version": 1, "kind": "model", "model": "two_tower", "config": {...}, "facts": {...}}

Other files are refused in one line that says what they are. A pickle (what `torch.save` writes) is
told by its first bytes and never opened: opening one runs whatever code it holds.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from soundspot.errors import CheckpointError, MediaError, SoundspotError
from soundspot.files import one_line, require_file, what_is, write_beside

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 1
HEADER_KEY = "soundspot"
HEADER_LIMIT = 100_000_000
"""Bytes; a longer safetensors header is not one."""
PICKLES = (".pth", ".pt", ".ckpt", ".bin", ".pkl", ".pickle")
"""Names under which other libraries keep pickles."""
HEAD_BYTES = 512
"""Of a file that is none of ours: enough to tell what it is."""
ZIP, TORCH_ZIP, PICKLE_2, LFS = b"PK\3\4", b"data.pkl", b"\x80", b"version https://git-lfs"
WOULD_WORK = "a .safetensors file, or a folder, that `model.save` wrote"


def write_checkpoint(
    path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]
) -> None:
    """Write beside, then rename: a checkpoint is whole or not there.

    Raises:
        CheckpointError: the disk refuses.
    """
    from safetensors.torch import save

    text = json.dumps({"version": VERSION, **header}, sort_keys=True)
    data = save(
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
    from safetensors.torch import load

    header = read_header(path)
    check_kind(path, header, kind)
    try:
        return header, load(Path(path).read_bytes())
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cut short or damaged ({error}); copy it again") from None


def check_kind(path: str | Path, header: Mapping[str, Any], kind: str) -> None:
    """Refuse a header of another version or kind.

    Raises:
        CheckpointError: naming both.
    """
    if header.get("version") != VERSION:
        raise CheckpointError(
            f"{path}: checkpoint version {header.get('version')}, and this soundspot reads "
            f"version {VERSION}; use the soundspot that wrote it"
        )
    if header.get("kind") != kind:
        raise CheckpointError(
            f"{path}: holds a {header.get('kind')!r} checkpoint where a {kind!r} is needed"
        )


def read_header(path: str | Path) -> dict[str, Any]:
    """Read the JSON header alone, without the tensors.

    Raises:
        CheckpointError: missing, or not ours; says what it is instead.
    """
    try:
        file = require_file(path)
    except SoundspotError as error:
        raise CheckpointError(str(error)) from None
    whole: object = None
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            whole = json.loads(opened.read(length)) if length <= HEADER_LIMIT else None
        header = json.loads(whole["__metadata__"][HEADER_KEY])  # type: ignore[index]
    except (struct.error, ValueError, KeyError, TypeError, RecursionError):
        header = None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    if not isinstance(header, dict):
        raise CheckpointError(
            f"{path}: not a soundspot checkpoint{_instead(file, whole)}; give {WOULD_WORK}"
        )
    return header


def _instead(file: Path, whole: object) -> str:
    """What a file is that is no checkpoint of ours; `whole` is its safetensors header, if any."""
    with file.open("rb") as opened:
        head = opened.read(HEAD_BYTES)
    if isinstance(whole, dict) and any(_is_tensor(value) for value in whole.values()):
        names = [one_line(name) for name, value in whole.items() if _is_tensor(value)]
        return (
            f" but safetensors of another library ({len(names)} tensors, such as "
            f"{names[0][:60]!r}); a network of another kind is asked as a function "
            "(docs/extend.md)"
        )
    if head.startswith(LFS):
        return " but a pointer to one in Git LFS (run `git lfs pull` in its folder)"
    torch_zip = head.startswith(ZIP) and TORCH_ZIP in head
    if torch_zip or head.startswith(PICKLE_2) or file.suffix.lower() in PICKLES:
        return (
            " but a pickle (as torch.save writes), which is never opened: that would run its code"
        )
    what = what_is(file)
    return "" if what is None else f" but {what}"


def _is_tensor(value: object) -> bool:
    return isinstance(value, dict) and {"dtype", "shape"} <= value.keys()
