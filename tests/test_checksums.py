"""What a disk changed is not taken for what was kept."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from soundspot.checkpoint_file import (
    read_checkpoint,
    read_header,
    require_whole,
    write_checkpoint,
)
from soundspot.checksums import CHECKSUM, HEADER_KEY, checksum_of, table_of
from soundspot.errors import CheckpointError
from soundspot.training.keeping import Checkpoints

TENSORS = {"b": torch.arange(6, dtype=torch.float32).reshape(2, 3), "a": torch.tensor([1, -1])}
HEADER = {"kind": "kept", "steps": {"2": 0.1, "1": None}, "names": ("ä", "b")}


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    path = tmp_path / "kept.safetensors"
    write_checkpoint(path, TENSORS, HEADER)
    return path


def test_the_checksum_is_that_of_zip(kept: Path) -> None:
    """Of the table and the header as JSON, and then the numbers as they lie in the file."""
    data = kept.read_bytes()
    table, start = table_of(data)
    header = json.loads(table.pop("__metadata__")[HEADER_KEY])
    digits = header.pop(CHECKSUM)
    told = json.dumps([table, header], sort_keys=True).encode()
    assert digits == f"{zlib.crc32(told + data[start:]):08x}"
    halves = [data[start : start + 7], data[start + 7 :]]
    assert checksum_of(table, header, halves) == digits
    assert start % 8 == 0


def test_what_was_written_is_read_by_us_and_by_safetensors(kept: Path) -> None:
    header, tensors = read_checkpoint(kept, "kept")
    assert {key: header[key] for key in HEADER} == {**HEADER, "names": ["ä", "b"]}
    for found in (tensors, load_file(kept)):
        assert found.keys() == TENSORS.keys()
        assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)
    read = list[int]()
    require_whole(kept, read.append)
    assert sum(read) == 6 * 4 + 2 * 8


def test_a_flipped_bit_anywhere_is_found(kept: Path) -> None:
    """But one in the name of the checksum itself, without which a file is an old one."""
    whole, rng, silent = kept.read_bytes(), np.random.default_rng(0), list[int]()
    named = whole.index(CHECKSUM.encode())
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        kept.write_bytes(changed)
        try:
            read_checkpoint(kept, "kept")
            require_whole(kept)
        except CheckpointError as error:
            assert str(error).startswith(str(kept))  # noqa: PT017
        else:
            silent.append(place)
    assert set(silent) <= set(range(named, named + len(CHECKSUM)))


def test_a_damaged_one_says_so_whether_read_or_only_looked_at(kept: Path) -> None:
    changed = bytearray(kept.read_bytes())
    changed[-4:] = b"\xff" * 4
    kept.write_bytes(changed)
    said = rf"{kept}: damaged \(its checksum is [0-9a-f]{{8}}, and [0-9a-f]{{8}} was written\)"
    for read in (lambda: read_checkpoint(kept, "kept"), lambda: require_whole(kept)):
        with pytest.raises(CheckpointError, match=said):
            read()


def test_files_without_a_checksum_are_read_as_before(tmp_path: Path) -> None:
    path = tmp_path / "old.safetensors"
    text = json.dumps({"version": 1, "kind": "kept"})
    save_file(TENSORS, path, metadata={HEADER_KEY: text})
    assert read_checkpoint(path, "kept")[0] == {"version": 1, "kind": "kept"}
    require_whole(path, lambda _: pytest.fail("it was read"))
    assert CHECKSUM not in read_header(path)


def damage(path: Path) -> None:
    """As a disk may: 400 bytes of ones among the numbers."""
    data = bytearray(path.read_bytes())
    data[-900:-500] = b"\xff" * 400
    path.write_bytes(data)


def test_the_checkpoint_before_a_damaged_one_is_taken(tmp_path: Path) -> None:
    checkpoints, said = Checkpoints(tmp_path), list[str]()
    for step in (1, 2):
        checkpoints.save(step, {"x": torch.full((1000,), float(step))}, {})
    damage(checkpoints.path(2))
    found = checkpoints.newest(said.append)
    assert found is not None
    assert found[0]["step"] == 1
    assert torch.equal(found[1]["x"], torch.ones(1000))
    (line,) = said
    assert line.startswith(f"{checkpoints.path(2)}: damaged (")
    assert line.endswith("; going on from the checkpoint before it")
    damage(checkpoints.path(1))
    with pytest.raises(CheckpointError, match=r"or delete .*checkpoints to train from the begin"):
        checkpoints.newest(said.append)
    assert len(said) == 2
