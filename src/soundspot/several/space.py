"""Models whose pictures and sounds meet in one space, position by position.

With q of many sounds (windows, mixtures, parts) and p at every position, each known once, all
questions of this folder are products: no further pass through a tower.

    similarity = SCALE (pool(match) - e(q)) + log sigmoid(h)            (`models.two_tower`)

The same numbers as the model's own; a test says so. Pooled over the positions of one territory,
they say what the model would answer if the territory were a picture of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from soundspot.errors import MethodError
from soundspot.locating import SILENCE
from soundspot.models.two_tower import SCALE
from soundspot.watch import frozen

if TYPE_CHECKING:
    from soundspot.several.scene import Scene
    from soundspot.types import Images, Maps, Similarities, Sounds

WINDOW_SECONDS, HOP_SECONDS = 1.0, 0.5
"""Short enough that often one thing sounds alone, long enough to be known."""
WINDOWS_AT_ONCE = 32
PICTURES_AT_ONCE = 2
"""More cost memory and no CPU is quicker for it."""


@runtime_checkable
class SharedSpace(Protocol):
    """A two-tower model: p of positions, q of sounds, and their match."""

    def hear(self, sounds: Sounds) -> tuple[Tensor, Tensor]:
        """The q of sounds, `b d`, and h, `b`."""
        ...

    def encode_images(self, images: Images) -> Tensor:
        """The p of pictures, `b d h w`."""
        ...

    def match(self, positions: Tensor, q: Tensor) -> Maps:
        """Positions `b d h w`, sounds `b d` -> `b h w`."""
        ...

    def pool(self, maps: Maps) -> Tensor:
        """Maps `... h w` -> `...`."""
        ...

    def expect(self, q: Tensor) -> Tensor:
        """The pooled match of sounds with pictures at large, `b`."""
        ...


def shared_space(scene: Scene, approach: str) -> SharedSpace:
    """The scene's model, if it has a shared space.

    Raises:
        MethodError: it has none.
    """
    model = scene.locator.model
    if not isinstance(model, SharedSpace):
        raise MethodError(
            f"{approach} needs a model in whose space pictures and sounds meet (two_tower), and "
            f"{scene.locator.facts.name} is none; use the default model (of pictures, two_blobs "
            "works too)"
        )
    return model


@dataclass(frozen=True, eq=False)
class Heard:
    """Sounds that were heard: q `t d`, h `t`, and the second of each one's middle, `t`."""

    q: Tensor
    audible: Tensor
    times: Tensor


def hear_windows(model: SharedSpace, scene: Scene) -> Heard:
    """Each window of the scene's sound in which anything sounds, and in the last row all of it."""
    rate = scene.locator.facts.sample_rate
    size, hop = round(WINDOW_SECONDS * rate), round(HOP_SECONDS * rate)
    samples = scene.stretch
    starts = range(0, max(1, len(samples) - size // 2), hop)
    cuts = [np.pad(w, (0, size - len(w))) for w in (samples[s : s + size] for s in starts)]
    loud = [n for n, cut in enumerate(cuts) if np.abs(cut).max(initial=0) >= SILENCE]
    rows = [model.hear(scene.sounds)]
    for first in range(0, len(loud), WINDOWS_AT_ONCE):
        batch = np.stack([cuts[n] for n in loud[first : first + WINDOWS_AT_ONCE]])
        rows.append(model.hear(torch.from_numpy(batch).to(scene.sounds.device)))
    rows = [*rows[1:], rows[0]]
    middles = [(starts[n] + size / 2) / rate for n in loud] + [len(samples) / rate / 2]
    return Heard(
        torch.cat([q for q, _ in rows]),
        torch.cat([h for _, h in rows]),
        torch.tensor(middles, device=scene.sounds.device),
    )


def matches(model: SharedSpace, positions: Tensor, q: Tensor) -> Tensor:
    """Every sound at every position: `b d h w`, `t d` -> `t b h w`."""
    return torch.stack([model.match(positions, row.expand(len(positions), -1)) for row in q])


def similarities(model: SharedSpace, pooled: Tensor, q: Tensor, audible: Tensor) -> Similarities:
    """What the model answers where its map pools to `pooled`, `t`."""
    return SCALE * (pooled - model.expect(q)) + F.logsigmoid(audible)


def encode(scene: Scene, approach: str) -> tuple[SharedSpace, Tensor, Heard]:
    """The model, p of the scene's pictures, and q of its sound: each tower runs once a scene."""
    model = shared_space(scene, approach)
    if not scene.encoded:
        with frozen(scene.locator.model), torch.no_grad():
            firsts = range(0, len(scene.images), PICTURES_AT_ONCE)
            cuts = [scene.images[n : n + PICTURES_AT_ONCE] for n in firsts]
            seen = [model.encode_images(images) for images in cuts]
            scene.encoded.extend((torch.cat(seen), hear_windows(model, scene)))
    positions, heard = scene.encoded
    return model, positions, heard
