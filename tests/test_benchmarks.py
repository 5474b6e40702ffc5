"""The benchmarks start and print what they promise; their figures are no test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_methods_prints_its_tables() -> None:
    command = [sys.executable, "benchmarks/methods.py", "--rounds", "1", "--size", "64"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    for row in ("forward pass", "guided_backprop", "occlusion", "hearing it each time", "without"):
        assert row in run.stdout
