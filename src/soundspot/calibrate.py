"""Give a trained model's numbers a meaning: what a similarity says, where a map is cut.

    soundspot calibrate MODEL pairs.jsonl negatives.jsonl --out CALIBRATED

- confidence = sigmoid(scale * similarity + bias), fitted by logistic regression (Platt 1999) to
  tell pairs with a visible source from silence, noise and off-screen sounds, both sides with
  equal weight;
- a threshold for the method (and for the model's own map): of `CANDIDATES` raw values the one
  whose *boxes*, as users get them, meet the true boxes best (mean IoU of the areas they cover).

Two numbers and a threshold are fitted to the data given, so figures measured on the same data
are those of a model that was *chosen* on it: judge on other data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from tqdm import tqdm

from soundspot.checkpoint import EMBEDDED, load, read_header, save
from soundspot.data.manifest import read_manifest
from soundspot.errors import ManifestError, OptionError
from soundspot.facts import Calibration
from soundspot.locating import Locator, cut
from soundspot.maps import FloatMap, resize_map
from soundspot.media.audio import read_sound
from soundspot.media.image import read_picture
from soundspot.metrics.overlap import truth_mask
from soundspot.types import Sample

CANDIDATES = 51
"""Thresholds tried, between the least and the largest value seen."""
SIDE = 128
"""Maps and truths are compared at this size."""
BINS = 10
"""Of the expected calibration error."""
STEADY = 1e-3
"""Weight that keeps the fit finite where the two sides can be told apart without error."""


@dataclass(frozen=True)
class Fit:
    """What calibration found."""

    calibration: Calibration
    expected_error: float
    mean_iou: float
    method: str

    def __str__(self) -> str:
        """For people."""
        c = self.calibration
        cuts = ", ".join(f"{name} at {value:.3f}" for name, value in c.thresholds.items())
        return (
            f"confidence = sigmoid({c.scale:.3f} s + {c.bias:.3f}), expected calibration error "
            f"{self.expected_error:.3f}; cut {cuts} (mean IoU of {self.method} "
            f"{self.mean_iou:.3f} on these data)"
        )


def calibrate(
    checkpoint: str | Path,
    manifests: Sequence[str | Path],
    out: str | Path,
    *,
    method: str | None = None,
    size: int | None = None,
    base: str | None = None,
    device: str = "auto",
) -> Fit:
    """Calibrate a model and save it with its new facts.

    Args:
        checkpoint: a trained model.
        manifests: positives with boxes, and negatives.
        out: where the calibrated model goes.
        method: the model's default method from now on; None keeps it.
        size: the side that pictures are fitted to from now on; None keeps it.
        base: an embedded model whose tensors `out` need not repeat (`checkpoint.save`).
        device: where to run.

    Raises:
        OptionError: the base is none that is embedded.
        ManifestError: no positives with boxes, or no negatives, in the manifests.
    """
    samples = [s for path in manifests for s in read_manifest(path)]
    positives = [s for s in samples if s.kind == "positive" and s.boxes]
    negatives = [s for s in samples if s.kind in {"silence", "noise", "offscreen"}]
    if not positives or not negatives:
        named = ", ".join(map(str, manifests))
        raise ManifestError(f"{named}: calibration needs pairs with boxes and negatives")
    if base is not None and base not in EMBEDDED:
        raise OptionError(f"--base {base}: no embedded model; there are {', '.join(EMBEDDED)}")
    model = load(checkpoint)
    method = method or model.facts.method
    model.facts = replace(
        model.facts, size=model.facts.size if size is None else size, method=method
    )
    locator = Locator(model, device=device)
    own = Locator(model, "similarity_map", device=device)
    cuts = {repr(way.method): best_cut(way, positives) for way in (own, locator)}
    seen, unseen = (similarities(own, group) for group in (positives, negatives))
    scale, bias = fit_logistic(seen, unseen)
    if scale <= 0:
        raise ManifestError(
            f"{checkpoint}: does not score the pairs above the negatives on these data; "
            "train it longer, or check the manifests"
        )
    calibration = Calibration(
        scale, bias, thresholds={name: value for name, (value, _) in cuts.items()}
    )
    model.facts = replace(model.facts, calibration=calibration)
    notes = read_header(checkpoint).get("notes", {})
    save(model, out, base=base, **notes)
    error = expected_error(expit(scale * seen + bias), expit(scale * unseen + bias))
    chosen = repr(locator.method)
    return Fit(calibration, error, cuts[chosen][1], chosen)


def similarities(locator: Locator, samples: Sequence[Sample]) -> NDArray[np.float64]:
    """The model's similarity of each pair."""
    rate = locator.facts.sample_rate
    found = [
        locator.evidence([read_picture(s.image)], [read_sound(s.sound, rate)])[0].similarity
        for s in tqdm(samples, "similarities")
    ]
    return np.array(found)


def fit_logistic(
    positives: NDArray[np.float64], negatives: NDArray[np.float64]
) -> tuple[float, float]:
    """Scale and bias of the logistic regression that tells the two apart, equal weight a side."""
    centre = float(np.concatenate((positives, negatives)).mean())
    spread = float(np.concatenate((positives, negatives)).std()) or 1.0
    up, down = (positives - centre) / spread, (negatives - centre) / spread

    def loss(parameters: NDArray[np.float64]) -> float:
        a, b = parameters
        wrong = np.logaddexp(0, -(a * up + b)).mean() + np.logaddexp(0, a * down + b).mean()
        return float(wrong + STEADY * a * a)

    a, b = minimize(loss, np.array([1.0, 0.0])).x
    return float(a / spread), float(b - a * centre / spread)


def expected_error(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> float:
    """Expected calibration error of confidences: mean distance of what is said and what is so.

    Naeini et al., AAAI 2015, `BINS` bins of equal width; both sides weigh the same.
    """
    confidence = np.concatenate((positives, negatives))
    truth = np.concatenate((np.ones(len(positives)), np.zeros(len(negatives))))
    weight = np.where(truth == 1, 0.5 / len(positives), 0.5 / len(negatives))
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.zeros(BINS)
    np.add.at(gaps, bins, weight * (confidence - truth))
    return float(np.abs(gaps).sum())


def best_cut(locator: Locator, samples: Sequence[Sample]) -> tuple[float, float]:
    """The raw value whose boxes meet the true ones best, and the mean IoU there."""
    rate = locator.facts.sample_rate
    maps: list[FloatMap] = []
    truths: list[NDArray[np.bool_]] = []
    for sample in tqdm(samples, f"maps of {locator.method}"):
        found = locator.evidence([read_picture(sample.image)], [read_sound(sample.sound, rate)])
        maps.append(resize_map(found[0].map, (SIDE, SIDE)))
        truths.append(truth_mask(sample.boxes, SIDE, SIDE))
    truth = np.stack(truths)
    candidates = np.linspace(np.min(maps), np.max(maps), CANDIDATES)
    scores = [
        mean_iou(np.stack([covered(map_, value) for map_ in maps]), truth)
        for value in tqdm(candidates, "thresholds")
    ]
    best = int(np.argmax(scores))
    return float(candidates[best]), scores[best]


def covered(values: FloatMap, threshold: float) -> NDArray[np.bool_]:
    """The area within the boxes that a threshold cuts out of a map, h w."""
    height, width = values.shape
    area = np.zeros((height, width), bool)
    for (x0, y0, x1, y1), _ in cut(values, threshold, 1.0):
        area[int(y0) : int(y1), int(x0) : int(x1)] = True
    return area


def mean_iou(masks: NDArray[np.bool_], truths: NDArray[np.bool_]) -> float:
    """Mean over pictures of intersection over union, masks and truths n h w."""
    both = (masks & truths).sum((1, 2))
    either = (masks | truths).sum((1, 2))
    return float((both / np.maximum(either, 1)).mean())
