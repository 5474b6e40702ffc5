"""Several sources on the repository's own samples: what `locate_sources` answers, drawn.

    python benchmarks/sources_figure.py --out docs/several_figure.jpg

Three scenes, each a cat beside a cup of coffee, or two cats: one meow; a meow over a rooster that
is not in the picture, two sources asked for; and one meow before two cats.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import soundspot
from soundspot.media.audio import as_sound
from soundspot.media.image import as_picture, write_picture
from soundspot.memory import keep_freed
from soundspot.several import draw, locate_sources

SAMPLES = Path(__file__).parent.parent / "samples"
HEIGHT = 256
RATE = 16_000
SECONDS = 5.0
LOUD = 0.1
"""Root mean square of each sound in a mixture."""

Picture = NDArray[np.uint8]
Sound = NDArray[np.float32]


def main() -> None:
    """Draw, and print the answers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/several_figure.jpg"))
    arguments = parser.parse_args()
    keep_freed()
    model = soundspot.load()
    cat, cup = _picture("chelsea.png"), _picture("coffee.jpg")
    meow, rooster = _sound("meow.flac"), _sound("rooster.mp3")
    scenes = {
        "cat and cup, a meow, auto": (cat, cup, meow, "auto"),
        "cat and cup, a meow and a rooster, auto": (cat, cup, meow + rooster, "auto"),
        "cat and cup, a meow and a rooster, 2 asked for": (cat, cup, meow + rooster, 2),
        "two cats, a meow, auto": (cat, cat[:, ::-1], meow, "auto"),
    }
    rows = []
    for name, (left, right, sound, sources) in scenes.items():
        picture = np.concatenate((left, right), 1)
        found = locate_sources(model, picture, (sound, RATE), sources)  # type: ignore[arg-type]
        print(f"{name}: {found or 'no visible source'}")
        rows.append(draw(picture, found))
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows]
    write_picture(arguments.out, np.concatenate(padded))


def _picture(name: str) -> Picture:
    picture = as_picture(SAMPLES / name)
    width = round(HEIGHT * picture.shape[1] / picture.shape[0])
    return np.array(Image.fromarray(picture).resize((width, HEIGHT)))


def _sound(name: str) -> Sound:
    """As loud as every other, with silence behind it."""
    samples = as_sound(SAMPLES / name, RATE)[: round(SECONDS * RATE)]
    samples = samples * np.float32(LOUD / np.sqrt(np.square(samples).mean()))
    return np.pad(samples, (0, round(SECONDS * RATE) - len(samples)))


if __name__ == "__main__":
    main()
