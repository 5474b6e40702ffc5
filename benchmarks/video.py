"""How fast films are: ratios, each pair of arms timed in turn in one process.

    python benchmarks/video.py [--clip CLIP.mp4]... [--seconds 4] [--rounds 3] [--only film|maps]
        [--size 1920x1080]

Wall time and process time (all threads of this process) are both taken, and the median over rounds
of each ratio is printed: on a machine that is busy with other things wall time also tells how much
of it this process was given. Without `--clip`, a clip of `--size` (640 x 360) is made from
`samples/`, enlarged.

**film** The rate of `film_clip` (decode, hear, localize, draw, encode, join) over the rate of
localizing the same frames, decoded and with their sound heard before, in the same batches by the
same thread (fit, ask, bring to the picture's size, cut into boxes). Goal: 0.85. The sounds that
the model was given are counted on the way, and told apart by their samples.

Predicted before the first run: at 640 x 360 about 15 ms of decoding, drawing and encoding beside
180 ms of localizing, so 0.92 of process time and more of wall time where a second core is free; at
1920 x 1080 about 80 ms, so 0.7 of process time, 0.9 of wall time.

**maps** `similarity_map` at 224 px, as a film asks for it (a window heard once for all its frames,
pictures in batches), against the loop of `rc_grad_loop.py`: seconds a frame, hearing included,
25 frames a second. Goal: 5 times faster. And against the same loop around our own network, which
tells what the way of asking does and what the network.

Predicted before the first run: ResNet-18 costs 3 GMAC forward, 6 backward and 1 for the sound, the
default model 0.4 and next to nothing: 8 to 15 times (small convolutions use a CPU less well). The
loop around our own network: 5 to 10 times, as it hears 10 s of sound for each frame.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

import soundspot
from rc_grad_loop import RcGradLike
from soundspot.film_job import FilmTask
from soundspot.filming import film_clip
from soundspot.localize import parse
from soundspot.locating import LocalEvidence, Locator
from soundspot.maps import resize_maps
from soundspot.media.film_writer import write_film
from soundspot.media.image import Picture, fit_picture, read_picture
from soundspot.media.sound_track import SoundTrack
from soundspot.media.video import frames
from soundspot.memory import keep_freed
from soundspot.streaming import HOP, WINDOW, stream
from soundspot.streaming.engine import BATCH_CPU
from soundspot.streaming.hearing import Heard, Hearing, Windows
from soundspot.watch import frozen

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
SIZE = "640x360"
"""Width and height of the made clip."""
RATE = 25
PAN = 3
"""Pixels by which the made clip's camera moves in a frame."""
SPARSE = 5
"""Each so-many-th frame is judged where sounds are counted."""
SIDE = 224
FRAMES = 25
"""Of the maps: one second, which has two windows."""


class Cost(NamedTuple):
    """Seconds of wall time, and of all threads of the process."""

    wall: float
    process: float


def cost(task: Callable[[], object]) -> Cost:
    """What one call takes."""
    wall, process = time.perf_counter(), time.process_time()
    task()
    return Cost(time.perf_counter() - wall, time.process_time() - process)


def in_turn(tasks: Sequence[Callable[[], object]], rounds: int) -> list[list[Cost]]:
    """Costs by round and task, after one call of each."""
    for task in tasks:
        task()
    return [[cost(task) for task in tasks] for _ in range(rounds)]


def ratio(rounds: list[list[Cost]], above: int, below: int) -> str:
    """Medians of one task's cost over another's in the same round, and their range in wall time."""
    walls = [r[above].wall / r[below].wall for r in rounds]
    processes = [r[above].process / r[below].process for r in rounds]
    return (
        f"{statistics.median(walls):.2f} of wall time ({min(walls):.2f} to {max(walls):.2f}), "
        f"{statistics.median(processes):.2f} of process time"
    )


def each(rounds: list[list[Cost]], task: int, frames: int) -> str:
    """Medians a frame."""
    wall = statistics.median(r[task].wall for r in rounds) / frames
    process = statistics.median(r[task].process for r in rounds) / frames
    return f"{1000 * wall:.0f} ms a frame ({1000 * process:.0f} ms of process time)"


# --- film ------------------------------------------------------------------------------------


def make_clip(path: Path, size: tuple[int, int], seconds: float) -> Path:
    """A cat, panned over, with a dog's barks."""
    width, height = size
    wide = fit_picture(read_picture(SAMPLES / "chelsea.png"), 2 * width, height)
    with write_film(path, size, RATE, sound_from=SAMPLES / "dog.mp3", stop=seconds) as film:
        for number in range(round(seconds * RATE)):
            left = number * PAN % width
            film.write(number / RATE, wide[:, left : left + width].copy())
    return path


class InMemory:
    """Frames that are decoded, each with its window, which is heard."""

    def __init__(self, locator: Locator, clip: Path, seconds: float) -> None:
        self.locator = locator
        found = list(frames(clip, 0.0, seconds))
        self.pictures: list[Picture] = [picture for _, picture in found]
        self.heard = list(self._hear(clip, [at for at, _ in found]))

    def _hear(self, clip: Path, times: Sequence[float]) -> Iterator[Heard]:
        rate = self.locator.facts.sample_rate
        windows = Windows(WINDOW, HOP, live=False)
        hearing = Hearing(
            self.locator, windows, lambda after: SoundTrack(clip, rate, after), ahead=True
        )
        for at in range(0, len(times), BATCH_CPU):
            yield from hearing.hear(times[at : at + BATCH_CPU])
        hearing.close()

    def localize(self) -> None:
        """Batch after batch, dropped."""
        for at in range(0, len(self.pictures), BATCH_CPU):
            places = range(at, min(at + BATCH_CPU, len(self.pictures)))
            for _, alike in itertools.groupby(places, lambda i: id(self.heard[i].question)):
                self._ask(list(alike))

    def _ask(self, places: list[int]) -> None:
        locator = self.locator
        with frozen(locator.model):
            asked = self.heard[places[0]].question.of([self.heard[i].row for i in places])
            images = locator.look([locator.fit(self.pictures[i]) for i in places])
            maps, similarities = locator.explain(asked, images)
        for i, map_, similarity in zip(places, maps, similarities.tolist(), strict=True):
            locator.result(self.pictures[i], LocalEvidence(map_, 1.0, similarity), 0.0)


class Ears:
    """Counts the sounds that a model is given."""

    def __init__(self, model: Any) -> None:
        self.given: list[str] = []
        self.calls = self.empty = 0
        self.hear = model.fix_sound
        model.fix_sound = self

    def __call__(self, sounds: torch.Tensor) -> Any:
        """Hear, and remember what."""
        self.calls += 1
        heard = [row.numpy().tobytes() for row in sounds if row.any()]
        self.given += [hashlib.sha256(samples).hexdigest() for samples in heard]
        self.empty += len(sounds) - len(heard)
        return self.hear(sounds)


def film(model: Any, clip: Path, seconds: float, rounds: int) -> None:
    """Print the first ratio of one clip."""
    locator = Locator(model, device="cpu")
    memory = InMemory(locator, clip, seconds)
    count = len(memory.pictures)
    height, width = memory.pictures[0].shape[:2]
    with tempfile.TemporaryDirectory() as folder:
        task = FilmTask(clip, Path(folder) / "where.mp4", stop=seconds, batch=BATCH_CPU)
        costs = in_turn([memory.localize, lambda: film_clip(task, model, device="cpu")], rounds)
    print(f"\n{clip.name}: {count} frames of {width} x {height}")
    print(f"  frames in memory: {each(costs, 0, count)}; whole film: {each(costs, 1, count)}")
    print(f"  rate of the whole film: {ratio(costs, 0, 1)}", flush=True)


def sounds(model: Any, clip: Path) -> None:
    """Print how many windows a whole clip has, and how many the model was given."""
    ears, windows = Ears(model), Windows(WINDOW, HOP, live=False)
    moments = stream(clip, model=model, every=SPARSE, device="cpu")
    judged = [moment.time for moment in moments if not moment.repeated]
    del model.fix_sound
    needed = {windows.number(time) for time in judged}
    print(
        f"  {len(judged)} frames judged, in {len(needed)} windows; sounds heard: {len(ears.given)} "
        f"in {ears.calls} calls, {len(ears.given) - len(set(ears.given))} of them again; "
        f"{ears.empty} windows of silence, behind the end or in it",
        flush=True,
    )


# --- maps ------------------------------------------------------------------------------------


class Maps:
    """A second of random frames at 224 px with two windows of noise, asked about in three ways."""

    def __init__(self, model: Any) -> None:
        torch.manual_seed(0)
        self.locator, self.peer = Locator(model, "similarity_map", device="cpu"), RcGradLike()
        rate = self.locator.facts.sample_rate
        self.images = torch.rand(FRAMES, 3, SIDE, SIDE)
        self.windows = 0.1 * torch.randn(2, round(WINDOW * rate))
        self.of_frame = [min(1, int(i / RATE / HOP)) for i in range(FRAMES)]
        self.full = round(self.locator.facts.seconds * rate)

    def ours(self) -> None:
        """Windows heard once, pictures in batches, one forward pass, no gradient."""
        model, way = self.locator.model, parse("similarity_map")
        with frozen(model):
            question = self.locator.listen([self._filled(i).numpy() for i in range(2)])
            for at in range(0, FRAMES, BATCH_CPU):
                rows = self.of_frame[at : at + BATCH_CPU]
                found = way.explain(question.of(rows), self.images[at : at + BATCH_CPU])
                resize_maps(found.maps, (SIDE, SIDE))

    def peers(self) -> None:
        """The peer's loop."""
        self.peer.maps_of(list(self.images), [self.windows[i] for i in self.of_frame])

    def own_in_a_loop(self) -> None:
        """The peer's way on our network: each frame alone, backwards into all parameters."""
        model: Any = self.locator.model
        for image, window in zip(self.images, self.of_frame, strict=True):
            model.zero_grad()
            model(image[None], self._filled(window)[None]).sum().backward()
        model.zero_grad()

    def _filled(self, window: int) -> torch.Tensor:
        samples = self.windows[window]
        return samples.repeat(-(-self.full // len(samples)))[: self.full]


def maps(model: Any, rounds: int) -> None:
    """Print the second ratios."""
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    ways = Maps(model)
    costs = in_turn([ways.ours, ways.peers, ways.own_in_a_loop], rounds)
    print(f"\nsimilarity_map at {SIDE} px: {each(costs, 0, FRAMES)}")
    for place, name in ((1, "the peer's loop"), (2, "the loop around our network")):
        print(f"  {name}: {each(costs, place, FRAMES)}: {ratio(costs, place, 0)}", flush=True)


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clip", type=Path, action="append", metavar="CLIP", default=[])
    parser.add_argument("--model", default="default")
    parser.add_argument("--size", default=SIZE, metavar="WxH", help="of the made clip")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each clip")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("film", "maps"))
    given = parser.parse_args()
    keep_freed()
    model = soundspot.load(given.model)
    print(f"{given.model}, torch threads: {torch.get_num_threads()}")
    with tempfile.TemporaryDirectory() as folder:
        if given.only != "maps":
            width, height = map(int, given.size.split("x"))
            made = Path(folder) / "made.mp4"
            for clip in given.clip or [make_clip(made, (width, height), given.seconds)]:
                film(model, clip, given.seconds, given.rounds)
                sounds(model, clip)
    if given.only != "film":
        maps(model, given.rounds)


if __name__ == "__main__":
    main()
