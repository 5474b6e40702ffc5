"""Several sources over a clip: fitted once to its frames and its sound, then asked frame by frame.

Territories are fitted to some frames together (`KEY_FRAMES`, evenly spaced), with the windows of
all of the sound: one set of voices for the clip, so that source 2 of the first frame is source 2
of the last. In any frame, a position belongs to the territory whose centre is nearest in place and
look. That is for a camera that stands still or moves little; a new scene is a new clip.

`active` tells when each one sounds: r_k(t) sigmoid(h(t)), its share of moment t, if anything is to
be heard at all. `sounds` tells what each one sounds like, separated by the same shares
(`time_shares`) as of a picture.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from soundspot.errors import MediaError, OptionError
from soundspot.locating import Locator, Picture
from soundspot.media.audio import as_sound
from soundspot.several.approach import Found
from soundspot.several.counting import MOST, count_sources
from soundspot.several.locate import answer
from soundspot.several.scene import Scene
from soundspot.several.source import SourceResult
from soundspot.several.space import (
    WINDOW_SECONDS,
    SharedSpace,
    encode,
    matches,
    similarities,
)
from soundspot.several.spectra import separated
from soundspot.several.territories import Territories, voiced_maps
from soundspot.several.territory_fit import Territories as Fitted
from soundspot.several.territory_fit import describe, fit_territories, nearest, pool_each
from soundspot.several.time_shares import masks_of_shares
from soundspot.watch import frozen

if TYPE_CHECKING:
    from soundspot.localize import Method
    from soundspot.separating import Separated
    from soundspot.similarity import Similarity

KEY_FRAMES = 16
NAME = "several sources of a clip"
"""What needs a shared space."""
LOWEST = -100.0
"""The similarity of a source that has no place in a frame: confidence 0."""


@dataclass(frozen=True, eq=False)
class SourcesOfClip:
    """The sources of a clip, to be asked where they are in any of its frames.

    Args:
        scene: the key frames and the sound.
        fitted: their territories.
        times: seconds of the middles of the windows that were heard, t.
        active: 0 to 1, how much each source sounds in each window, k t.
    """

    scene: Scene
    fitted: Fitted
    times: NDArray[np.float64]
    active: NDArray[np.float64]

    def __len__(self) -> int:
        """How many sources."""
        return len(self.fitted.voices)

    def activity(self, seconds: float) -> NDArray[np.float64]:
        """How much each source sounds at a time, k: interpolated between windows, 0 in silence."""
        if not (np.abs(self.times - seconds) <= WINDOW_SECONDS / 2).any():
            return np.zeros(len(self))
        return np.array([np.interp(seconds, self.times, row) for row in self.active])

    def locate(self, picture: Picture) -> list[SourceResult]:
        """Each source in one frame, by its number: the i-th is source i + 1, in every frame."""
        start = time.perf_counter()
        scene = Scene(self.scene.locator, (picture,), self.scene.heard)
        found = _in_frame(scene, self.fitted)
        each = (time.perf_counter() - start) / len(found)
        answers = [answer(scene, Territories(), [one], each)[0] for one in found]
        return [replace(one, number=n + 1) for n, one in enumerate(answers)]

    def sounds(self) -> list[Separated]:
        """What each source sounds like over the whole clip; together they are the clip's sound."""
        _, _, windows = encode(self.scene, NAME)
        masks = masks_of_shares(self.scene, self.fitted.shares, windows.times)
        return [separated(self.scene, mask) for mask in masks]


def sources_of_clip(
    model: Similarity,
    frames: Sequence[Picture],
    sound: str | Path | tuple[NDArray[np.generic], int],
    sources: int | Literal["auto"] = "auto",
    method: str | Method | None = None,
    *,
    device: str = "auto",
    threshold: float | None = None,
    visible: float | None = None,
) -> SourcesOfClip:
    """Fit the sources of a clip.

    Args:
        model: a two-tower model, such as the default.
        frames: uint8, H W 3, of one size; at most 16, evenly spaced, are looked at.
        sound: the clip's, a file or (samples, rate in Hz).
        sources: how many, 1 to 4, or "auto".
        method: how maps are made; None: the model's own.
        device: "auto" or a torch device name.
        threshold: raw map value at which maps are cut; None: the calibrated one.
        visible: confidence from which a source is called visible; None: the model's own.

    Raises:
        MediaError: there is no frame, or the sound cannot be read.
        OptionError: a number out of range, frames of several sizes.
        MethodError: the model has no shared space.
    """
    if not len(frames):
        raise MediaError("the clip has no frame; several sources need at least one")
    if sources != "auto" and not (type(sources) is int and 1 <= sources <= MOST):
        raise OptionError(f"sources is auto or 1 to {MOST}, got {sources}")
    locator = Locator(model, method, device=device, threshold=threshold, visible=visible)
    picks = np.unique(np.linspace(0, len(frames) - 1, KEY_FRAMES).round().astype(int))
    heard = as_sound(sound, locator.facts.sample_rate)
    scene = Scene(locator, tuple(frames[n] for n in picks), heard, all_of_it=True)
    shared, positions, windows = encode(scene, NAME)
    count = count_sources(scene) if sources == "auto" else sources
    with frozen(model), torch.no_grad():
        fitted = fit_territories(shared, positions, windows, count)
    if fitted is None:
        raise OptionError(f"the frames have no room for {count} sources; ask for fewer")
    active = (fitted.shares * windows.audible.sigmoid())[:, :-1].cpu().numpy().astype(np.float64)
    times = windows.times[:-1].cpu().numpy().astype(np.float64)
    return SourcesOfClip(scene, fitted, times, active)


@torch.no_grad()
def _labels(model: SharedSpace, scene: Scene, fitted: Fitted) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels of the frame's positions, 1 h w, and their similarities with each voice, k."""
    with frozen(scene.locator.model):
        positions = model.encode_images(scene.images)
    labels = nearest(describe(positions), fitted.centres).view(1, *positions.shape[2:])
    maps = matches(model, positions, fitted.voices)
    found = []
    for k in range(len(fitted.voices)):
        pooled = pool_each(model, maps[k : k + 1], labels - k, 1)
        q, audible = fitted.voices[k : k + 1], fitted.audible[k : k + 1]
        empty = torch.full((1,), LOWEST, device=labels.device)
        found.append(empty if pooled is None else similarities(model, pooled[0], q, audible))
    return labels, torch.cat(found)


def _in_frame(scene: Scene, fitted: Fitted) -> list[Found]:
    """Every source in a scene of one frame."""
    model = scene.locator.model
    assert isinstance(model, SharedSpace)
    labels, scores = _labels(model, scene, fitted)
    here = replace(fitted, labels=labels, similarities=scores)
    maps = voiced_maps(scene, here, scene.images)
    voices = fitted.voices.cpu().numpy()
    return [Found(maps[k], float(scores[k]), voices[k]) for k in range(len(voices))]
