"""Does what moves help to find what sounds? The map with a prior of change between frames.

    python benchmarks/motion.py DATA/videos [--weight 0.3] [--reach 1]

DATA/videos holds clips and `boxes.json`: a list of `{"video", "boxes"}`, the boxes of the frame in
the middle. That frame is judged with the 2 s of sound around it, as a film is. The prior is the
mean absolute difference between grey frames, one after the other, up to `--reach` seconds away,
each blurred by `BLUR` of its shorter side; *gated*: each difference weighs as much as the sound is
loud (RMS) between its two frames, so that what moves in silence counts less. Map and prior are
brought to [0, 1], and their mean is taken with the weight W of the prior.

Scores: IoU where as many pixels are highlighted as the truth has, and whether the peak lies in it.

The rule, set before the first run: the candidate is the gated prior with W = 0.3. It becomes an
option of films if it raises the mean IoU over the clips and no clip loses more than 0.05. The other
rows are there to see why, not to choose from. Four clips cannot show that anything is significant;
they can show harm.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from soundspot.maps import FloatMap, gaussian_blur, resize_map
from soundspot.media.audio import read_sound
from soundspot.media.video import frames, read_frame, read_info
from soundspot.memory import keep_freed
from soundspot.metrics import as_many_as_truth, iou, points_inside, truth_mask
from soundspot.streaming import stream

SIDE = 192
"""Pixels of the grey frames' longer side."""
BLUR = 0.02
"""Standard deviation, as a fraction of the shorter side."""
RATE = 16_000
"""Hz."""
GREY = np.array((0.299, 0.587, 0.114), np.float32)
"""Weights of red, green and blue (BT.601)."""
CLOSE = 0.02
"""Seconds after the judged frame in which no other is asked for."""
LOSS = 0.05
"""What no clip may lose."""


class Score(NamedTuple):
    """IoU, and whether the peak is in the truth."""

    iou: float
    hit: bool


def grey(picture: NDArray[np.uint8]) -> FloatMap:
    """A small, blurred picture in shades of grey, 0 to 1."""
    height, width = picture.shape[:2]
    shrink = max(height, width) / SIDE
    size = round(height / shrink), round(width / shrink)
    small = torch.from_numpy(resize_map(picture @ GREY / np.float32(255), size))
    return gaussian_blur(small[None], BLUR * min(size))[0].numpy()


def change(clip: Path, middle: float, reach: float, *, gated: bool) -> FloatMap:
    """Mean absolute difference between neighbouring frames around a time."""
    found = [(at, grey(p)) for at, p in frames(clip, max(0.0, middle - reach), middle + reach)]
    sound = read_sound(clip, RATE)
    differences, weights = [], []
    for (before, a), (after, b) in itertools.pairwise(found):
        heard = sound[round(before * RATE) : round(after * RATE)]
        differences.append(np.abs(b - a))
        weights.append(float(np.sqrt(np.square(heard).mean())) if gated and len(heard) else 1.0)
    return np.asarray(np.average(differences, axis=0, weights=weights), np.float32)


def scaled(values: FloatMap) -> FloatMap:
    """To [0, 1]."""
    span = float(np.ptp(values)) or 1.0
    return np.asarray((values - values.min()) / span, np.float32)


def scores(record: dict[str, object], root: Path, weight: float, reach: float) -> dict[str, Score]:
    """Of each way on one clip."""
    clip = root / str(record["video"])
    middle = read_info(clip).seconds / 2
    picture = read_frame(clip, middle)
    moment = next(iter(stream(clip, start=middle, stop=middle + CLOSE, smooth=0, device="cpu")))
    shape = picture.shape[:2]
    truth = truth_mask([tuple(b) for b in record["boxes"]], *shape)  # type: ignore[attr-defined]
    own = scaled(moment.result.map)
    ways = {"map": own}
    for name in ("motion", "gated motion"):
        prior = change(clip, middle, reach, gated=name != "motion")
        ways[name] = scaled(resize_map(prior, shape))
        ways[f"map and {name}"] = (1 - weight) * own + weight * ways[name]
    return {
        name: Score(iou(as_many_as_truth(values, truth), truth), points_inside(values, truth))
        for name, values in ways.items()
    }


def verdict(table: list[dict[str, Score]]) -> str:
    """What the rule says."""
    gains = [row["map and gated motion"].iou - row["map"].iou for row in table]
    kept = float(np.mean(gains)) > 0 and min(gains) >= -LOSS
    said = "kept" if kept else "left out"
    return f"mean gain {np.mean(gains):+.3f}, worst {min(gains):+.3f}: {said}"


def main() -> None:
    """Print the table and the verdict."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="DATA/videos")
    parser.add_argument("--weight", type=float, default=0.3, metavar="W")
    parser.add_argument("--reach", type=float, default=1.0, metavar="SECONDS")
    given = parser.parse_args()
    keep_freed()
    records = json.loads((given.folder / "boxes.json").read_text())
    table = []
    for record in records:
        table.append(scores(record, given.folder.parent, given.weight, given.reach))
        print(record["class"], flush=True)
        for name, score in table[-1].items():
            print(f"  {name:22s} IoU {score.iou:.3f}  peak {'in' if score.hit else 'out'}")
    print("mean")
    for name in table[0]:
        print(
            f"  {name:22s} IoU {np.mean([row[name].iou for row in table]):.3f}  peak in "
            f"{sum(row[name].hit for row in table)} of {len(table)}"
        )
    print(verdict(table))


if __name__ == "__main__":
    main()
