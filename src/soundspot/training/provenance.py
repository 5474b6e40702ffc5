"""What a run was made with: versions, and the commit of the code where there is one."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import numpy as np
import torch

from soundspot import __version__

PATIENCE = 10.0
"""Seconds that git may take."""


def provenance() -> dict[str, str]:
    """Versions of what computes, and the commit that the code stands at."""
    found = {
        "soundspot": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    commit = git_commit(Path(__file__))
    return found if commit is None else {**found, "commit": commit}


def git_commit(file: Path) -> str | None:
    """The commit a file stands at, "+" behind it where tracked files differ.

    None without git, and where the repository around it does not track it: an environment may lie
    in anybody's.
    """
    try:
        _git(file, "ls-files", "--error-unmatch", file.name)
        head = _git(file, "rev-parse", "HEAD")
        changed = _git(file, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}+" if changed else head


def _git(file: Path, *command: str) -> str:
    return subprocess.run(
        ["git", "-C", str(file.parent), *command],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    ).stdout.strip()
