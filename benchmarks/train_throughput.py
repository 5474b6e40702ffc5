"""What training loses to reading its data, and to ranks: ratios taken in one run.

    python benchmarks/train_throughput.py [--data SOURCE] [--only feed,loader,ranks,memory,index]
        [--rounds 5] [--pairs 192] [--films FOLDER] [--rates rates.json]

| item | what is compared | wanted | predicted before measuring |
|---|---|---|---|
| feed | steps from shards over steps on batches in memory | 0.90 | 0.95; 0.88 without a free core |
| loader | samples read, augmented, as spectrograms, over `peer_loader.py` | 3 | 4 |
| ranks | two gloo ranks over one, the same batch | 1.6 | 1.7; 1.2 where others work |
| memory | peak with 8 times the data over that with the data | 1 | 1.0 |
| index | step time under 1 million index entries over 1 thousand | 1 | 1.0 |

Things compared take turns, round after round, and the median over rounds of a round's ratio is
printed; beside the ratio of wall times that of processor times, which other work on the machine
does not bend. Each process computes on one thread. The model is the default kind with weights drawn
at random: how fast it is does not depend on them.

Data are made (`made_pairs.py`) and packed, unless --data names what `soundspot data pack` takes, of
pictures with sounds. `memory` and `index` always use made shards, whose tars are links to one.
--rates writes what was measured in seconds, for `scaling.py`; --films adds the packing of films.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from made_pairs import make_pairs
from peer_loader import PeerPairs
from shards import synthetic
from soundspot.batches import Batch
from soundspot.checkpoint import write_checkpoint
from soundspot.facts import ModelFacts
from soundspot.losses import objective_of
from soundspot.media.audio import write_sound
from soundspot.memory import keep_freed
from soundspot.models import MODELS, SimilarityModel
from soundspot.options import TrainOptions
from soundspot.ranks import Ranks, ranks_of_environment
from soundspot.shard_batches import ShardBatches, wave_of
from soundspot.shards import Shards
from soundspot.shards.options import PackOptions
from soundspot.shards.packing import pack
from soundspot.shards.sources import Source, open_source
from soundspot.sound_bank import SoundBank, hear_all
from soundspot.training.computing import Computing
from soundspot.training.feeding import Feed
from soundspot.training.learning import Learner, heard

KIND = "two_tower"
OPTIONS = TrainOptions(steps=10_000, scenes=16)
STEPS = 6
"""In a round."""
HEARD = 8
"""Sounds that set the scale of embeddings; how many does not change the speed."""
EQUAL_SECONDS = 3.0
LARGE_PAIRS = 12
SMALL, LARGE = 1_000, 1_000_000
"""Index entries."""
ONCE, EIGHT = 20_000, 160_000
"""Samples of the data sets whose memory is compared."""
SPIN = "import time; e = time.time() + 1.5\nwhile time.time() < e: pass\nprint(time.process_time())"
T = TypeVar("T")


@dataclass
class Clock:
    """Wall and processor seconds of rounds."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def time(self, task: Callable[[], object]) -> None:
        """Add a round."""
        wall, cpu = time.perf_counter(), _cpu()
        task()
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(_cpu() - cpu)

    def over(self, other: Clock) -> str:
        """How many times the rate of another, which had the same to do."""
        wall, cpu = (
            statistics.median(theirs / own for own, theirs in zip(mine, its, strict=True))
            for mine, its in ((self.wall, other.wall), (self.cpu, other.cpu))
        )
        return f"{wall:.2f} by the clock, {cpu:.2f} by processor time"


def main() -> None:
    """Measure and print."""
    items = {"feed": feed, "loader": loader, "ranks": ranks, "memory": memory, "index": index}
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", metavar="SOURCE")
    parser.add_argument("--films", metavar="FOLDER", type=Path)
    parser.add_argument("--only", default=",".join(items))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=192)
    parser.add_argument("--rates", metavar="FILE", type=Path)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    told = parser.parse_args()
    keep_freed()
    torch.set_num_threads(1)
    if told.job:
        print(json.dumps(JOBS[told.job.partition("=")[0]](told.job.partition("=")[2])))
        return
    print(f"cores free of {os.cpu_count()}: {free_cores():.2f} of two")
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), told.data, told.pairs, told.rounds)
        for name in told.only.split(","):
            items[name](place)
        if told.rates:
            rates(place, told.films)
            told.rates.write_text(json.dumps(place.rates, indent=1) + "\n")
    print(f"cores free afterwards: {free_cores():.2f} of two")


class Place:
    """Where the benchmark works, and what it found.

    Args:
        folder: for its files.
        data: what to pack; None: made pairs.
        count: of them.
        rounds: of each comparison.
    """

    def __init__(self, folder: Path, data: str | None, count: int, rounds: int) -> None:
        self.folder, self.rounds, self.rates = folder, rounds, dict[str, float]()
        whole = open_source(data or make_pairs(folder / "made", count))
        pairs = tuple(e for e in whole.entries if e.sound is not None)[:count]
        self.source = Source(whole.kind, whole.root, pairs)
        taken = Clock()
        options = PackOptions(per_shard=64)
        taken.time(lambda: pack(self.source, folder / "packed", options, workers=0))
        self.shards = Shards.open(folder / "packed")
        self.rates["pack_pair_s"] = taken.cpu[0] / len(pairs)
        bytes_ = sum(shard.bytes for shard in self.shards.catalogue.shards)
        self.rates["sample_bytes"] = bytes_ / len(self.shards)
        print(f"{len(self.shards)} pairs packed, {bytes_ / len(self.shards) / 1e3:.0f} kB each")


def feed(place: Place) -> None:
    """End to end from shards, and on batches in memory."""
    learner, batches = started(place.shards, OPTIONS)
    kept = [batches.make(step) for step in range(3)]
    own, in_memory, waits = Clock(), Clock(), list[float]()
    learner.learn(kept[0], 0)
    for turn in range(place.rounds):
        in_memory.time(lambda: [learner.learn(kept[i % 3], i) for i in range(STEPS)])
        source, first = Feed(batches, Ranks()), turn * STEPS
        stream = source(first, first + STEPS + 1)
        next(stream)
        own.time(partial(waits.extend, learned(learner, stream, source)))
    samples = STEPS * OPTIONS.scenes
    place.rates["step_scene_s"] = statistics.median(in_memory.cpu) / samples
    print(f"feed: training from shards has {own.over(in_memory)}, of the rate in memory;")
    print(f"  a step waits {statistics.median(waits) * 1e3:.1f} ms for its batch (median)")


def learned(learner: Learner, stream: Iterator[Batch], source: Feed) -> Iterator[float]:
    """Learn from what comes; yields how long each batch was waited for."""
    for i, batch in enumerate(stream):
        learner.learn(batch, i)
        yield source.waited


def loader(place: Place) -> None:
    """Samples of the reader, and of the loader of peers, on the same pairs."""
    options = replace(OPTIONS, mosaics=0.0)  # one pair a scene, as peers have it
    _, batches = started(place.shards, options)
    log_mel = MODELS[KIND].from_config({}, FACTS).sound_tower.log_mel
    samples = [entry.sample for entry in place.source.entries]
    wide = ([Path(s.image) for s in samples], [Path(s.sound) for s in samples])
    small = unpacked(place)
    large = open_source(make_pairs(place.folder / "large", LARGE_PAIRS, large=True)).entries
    peers = {
        "files as extracted, 10 s": PeerPairs(*wide, options.side, 10.0),
        "files as extracted, 3 s": PeerPairs(*wide, options.side, EQUAL_SECONDS),
        "the shards' own small files, 10 s": PeerPairs(*small, options.side, 10.0),
        "made files of 1280 x 720 and 48 kHz stereo, 10 s": PeerPairs(
            [Path(e.sample.image) for e in large], [Path(e.sample.sound) for e in large],
            options.side, 10.0,
        ),
    }  # fmt: skip
    own, plain, clocks = Clock(), Clock(), {name: Clock() for name in peers}

    def ours(turn: int, hear: Callable[[Tensor], object] = log_mel) -> None:
        for step in range(turn * STEPS, (turn + 1) * STEPS):
            hear(batches.make(step).clips)

    ours(0)
    count = STEPS * options.scenes
    for turn in range(place.rounds):
        own.time(partial(ours, turn))
        plain.time(partial(ours, turn, len))
        for name, peer in peers.items():
            picks = [(turn * count + i) % len(peer) for i in range(count)]
            clocks[name].time(partial(collated, peer, picks, options.scenes))
    place.rates["make_sample_s"] = statistics.median(plain.cpu) / count
    place.rates["spectrogram_s"] = statistics.median(own.cpu) / count - place.rates["make_sample_s"]
    for name, clock in clocks.items():
        place.rates[f"peer_sample_s, {name}"] = statistics.median(clock.cpu) / count
        print(f"loader: {own.over(clock)}, times the rate of peers ({name});")
        print(f"    without our spectrogram, which on a GPU is the step's: {plain.over(clock)}")


def collated(peer: PeerPairs, picks: Sequence[int], size: int) -> list[Any]:
    """Batches of a peer's samples, in this process."""
    return list(DataLoader(peer, size, sampler=picks))


def unpacked(place: Place) -> tuple[list[Path], list[Path]]:
    """The shards' samples as files of the peers' kind."""
    folder = place.folder / "unpacked"
    folder.mkdir()
    pictures, sounds = list[Path](), list[Path]()
    for number in range(len(place.shards)):
        raw = place.shards.raw(number)
        pictures.append(folder / f"{number}.jpg")
        sounds.append(folder / f"{number}.wav")
        pictures[-1].write_bytes(raw.pictures[0])
        write_sound(sounds[-1], *raw.wave())
    return pictures, sounds


def ranks(place: Place) -> None:
    """One and two processes over gloo, on batches in memory and on shards."""
    turns = max(1, place.rounds // 2)
    for source in ("memory", "shards"):
        found: dict[int, list[dict[str, float]]] = {1: [], 2: []}
        for _ in range(turns):
            for count, some in found.items():
                some.append(together(count, f"{source}:{place.folder / 'packed'}"))
        wall, cpu = (
            statistics.median(a[k] / b[k] for a, b in zip(found[1], found[2], strict=True))
            for k in ("wall", "cpu")
        )
        got = statistics.median(b["cpu"] / b["wall"] for b in found[2])
        print(
            f"ranks: two have {wall:.2f} times the rate of one by the clock, {cpu:.2f} by processor"
            f" time a scene ({source}; they got {got:.2f} cores)"
        )
        if source == "memory":
            place.rates["two_ranks_cpu_ratio"] = cpu


def together(count: int, told: str) -> dict[str, float]:
    """What so many ranks took."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        port = str(opened.getsockname()[1])
    shared = {**os.environ, "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1"}
    shared |= {"MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--job", f"rank={told}"]
    started_ = [
        subprocess.Popen(
            command, env={**shared, "RANK": str(i), "LOCAL_RANK": str(i)}, stdout=subprocess.PIPE
        )
        for i in range(count)
    ]
    said = [process.communicate()[0] for process in started_]
    if any(process.returncode for process in started_):
        raise SystemExit("ranks: a process failed; its message stands above")
    return dict(json.loads(said[0]))


def rank_job(told: str) -> dict[str, float]:
    """One rank's part; its wall time, and the processor time of all."""
    source, _, folder = told.partition(":")
    with ranks_of_environment("cpu") as (all_, _):
        options = replace(OPTIONS, blocks=all_.count)
        learner, batches = started(Shards.open(folder), options, all_)
        source_ = Feed(batches, all_)
        kept = next(source_(0, 1))
        learner.learn(kept, 0)
        stream: Iterator[Batch] = iter([kept] * STEPS)
        if source == "shards":
            stream = source_(0, STEPS + 1)
            next(stream)
        all_.objects(0)
        taken = Clock()
        taken.time(lambda: [learner.learn(batch, i) for i, batch in enumerate(stream)])
        return {"wall": taken.wall[0], "cpu": sum(all_.objects(taken.cpu[0]))}


def memory(place: Place) -> None:
    """Peak memory of training on a data set, and on one of 8 times the size."""
    peaks = {}
    for count in (ONCE, EIGHT):
        command = [sys.executable, __file__, "--job", f"memory={count}"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        peaks[count] = json.loads(done.stdout)["mib"]
    sizes = ", ".join(f"{count:,} samples {mib:.0f} MiB" for count, mib in peaks.items())
    print(f"memory: {peaks[EIGHT] / peaks[ONCE]:.3f} ({sizes})")


def memory_job(told: str) -> dict[str, float]:
    """Peak memory of some steps, in MiB."""
    with tempfile.TemporaryDirectory() as folder:
        learner, batches = started(synthetic(Path(folder) / "set", int(told)), OPTIONS)
        for i, batch in enumerate(Feed(batches, Ranks())(0, 2 * STEPS)):
            learner.learn(batch, i)
    return {"mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def index(place: Place) -> None:
    """Whole steps under few and under many index entries."""
    clocks, made = {SMALL: Clock(), LARGE: Clock()}, {SMALL: Clock(), LARGE: Clock()}
    sets = {n: started(synthetic(place.folder / str(n), n), OPTIONS) for n in clocks}
    for turn in range(2 * place.rounds + 1):
        for count, (learner, batches) in sets.items():
            making, whole = Clock(), Clock()
            making.time(partial(batches.make, turn))
            batch = batches.make(turn)
            whole.time(partial(learner.learn, batch, 0))
            if turn:  # the first opens files
                made[count].wall += making.wall
                made[count].cpu += making.cpu
                clocks[count].wall.append(making.wall[0] + whole.wall[0])
                clocks[count].cpu.append(making.cpu[0] + whole.cpu[0])
    print(f"index: a step under {LARGE:,} entries takes {clocks[SMALL].over(clocks[LARGE])}")
    print(f"  of the time under {SMALL:,}; making its batch {made[SMALL].over(made[LARGE])}")


def rates(place: Place, films: Path | None) -> None:
    """What else a cost model needs."""
    learner, batches = started(place.shards, OPTIONS)
    found = place.rates
    numbers = range(len(place.shards))
    reading, ordering = Clock(), Clock()
    reading.time(lambda: [place.shards.raw(number) for number in numbers])
    ordering.time(lambda: place.shards.order().at(np.arange(len(numbers))))
    found["read_sample_s"] = reading.cpu[0] / len(numbers)
    counting = Counting()
    parts = learner.objective.embed(learner.model, heard(learner.model, batches.make(0)))
    learner.objective.loss(learner.model, parts, counting)
    for axes, sent in counting.bytes.items():
        found[f"gathered_bytes_a_scene^{axes}"] = sent / OPTIONS.scenes**axes
    found["gradient_bytes"] = sum(p.numel() * p.element_size() for p in learner.trained)
    tensors, taken = learner.tensors(), Clock()
    path = place.folder / "checkpoint.safetensors"
    taken.time(lambda: write_checkpoint(path, tensors, {"kind": "training"}))
    found |= {"checkpoint_bytes": path.stat().st_size, "checkpoint_s": taken.wall[0]}
    if films is not None:
        source = open_source(films)
        taken.time(lambda: pack(source, place.folder / "films", workers=0))
        found["pack_film_s"] = taken.cpu[1] / len(source.entries)


@dataclass(frozen=True)
class Counting(Ranks):
    """One rank that counts what all would gather; apart, what has a value for each two rows."""

    bytes: dict[int, int] = field(default_factory=lambda: {1: 0, 2: 0})
    """By the power of the batch's size with which it grows."""

    def gather(self, rows: Tensor) -> Tensor:
        """Count, and give back."""
        grows = 2 if rows.shape[1:] == rows.shape[:1] else 1
        self.bytes[grows] += rows.numel() * rows.element_size()
        return rows


FACTS = ModelFacts(name=KIND, size=OPTIONS.side, method="similarity_map")


def started(
    shards: Shards, options: TrainOptions, all_: Ranks | None = None
) -> tuple[Learner, ShardBatches]:
    """A model with its objective, and its batches; what stands still in a run does here."""
    torch.manual_seed(0)
    model: SimilarityModel = MODELS[KIND].from_config({}, FACTS)
    blocks = model.image_tower.blocks
    still = (model.image_tower.stem, *blocks[: options.still], *(b.depthwise for b in blocks))
    for part in (model.sound_tower, *still):
        part.requires_grad_(False)
    bank = heard_bank(model, shards)
    objective = objective_of(KIND, options.objective)()
    objective.start(model, bank)
    learner = Learner(model, objective, options, 0, all_ or Ranks(), Computing())
    return learner, ShardBatches(shards, bank, options, waves=objective.waves)


def heard_bank(model: SimilarityModel, shards: Shards) -> SoundBank:
    """A few sounds."""
    return hear_all(model.sound_tower.eval(), (wave_of(shards.raw(i)) for i in range(HEARD)))


def free_cores() -> float:
    """How much of two cores two processes get that do nothing but count."""
    command = [sys.executable, "-c", SPIN]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    return sum(float(process.communicate()[0]) for process in both) / 1.5


def _cpu() -> float:
    return time.process_time()


JOBS: dict[str, Callable[[str], dict[str, float]]] = {"rank": rank_job, "memory": memory_job}

if __name__ == "__main__":
    main()
