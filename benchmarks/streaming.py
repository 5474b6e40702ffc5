"""How much sound a frame of a film needs: windows cut at random, and windows along real films.

    python benchmarks/streaming.py DATA [--model default] [--pairs 100] [--films 6]

DATA holds `val/` (pairs.jsonl, negatives.jsonl) and `videos/`. The first table: AUROC of the
similarity, true pairs against pictures with a sound from elsewhere, where only a random part of
each sound is heard; followed by zeros up to what the model hears at once, and repeated instead. The
second: how far the confidence's logit moves in `STEP` seconds of films with their own sound, each
frame heard with the window around it.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import soundspot
from soundspot.data.manifest import read_manifest
from soundspot.locating import Locator, Waveform
from soundspot.media.audio import read_sound
from soundspot.media.image import read_picture
from soundspot.media.video import frames
from soundspot.metrics.confidence import auroc
from soundspot.streaming.hearing import filled_up
from soundspot.types import Sample
from soundspot.watch import frozen

WINDOWS = (0.5, 1.0, 2.0, 3.0, 5.0)
"""Seconds."""
DRAWS = 3
"""Random parts of each sound."""
AUDIBLE = 0.01
"""A part whose samples all stay below is drawn again, up to `TRIES` times."""
TRIES = 20
STEP = 0.2
"""Seconds between the frames of a film."""
FRAMES = 50
"""Of each film."""
Scores = NDArray[np.float64]


def similarities(
    locator: Locator, picture: NDArray[np.uint8], sounds: Sequence[Waveform]
) -> Scores:
    """Of one picture with each sound."""
    heard = locator.listen(sounds)
    with frozen(locator.model):
        asked = locator.look([locator.fit(picture)]).expand(len(sounds), -1, -1, -1)
        return np.asarray(heard(asked).detach().cpu(), np.float64)


def part(sound: Waveform, length: int, rng: np.random.Generator) -> Waveform:
    """A random part that is to be heard, where one is found."""
    for _ in range(TRIES):
        start = int(rng.integers(0, max(1, len(sound) - length + 1)))
        found = sound[start : start + length]
        if np.abs(found).max() >= AUDIBLE:
            break
    return found


def pair_scores(
    locator: Locator, sample: Sample, fill: Callable[[Waveform, int], Waveform]
) -> Scores:
    """Of one pair, by window and draw."""
    rate, total = locator.facts.sample_rate, locator.facts.seconds
    sound = read_sound(sample.sound, rate)
    rng = np.random.default_rng(0)
    cuts = [part(sound, round(w * rate), rng) for w in WINDOWS for _ in range(DRAWS)]
    filled = [fill(cut, round(total * rate)) for cut in cuts]
    found = similarities(locator, read_picture(sample.image), filled)
    return found.reshape(len(WINDOWS), DRAWS)


def by_window(locator: Locator, data: Path, pairs: int) -> None:
    """Print the first table."""
    true = [s for s in read_manifest(data / "val/pairs.jsonl") if not s.ambiguous][::3][:pairs]
    other = [s for s in read_manifest(data / "val/negatives.jsonl") if s.kind == "offscreen"]
    fills: dict[str, Callable[[Waveform, int], Waveform]] = {
        "then zeros": lambda cut, length: np.pad(cut, (0, length - len(cut))),
        "repeated": lambda cut, length: filled_up(cut, length, 0),
    }
    print("AUROC by seconds heard: ", *(f"{w:6g}" for w in WINDOWS))
    for name, fill in fills.items():
        above = np.stack([pair_scores(locator, s, fill) for s in true])
        below = np.stack([pair_scores(locator, s, fill) for s in other[:pairs]])
        scores = [
            np.mean([auroc(above[:, w, d], below[:, w, d]) for d in range(DRAWS)])
            for w in range(len(WINDOWS))
        ]
        print(f"  {name:22s}", *(f"{score:6.3f}" for score in scores), flush=True)


def film_logits(locator: Locator, path: Path) -> Scores:
    """Logits of the confidence, by window and frame."""
    rate, total, found = locator.facts.sample_rate, locator.facts.seconds, []
    sound = read_sound(path, rate)
    for time, picture in itertools.islice(frames(path, every=STEP), FRAMES):
        around = [
            (max(0, round((time - w / 2) * rate)), round((time + w / 2) * rate)) for w in WINDOWS
        ]
        cuts = [filled_up(sound[a:b], round(total * rate), 0) for a, b in around]
        found.append(similarities(locator, picture, cuts))
    scale = 1.0 if locator.facts.calibration is None else locator.facts.calibration.scale
    return scale * np.stack(found, 1)


def along_films(locator: Locator, data: Path, films: int) -> None:
    """Print the second table."""
    paths = sorted((data / "videos").glob("*.mp4"))[:films]
    print(f"change of the logit in {STEP} s: ", *(f"{w:6g}" for w in WINDOWS))
    moved = [np.abs(np.diff(film_logits(locator, path), axis=1)).mean(1) for path in paths]
    for path, row in zip(paths, moved, strict=True):
        print(f"  {path.stem[:28]:28s}", *(f"{value:6.3f}" for value in row))
    print(f"  {'mean':28s}", *(f"{value:6.3f}" for value in np.mean(moved, 0)))


def main() -> None:
    """Both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--model", default="default")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--films", type=int, default=6)
    given = parser.parse_args()
    locator = Locator(soundspot.load(given.model))
    by_window(locator, given.data, given.pairs)
    along_films(locator, given.data, given.films)


if __name__ == "__main__":
    main()
