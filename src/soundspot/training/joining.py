"""Many small safetensors files to a large one, with the memory of one part.

A safetensors file is the length of its header (8 bytes), the header (JSON: of each tensor its type,
shape and place among the bytes behind) and the numbers. Rows of a tensor lie behind each other,
so tensors are joined along their first axis by copying bytes, tensor by tensor, part by part. The
checksum of all (`soundspot.checksums`) is known at the end, and then put into the header.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundspot.checkpoint_file import VERSION, read_checkpoint
from soundspot.checksums import checksum_of, head_of
from soundspot.errors import CheckpointError
from soundspot.files import write_beside

if TYPE_CHECKING:
    from torch import Tensor

TYPE, BYTES = "F32", 4


def join_parts(
    path: Path,
    parts: Sequence[Path],
    kind: str,
    more: Mapping[str, Tensor],
    rows: int,
    header: Mapping[str, Any],
) -> None:
    """Write a file whose tensors are those of the parts, joined.

    Args:
        path: of the file, which is whole or not there.
        parts: safetensors files with tensors of the same names, float32.
        kind: of the parts.
        more: tensors beside them.
        rows: of all parts together.
        header: the JSON that the file begins with (`soundspot.checkpoint_file`).

    Raises:
        CheckpointError: a part is damaged. MediaError: the disk refuses.
    """
    first = _read(parts[0], kind)
    joined = {name: (rows, *tensor.shape[1:]) for name, tensor in sorted(first.items())}
    shapes = {**{name: tuple(tensor.shape) for name, tensor in more.items()}, **joined}
    table, told = _table(shapes), {"version": VERSION, **header}
    with write_beside(path) as beside, beside.open("wb") as file:

        def written() -> Iterator[bytes]:
            for name in shapes:
                for chunk in _chunks(name, parts, kind, more):
                    file.write(chunk)
                    yield chunk

        file.write(head_of(table, told))
        checksum = checksum_of(table, told, written())
        file.seek(0)
        file.write(head_of(table, told, checksum))


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """A digest of float32 tensors, in hexadecimal."""
    digest = hashlib.sha256()
    for _, tensor in sorted(tensors.items()):
        digest.update(_bytes_of(tensor))
    return digest.hexdigest()


def _table(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Where each tensor is, one behind the other."""
    table, at = dict[str, Any](), 0
    for name, shape in shapes.items():
        end = at + BYTES * _product(shape)
        table[name] = {"dtype": TYPE, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    return table


def _product(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count


def _chunks(
    name: str, parts: Sequence[Path], kind: str, more: Mapping[str, Tensor]
) -> Iterator[bytes]:
    if name in more:
        yield _bytes_of(more[name])
        return
    for part in parts:
        yield _bytes_of(_read(part, kind)[name])


def _read(part: Path, kind: str) -> dict[str, Tensor]:
    try:
        return read_checkpoint(part, kind)[1]
    except CheckpointError as error:
        raise CheckpointError(f"{error}; delete it, to hear it again") from None


def _bytes_of(tensor: Tensor) -> bytes:
    numbers: bytes = tensor.detach().cpu().contiguous().numpy().astype("<f4").tobytes()
    return numbers
