"""What every approach is given: one picture, or the frames of a clip, and the sound heard with it.

**Proportions.** Where several things stand side by side the picture is wide, and squeezed things
are hard to know: the picture keeps its proportions here, whatever the facts of the model say, at
as many pixels as the square has, so that it costs the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from soundspot.errors import OptionError
from soundspot.locating import LOUDEST_STEP, Locator, Picture, Waveform, fit_sound
from soundspot.media.image import fit_picture, proportions

if TYPE_CHECKING:
    from soundspot.types import Images, Sounds


@dataclass(frozen=True, eq=False)
class Scene:
    """Pictures of one size and one sound.

    Args:
        locator: the model, the method and the device.
        pictures: uint8, H W 3; one, or the frames of a clip.
        heard: float32 mono at the model's sample rate, of any length.
        listen: whether the separated sounds are asked for.
        all_of_it: hear windows of all of the sound, not only of its loudest stretch.
        encoded: what the towers said of the scene, once it was asked for.
    """

    locator: Locator
    pictures: tuple[Picture, ...]
    heard: Waveform
    listen: bool = False
    all_of_it: bool = False
    encoded: list[Any] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        """Check that there is a picture and that all have one size."""
        sizes = {picture.shape[:2] for picture in self.pictures}
        if len(sizes) != 1:
            raise OptionError("several sources need one picture, or frames of one size")

    @cached_property
    def images(self) -> Images:
        """The pictures in their own proportions, b 3 h w."""
        height, width = proportions(self.pictures[0].shape[:2], self.locator.facts.size)
        fitted = np.stack([fit_picture(picture, width, height) for picture in self.pictures])
        pixels = torch.from_numpy(fitted).to(self.locator.device).permute(0, 3, 1, 2)
        return pixels.float().div_(255)

    @cached_property
    def stretch(self) -> Waveform:
        """What the model hears: the loudest stretch of a long sound, all of a short one."""
        rate = self.locator.facts.sample_rate
        if self.all_of_it:
            return self.heard
        length = min(len(self.heard), round(self.locator.facts.seconds * rate))
        return fit_sound(self.heard, length, round(LOUDEST_STEP * rate))

    @cached_property
    def sounds(self) -> Sounds:
        """The stretch as a batch of one, at the length that the model expects."""
        rate = self.locator.facts.sample_rate
        length = round(self.locator.facts.seconds * rate)
        fitted = fit_sound(self.stretch, length, round(LOUDEST_STEP * rate))
        return torch.from_numpy(np.ascontiguousarray(fitted))[None].to(self.locator.device)
