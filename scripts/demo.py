"""The main job on real files: where in this photograph does this sound come from?

    python scripts/demo.py

One photograph of a cat, asked about with a meow, with barking dogs and with silence.
The answers are printed, and the overlays written to `demo/`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import soundspot

ROOT = Path(__file__).resolve().parent.parent
SAMPLES, OUT = ROOT / "samples", ROOT / "demo"
RATE = 16_000


def main() -> None:
    """Ask three times about one picture."""
    model = soundspot.load()
    picture = SAMPLES / "chelsea.png"
    print(f"Where in {picture.relative_to(ROOT)} does the sound come from?")
    for name, sound in (
        ("meow", SAMPLES / "meow.flac"),
        ("bark", SAMPLES / "dog.mp3"),
        ("silence", (np.zeros(5 * RATE, np.float32), RATE)),
    ):
        result = soundspot.locate(model, picture, sound)
        out = OUT / f"{name}.png"
        result.save(out)
        print(f"  {name:8} {result}\n{'':10} drawn in {out.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
