"""Models of the hub: offline from its cache as it really is, fetched only when told to."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
import torch

import soundspot
from hub_server import COMMIT, serve
from soundspot import cli, hub
from soundspot.errors import CheckpointError
from soundspot.models import TwoTower

huggingface_hub = pytest.importorskip("huggingface_hub")


@pytest.fixture
def folder(two_tower: TwoTower, tmp_path: Path) -> Path:
    two_tower.save(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and a network on which nothing answers."""

    def dialled(*_: Any) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr("socket.socket.connect", dialled)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put_in_cache(home: Path, repo: str, folder: Path, commit: str = COMMIT, ref: str = "") -> Path:
    """The layout of the hub's cache: refs, blobs by digest, snapshots of links to blobs."""
    place = home / f"models--{repo.replace('/', '--')}"
    snapshot = place / "snapshots" / commit
    for made in (place / "refs", place / "blobs", snapshot):
        made.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        blob = place / "blobs" / hashlib.sha1(file.read_bytes()).hexdigest()
        blob.write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(os.path.relpath(blob, snapshot))
    if ref:
        (place / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
        (place / "refs" / ref).write_text(commit)
    return snapshot


def refused(name: str, **options: Any) -> str:
    with pytest.raises(CheckpointError) as error:
        soundspot.load(name, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_ids() -> None:
    assert hub.hub_id("owner/name") == ("owner/name", "main")
    assert hub.hub_id("o.w-n_er/na.me-1@v1.0/x") == ("o.w-n_er/na.me-1", "v1.0/x")
    assert str(hub.hub_id("a/b@main")) == "a/b"
    assert str(hub.hub_id(f"a/b@{COMMIT}")) == f"a/b@{COMMIT}"
    for name in (
        "name", "/abs/path", "a/b/c", "./a", "../a", "a/..", "a/b@", "a/b@../x", "a//b", "a/",
        "runs/model.safetensors", "runs/model.PTH", "a b/c", "a/b\n", "https://x/y", "",
    ):  # fmt: skip
        assert hub.hub_id(name) is None, name


def test_offline_from_the_cache(home: Path, folder: Path, model_file: Path) -> None:
    put_in_cache(home, "owner/name", folder, ref="main")
    loaded = soundspot.load("owner/name")
    assert loaded.facts.name == "owner/name"
    expected = soundspot.load(model_file).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())
    assert soundspot.load(f"owner/name@{COMMIT}").facts.name == f"owner/name@{COMMIT}"
    for name in ("owner/name@v1", f"owner/name@{COMMIT[:7]}", "owner/other", "other/name"):
        assert f"soundspot models --fetch {name}" in refused(name)


def test_revisions_are_kept_apart(home: Path, folder: Path, tmp_path: Path) -> None:
    soundspot.load(folder).save(tmp_path / "newer", limits="newer")
    put_in_cache(home, "owner/name", folder, ref="v1")
    put_in_cache(home, "owner/name", tmp_path / "newer", "f" * 40, ref="main")
    assert soundspot.load("owner/name").notes == {"limits": "newer"}
    assert soundspot.load("owner/name@v1").notes == {}
    assert list(hub.in_cache()) == ["owner/name@v1", "owner/name"]


def test_a_cache_that_is_damaged_or_not_whole(home: Path, folder: Path) -> None:
    snapshot = put_in_cache(home, "owner/name", folder, ref="main")
    blob = (snapshot / "model.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    assert "not the file that config.json beside it names" in refused("owner/name")
    (snapshot / "model.safetensors").unlink()
    assert "not in the hub's local cache" in refused("owner/name")
    assert hub.in_cache() == {}


def test_a_folder_here_comes_before_the_hub(
    home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent.parent)
    name = f"{folder.parent.name}/{folder.name}"
    assert soundspot.load(name).facts.name == "tiny"


def test_the_list_shows_what_was_fetched(
    home: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_in_cache(home, "owner/name", folder, ref="main")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    put_in_cache(home, "google/bert", folder, ref="main")
    assert cli.main(["models"]) == 0
    text = capsys.readouterr().out
    assert "owner/name " in text
    assert "bert" not in text


def test_without_the_library_one_line_names_the_extra(
    home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setitem(sys.modules, "huggingface_hub.constants", None)
    assert 'pip install "soundspot[hub]"' in refused("owner/name")
    assert 'pip install "soundspot[hub]"' in refused("owner/name", fetch=True)
    assert cli.main(["models"]) == 0
    assert "default" in capsys.readouterr().out
    assert soundspot.load(folder).facts.name == "tiny"


def test_fetching_asks_for_an_id(home: Path, model_file: Path) -> None:
    for name in ("default", str(model_file), "a/b/c"):
        assert "give OWNER/NAME" in refused(name, fetch=True)


# --- over a network: a hub on this machine -------------------------------------------------------


def soundspot_command(
    address: str, home: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    source = str(Path(soundspot.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-m", "soundspot", *arguments],
        env={
            **os.environ, "PYTHONPATH": source, "HF_ENDPOINT": address, "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
        },
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_fetched_once_then_offline(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the three files come, pickles beside them stay there; then the hub is gone."""
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    home = tmp_path / "home"
    with serve(folder, "owner/name") as (address, asked):
        done = soundspot_command(address, home, "models", "--fetch", "owner/name")
        assert done.returncode == 0, done.stderr
        assert "fetched owner/name and checked its digest: TwoTower" in done.stdout
        fetched = {line.rpartition("/")[2] for line in asked if line.startswith("GET /owner")}
        assert fetched == {"README.md", "config.json", "model.safetensors"}
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub"))
    assert soundspot.load("owner/name").facts.name == "owner/name"
    assert soundspot.load(f"owner/name@{COMMIT}").facts.seconds == 1.0


def test_what_cannot_be_fetched(folder: Path, tmp_path: Path) -> None:
    """One process for each line would take long, so one asks for all of them."""
    (folder / "config.json").write_text('{"model_type": "bert"}')
    code = (
        "import soundspot, sys\n"
        "for name in sys.argv[1:]:\n"
        "    try: soundspot.load(name, fetch=True)\n"
        "    except soundspot.SoundspotError as error: print(error)\n"
    )
    environment = {
        **os.environ, "PYTHONPATH": str(Path(soundspot.__file__).parents[1]),
        "HF_HOME": str(tmp_path / "home"),
    }  # fmt: skip
    names = ["owner/name", "owner/other", "owner/name@v9"]
    with serve(folder, "owner/name") as (address, asked):
        done = subprocess.run(
            [sys.executable, "-c", code, *names],
            env={**environment, "HF_ENDPOINT": address},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert not any("model.safetensors" in line for line in asked), "weights of another library"
    ours, missing, revision = done.stdout.splitlines()
    assert "a model of another library" in ours
    assert "owner/other: no such repository" in missing
    assert "owner/name@v9: the repository has no such revision" in revision


def test_a_hub_that_does_not_answer_is_no_reason_to_use_the_cache(
    home: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: Any, **__: Any) -> None:
        raise ConnectionError("nobody there\nat all")

    put_in_cache(home, "owner/name", folder, ref="main")
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", down)
    assert "the hub cannot be used (ConnectionError: nobody there at all)" in refused(
        "owner/name", fetch=True
    )


# --- pushing -------------------------------------------------------------------------------------


class Uploads:
    """Stands for HfApi: its real signatures, and a folder for a hub."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
        self.api = create_autospec(huggingface_hub.HfApi, instance=True)
        self.api.create_repo.return_value = "https://hub/owner/name"
        self.api.file_exists.return_value = there
        self.api.upload_folder.side_effect = self.take
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: self.api)
        self.taken: dict[str, bytes] = {}

    def take(self, *, folder_path: Path, **_: object) -> None:
        self.taken = {path.name: path.read_bytes() for path in folder_path.iterdir()}


def test_pushing_uploads_a_whole_folder(
    two_tower: TwoTower, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_side = Uploads(monkeypatch, there=False)
    assert two_tower.push("owner/name", private=True, license="mit") == "https://hub/owner/name"
    hub_side.api.create_repo.assert_called_once_with("owner/name", private=True, exist_ok=True)
    options = hub_side.api.upload_folder.call_args.kwargs
    assert (options["repo_id"], options["ignore_patterns"]) == ("owner/name", [])
    for name, data in hub_side.taken.items():
        (tmp_path / "copy").mkdir(exist_ok=True)
        (tmp_path / "copy" / name).write_bytes(data)
    put_in_cache(home, "owner/name", tmp_path / "copy", ref="main")
    loaded = soundspot.load("owner/name")
    assert loaded.notes == {"license": "mit"}
    text = hub_side.taken["README.md"].decode()
    assert 'soundspot.load("owner/name", fetch=True)' in text
    assert not options["folder_path"].exists(), "the folder was temporary"


def test_a_card_on_the_hub_is_kept(two_tower: TwoTower, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_side = Uploads(monkeypatch, there=True)
    two_tower.push("owner/name")
    assert hub_side.api.upload_folder.call_args.kwargs["ignore_patterns"] == ["README.md"]


def test_what_cannot_be_pushed(two_tower: TwoTower, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_side = Uploads(monkeypatch, there=False)
    for repo in ("name", "a/b/c", "owner/name@v1", "owner/na--me"):
        hub_side.api.create_repo.side_effect = huggingface_hub.errors.HFValidationError("--")
        with pytest.raises(CheckpointError, match="is no hub id"):
            two_tower.push(repo)
    hub_side.api.create_repo.side_effect = huggingface_hub.errors.LocalTokenNotFoundError("log in")
    with pytest.raises(CheckpointError, match=r"LocalTokenNotFoundError: log in.*hf auth login"):
        two_tower.push("owner/name")
