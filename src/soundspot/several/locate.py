"""From a picture and a mixture of sounds to one answer a source."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from soundspot.checks import instead, is_whole
from soundspot.errors import OptionError
from soundspot.facts import Calibration
from soundspot.inputs import read_pair
from soundspot.locating import LocalEvidence, Locator, cut, is_silence
from soundspot.several.approach import Approach, Found
from soundspot.several.counting import MOST, count_sources
from soundspot.several.explaining_away import ExplainingAway
from soundspot.several.factor_maps import Channels, Moments
from soundspot.several.model_clusters import ModelClusters
from soundspot.several.pixel_masks import PixelMasks
from soundspot.several.scene import Scene
from soundspot.several.separate_first import SeparateFirst
from soundspot.several.source import SourceResult
from soundspot.several.spectra import separated
from soundspot.several.territories import Territories
from soundspot.several.two_blobs import TwoBlobs
from soundspot.similarity import Similarity

if TYPE_CHECKING:
    from PIL.Image import Image

    from soundspot.localize import Method

APPROACHES: dict[str, type[Approach]] = {
    approach.name: approach
    for approach in (
        Territories,
        Channels,
        Moments,
        ExplainingAway,
        SeparateFirst,
        ModelClusters,
        PixelMasks,
        TwoBlobs,
    )
}
"""All approaches by name, the default first."""
DEFAULT_APPROACH = Territories.name


def locate_sources(
    model: Similarity,
    image: str | Path | Image | NDArray[np.generic],
    sound: str | Path | tuple[NDArray[np.generic], float],
    sources: int | Literal["auto"] = "auto",
    approach: str | Approach | None = None,
    method: str | Method | None = None,
    *,
    listen: bool = False,
    device: str = "auto",
    threshold: float | None = None,
    visible: float | None = None,
) -> list[SourceResult]:
    """Find where in a picture each of several sounding things is.

    Args:
        model: what `soundspot.load` gave; most approaches need the default kind.
        image: a file, a Pillow picture, or an array (H W, H W 3 or H W 4).
        sound: a file (a video's sound track too), or (samples, rate in Hz).
        sources: how many, 1 to 4; "auto" decides, and leaves out what is not visible.
        approach: a name of `APPROACHES` or an object; None: "territories".
        method: how maps are made, as `soundspot methods` lists them; None: the model's own.
        listen: separate each source's sound too, where the approach can.
        device: "auto", "cpu", "cuda" or "mps".
        threshold: raw map value at which maps are cut, where they are maps of the method's; None:
            the calibrated one.
        visible: confidence from which a source is called visible; None: the model's own.

    Returns:
        Sources, surest first. Of a number that was asked for, some may be `visible: False`, and
        there may be fewer; of "auto" all are visible, and there may be none.

    Raises:
        MediaError: the picture or the sound cannot be read.
        OptionError: a number out of range, an unknown approach, method, option or device.
        MethodError: the approach or the method cannot work on this model.
        ModelError: the model breaks a law of similarity, or raises an exception.
    """
    chosen = parse_approach(approach)
    if sources != "auto" and not (is_whole(sources) and 1 <= sources <= MOST):
        raise OptionError(f"sources is auto or 1 to {MOST}, got {sources!r}")
    if listen and not chosen.separates:
        able = ", ".join(name for name, kind in APPROACHES.items() if kind.separates)
        raise OptionError(f"{chosen.name} does not separate sounds; these do: {able}")
    if threshold is not None and not chosen.scaled:
        able = ", ".join(name for name, kind in APPROACHES.items() if kind.scaled)
        raise OptionError(
            f"the maps of {chosen.name} are no map of the method's, and its thresholds do not fit "
            f"them; these take one: {able}"
        )
    locator = Locator(model, method, device=device, threshold=threshold, visible=visible)
    picture, heard = read_pair(image, sound, locator.facts.sample_rate)
    scene = Scene(locator, (picture,), heard, listen=listen)
    start = time.perf_counter()
    with locator.asking():
        count = count_sources(scene) if sources == "auto" else int(sources)
        found = chosen.find(scene, count)
    each = (time.perf_counter() - start) / max(1, len(found))
    answers = answer(scene, chosen, found, each)
    return [one for one in answers if one.result.visible] if sources == "auto" else answers


def parse_approach(approach: str | Approach | None) -> Approach:
    """The approach that a name means.

    Raises:
        OptionError: there is none of that name.
    """
    if isinstance(approach, Approach):
        return approach
    name = DEFAULT_APPROACH if approach is None else approach
    if not isinstance(name, str) or name not in APPROACHES:
        raise OptionError(f"unknown approach {name!r}; {instead(name, APPROACHES)}")
    return APPROACHES[name]()


def answer(
    scene: Scene, approach: Approach, found: list[Found], seconds: float
) -> list[SourceResult]:
    """Results of what was found in a scene of one picture, surest first."""
    order = sorted(found, key=lambda one: -one.similarity)
    return [_answer(scene, approach, one, n + 1, seconds) for n, one in enumerate(order)]


def _answer(
    scene: Scene, approach: Approach, one: Found, number: int, seconds: float
) -> SourceResult:
    locator, picture = scene.locator, scene.pictures[0]
    confidence = 0.0 if is_silence(scene.heard) else _confidence(scene, one.similarity)
    evidence = LocalEvidence(one.map, confidence, one.similarity)
    result = locator.result(picture, evidence, seconds)
    if result.visible and not approach.scaled:
        result = replace(result, boxes=cut(result.map, None, confidence))
    sound = None if one.mask is None else separated(scene, one.mask)
    return SourceResult(number, result, approach.name, sound, one.voice)


def _confidence(scene: Scene, similarity: float) -> float:
    calibration = scene.locator.facts.calibration or Calibration()
    return float(1 / (1 + np.exp(-(calibration.scale * similarity + calibration.bias))))
