"""Several processes that talk over gloo, for tests: what each of them finds."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECONDS = 240.0
"""After which a test gives up on its processes."""
RUN = """
import pickle, sys, torch
torch.set_num_threads(1)
sys.path[:0] = {paths!r}
function, arguments = pickle.load(open({job!r}, "rb"))
from soundspot.ranks import ranks_of_environment
with ranks_of_environment("cpu") as (ranks, _):
    found = function(ranks, *arguments)
pickle.dump(found, open({job!r} + str(ranks.number), "wb"))
"""


def on_ranks(count: int, folder: Path, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Call `function(ranks, *arguments)` of a test module in each of `count` processes."""
    job = folder / "job"
    job.write_bytes(pickle.dumps((function, arguments)))
    code = RUN.format(paths=[str(Path(__file__).parent)], job=str(job))
    shared = {**os.environ, "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1"}
    shared["MASTER_PORT"] = str(free_port())
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
        )
        for rank in range(count)
    ]
    said = [process.communicate(timeout=SECONDS)[1] for process in started]
    for process, text in zip(started, said, strict=True):
        assert process.returncode == 0, text.decode()
    return [pickle.loads(Path(f"{job}{rank}").read_bytes()) for rank in range(count)]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])
