"""Imports run downwards only, and importing the package costs nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import soundspot

ROOT = Path(soundspot.__file__).parent
LAYERS = (
    "activations checks checksums errors meeting types memory streams",
    "processes",
    "files options ranks",
    "recipes",
    "checkpoint_file media",
    "band_mask card embedded facts model_folder similarity watch",
    "hub maps",
    "towers",
    "models",
    "checkpoint",
    "localize",
    "render",
    "render_sources result",
    "inputs",
    "locating",
    "data metrics separating",
    "several",
    "streaming",
    "film_folder live_feeds render_curve track_file",
    "live live_devices render_film",
    "film_job",
    "film_colours",
    "protocols shards",
    "report user_model",
    "judging",
    "augment_scenes augment_sounds optimiser_state",
    "sound_bank",
    "batches",
    "pair_batches",
    "shard_batches",
    "clip_batches",
    "heard_batches",
    "batch losses",
    "bulk",
    "benchmark",
    "training",
    "averaging calibrate distill filming train",
    "filming_sources",
    "commands",
    "cli",
    "__main__",
)
"""From the ground up. A module may import from lower lines, and a folder from itself; none may
import from its own line."""
LAYER_OF = {name: number for number, line in enumerate(LAYERS) for name in line.split()}


def imports() -> Iterator[tuple[str, str]]:
    """Pairs (file, the module or folder of ours that it imports from)."""
    for path in sorted(ROOT.rglob("*.py")):
        place = ("soundspot", *path.relative_to(ROOT).parent.parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                above = place[: len(place) - node.level + 1] if node.level else ()
                module = ".".join((*above, *([node.module] if node.module else [])))
                names = [f"{module}.{alias.name}" for alias in node.names]
            else:
                continue
            ours = {name.split(".")[1] for name in names if name.startswith("soundspot.")}
            for name in ours:
                yield path.relative_to(ROOT).as_posix(), name


def test_every_module_has_its_layer() -> None:
    modules = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in ROOT.rglob("*.py")}
    assert modules - {"__init__"} == LAYER_OF.keys()


def test_imports_run_downwards() -> None:
    wrong = []
    for file, name in imports():
        here = file.split("/")[0].removesuffix(".py")
        if here in {"__init__", name} or name in {"__version__", "TYPE_CHECKING"}:
            continue
        if LAYER_OF[name] >= LAYER_OF[here]:
            wrong.append(f"{file} imports {name}")
    assert wrong == []


@pytest.mark.parametrize("module", ["soundspot", "soundspot.cli"])
def test_importing_is_light(module: str) -> None:
    heavy = {"torch", "scipy", "av", "numpy", "PIL", "soundfile", "safetensors"}
    code = f"import sys, {module}; print(*(sys.modules.keys() & {heavy!r}))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
    assert done.stderr == ""


def test_the_surface() -> None:
    for name in soundspot.__all__:
        assert getattr(soundspot, name) is not None
    assert set(soundspot.__all__) < set(dir(soundspot))
    assert soundspot.__all__ == sorted(soundspot.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'lcoate'"):
        soundspot.lcoate  # noqa: B018
    typed = ast.parse((ROOT / "__init__.py").read_text())
    for_checkers = {
        alias.name
        for node in ast.walk(typed)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("soundspot.")
        for alias in node.names
    }
    assert for_checkers == set(soundspot.__all__)
