"""What all tests share: one thread, one full-size model, and data to train on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from planted_pairs import PLANTED, plant, plant_shards, plant_tower
from soundspot import checkpoint
from soundspot.facts import ModelFacts
from soundspot.models import TwoTower


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def two_tower() -> TwoTower:
    """Random weights; pictures of 64 pixels and one second of sound, to be quick."""
    torch.manual_seed(0)
    return TwoTower(facts=ModelFacts(name="tiny", size=64, seconds=1.0)).eval()


@pytest.fixture(scope="session")
def model_file(two_tower: TwoTower, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    checkpoint.save(two_tower, path)
    return path


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of sets to train on."""
    return plant(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="session")
def sound_tower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained one."""
    return plant_tower(tmp_path_factory.mktemp("tower"))


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples of planted pairs, as many as `PLANTED`."""
    return plant_shards(tmp_path_factory.mktemp("shards"), PLANTED)


@pytest.fixture(scope="module")
def kept(sound_tower: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Where a module's runs find their sound tower and keep what they heard."""
    bank = tmp_path_factory.mktemp("kept")
    return {"sound_tower": sound_tower, "bank": bank, "device": "cpu"}


SHARED_DATA_VARIABLE = "SOUNDSPOT_DATA"
REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real pictures, sounds and videos; the test is skipped where it is absent."""
    folder = Path(os.environ.get(SHARED_DATA_VARIABLE, REPOSITORY / ".." / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test data in {folder}; set {SHARED_DATA_VARIABLE} to its folder")
    return folder
