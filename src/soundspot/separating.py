"""The sound at a pixel: separate what one place in a picture is said to make.

    separated = soundspot.separate(model, "street.jpg", "street.wav", at=(120, 80))
    separated.save("there.wav")

A model that masks spectrograms (`models.pixel_sound`) says for each band and moment how much of it
comes from a place. The mask is laid over the short-time Fourier transform of the whole sound, at
the sound's own phases, and turned back into a waveform (Zhao et al., ECCV 2018). Frequencies
outside the model's bands are treated as the nearest band.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from soundspot.band_mask import BandMask, MasksSound
from soundspot.checks import is_number
from soundspot.errors import MethodError, OptionError
from soundspot.inputs import read_pair, require_model
from soundspot.locating import Locator
from soundspot.media.audio import as_sound, write_sound
from soundspot.similarity import Similarity
from soundspot.watch import frozen

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

RATE = 44_100
"""Hz of the separated sound, unless told otherwise."""
WINDOW_SECONDS, OVERLAP = 0.032, 4
"""Of the Fourier transform: a Hann window, moved on by a quarter of its length."""


@dataclass(frozen=True)
class Separated:
    """A separated sound: mono float32 samples in [-1, 1], at `rate` Hz."""

    samples: NDArray[np.float32]
    rate: int
    share: float
    """Of the sound's energy that is kept, 0 to 1."""

    def save(self, path: str | Path) -> None:
        """Write a sound file; its name's suffix chooses the format."""
        write_sound(path, self.samples, self.rate)

    def __str__(self) -> str:
        """For people."""
        return f"{100 * self.share:.0f} % of the sound's energy is said to come from there"


def separate(
    model: Similarity,
    image: str | Path | Image | NDArray[np.generic],
    sound: str | Path | tuple[NDArray[np.generic], float],
    at: tuple[float, float],
    *,
    rate: int = RATE,
    device: str = "auto",
) -> Separated:
    """Separate what one pixel of a picture sounds like.

    Args:
        model: one that masks sounds: `soundspot.load("pixel_sound")`.
        image: a file, a Pillow picture, or an array (H W, H W 3 or H W 4).
        sound: a file (a video's sound track too), or (samples, rate in Hz).
        at: x and y in pixels of the original picture, from its upper left corner.
        rate: Hz of the result.
        device: "auto" or a torch device name.

    Raises:
        MethodError: the model does not mask sounds.
        OptionError: `at` is no pixel, or lies outside the picture.
        MediaError: the picture or the sound cannot be read.
        ModelError: the model is none, breaks a law of similarity, or raises an exception.
    """
    require_model(model)
    _check_pixel(at)
    if not isinstance(model, MasksSound):
        raise MethodError(
            "this model does not separate sounds; load one that does: soundspot.load('pixel_sound')"
        )
    locator = Locator(model, device=device)
    picture, mono = read_pair(image, sound, locator.facts.sample_rate)
    height, width = picture.shape[:2]
    if not (0 <= at[0] < width and 0 <= at[1] < height):
        raise OptionError(
            f"the pixel {at[0]:g},{at[1]:g} lies outside the picture, which is {width} x {height}"
        )
    heard = torch.from_numpy(mono)[None]
    place = ((at[0] + 0.5) / width, (at[1] + 0.5) / height)
    with locator.asking(), frozen(model), torch.no_grad():
        (mask,) = model.mask_at(
            locator.look([locator.fit(picture)]), heard.to(locator.device), place
        )
    whole = as_sound(sound, rate)
    samples = apply_mask(torch.from_numpy(whole), mask, rate).numpy()
    energy = float(np.square(whole, dtype=np.float64).sum())
    kept = float(np.square(samples, dtype=np.float64).sum())
    return Separated(samples, rate, kept / energy if energy else 0.0)


def _check_pixel(at: object) -> None:
    """Refuse what is no pair of numbers."""
    pair = at if isinstance(at, tuple | list | np.ndarray) else ()
    if not (len(pair) == 2 and all(map(is_number, pair))):
        raise OptionError(f"at={at!r}; give the pixel's (x, y)")


def apply_mask(samples: Tensor, mask: BandMask, rate: int) -> Tensor:
    """Weigh a sound's short-time Fourier transform; a mask of ones gives the sound back."""
    size = 2 * round(WINDOW_SECONDS * rate / 2)
    hop, window = size // OVERLAP, torch.hann_window(size)
    padded = F.pad(samples, (0, max(0, size - len(samples))))
    spectrum = torch.stft(padded, size, hop, window=window, return_complex=True)
    weights = mask.at(
        np.arange(spectrum.shape[0]) * rate / size, np.arange(spectrum.shape[1]) * hop / rate
    )
    masked = spectrum * torch.from_numpy(weights)
    return torch.istft(masked, size, hop, window=window, length=len(padded))[: len(samples)].clamp(
        -1, 1
    )
