"""Which method works on which network: asked of each, on the networks of the tests.

    python benchmarks/structures.py [--write docs/structures.md]

A cell is what happens: the method is called, and its map, its similarities and, where a source is
planted, its peak are checked; or it refuses, and its message is listed. `--write` puts the table
between the markers of a page. The CLIP and CLAP row needs the package `transformers`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from soundspot.errors import MethodError, ModelError
from soundspot.files import write_beside
from soundspot.localize import parse
from soundspot.maps import gaussian_blur, peak, resize_maps
from soundspot.similarity import check_model
from soundspot.watch import frozen

TESTS = Path(__file__).resolve().parents[1] / "tests"
METHODS = (
    "similarity_map",
    "input_gradient",
    "guided_backprop",
    "inner_gradient",
    "grad_cam",
    "occlusion(patch={patch}, stride={patch})",
    "combined(input_gradient, guided_backprop)",
    "multi_scale(input_gradient, scales=(1.0, 2.0))",
)
WINDOWS = 4
"""Patches of an occlusion, in a row and in a column."""
BLUR = 1.0
"""Pixels; takes the grain off a map before its peak is read."""
MARGIN = 2
"""Pixels that a peak may lie outside the planted square."""
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"

Cells = Mapping[str, str]


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", type=Path, metavar="PAGE", help="a page with the markers")
    page: Path | None = parser.parse_args().write
    structures = load_structures()
    if page and not all(structure.is_available() for structure in structures.values()):
        sys.exit("benchmarks/structures.py: the whole table needs: pip install transformers")
    text = render({s.what: ask(s) for s in structures.values() if s.is_available()})
    print(text)
    if page:
        whole = replaced(page.read_text(), text)
        with write_beside(page) as beside:
            beside.write_text(whole)


def load_structures() -> dict[str, Any]:
    """The list of networks, from the tests."""
    sys.path.insert(0, str(TESTS))
    try:
        return dict(importlib.import_module("structures").STRUCTURES)
    finally:
        sys.path.remove(str(TESTS))


def ask(structure: Any) -> Cells:
    """What `check_model` and each method do on one network: a word, or a message."""
    model, pairs = structure.build(), structure.pairs()
    patch = pairs.images.shape[-1] // WINDOWS
    cells = {"check_model": laws(model, pairs)}
    for text in METHODS:
        cells[parse(text.format(patch=patch)).name] = outcome(
            text.format(patch=patch), model, pairs, structure.planted
        )
    return cells


def laws(model: Any, pairs: Any) -> str:
    """`holds`, or what `check_model` says."""
    try:
        with frozen(model):
            check_model(model, pairs.images, pairs.sounds)
    except ModelError as error:
        return str(error)
    return "holds"


def outcome(method: str, model: Any, pairs: Any, planted: bool) -> str:
    """`finds`, `works`, or the refusal.

    Raises:
        AssertionError: a map that is not finite, or other similarities than the model's.
    """
    try:
        found = parse(method)(model, pairs.images, pairs.sounds)
    except MethodError as error:
        return str(error)
    with frozen(model), torch.no_grad():
        torch.testing.assert_close(found.similarities, model(pairs.images, pairs.sounds))
    assert torch.isfinite(found.maps).all()
    maps = gaussian_blur(resize_maps(found.maps, pairs.images.shape[-2:]), BLUR)
    return "finds" if planted and all(map(on_source, maps, pairs.sources)) else "works"


def on_source(values: torch.Tensor, box: tuple[int, int, int, int]) -> bool:
    """Whether a map's peak lies on the planted square."""
    (x, y), (x0, y0, x1, y1) = peak(values.numpy()), box
    return bool(x0 - MARGIN <= x < x1 + MARGIN and y0 - MARGIN <= y < y1 + MARGIN)


def render(rows: Mapping[str, Cells]) -> str:
    """The table in Markdown; refusals become letters, and their messages a list below."""
    letters: dict[str, str] = {}
    columns = list(next(iter(rows.values())))
    lines = [["network", *(f"`{column}`" for column in columns)], ["---"] * (len(columns) + 1)]
    for what, cells in rows.items():
        lines.append([what, *(lettered(cells[column], letters) for column in columns)])
    table = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join((*table, "", *legend(letters)))


def lettered(cell: str, letters: dict[str, str]) -> str:
    """A cell's one word; a message gets the next free letter."""
    if cell in ("holds", "finds", "works"):
        return cell
    letters.setdefault(cell, chr(ord("a") + len(letters)))
    return f"refuses ({letters[cell]})"


def legend(letters: Mapping[str, str]) -> Iterable[str]:
    """Each letter and its message, as it is printed."""
    return (f"- ({letter}) {message}" for message, letter in letters.items())


def replaced(page: str, table: str) -> str:
    """A page with a new table between its markers."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{table}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    main()
