"""Many small safetensors files to a large one, with the memory of one part.

A safetensors file is the length of its header (8 bytes), the header (JSON: of each tensor its type,
shape and place among the bytes behind) and the numbers. Rows of a tensor lie behind each other,
so tensors are joined along their first axis by copying bytes, tensor by tensor, part by part.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from soundspot.checkpoint_file import HEADER_KEY, VERSION
from soundspot.errors import CheckpointError
from soundspot.files import write_beside

if TYPE_CHECKING:
    from torch import Tensor

TYPE, BYTES = "F32", 4
ALIGNMENT = 8
"""Bytes: the header is filled up with spaces to a multiple."""


def join_parts(
    path: Path,
    parts: Sequence[Path],
    more: Mapping[str, Tensor],
    rows: int,
    header: Mapping[str, Any],
) -> None:
    """Write a file whose tensors are those of the parts, joined.

    Args:
        path: of the file, which is whole or not there.
        parts: safetensors files with tensors of the same names, float32.
        more: tensors beside them.
        rows: of all parts together.
        header: the JSON that the file begins with (`soundspot.checkpoint_file`).

    Raises:
        CheckpointError: a part is damaged. MediaError: the disk refuses.
    """
    with _opened(parts[0]) as first:
        joined = {name: (rows, *first.get_tensor(name).shape[1:]) for name in first.keys()}  # noqa: SIM118
    shapes = {**{name: tuple(tensor.shape) for name, tensor in more.items()}, **joined}
    with write_beside(path) as beside, beside.open("wb") as file:
        file.write(_head(shapes, header))
        for name in shapes:
            for chunk in _chunks(name, parts, more):
                file.write(chunk)


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """A digest of float32 tensors, in hexadecimal."""
    digest = hashlib.sha256()
    for _, tensor in sorted(tensors.items()):
        digest.update(_bytes_of(tensor))
    return digest.hexdigest()


def _head(shapes: Mapping[str, tuple[int, ...]], header: Mapping[str, Any]) -> bytes:
    """What stands before the numbers."""
    text = json.dumps({"version": VERSION, **header}, sort_keys=True)
    table: dict[str, Any] = {"__metadata__": {HEADER_KEY: text}}
    at = 0
    for name, shape in shapes.items():
        end = at + BYTES * _product(shape)
        table[name] = {"dtype": TYPE, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    content = json.dumps(table).encode()
    content += b" " * (-len(content) % ALIGNMENT)
    return len(content).to_bytes(8, "little") + content


def _product(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count


def _chunks(name: str, parts: Sequence[Path], more: Mapping[str, Tensor]) -> Iterator[bytes]:
    if name in more:
        yield _bytes_of(more[name])
        return
    for part in parts:
        with _opened(part) as opened:
            yield _bytes_of(opened.get_tensor(name))


def _opened(part: Path) -> Any:
    try:
        return safe_open(part, "pt")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{part}: damaged ({error}); delete it, to hear it again") from None


def _bytes_of(tensor: Tensor) -> bytes:
    numbers: bytes = tensor.detach().cpu().contiguous().numpy().astype("<f4").tobytes()
    return numbers
