"""What each method costs, as a multiple of one forward pass of the same model.

    python benchmarks/methods.py [--model default] [--rounds 7] [--size SIDE] [--pictures 4]

All are timed in turn, round after round, in one process; a ratio is taken within a round and the
median over rounds is printed, so that a machine whose speed drifts does not bend it. The forward
pass is the picture's alone: the sound is heard once before, as for many pictures in a row, and
its own cost stands in a row of its own. A second table tells what hearing once saves, and a third
what the C library's memory thresholds (`soundspot.memory`) save, each in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import torch

import soundspot
from soundspot.facts import facts_of
from soundspot.localize import parse
from soundspot.memory import keep_freed
from soundspot.similarity import fix_sound
from soundspot.watch import frozen

if TYPE_CHECKING:
    from soundspot.types import Images

Tasks: TypeAlias = dict[str, Callable[[], object]]

METHODS = (
    "similarity_map",
    "input_gradient",
    "guided_backprop",
    "inner_gradient",
    "grad_cam",
    "combined(similarity_map, guided_backprop)",
)
OCCLUSION = "occlusion"
OWN = "the model's default method"
PICTURES = 4
"""In a batch; occlusion asks about one of them."""
FRAMES = 16
"""Pictures that follow one sound in the second table."""


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="default")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--pictures", type=int, default=PICTURES, help="in a batch")
    parser.add_argument("--size", type=int, help="side of the picture (default: the model's)")
    parser.add_argument("--forward-only", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    keep_freed()
    model = soundspot.load(arguments.model)
    facts = facts_of(model)
    side = arguments.size or facts.size
    torch.manual_seed(0)
    images = torch.rand(arguments.pictures, 3, side, side)
    sounds = torch.randn(len(images), round(facts.seconds * facts.sample_rate)) * 0.1
    with frozen(model), torch.no_grad():
        question = fix_sound(model, sounds)
        if arguments.forward_only:
            print(median_seconds(lambda: question(images), arguments.rounds))
            return
        threads = torch.get_num_threads()
        print(f"{facts.name}, {len(images)} picture(s) of {side} px, {threads} thread(s)")
        tasks: Tasks = {"hearing the sound": lambda: fix_sound(model, sounds)}
        for text in METHODS:
            tasks[text] = partial(parse(text).explain, question, images)
        if facts.method:
            tasks[OWN] = partial(parse(facts.method).explain, question, images)
        ratios = in_turn(lambda: question(images), tasks, arguments.rounds)
        show("Time over one forward pass", {"forward pass": 1.0, **ratios})
        one = fix_sound(model, sounds[:1])
        slow: Tasks = {OCCLUSION: partial(parse(OCCLUSION).explain, one, images[:1])}
        show("Of one picture", in_turn(lambda: one(images[:1]), slow, 2))
        anew: Tasks = {
            "hearing it each time": lambda: follow(lambda x: model(x, sounds[:1]), images)
        }
        once = in_turn(lambda: follow(one, images), anew, 3)
        show(f"{FRAMES} pictures, one sound: time over hearing it once", once)
    ratio = memory_ratio(arguments.model, side)
    show("The C library's memory thresholds: time without over with", {"forward pass": ratio})


def follow(ask: Callable[[Images], object], images: Images) -> None:
    """Ask about one picture after another."""
    for _ in range(FRAMES):
        ask(images[:1])


def show(title: str, ratios: Mapping[str, float]) -> None:
    """Print one table."""
    print(f"\n{title}\n")
    for name, ratio in ratios.items():
        print(f"  {name:44} {ratio:8.2f}")


def in_turn(base: Callable[[], object], tasks: Tasks, rounds: int) -> dict[str, float]:
    """Median over rounds of each task's time over the base's in the same round."""
    ratios: dict[str, list[float]] = {name: [] for name in tasks}
    for task in (base, *tasks.values()):
        task()
    for _ in range(rounds):
        reference = (seconds(base) + seconds(base)) / 2
        for name, task in tasks.items():
            ratios[name].append(seconds(task) / reference)
    return {name: statistics.median(values) for name, values in ratios.items()}


def memory_ratio(model: str, side: int) -> float:
    """A forward pass in a process without the thresholds over one in a process with them."""
    command = [sys.executable, __file__, "--forward-only", "--model", model, "--size", str(side)]
    bare = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    times: list[float] = []
    for off in ("1", ""):
        environment = {**bare, "SOUNDSPOT_KEEP_MALLOC": off}
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        times.append(float(run.stdout))
    return times[0] / times[1]


def median_seconds(task: Callable[[], object], rounds: int) -> float:
    """Median time after a warm-up."""
    task()
    return statistics.median(seconds(task) for _ in range(rounds))


def seconds(task: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
