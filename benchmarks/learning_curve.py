"""What more data would give: the default recipe's plain run on parts of the training set.

    python benchmarks/learning_curve.py --data PAIRS --validate MANIFEST

Of every set a quarter, a half, all of its pictures are kept (with all sounds), then the same of its
sounds (with all pictures). Each part is trained on with the same steps, and judged on the manifest,
one clip a pair, by the model's own map and by the default method, as many pixels as the truth has.
A curve that still rises says what to collect more of. Finished parts are kept in `--work`: the same
command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import soundspot
from one_line_errors import one_line_errors
from soundspot import metrics
from soundspot.data.pairs import read_pairs
from soundspot.files import write_beside
from soundspot.locating import Locator
from soundspot.maps import resize_map
from soundspot.media.audio import read_sound
from soundspot.media.image import read_picture
from soundspot.memory import keep_freed
from soundspot.options import RECIPES
from soundspot.train import train
from soundspot.types import Sample

SHARES = (0.25, 0.5, 1.0)
METHODS = ("similarity_map", "combined(similarity_map, guided_backprop, weights=(2, 3), blur=0.05)")
SIZE = 384
GRID = 128
"""Pixels: the side of the square on which maps meet the truth."""


def main() -> None:
    """Train on each part, judge, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of sets: images, sounds")
    parser.add_argument("--validate", type=Path, required=True, help="manifest with boxes")
    parser.add_argument("--work", type=Path, default=Path("runs/learning_curve"))
    parser.add_argument("--steps", type=int, default=RECIPES["two_tower"].steps)
    parser.add_argument("--most", type=int, help="judge so many pairs only, to try it out")
    arguments = parser.parse_args()
    keep_freed()
    with one_line_errors("learning_curve"):
        pairs = _one_clip(list(soundspot.read_manifest(arguments.validate)))[: arguments.most]
        rows = [
            _part(arguments, pairs, kind, share)
            for share in SHARES
            for kind in ("images", "sounds")[: 2 if share < 1 else 1]
        ]
    print(f"{len(pairs)} pairs; share of IoU >= 0.5 / AUC / pointing, and share where heard\n")
    print("| pictures | sounds | own map | heard | default method | heard |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        cells = [row["pictures"], row["sounds"]]
        for method in METHODS:
            share, auc, pointing, heard = row["scores"][method]
            cells += [f"{share:.1f} / {auc:.1f} / {pointing:.1f}", f"{heard:.1f}"]
        print(f"| {' | '.join(map(str, cells))} |")


def _one_clip(samples: list[Sample]) -> list[Sample]:
    """The first clip of each picture and group."""
    first = {(s.image, s.group): s for s in reversed(samples) if s.kind == "positive" and s.boxes}
    return sorted(first.values(), key=lambda sample: sample.id)


def _part(
    arguments: argparse.Namespace, pairs: list[Sample], kind: str, share: float
) -> dict[str, Any]:
    """Train on a share of the pictures or sounds, and judge; or read what was found before."""
    place = arguments.work / f"{kind}-{share:g}-{arguments.steps}"
    kept = place / f"scores-{len(pairs)}.json"
    if kept.exists():
        found: dict[str, Any] = json.loads(kept.read_text())
        return found
    data = _thinned(arguments.data, place / "data", kind, share)
    options = replace(RECIPES["two_tower"], steps=arguments.steps)
    bank = arguments.work / "heard" if kind == "images" else None
    path = train(data, place / "run", options, bank=bank)
    read = read_pairs(data)
    row = {
        "pictures": sum(map(len, read.pictures)),
        "sounds": sum(map(len, read.sounds)),
        "scores": {method: _judged(path, method, pairs) for method in METHODS},
    }
    with write_beside(kept) as beside:
        beside.write_text(json.dumps(row))
    return row


def _thinned(data: Path, place: Path, kind: str, share: float) -> Path:
    """A folder of links to a share of each set's files, the same ones every time."""
    source = data.resolve()
    for folder in sorted({path.parent for path in source.rglob("*") if path.is_file()}):
        files = sorted(path for path in folder.iterdir() if path.is_file())
        if folder.parent == source / kind:
            order = np.random.default_rng(0).permutation(len(files))
            files = [files[i] for i in sorted(order[: max(1, round(share * len(files)))])]
        target = place / folder.relative_to(source)
        target.mkdir(parents=True, exist_ok=True)
        for file in files:
            link = target / file.name
            if not link.is_symlink():
                link.symlink_to(file)
    return place


def _judged(path: Path, method: str, pairs: list[Sample]) -> tuple[float, float, float, float]:
    """Share of IoU >= 0.5, AUC, pointing, and share on groups heard in training; per cent."""
    model = soundspot.load(path)
    model.facts = replace(model.facts, size=SIZE, keeps_proportions=True)
    locator = Locator(model, method)
    overlaps, hits = [], []
    for pair in tqdm(pairs, f"judging {method.partition('(')[0]}"):
        sound = read_sound(pair.sound, locator.facts.sample_rate)
        (evidence,) = locator.evidence([read_picture(pair.image)], [sound])
        truth = metrics.truth_mask(pair.boxes, GRID, GRID)
        values = resize_map(evidence.map, truth.shape)
        overlaps.append(metrics.ciou(metrics.as_many_as_truth(values, truth), truth))
        hits.append(metrics.points_inside(values, truth))
    found = np.array(overlaps)
    heard = np.array([pair.group in model.facts.heard for pair in pairs])
    thresholds = np.arange(21) / 20
    shares = [(found >= threshold).mean() for threshold in thresholds]
    return (
        100 * float((found >= 0.5).mean()),
        100 * float(np.trapezoid(shares, thresholds)),
        100 * float(np.mean(hits)),
        100 * float((found[heard] >= 0.5).mean()) if heard.any() else float("nan"),
    )


if __name__ == "__main__":
    main()
