"""Listening to the sources of a film, against listening to those of its picture.

    python benchmarks/sources_films.py --data ../shared/data/val/mixtures.jsonl

Each scene with several sources becomes a film: its picture, still, while its mixture lasts,
H.264 with the sound as PCM. Both are asked for as many sources as there are, and to separate them;
printed is the gain in scale-invariant SDR over the mixture, by the assignment that suits each best
(as `benchmarks/sources.py`), with the mean of the differences, drawn by scenes.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import soundspot
from one_line_errors import one_line_errors
from soundspot import metrics
from soundspot.data import open_data
from soundspot.errors import SoundspotError
from soundspot.facts import facts_of
from soundspot.filming_sources import film_sources
from soundspot.media.audio import as_sound, write_sound
from soundspot.media.film_writer import write_film
from soundspot.media.image import as_picture
from soundspot.memory import keep_freed
from soundspot.several import locate_sources
from sources import gains

if TYPE_CHECKING:
    from soundspot.similarity import Similarity
    from soundspot.types import Sample

RATE = 2
"""Pictures a second."""
ONCE = 10_000
"""One frame in so many is judged: the sounds do not depend on it."""
Wave = NDArray[np.float32]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--data", required=True, help="scenes with several sources, as `soundspot evaluate` takes")
    add("--model", default="default")
    add("--max", type=int, help="scenes, to try")
    arguments = parser.parse_args()
    keep_freed()
    with one_line_errors("sources_films"):
        _run(arguments)


def _run(arguments: argparse.Namespace) -> None:
    model = soundspot.load(arguments.model)
    samples = [s for s in open_data(arguments.data).samples() if len(s.sources) > 1]
    samples = samples[: arguments.max]
    if not samples:
        raise SoundspotError(f"{arguments.data}: no sample has several sources")
    each: dict[str, list[float]] = {"picture": [], "film": []}
    scenes: list[int] = []
    for number, sample in enumerate(tqdm(samples, desc="scenes", unit="scene")):
        for name, found in _both(model, sample).items():
            each[name] += found
        scenes += [number] * len(sample.sources)
    _print(each, scenes, len(samples))


def _both(model: Similarity, sample: Sample) -> dict[str, list[float]]:
    """Gains of each truth, dB, from the picture and from the film."""
    rate, count = facts_of(model).sample_rate, len(sample.sources)
    mixture = as_sound(sample.sound, rate)
    clean = [as_sound(source.sound or sample.sound, rate) for source in sample.sources]
    seen = locate_sources(model, sample.image, sample.sound, count, listen=True)
    with tempfile.TemporaryDirectory() as folder:
        film = _film(Path(folder), sample, mixture, rate)
        filmed = film_sources(film, model, sources=count, listen=True, every=ONCE)
    sounds = {"picture": [one.sound for one in seen], "film": [one.sound for one in filmed]}
    return {
        name: gains([one.samples for one in found if one is not None], clean, mixture)
        for name, found in sounds.items()
    }


def _film(folder: Path, sample: Sample, mixture: Wave, rate: int) -> Path:
    """The scene as a film."""
    picture, sound, film = as_picture(sample.image), folder / "s.wav", folder / "f.mkv"
    write_sound(sound, mixture, rate)
    seconds = len(mixture) / rate
    size = picture.shape[1], picture.shape[0]
    with write_film(film, size, RATE, sound_from=sound, stop=seconds) as out:
        for time in np.arange(0, seconds, 1 / RATE).tolist():
            out.write(time, lambda: picture)
    return film


def _print(found: dict[str, list[float]], scenes: list[int], count: int) -> None:
    print(f"{count} scenes; gain in SDR, dB (95 % of draws)\n")
    for name, values in found.items():
        low, high = metrics.mean_interval(np.array(values), scenes)
        print(f"{name}: {np.mean(values):+.2f} ({low:+.2f} to {high:+.2f})")
    differ = metrics.paired_difference(np.array(found["film"]), np.array(found["picture"]), scenes)
    print(f"film minus picture: {differ.mean:+.2f} ({differ.low:+.2f} to {differ.high:+.2f})")


if __name__ == "__main__":
    main()
