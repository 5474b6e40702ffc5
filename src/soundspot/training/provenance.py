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
    commit = git_commit(Path(__file__).parent)
    return found if commit is None else {**found, "commit": commit}


def git_commit(folder: Path) -> str | None:
    """The commit a folder stands at, "+" behind it where tracked files differ; None without git."""
    try:
        head, changed = (
            subprocess.run(
                ["git", "-C", str(folder), *command],
                capture_output=True,
                text=True,
                check=True,
                timeout=PATIENCE,
            ).stdout.strip()
            for command in (
                ["rev-parse", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no"],
            )
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}+" if changed else head
