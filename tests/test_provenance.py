"""What a run says that it was made with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import soundspot
from soundspot.training.provenance import git_commit, provenance

GIT = ("git", "-c", "user.name=x", "-c", "user.email=x@y.z")


def git(folder: Path, *command: str) -> str:
    return subprocess.run(
        [*GIT, "-C", str(folder), *command], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_the_commit_of_a_file_is_of_its_own_repository(tmp_path: Path) -> None:
    """One that merely lies around it, as a project around an environment, says nothing of it."""
    file = tmp_path / "venv" / "soundspot.py"
    file.parent.mkdir()
    file.write_text("1")
    assert git_commit(file) is None
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "of another project")
    assert git_commit(file) is None
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "with the file")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert git_commit(file) == head
    file.write_text("2")
    assert git_commit(file) == f"{head}+"


def test_versions_are_named() -> None:
    found = provenance()
    assert found["soundspot"] == soundspot.__version__
    assert {"torch", "numpy", "python"} <= found.keys()
