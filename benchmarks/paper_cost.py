"""Cost for the paper's table: time, passes and peak memory of each method on one model.

    python benchmarks/paper_cost.py MODEL METHOD     # the peak memory of one process, in MiB

Time is a multiple of one forward pass of the same pictures, measured side by side in one process
(`methods.in_turn`); the sound is heard once before. Passes are counted by a question that counts.
Memory is the highest resident set of a process of its own that makes one map, model and library
included.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import soundspot
from methods import Tasks, in_turn, seconds
from paper_scores import INPUT_GRADIENT, OCCLUSION, cheap_methods, occlusion_of, refusals
from soundspot.facts import facts_of
from soundspot.similarity import Evidence, OffersMap, Question, Similarity, fix_sound
from soundspot.watch import frozen

if TYPE_CHECKING:
    from soundspot.types import Images, Similarities, Sounds

PICTURES = 2
"""In the batch whose time is taken; occlusion and memory: one picture."""
FORWARD = "forward pass"
STATUS = Path("/proc/self/status")
FORGET = Path("/proc/self/clear_refs")
"""Writing 5 to it sets the peak (VmHWM) back to what is held now (Linux)."""
KIB_IN_MIB = 1024


class Counting:
    """A question that counts the pictures that go forward and the answers that come back."""

    def __init__(self, question: Question, tally: list[int] | None = None) -> None:
        self.question = question
        self.tally = tally if tally is not None else [0, 0]

    @property
    def model(self) -> Similarity:
        """The model that is asked."""
        return self.question.model

    def of(self, rows: Sequence[int]) -> Counting:
        """The question about the sounds in `rows`, on the same tally."""
        return type(self)(self.question.of(rows), self.tally)

    def __call__(self, images: Images) -> Similarities:
        """Shape: b 3 H W -> b."""
        return self._count(images, self.question(images))

    def _count(self, images: Images, answer: Similarities) -> Similarities:
        self.tally[0] += len(images)
        if answer.requires_grad:
            answer.register_hook(self._back)  # type: ignore[no-untyped-call]
        return answer

    def _back(self, gradient: Similarities) -> None:
        self.tally[1] += len(gradient)


class CountingWithMap(Counting):
    """The same of a question that has a map of its own."""

    def own_map(self, images: Images) -> Evidence:
        """The own map, counted as one forward pass."""
        assert isinstance(self.question, OffersMap)
        maps, answer = self.question.own_map(images)
        return Evidence(maps, self._count(images, answer))


def counting(question: Question) -> Counting:
    """A counting question that offers what the question offers."""
    return (CountingWithMap if isinstance(question, OffersMap) else Counting)(question)


def cost(model: Similarity, name: str, rounds: int) -> dict[str, Any]:
    """Time, passes, map size and memory of each method that can work on the model.

    Args:
        model: loaded; it is asked on the CPU.
        name: what `soundspot.load` takes, for the processes whose memory is measured.
        rounds: of timing.
    """
    if isinstance(model, torch.nn.Module):
        model.to("cpu")
    refused = refusals(model, cheap_methods(), "cpu")
    found: dict[str, dict[str, Any]] = {FORWARD: {"time": 1.0, "forward": 1, "backward": 0}}
    found |= _timed(model, [m for m in cheap_methods() if m not in refused], rounds)
    for method in found:
        if method != OCCLUSION:
            found[method]["memory"] = memory(name, method)
    return {"methods": found}


def _timed(model: Similarity, methods: Sequence[str], rounds: int) -> dict[str, dict[str, Any]]:
    """Time and passes of the quick methods, and of occlusion with two grids."""
    images, sounds = inputs(model, PICTURES)
    with frozen(model):
        with torch.no_grad():
            question, one = fix_sound(model, sounds), fix_sound(model, sounds[:1])
        tasks: Tasks = {m: partial(soundspot.parse(m).explain, question, images) for m in methods}
        times = in_turn(partial(_forward, question, images), tasks, rounds)
        quick = {m: {"time": times[m], **_passes(one, images[:1], m)} for m in methods}
        slow = {m: _once(one, images[:1], m) for m in (occlusion_of(model), OCCLUSION)}
    return quick | slow


def inputs(model: Similarity, count: int) -> tuple[Images, Sounds]:
    """Random pictures and sounds of the model's own sizes."""
    facts = facts_of(model)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 3, facts.size, facts.size, generator=generator)
    length = round(facts.seconds * facts.sample_rate)
    return images, 0.1 * torch.randn(count, length, generator=generator)


@torch.no_grad()
def _forward(question: Question, images: Images) -> Similarities:
    return question(images)


def _passes(question: Question, images: Images, method: str) -> dict[str, Any]:
    """Passes for one picture, and the size of the map."""
    counter = counting(question)
    maps = soundspot.parse(method).explain(counter, images).maps
    forward, backward = counter.tally
    return {"forward": forward, "backward": backward, "size": list(maps.shape[1:])}


def _once(question: Question, images: Images, method: str) -> dict[str, Any]:
    """One run of a slow method between two forward passes, its passes counted on the way."""
    found: dict[str, Any] = {}
    forward = partial(_forward, question, images)
    forward()
    before = seconds(forward)
    spent = seconds(lambda: found.update(_passes(question, images, method)))
    return {"time": spent / ((before + seconds(forward)) / 2), **found}


def memory(name: str, method: str) -> float | None:
    """Peak memory of a process that makes one map, in MiB; None where the system tells none."""
    command = [sys.executable, __file__, name, method]
    bare = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    run = subprocess.run(command, env=bare, capture_output=True, text=True, check=True)
    return float(run.stdout) if run.stdout.strip() != "None" else None


def peak_mib(model: Similarity, method: str) -> float | None:
    """Make one map (or one forward pass) and say how much memory this process held at most.

    What loading the model took for a moment is forgotten where the system allows it.
    """
    images, sounds = inputs(model, 1)
    with frozen(model), torch.no_grad():
        question = fix_sound(model, sounds)
        with contextlib.suppress(OSError):
            FORGET.write_text("5")
        if method == FORWARD:
            question(images)
        else:
            soundspot.parse(method).explain(question, images)
    if not STATUS.exists():
        return None
    lines = STATUS.read_text().splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(peak) / KIB_IN_MIB


def times_cheaper(found: dict[str, Any], method: str = INPUT_GRADIENT) -> float:
    """How many times the method's time occlusion takes, with its default grid."""
    return float(found["methods"][OCCLUSION]["time"] / found["methods"][method]["time"])


if __name__ == "__main__":
    print(peak_mib(soundspot.load(sys.argv[1]), sys.argv[2]))
