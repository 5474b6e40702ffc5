"""Several sources at once: every approach, the baseline and rows that look at nothing.

    python benchmarks/sources.py --data ../shared/data/val/mixtures.jsonl

`--data` names scenes with several sources, each with boxes and a clean sound. Every approach is
asked for as many sources as there are; what it finds is matched with the truths by the assignment
that suits it best (`metrics.several`), but for CAP, where each map goes to the truth whose clean
sound its voice is nearest to. Scores come one a truth; intervals and differences draw scenes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

import soundspot
from one_line_errors import one_line_errors
from soundspot import metrics
from soundspot.data import open_data
from soundspot.errors import SoundspotError
from soundspot.judging.blind import centre_disc, random_smooth
from soundspot.locating import Locator
from soundspot.maps import FloatMap, resize_map
from soundspot.media.audio import as_sound
from soundspot.media.image import as_picture
from soundspot.memory import keep_freed
from soundspot.metrics.several import best_assignment, matched_ciou
from soundspot.several import APPROACHES, DEFAULT_APPROACH, Approach, Found
from soundspot.several.scene import Scene
from soundspot.several.spectra import masked
from soundspot.several.two_blobs import mixture_map

if TYPE_CHECKING:
    from soundspot.similarity import Similarity
    from soundspot.types import Sample

SIDE = 320
"""Longer side at which maps are judged."""
SUCCESS, HIT = 0.3, 0.5
SCORES = ("PIAP", "CAP", ">=.3", "AUC", "both .3", "both .5", "half >=.3", "half AUC", "SDR")
TESTED = ("PIAP", ">=.3", "AUC", "both .3")
ROUNDS = 3
"""Of the timing of each scene that is timed."""
TIMED = 5
"""Scenes."""
SMALLEST = 1e-9

Column = NDArray[np.float64]


@dataclass
class Row:
    """What one approach scored, one number a truth (or a scene)."""

    scores: dict[str, list[float]] = field(default_factory=dict)
    scenes: dict[str, list[int]] = field(default_factory=dict)
    ratios: list[float] = field(default_factory=list)

    def add(self, name: str, scene: int, values: Sequence[float]) -> None:
        """Keep scores of a scene."""
        self.scores.setdefault(name, []).extend(float(v) for v in values)
        self.scenes.setdefault(name, []).extend([scene] * len(values))

    def column(self, name: str, keep: Callable[[int], bool]) -> tuple[Column, list[int]]:
        """Scores of some scenes, and whose they are."""
        pairs = zip(self.scores.get(name, []), self.scenes.get(name, []), strict=True)
        kept = [(v, n) for v, n in pairs if keep(n)]
        return np.array([v for v, _ in kept]), [n for _, n in kept]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--data", required=True, help="scenes with several sources, as `soundspot evaluate` takes")
    add("--model", default="default", help="for the approaches that use the default model")
    add("--approaches", help="names with commas between (default: all)")
    add("--max", type=int, help="scenes, to try")
    arguments = parser.parse_args()
    keep_freed()
    with one_line_errors("sources"):
        _run(arguments)


def _run(arguments: argparse.Namespace) -> None:
    samples = [s for s in open_data(arguments.data).samples() if len(s.sources) > 1]
    samples = samples[: arguments.max]
    if not samples:
        raise SoundspotError(f"{arguments.data}: no sample has several sources")
    asked = _asked(arguments.approaches)
    models: dict[str, Similarity] = {arguments.model: soundspot.load(arguments.model)}
    rows: dict[str, Row] = {}
    for number, sample in enumerate(tqdm(samples, desc="scenes", unit="scene")):
        _scene(rows, number, sample, asked, models, arguments.model)
    print(f"{len(samples)} scenes, {torch.get_num_threads()} thread(s)\n")
    _table(rows, "All scenes", lambda n: True)
    _table(rows, "Even scenes", lambda n: n % 2 == 0)
    _table(rows, "Odd scenes", lambda n: n % 2 == 1)
    _differences(rows)


def _asked(names: str | None) -> dict[str, Approach]:
    chosen = list(APPROACHES) if names is None else names.split(",")
    return {name: soundspot.several.parse_approach(name) for name in chosen}


def _scene(
    rows: dict[str, Row],
    number: int,
    sample: Sample,
    asked: Mapping[str, Approach],
    models: dict[str, Similarity],
    default: str,
) -> None:
    """Ask everybody about one scene."""
    picture, sound = as_picture(sample.image), as_sound(sample.sound, _rate(models[default]))
    truths, count = _truths(sample, picture.shape[:2]), len(sample.sources)
    clean = [as_sound(s.sound or sample.sound, _rate(models[default])) for s in sample.sources]
    locator = Locator(models[default])
    voices = locator.listen(clean).sounds[0].cpu().numpy()  # type: ignore[attr-defined]
    for name, approach in asked.items():
        word = default if approach.model == "default" else approach.model
        models.setdefault(word, soundspot.load(word))
        scene = Scene(Locator(models[word]), (picture,), sound, listen=approach.separates)
        found = approach.find(scene, count)
        row = rows.setdefault(name, Row())
        _score(row, number, [one.map for one in found], truths)
        if all(one.voice is not None for one in found):
            row.add("CAP", number, _cap(found, truths, voices))
        if approach.separates:
            sounds = [masked(scene, one.mask) for one in found if one.mask is not None]
            row.add("SDR", number, gains(sounds, clean, scene.stretch))
        if number < TIMED:
            row.ratios.append(_ratio(approach, scene, locator, count))
    for name, maps in _blind(picture.shape[:2], sample.id, count).items():
        _score(rows.setdefault(name, Row()), number, maps, truths)
    _interactive(rows, number, locator, picture, clean, truths)


def _rate(model: Similarity) -> int:
    return Locator(model).facts.sample_rate


def _truths(sample: Sample, size: tuple[int, int]) -> list[NDArray[np.bool_]]:
    scale = min(1.0, SIDE / max(size))
    height, width = round(scale * size[0]), round(scale * size[1])
    return [metrics.truth_mask(source.boxes, height, width) for source in sample.sources]


def _score(
    row: Row, scene: int, maps: Sequence[FloatMap], truths: Sequence[NDArray[np.bool_]]
) -> None:
    judged = [resize_map(np.asarray(m, np.float32), truths[0].shape) for m in maps]
    table = [
        [metrics.iou(metrics.as_many_as_truth(m, truth), truth) for truth in truths] for m in judged
    ]
    exact = _assigned(np.array(table))
    half = matched_ciou(judged, truths)
    ap = _assigned(np.array([[metrics.pixel_ap(m, truth) for truth in truths] for m in judged]))
    row.add("PIAP", scene, ap.tolist())
    row.add(">=.3", scene, (exact >= SUCCESS).tolist())
    row.add("AUC", scene, metrics.auc_of_each(exact).tolist())
    row.add("both .3", scene, [exact.min() >= SUCCESS])
    row.add("both .5", scene, [exact.min() >= HIT])
    row.add("half >=.3", scene, (half >= SUCCESS).tolist())
    row.add("half AUC", scene, metrics.auc_of_each(half).tolist())


def _assigned(table: Column) -> Column:
    """Each truth's score under the best assignment."""
    owners = best_assignment(table)
    return np.array([0.0 if m is None else table[m, t] for t, m in enumerate(owners)])


def _cap(
    found: Sequence[Found], truths: Sequence[NDArray[np.bool_]], voices: Column
) -> list[float]:
    """Pixel AP of the map whose voice is nearest to each truth's clean sound."""
    own = np.stack([one.voice for one in found if one.voice is not None]).astype(np.float64)
    near = _unit(own) @ _unit(voices).T
    maps = [resize_map(np.asarray(one.map, np.float32), truths[0].shape) for one in found]
    owners = best_assignment(np.clip(near, 0, None) + SMALLEST)
    return [
        0.0 if m is None else metrics.pixel_ap(maps[m], truths[t]) for t, m in enumerate(owners)
    ]


def _unit(vectors: Column) -> Column:
    units: Column = vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + SMALLEST)
    return units


def gains(
    sounds: Sequence[NDArray[np.float32]],
    clean: Sequence[NDArray[np.float32]],
    mixture: NDArray[np.float32],
) -> list[float]:
    """Scale-invariant SDR (dB) of each clean sound over that of the mixture; best assignment."""
    table = np.array([[_sdr(sound, c) - _sdr(mixture, c) for c in clean] for sound in sounds])
    owners = best_assignment(table - table.min())
    return [0.0 if m is None else float(table[m, t]) for t, m in enumerate(owners)]


def _sdr(sound: NDArray[np.float32], clean: NDArray[np.float32]) -> float:
    length = min(len(sound), len(clean))
    a, b = sound[:length].astype(np.float64), clean[:length].astype(np.float64)
    part = (a @ b) / (b @ b + SMALLEST) * b
    return float(10 * np.log10((part @ part + SMALLEST) / ((a - part) @ (a - part) + SMALLEST)))


def _ratio(approach: Approach, scene: Scene, locator: Locator, count: int) -> float:
    """Time over that of `locate`, in turn on the same scene."""
    ratios = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        locator.locate(scene.pictures, [scene.heard])
        middle = time.perf_counter()
        approach.find(Scene(scene.locator, scene.pictures, scene.heard), count)
        ratios.append((time.perf_counter() - middle) / (middle - start))
    return statistics.median(ratios)


def _blind(size: tuple[int, int], name: str, count: int) -> dict[str, list[FloatMap]]:
    """Maps that look at nothing."""
    height, width = size
    columns = np.arange(width) * count // width
    line = [np.where(columns == k, 1.0, 0.0).astype(np.float32) for k in range(count)]
    y = (np.arange(height)[:, None] - (height - 1) / 2) / height
    x = np.arange(width)[None] / width * count
    discs = [-np.hypot(y, x - k - 0.5).astype(np.float32) for k in range(count)]
    return {
        "blind: discs in equal parts": discs,
        "blind: equal parts": [np.tile(values, (height, 1)) for values in line],
        "blind: one centre disc": [centre_disc(height, width).copy()] * count,
        "blind: random": [random_smooth(height, width, f"{name}/{k}") for k in range(count)],
    }


def _interactive(
    rows: dict[str, Row],
    number: int,
    locator: Locator,
    picture: NDArray[np.uint8],
    clean: Sequence[NDArray[np.float32]],
    truths: Sequence[NDArray[np.bool_]],
) -> None:
    """IIoU: the same picture with each clean sound in turn; nothing is matched."""
    row = rows.setdefault("clean sounds", Row())
    maps = [mixture_map(Scene(locator, (picture,), c))[0] for c in clean]
    judged = [resize_map(m, truths[0].shape) for m in maps]
    pairs = list(zip(judged, truths, strict=True))
    exact = np.array([metrics.iou(metrics.as_many_as_truth(m, t), t) for m, t in pairs])
    row.add("PIAP", number, [metrics.pixel_ap(m, t) for m, t in pairs])
    row.scores["CAP"], row.scenes["CAP"] = row.scores["PIAP"], row.scenes["PIAP"]
    row.add(">=.3", number, (exact >= SUCCESS).tolist())
    row.add("AUC", number, metrics.auc_of_each(exact).tolist())
    row.add("both .3", number, [exact.min() >= SUCCESS])
    row.add("both .5", number, [exact.min() >= HIT])


def _table(rows: Mapping[str, Row], title: str, keep: Callable[[int], bool]) -> None:
    print(f"### {title}\n\n| | {' | '.join(SCORES)} | time |")
    print("|---" * (len(SCORES) + 2) + "|")
    for name, row in rows.items():
        cells = [_cell(row, score, keep) for score in SCORES]
        ratio = f"{statistics.median(row.ratios):.1f}" if row.ratios else ""
        label = f"**{name}**" if name == DEFAULT_APPROACH else name
        print(f"| {label} | {' | '.join(cells)} | {ratio} |")
    print()


def _cell(row: Row, score: str, keep: Callable[[int], bool]) -> str:
    values, scenes = row.column(score, keep)
    if not values.size:
        return ""
    if score == "SDR":
        return f"{values.mean():+.1f} dB"
    if score not in TESTED:
        return f"{100 * values.mean():.1f}"
    low, high = metrics.mean_interval(values, scenes)
    return f"{100 * values.mean():.1f} ({100 * low:.0f} to {100 * high:.0f})"


def _differences(rows: Mapping[str, Row]) -> None:
    """The default against every other row, paired."""
    if DEFAULT_APPROACH not in rows:
        return
    print(f"### {DEFAULT_APPROACH} minus the others (95 % of draws; p by sign flips)\n")
    print(f"| | {' | '.join(TESTED)} |\n|---|{'---|' * len(TESTED)}")
    ours = rows[DEFAULT_APPROACH]
    for name, row in rows.items():
        if row is ours:
            continue
        cells = []
        for score in TESTED:
            a, scenes = ours.column(score, lambda n: True)
            b, _ = row.column(score, lambda n: True)
            found = metrics.paired_difference(a, b, scenes)
            p = metrics.sign_flip_test(a, b, scenes)
            cells.append(
                f"{100 * found.mean:+.1f} ({100 * found.low:+.0f} to {100 * found.high:+.0f}), "
                f"p {p:.4f}"
            )
        print(f"| {name} | {' | '.join(cells)} |")
    print()


if __name__ == "__main__":
    main()
