"""Results kept as they come, so that a run that is cut short goes on where it was.

One JSON file holds a result for each part of the table. A result is used again only where its
settings (the data, the weights, the numbers of samples, the seed) are the same.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import soundspot
from soundspot.errors import SoundspotError
from soundspot.files import write_beside
from soundspot.types import Sample

DIGITS = 16
"""Hexadecimal digits of a fingerprint."""


class Store:
    """A JSON file of results by name.

    Args:
        path: written after each result.
        fresh: forget what the file holds.
    """

    def __init__(self, path: Path, *, fresh: bool = False) -> None:
        self.path = path
        self.fresh = fresh
        self._spent: dict[str, float] = {}
        self._kept: dict[str, Any] = {} if fresh or not path.exists() else _read(path)

    def take(self, name: str, settings: Mapping[str, Any], find: Callable[[], Any]) -> Any:
        """The kept result of this name and these settings, or a new one."""
        wanted = json.loads(json.dumps({"soundspot": soundspot.__version__, **settings}))
        kept = self._kept.get(name)
        if kept is None or kept["settings"] != wanted:
            log(f"{name} ...")
            start = time.perf_counter()
            result = find()
            seconds = round(time.perf_counter() - start, 1)
            kept = {"settings": wanted, "seconds": seconds, "result": result}
            self._kept[name] = json.loads(json.dumps(kept))
            self._write()
            log(f"{name}: {seconds:.0f} s")
        else:
            log(f"{name}: kept from an earlier run")
        self._spent[name] = float(self._kept[name]["seconds"])
        return self._kept[name]["result"]

    def ledger(self, settings: Mapping[str, Any]) -> Path:
        """Where a result with these settings may keep its own progress until it is there."""
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
        path = self.path.with_name(f"{digest[:DIGITS]}.jsonl")
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.fresh:
            path.unlink(missing_ok=True)
        return path

    def seconds(self) -> float:
        """Time that all results taken so far took when they were found."""
        return sum(self._spent.values())

    def _write(self) -> None:
        with write_beside(self.path) as beside:
            beside.write_text(json.dumps(self._kept), encoding="utf-8")


def fingerprint_of_model(model: object) -> str:
    """A digest of a model's weights; of a plain function, its name."""
    if not isinstance(model, torch.nn.Module):
        return repr(getattr(model, "__name__", type(model).__name__))
    digest = hashlib.sha256(type(model).__name__.encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:DIGITS]


def fingerprint_of_samples(samples: Sequence[Sample]) -> str:
    """A digest of the ids, the names of the files, and the truth."""
    told = [(s.id, s.image.name, s.sound.name, s.group, s.boxes, s.annotators) for s in samples]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:DIGITS]


def log(text: str) -> None:
    """Progress, on standard error."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise SoundspotError(f"{path}: cannot be read as kept results; use --fresh") from None
    return kept
