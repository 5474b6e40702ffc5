"""A planted scene that has a true answer: a red and a green square, and a tone for each.

A low tone comes from the red square, a higher tone from the green one, anything else from nowhere.
`Planted` is a model that knows it: a plain function whose map is where the sounding colour is.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import numpy as np
import torch

from soundspot import metrics
from soundspot.facts import ModelFacts
from soundspot.media.audio import write_sound
from soundspot.media.image import write_picture
from soundspot.report import NEGATIVE_KINDS
from soundspot.similarity import Evidence
from soundspot.types import Sample, Source

RATE, SECONDS = 8000, 0.25
TONES = {"red": 500, "green": 1000}
"""Hz."""
HEIGHT, WIDTH = 64, 96
FACTS = ModelFacts("planted", size=64, sample_rate=RATE, seconds=SECONDS)
PLACES = {  # of the red and the green square, in fractions
    0: ((0.0, 0.0, 0.25, 0.25), (0.75, 0.75, 1.0, 1.0)),
    1: ((0.75, 0.0, 1.0, 0.25), (0.0, 0.5, 0.25, 0.75)),
    2: ((0.0, 0.75, 0.25, 1.0), (0.5, 0.0, 0.75, 0.25)),
    3: ((0.75, 0.5, 1.0, 0.75), (0.0, 0.0, 0.25, 0.25)),
}


def frequency(sounds):
    crossings = (sounds[:, 1:].sign() != sounds[:, :-1].sign()).float().mean(1)
    return crossings * RATE / 2


def hears(sounds, tone):
    return (frequency(sounds) - tone).abs() < 100


@dataclass(frozen=True)
class Planted:
    """Answers how strongly the picture shows the colour that sounds."""

    facts: ModelFacts = FACTS
    spoil: float = 0.0

    def __call__(self, images, sounds):
        return self.fix_sound(sounds)(images)

    def fix_sound(self, sounds):
        return PlantedQuestion(self, sounds)


@dataclass(frozen=True)
class PlantedQuestion:
    model: Planted
    sounds: torch.Tensor

    def __call__(self, images):
        return self.own_map(images).similarities

    def of(self, rows):
        return PlantedQuestion(self.model, self.sounds[list(rows)])

    def own_map(self, images):
        contrast = images[:, 0] - images[:, 1]
        red, green = (hears(self.sounds, TONES[c])[:, None, None] for c in ("red", "green"))
        maps = contrast.relu() * red + (-contrast).relu() * green + self.model.spoil
        maps = torch.nn.functional.avg_pool2d(maps, 4)
        return Evidence(maps, maps.amax((1, 2)))

    def feature_strength(self, images):
        return torch.nn.functional.avg_pool2d(
            (images[:, 0] - images[:, 1]).abs() + self.model.spoil, 4
        )


@dataclass(frozen=True)
class Slow(Planted):
    """Takes its time, so that a run can be cut short."""

    def fix_sound(self, sounds):
        time.sleep(0.2)
        return Planted().fix_sound(sounds)


slow = Slow()


def bare(images, sounds):
    """No map and no picture-only map of its own: a model that only knows pairs."""
    return Planted()(images, sounds)


other = Planted()
"""The same model under another name in this module."""


def tone(hertz):
    """A sine whose samples never fall on zero, where a sign has no meaning."""
    seconds = np.arange(RATE * SECONDS) / RATE
    return (0.5 * np.sin(2 * np.pi * hertz * seconds + 0.3)).astype(np.float32)


def write_scene(folder):
    """Four pictures, two takes of each tone, and sounds of nothing that is seen."""
    for number, boxes in PLACES.items():
        picture = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
        for channel, box in enumerate(boxes):
            picture[metrics.truth_mask([box], HEIGHT, WIDTH), channel] = 220
        write_picture(folder / f"{number}.png", picture)
    for colour, hertz in TONES.items():
        for take in range(2):
            write_sound(folder / f"{colour}{take}.wav", tone(hertz), RATE)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, int(RATE * SECONDS)).astype(np.float32)
    write_sound(folder / "silence.wav", np.zeros_like(noise), RATE)
    write_sound(folder / "noise.wav", noise, RATE)
    write_sound(folder / "offscreen.wav", tone(3000), RATE)
    return folder


def positives_in(folder):
    """Every square with its tone, but for the green one of picture 0."""
    return [
        Sample(
            id=f"{number}-{colour}",
            image=folder / f"{number}.png",
            sound=folder / f"{colour}{number % 2}.wav",
            boxes=(boxes[i],),
            group=colour,
            ambiguous=number == 3 and colour == "red",
        )
        for number, boxes in PLACES.items()
        for i, colour in enumerate(TONES)
        if (number, colour) != (0, "green")
    ]


def negatives_in(folder):
    """Every picture with every sound of nothing in it."""
    return [
        Sample(f"{number}-{kind}", folder / f"{number}.png", folder / f"{kind}.wav", kind=kind)
        for number in PLACES
        for kind in NEGATIVE_KINDS
    ]


def mixtures_in(folder):
    """Both squares of a picture at once, each with a clean tone of its own."""
    return [
        Sample(
            id=f"{number}-both",
            image=folder / f"{number}.png",
            sound=folder / "noise.wav",
            kind="mixture",
            sources=tuple(
                Source((box,), colour, folder / f"{colour}0.wav")
                for box, colour in zip(boxes, TONES, strict=True)
            ),
        )
        for number, boxes in PLACES.items()
    ]


def write_manifest(path, samples):
    """The samples as JSON Lines; their files stand beside it."""
    lines = []
    for sample in samples:
        line = {
            "id": sample.id,
            "image": sample.image.name,
            "sound": sample.sound.name,
            "boxes": sample.boxes,
            "kind": sample.kind,
            "group": sample.group,
            "ambiguous": sample.ambiguous,
        }
        if sample.sources:
            line["sources"] = [
                {"boxes": s.boxes, "group": s.group, "sound": s.sound.name} for s in sample.sources
            ]
        lines.append(json.dumps(line) + "\n")
    path.write_text("".join(lines))
    return path
