"""A checkpoint's file: safetensors with a JSON header, never pickle.

The header (key "soundspot" of the safetensors metadata) says what is inside:

    {"version": 1, "kind": "model", "model": "two_tower", "config": {...}, "facts": {...},
     "crc32": "9ae0daaf"}

A file whose bytes are not those of its checksum (`soundspot.checksums`) is refused; one that has
none, as earlier versions wrote, is read as it is.
Other files are refused in one line that says what they are. A pickle (what `torch.save` writes) is
told by its first bytes and never opened: opening one runs whatever code it holds.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from safetensors import SafetensorError

from soundspot.checksums import (
    CHECKSUM,
    HEADER_KEY,
    METADATA,
    blocks,
    checksum_of,
    head_of,
    table_of,
)
from soundspot.errors import CheckpointError, MediaError, SoundspotError
from soundspot.files import one_line, require_file, what_is, write_beside

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 1
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

    data = memoryview(
        save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    )
    table, start = table_of(data)
    told = json.loads(json.dumps({"version": VERSION, **header}))
    checksum = checksum_of(table, told, [data[start:]])
    try:
        with write_beside(path) as beside, beside.open("wb") as file:
            file.write(head_of(table, told, checksum))
            file.write(data[start:])
    except MediaError as error:
        raise CheckpointError(str(error)) from None


def read_checkpoint(path: str | Path, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read header and tensors of a checkpoint of the given kind.

    Raises:
        CheckpointError: missing, not ours, of another kind or version, cut short, or changed.
    """
    from safetensors.torch import load

    header = read_header(path)
    check_kind(path, header, kind)
    try:
        data = Path(path).read_bytes()
        tensors = load(data)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cut short or damaged ({error}); copy it again") from None
    table, start = table_of(data)
    _require_sum(path, table, header, [memoryview(data)[start:]])
    return header, tensors


def require_whole(path: str | Path, tell: Callable[[int], object] = lambda _: None) -> None:
    """Read all of a file, in order and little memory, to compare it with its checksum.

    Args:
        path: of the file; one that has no checksum is not read.
        tell: called with the number of bytes of each block.

    Raises:
        CheckpointError: missing, not ours, or changed.
    """
    header = read_header(path)
    if CHECKSUM not in header:
        return

    def told(file: BinaryIO) -> Iterator[bytes]:
        for some in blocks(file):
            yield some
            tell(len(some))

    try:
        with Path(path).open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            _require_sum(path, json.loads(file.read(length)), header, told(file))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None


def _require_sum(
    path: str | Path,
    table: Mapping[str, Any],
    header: Mapping[str, Any],
    numbers: Iterable[bytes | memoryview],
) -> None:
    if CHECKSUM not in header:
        return
    found = checksum_of(table, header, numbers)
    if found != header[CHECKSUM]:
        raise CheckpointError(
            f"{path}: damaged (its checksum is {found}, and {one_line(header[CHECKSUM])} was "
            "written); copy it again"
        )


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
        header = json.loads(whole[METADATA][HEADER_KEY])  # type: ignore[index]
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
