"""Give a trained model's numbers a meaning: what a similarity says, where a map is cut.

    soundspot calibrate MODEL pairs.jsonl negatives.jsonl --out CALIBRATED

- confidence = sigmoid(scale * similarity + bias), fitted by logistic regression (Platt 1999) to
  tell pairs with a visible source from noise and off-screen sounds, both sides with equal weight.
  Silence is not fitted: `locate` answers it with 0 by rule, and so it is counted in the error;
- a threshold for the method (and for the model's own map): of `CANDIDATES` raw values the one
  whose *boxes*, as users get them, meet the true boxes best (mean IoU of the areas they cover); the
  highest of those that are as good within `ALIKE`.

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

from soundspot.checkpoint import EMBEDDED, load, save
from soundspot.data.manifest import read_manifest
from soundspot.data.media import picture_of, sound_of
from soundspot.errors import ManifestError, OptionError
from soundspot.facts import Calibration
from soundspot.locating import LocalEvidence, Locator, cut, is_silence
from soundspot.maps import FloatMap, resize_map
from soundspot.metrics import calibration_error, truth_mask
from soundspot.types import Sample

CANDIDATES = 51
"""Thresholds tried, between the least and the largest value seen."""
ALIKE = 0.005
"""Mean IoU, within which a higher threshold is taken: what it leaves out cost nothing."""
FEW = 50
"""Pairs or negatives below which a line says that the figures mean little: the standard error of a
share of 50 is up to 0.07."""
SIDE = 128
"""Maps and truths are compared at this size."""
STEADY = 1e-3
"""Weight that keeps the fit finite where the two sides can be told apart without error."""


@dataclass(frozen=True)
class Fit:
    """What calibration found."""

    calibration: Calibration
    expected_error: float
    mean_iou: float
    method: str
    pairs: int
    negatives: int

    def __str__(self) -> str:
        """For people."""
        c = self.calibration
        cuts = ", ".join(f"{name} at {value:.3f}" for name, value in c.thresholds.items())
        few = min(self.pairs, self.negatives) < FEW
        warning = (
            f"\nfitted to {self.pairs} pairs and {self.negatives} negatives: so few say little, "
            f"and the figures above flatter; give {FEW} or more of each"
        )
        return (
            f"confidence = sigmoid({c.scale:.3f} s + {c.bias:.3f}), expected calibration error "
            f"{self.expected_error:.3f}; cut {cuts} (mean IoU of {self.method} "
            f"{self.mean_iou:.3f} on these data)"
        ) + (warning if few else "")


def calibrate(
    checkpoint: str | Path,
    manifests: Sequence[str | Path],
    out: str | Path,
    *,
    method: str | None = None,
    size: int | None = None,
    keeps_proportions: bool | None = None,
    base: str | None = None,
    device: str = "auto",
) -> Fit:
    """Calibrate a model and save it with its new facts.

    Args:
        checkpoint: a trained model: a path, or any other name that `load` takes.
        manifests: positives with boxes, and negatives.
        out: where the calibrated model goes: a file, or a folder.
        method: the model's default method from now on; None keeps it.
        size: the side that pictures are fitted to from now on; None keeps it.
        keeps_proportions: whether they are fitted in their own proportions; None leaves it.
        base: an embedded model whose sound tower `out` need not repeat (`checkpoint.save`).
        device: where to run.

    Raises:
        OptionError: the base is none that is embedded.
        ManifestError: no positives with boxes, or no negatives but silence, in the manifests.
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
    kept = model.facts.keeps_proportions if keeps_proportions is None else keeps_proportions
    model.facts = replace(
        model.facts,
        size=model.facts.size if size is None else size,
        method=method,
        keeps_proportions=kept,
    )
    locator = Locator(model, device=device)
    own = Locator(model, "similarity_map", device=device)
    cuts = {repr(way.method): best_cut(way, positives) for way in (own, locator)}
    seen, unseen = (answers(own, group) for group in (positives, negatives))
    if not (seen.heard.any() and unseen.heard.any()):
        named = ", ".join(map(str, manifests))
        raise ManifestError(f"{named}: calibration needs pairs and negatives that are not silent")
    scale, bias = fit_logistic(seen.similarities[seen.heard], unseen.similarities[unseen.heard])
    if scale <= 0:
        raise ManifestError(
            f"{checkpoint}: does not score the pairs above the negatives on these data; "
            "train it longer, or check the manifests"
        )
    calibration = Calibration(
        scale, bias, thresholds={name: value for name, (value, _) in cuts.items()}
    )
    model.facts = replace(model.facts, calibration=calibration)
    error = calibration_error(seen.confidences(scale, bias), unseen.confidences(scale, bias))
    fit = {
        "pairs": len(positives),
        "negatives": len(negatives),
        "expected calibration error": error,
        "mean IoU of boxes": {name: value for name, (_, value) in cuts.items()},
    }
    save(model, out, base=base, calibrated=fit)
    chosen = repr(locator.method)
    return Fit(calibration, error, cuts[chosen][1], chosen, len(positives), len(negatives))


@dataclass(frozen=True)
class Answers:
    """What a model says of samples: similarities, and which of them have something to hear."""

    similarities: NDArray[np.float64]
    heard: NDArray[np.bool_]

    def confidences(self, scale: float, bias: float) -> NDArray[np.float64]:
        """As `locate` would give them: silence 0."""
        said = expit(scale * self.similarities + bias)
        return np.where(self.heard, said, 0.0).astype(np.float64)


def answers(locator: Locator, samples: Sequence[Sample]) -> Answers:
    """The model's similarity of each pair."""
    found = [_asked(locator, sample) for sample in tqdm(samples, "similarities")]
    return Answers(
        np.array([evidence.similarity for evidence, _ in found]),
        np.array([heard for _, heard in found]),
    )


def _asked(locator: Locator, sample: Sample) -> tuple[LocalEvidence, bool]:
    """The evidence of one sample, read as `locate` reads it, and whether it is no silence."""
    facts = locator.facts
    sound = sound_of(sample, facts.sample_rate, facts.seconds)
    return locator.evidence([picture_of(sample)], [sound])[0], not is_silence(sound)


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


def best_cut(locator: Locator, samples: Sequence[Sample]) -> tuple[float, float]:
    """The raw value whose boxes meet the true ones best, and the mean IoU there.

    Of values that are as good to within `ALIKE` it is the highest: it highlights least where there
    is nothing.
    """
    maps: list[FloatMap] = []
    truths: list[NDArray[np.bool_]] = []
    for sample in tqdm(samples, f"maps of {locator.method}"):
        evidence, _ = _asked(locator, sample)
        maps.append(resize_map(evidence.map, (SIDE, SIDE)))
        truths.append(truth_mask(sample.boxes, SIDE, SIDE))
    truth = np.stack(truths)
    candidates = np.linspace(np.min(maps), np.max(maps), CANDIDATES)
    scores = [
        mean_iou(np.stack([covered(map_, value) for map_ in maps]), truth)
        for value in tqdm(candidates, "thresholds")
    ]
    best = int(np.flatnonzero(np.array(scores) >= max(scores) - ALIKE)[-1])
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
