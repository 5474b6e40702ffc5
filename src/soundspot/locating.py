"""From pictures and sounds to answers: one road for the API, the command line and the referee.

    media -> tensors -> similarity -> localization map -> boxes and confidence

A picture of any proportions is squeezed to the model's square, or fitted in its own proportions
where the model's facts say so; its map is stretched back over the very same pixels, so geometry
holds exactly. A sound is fitted to the seconds that the model
hears: its loudest stretch where it is longer, zeros behind it where it is shorter.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from soundspot.checks import instead, is_number
from soundspot.errors import ModelError, OptionError, SoundspotError
from soundspot.facts import Calibration, ModelFacts, facts_of
from soundspot.files import one_line
from soundspot.inputs import method_of, read_pair, require_model
from soundspot.localize import Method
from soundspot.maps import BOX_THRESHOLD, FloatMap, ScoredBox, boxes, peak, resize_map
from soundspot.media.image import fit_picture, proportions
from soundspot.result import Result
from soundspot.similarity import Question, Similarity, fix_sound
from soundspot.watch import frozen

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from soundspot.types import Images, Sounds

Picture = NDArray[np.uint8]
Waveform = NDArray[np.float32]

DEFAULT_METHOD = "input_gradient"
"""For models whose facts name no method of their own."""
SILENCE = 1e-4
"""A sound whose samples all stay below this (-80 dBFS) is silence: nothing can be heard in it."""
CUT_SIDE = 1024
"""Pixels of a map's longer side up to which each one is looked at for boxes."""
LOUDEST_STEP = 0.1
"""Seconds between the stretches among which the loudest is sought."""


class LocalEvidence(NamedTuple):
    """What was found in one picture: the raw map, h w at the method's resolution, and scores."""

    map: FloatMap
    confidence: float
    similarity: float


class Locator:
    """A model and a method, ready to be asked.

    Args:
        model: any similarity model; an `nn.Module` is moved to the device.
        method: an object or its string; None takes the one the model's facts name.
        device: "auto" (CUDA, else Apple's MPS, else CPU) or a torch device name.
        threshold: raw map value at and above which a pixel belongs to the source; None takes the
            calibrated one, or half of each map's range where the method has none.
        visible: confidence at and above which a visible source is said to be heard; None takes
            the model's own.
    """

    def __init__(
        self,
        model: Similarity,
        method: str | Method | None = None,
        *,
        device: str = "auto",
        threshold: float | None = None,
        visible: float | None = None,
    ) -> None:
        self.model = require_model(model)
        self.facts: ModelFacts = facts_of(model)
        self.method = method_of(self.facts.method or DEFAULT_METHOD if method is None else method)
        self.device = pick_device(device)
        calibration = self.facts.calibration or Calibration()
        own = calibration.thresholds.get(repr(self.method))
        self.threshold = own if threshold is None else threshold
        self.visible = calibration.visible if visible is None else visible
        if not (threshold is None or (is_number(threshold) and abs(threshold) < math.inf)):
            raise OptionError(f"threshold is a finite raw map value, got {threshold!r}")
        if not (is_number(self.visible) and 0 <= self.visible <= 1):
            raise OptionError(f"visible is in 0..1, got {self.visible!r}")
        if isinstance(model, torch.nn.Module):
            model.to(self.device)

    def evidence(
        self, pictures: Sequence[Picture], sounds: Sequence[Waveform]
    ) -> list[LocalEvidence]:
        """Raw evidence for as many pairs as fit into one batch.

        Args:
            pictures: uint8, H W 3, of any sizes.
            sounds: float32 mono in [-1, 1] at the model's sample rate, of any lengths. The same
                array given several times is heard once.

        Raises:
            MethodError: the method cannot work on this model.
            ModelError: the model's answer is of the wrong shape, or holds NaN or infinity.
        """
        if not pictures:
            return []
        distinct = list({id(sound): sound for sound in sounds}.values())
        rows = [next(i for i, d in enumerate(distinct) if d is sound) for sound in sounds]
        maps: dict[int, FloatMap] = {}
        similarities = torch.zeros(len(pictures), dtype=torch.float64)
        with frozen(self.model):
            question = self.listen(distinct)
            for places, images in self.by_size(pictures):
                asked = question.of([rows[i] for i in places])
                found, answers = self.explain(asked, images)
                maps |= dict(zip(places, found, strict=True))
                similarities[places] = answers
        calibration = self.facts.calibration or Calibration()
        confidences = calibration.confidence(similarities).tolist()
        silent = [is_silence(sound) for sound in sounds]
        return [
            LocalEvidence(m, 0.0 if s else c, v)
            for m, c, v, s in zip(
                [maps[i] for i in range(len(pictures))],
                confidences,
                similarities.tolist(),
                silent,
                strict=True,
            )
        ]

    def explain(self, question: Question, images: Images) -> tuple[FloatMap, Tensor]:
        """Raw maps, b h w, and similarities, b, of pictures that were fitted.

        Raises:
            ModelError: the model's answer is of the wrong shape, or holds NaN or infinity.
        """
        maps, similarities = self.method.explain(question, images)
        if not bool(torch.isfinite(similarities).all() and torch.isfinite(maps).all()):
            raise ModelError(f"{self.facts.name}: the answer or its map holds NaN or infinity")
        return maps.float().cpu().numpy(), similarities.double().cpu()

    @torch.no_grad()
    def listen(self, sounds: Sequence[Waveform]) -> Question:
        """Hear sounds; the question can then be asked about any number of pictures."""
        length = round(self.facts.seconds * self.facts.sample_rate)
        step = round(LOUDEST_STEP * self.facts.sample_rate)
        fitted = np.stack([fit_sound(sound, length, step) for sound in sounds])
        heard: Sounds = torch.from_numpy(fitted).to(self.device)
        return fix_sound(self.model, heard)

    def fit(self, picture: Picture) -> Picture:
        """A picture at the size that the model sees it in."""
        side = self.facts.size
        if not self.facts.keeps_proportions:
            return fit_picture(picture, side, side)
        height, width = proportions(picture.shape[:2], side)
        return fit_picture(picture, width, height)

    def look(self, fitted: Sequence[Picture]) -> Images:
        """Pictures of one size, fitted before, as the model wants them: b 3 h w in [0, 1]."""
        pixels = torch.from_numpy(np.stack(fitted)).to(self.device).permute(0, 3, 1, 2)
        return pixels.float().div_(255)

    def by_size(self, pictures: Sequence[Picture]) -> list[tuple[list[int], Images]]:
        """Pictures as the model wants them, those of one size together: (places, images)."""
        groups: dict[tuple[int, ...], list[int]] = {}
        fitted = [self.fit(picture) for picture in pictures]
        for i, picture in enumerate(fitted):
            groups.setdefault(picture.shape, []).append(i)
        return [(places, self.look([fitted[i] for i in places])) for places in groups.values()]

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Within it, what anybody's model raises is an error in one line.

        Raises:
            ModelError: naming the model, the method and the exception, which is its cause.
        """
        try:
            yield
        except (SoundspotError, MemoryError):
            raise
        except Exception as error:  # a model may be anybody's code
            length = round(self.facts.seconds * self.facts.sample_rate)
            raise ModelError(
                f"{self.facts.name}: asked by {self.method!r}, it raised "
                f"{one_line(f'{type(error).__name__}: {error}')}; it is given pictures b 3 H W and "
                f"sounds b {length}, as its facts say (`soundspot.check_model` tries a model)"
            ) from error

    def result(self, picture: Picture, found: LocalEvidence, seconds: float) -> Result:
        """Turn raw evidence into the answer about one picture."""
        values = resize_map(found.map, picture.shape[:2])
        visible = found.confidence >= self.visible
        return Result(
            picture=picture,
            map=values,
            boxes=cut(values, self.threshold, found.confidence) if visible else [],
            peak=peak(values),
            confidence=found.confidence,
            visible=visible,
            method=repr(self.method),
            model=self.facts.name,
            calibrated=self.facts.calibration is not None,
            seconds=seconds,
        )

    def locate(self, pictures: Sequence[Picture], sounds: Sequence[Waveform]) -> list[Result]:
        """Answers for one batch of pairs; `seconds` is the batch's time shared out evenly.

        Raises:
            MethodError: the method cannot work on this model.
            ModelError: the model breaks a law of similarity, or raises an exception.
        """
        start = time.perf_counter()
        with self.asking():
            found = self.evidence(pictures, sounds)
        each = (time.perf_counter() - start) / max(1, len(found))
        return [self.result(p, f, each) for p, f in zip(pictures, found, strict=True)]


def locate(
    model: Similarity,
    image: str | Path | Image | NDArray[np.generic],
    sound: str | Path | tuple[NDArray[np.generic], float],
    method: str | Method | None = None,
    *,
    device: str = "auto",
    threshold: float | None = None,
    visible: float | None = None,
) -> Result:
    """Find where in a picture a sound comes from.

    Args:
        model: what `soundspot.load` gave, or any function `similarity(images, sounds)`.
        image: a file, a Pillow picture, or an array (H W, H W 3 or H W 4).
        sound: a file (a video's sound track too), or (samples, rate in Hz).
        method: as `soundspot methods` lists them, such as "occlusion(patch=48)".
        device: "auto", "cpu", "cuda" or "mps".
        threshold: raw map value at which the map is cut; None: the calibrated one.
        visible: confidence from which a source is called visible; None: the model's own.

    Raises:
        MediaError: the picture or the sound cannot be read.
        OptionError: unknown method, option or device, or a value outside its range.
        MethodError: the method cannot work on this model.
        ModelError: the model breaks a law of similarity, or raises an exception.
    """
    locator = Locator(model, method, device=device, threshold=threshold, visible=visible)
    picture, heard = read_pair(image, sound, locator.facts.sample_rate)
    return locator.locate([picture], [heard])[0]


def cut(values: FloatMap, threshold: float | None, confidence: float) -> list[ScoredBox]:
    """Boxes of one map: cut at an absolute raw value, or at half of the map's own range.

    A box's score is the confidence times the mean, within the box's component, of the map
    brought to [0, 1]. Of a map with a side beyond `CUT_SIDE`, every second (third, ...) pixel of
    every second row is looked at: sides of boxes are then that exact, and the time does not grow.
    """
    low, span = float(values.min()), float(np.ptp(values))
    if span <= 0:
        return []
    relative = BOX_THRESHOLD if threshold is None else (threshold - low) / span
    step = math.ceil(max(values.shape) / CUT_SIDE)
    sampled = values[step // 2 :: step, step // 2 :: step] if step > 1 else values
    found = boxes((sampled - low) / np.float32(span), relative)
    height, width = values.shape
    return [
        ScoredBox(
            (x0 * step, y0 * step, min(x1 * step, width), min(y1 * step, height)), s * confidence
        )
        for (x0, y0, x1, y1), s in found
    ]


def is_silence(sound: Waveform) -> bool:
    """Whether nothing can be heard: the confidence is then 0, whatever the model says."""
    return bool(np.abs(sound).max(initial=0) < SILENCE)


def fit_sound(sound: Waveform, length: int, step: int) -> Waveform:
    """Bring a sound to `length` samples: its loudest stretch, or zeros behind it."""
    if len(sound) <= length:
        return np.pad(sound, (0, length - len(sound)))
    energy = np.concatenate(([0.0], np.cumsum(np.square(sound, dtype=np.float64))))
    starts = np.arange(0, len(sound) - length + 1, step)
    loudest = int(starts[np.argmax(energy[starts + length] - energy[starts])])
    return sound[loudest : loudest + length]


def pick_device(name: str | torch.device) -> torch.device:
    """The torch device that a name means.

    Raises:
        OptionError: no such device, or not on this machine.
    """
    name = str(name)
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    kind = name.split(":")[0]
    if kind not in available:
        raise OptionError(f"unknown device {name!r}; {instead(name, ('auto', *available))}")
    try:
        device = torch.device(name)
        there = available[kind] and (device.index or 0) < _count(kind)
    except RuntimeError:  # such as "cpu:first"
        there = False
    if not there:
        usable = ", ".join(k for k, there in available.items() if there)
        raise OptionError(f"device {name!r} is not available on this machine; use {usable}")
    return device


def _count(kind: str) -> int:
    return torch.cuda.device_count() if kind == "cuda" else 1
