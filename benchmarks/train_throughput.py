"""What training loses to reading its data, and to ranks: ratios taken in one run.

    python benchmarks/train_throughput.py [--data SOURCE] [--only feed,loader,ranks,memory,index]
        [--rounds 5] [--pairs 192] [--films FOLDER] [--rates rates.json]

| item | what is compared | wanted | predicted before measuring |
|---|---|---|---|
| feed | steps from shards over steps on batches in memory | 0.90 | 0.95; 0.88 without a free core |
| loader | samples made for training, over `peer_loader.py` | 3 | 4; heard before: 5 |
| ranks | two gloo ranks over one, the same batch | 1.6 | 1.5 |
| memory | peak with 8 times the data over that with the data | 1 | 1.0 |
| index | step time under 1 million index entries over 1 thousand | 1 | 1.0 |

Things compared take turns, round after round, and the median over rounds of a round's ratio is
printed; beside the ratio of wall times that of processor times, which other work on the machine
does not bend. Each process computes on one thread. The model is the default kind with weights drawn
at random: how fast it is does not depend on them.

Beside two ranks stands their ceiling: two processes that take the same halves of a batch and
exchange nothing. What lies below it is the exchange; what it lacks of 2 is the machine's (the rates
of two processes that multiply small matrices, and that pass 64 MiB through memory, are printed
too), and what a step costs however small its batch: a step over that of a half.

`loader` compares, on one thread of one process, with peers' loader, which hears as many seconds:

- all our work with sounds that were heard before (`--hear-all`): reading pictures from shards,
  varied resolution, light and colour, and embeddings from the bank;
- all our work with sounds that are heard in the step: the same, and decoding, varying and
  spectrograms of sounds, from shards of WAV and of FLAC;
- that without the spectrogram, which on a GPU is the step's; peers' loaders always make it;
- their work only (`same_work.py`): crop, flip, the sound as it is; with and without spectrogram.

Data are made (`made_pairs.py`) and packed, unless --data names a folder of films, which are taken
apart as peers do, or what else `soundspot data pack` takes, of pictures with sounds. `memory` and
`index` always use made shards, whose tars are links to one.
--rates writes what was measured in seconds, for `scaling.py`; --films adds the packing of films.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from made_pairs import extract_pairs, make_pairs
from peer_loader import PeerPairs
from same_work import same_work
from shards import synthetic
from soundspot.batches import Batch, Batches
from soundspot.checkpoint import write_checkpoint
from soundspot.clip_batches import ClipBatches, wave_of
from soundspot.facts import ModelFacts
from soundspot.heard_batches import HeardBatches, sounds_in
from soundspot.losses import objective_of
from soundspot.media.audio import write_sound
from soundspot.memory import keep_freed
from soundspot.models import MODELS, SimilarityModel
from soundspot.options import TrainOptions
from soundspot.ranks import Ranks, ranks_of_environment
from soundspot.shards import Shards
from soundspot.shards.format import SOUNDS
from soundspot.shards.options import PackOptions, SoundFormat
from soundspot.shards.packing import pack
from soundspot.shards.sources import Entry, Source, open_source
from soundspot.sound_bank import SoundBank, bank_of, hear
from soundspot.training.computing import Computing
from soundspot.training.feeding import Feed
from soundspot.training.learning import Learner, heard

KIND = "two_tower"
OPTIONS = TrainOptions(steps=10_000, scenes=16)
STEPS = 6
"""In a round."""
HEARD_SOUNDS = 8
"""Sounds that set the scale of embeddings; how many does not change the speed."""
HEARD_TIMED = 64
"""Sounds whose hearing for a bank is timed."""
BRIEF = 3.0
"""Seconds of sound that some peers read."""
LARGE_PAIRS = 12
SMALL, LARGE = 1_000, 1_000_000
"""Index entries."""
ONCE, EIGHT = 20_000, 160_000
"""Samples of the data sets whose memory is compared."""
SQUARE, COPIED, REPEATS = 512, 64 * 2**20, 40
"""Side of the matrices that the machine is asked to multiply; bytes to pass through ReLU; times."""
SPIN = "import time; e = time.time() + 1.5\nwhile time.time() < e: pass\nprint(time.process_time())"
T = TypeVar("T")


class Ratio(NamedTuple):
    """Of two rates."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        """Both, for people."""
        return f"{self.wall:.2f} by the clock, {self.cpu:.2f} by processor time"


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

    def over(self, other: Clock) -> Ratio:
        """How many times the rate of another, which had the same to do."""
        wall, cpu = (
            statistics.median(theirs / own for own, theirs in zip(mine, its, strict=True))
            for mine, its in ((self.wall, other.wall), (self.cpu, other.cpu))
        )
        return Ratio(wall, cpu)


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
            found = {"rates": place.rates, "ratios": place.ratios}
            told.rates.write_text(json.dumps(found, indent=1) + "\n")
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
        self.folder, self.rounds = folder, rounds
        self.rates: dict[str, float] = {}
        self.ratios: dict[str, Ratio] = {}
        if data and any(Path(data).glob("*.mp4")):
            data = str(extract_pairs(folder / "extracted", Path(data)))
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
    place.ratios["feed"] = own.over(in_memory)
    print(f"feed: training from shards has {place.ratios['feed']}, of the rate in memory;")
    print(f"  a step waits {statistics.median(waits) * 1e3:.1f} ms for its batch (median)")


def learned(learner: Learner, stream: Iterator[Batch], source: Feed) -> Iterator[float]:
    """Learn from what comes; yields how long each batch was waited for."""
    for i, batch in enumerate(stream):
        learner.learn(batch, i)
        yield source.waited


def loader(place: Place) -> None:
    """Samples of the reader, and of the loader of peers, on the same pairs."""
    wide = files_of(place.source.entries)
    large = open_source(make_pairs(place.folder / "large", LARGE_PAIRS, large=True)).entries
    small, side = unpacked(place), OPTIONS.side
    sets = {
        seconds: {sound: packed(place, seconds, sound) for sound in SOUNDS}
        for seconds in (10.0, BRIEF)
    }
    peers = {
        "files as extracted, 10 s": (10.0, PeerPairs(*wide, side, 10.0)),
        "files as extracted, 3 s": (BRIEF, PeerPairs(*wide, side, BRIEF)),
        "the shards' own small files, 10 s": (10.0, PeerPairs(*small, side, 10.0)),
        "the shards' own small files, 3 s": (BRIEF, PeerPairs(*small, side, BRIEF)),
        "made files of 1280 x 720 and 48 kHz stereo, 10 s": (
            10.0, PeerPairs(*files_of(large), side, 10.0)
        ),
    }  # fmt: skip
    makers = {seconds: our_makers(kinds, seconds) for seconds, kinds in sets.items()}
    own = {seconds: {way: Clock() for way in made} for seconds, made in makers.items()}
    clocks = {name: Clock() for name in peers}
    count = STEPS * OPTIONS.scenes
    for turn in range(place.rounds):
        for seconds, made in makers.items():
            for way, make in made.items():
                own[seconds][way].time(partial(make, turn))
        for name, (_, peer) in peers.items():
            picks = [(turn * count + i) % len(peer) for i in range(count)]
            clocks[name].time(partial(collated, peer, picks, OPTIONS.scenes))
    spent = {way: statistics.median(clock.cpu) / count for way, clock in own[10.0].items()}
    place.rates |= {
        "make_sample_s": spent[BARE.format("FLAC")], "heard_make_sample_s": spent[HEARD],
        "spectrogram_s": spent[ALL.format("FLAC")] - spent[BARE.format("FLAC")],
    }  # fmt: skip
    for name, (seconds, _) in peers.items():
        place.rates[f"peer_sample_s, {name}"] = statistics.median(clocks[name].cpu) / count
        print(f"loader: times the rate of peers ({name}; ours hears as many seconds)")
        for way, clock in own[seconds].items():
            ratio = place.ratios[f"loader: {name}: {way}"] = clock.over(clocks[name])
            print(f"    {way}: {ratio}")


HEARD = "all our work, sounds heard before"
ALL = "all our work, sounds from {}"
BARE = "all our work but the spectrogram, sounds from {}"
SAME = "their work only (no varied resolution, colour or sound), sounds from {}"
SAME_BARE = "their work only, without the spectrogram, sounds from {}"


def packed(place: Place, seconds: float, sound: SoundFormat) -> Shards:
    """The same pairs as other shards."""
    folder = place.folder / f"{sound}-{seconds:g}"
    options = PackOptions(per_shard=64, seconds=seconds, sound=sound)
    pack(place.source, folder, options, workers=0)
    return Shards.open(folder)


def our_makers(
    kinds: dict[SoundFormat, Shards], seconds: float
) -> dict[str, Callable[[int], None]]:
    """What makes the batches of a turn, by what it does."""
    log_mel = MODELS[KIND].from_config({}, FACTS).sound_tower.log_mel
    options = replace(OPTIONS, mosaics=0.0)  # a pair a scene, as peers have it
    makers: dict[str, Callable[[int], None]] = {}
    for kind, shards in kinds.items():
        _, batches = started(shards, options)
        some = heard_batches(shards, batches.bank, options)
        trained = partial(made_turn, batches)
        same = partial(same_turn, shards, seconds)
        trained(0, log_mel)
        makers[HEARD] = partial(made_turn, some, hear=len)
        for way, make, ear in (
            (ALL, trained, log_mel), (BARE, trained, len), (SAME, same, log_mel),
            (SAME_BARE, same, len),
        ):  # fmt: skip
            makers[way.format(kind.upper())] = partial(make, hear=ear)
    return makers


def made_turn(batches: Batches, turn: int, hear: Callable[[Tensor], object]) -> None:
    """The batches of a turn as training makes them."""
    for step in range(turn * STEPS, (turn + 1) * STEPS):
        hear(batches.make(step).clips)


def same_turn(shards: Shards, seconds: float, turn: int, hear: Callable[[Tensor], object]) -> None:
    """The batches of a turn with peers' work only."""
    numbers = shards.order().at(np.arange(len(shards)))
    for step in range(turn * STEPS, (turn + 1) * STEPS):
        picks = np.arange(step * OPTIONS.scenes, (step + 1) * OPTIONS.scenes) % len(shards)
        hear(same_work(shards, numbers[picks].tolist(), OPTIONS.side, seconds)[1])


def heard_batches(shards: Shards, bank: SoundBank, options: TrainOptions) -> HeardBatches:
    """Batches with every sound heard; what was heard of them does not change the speed."""
    rows = torch.arange(len(shards)) % len(bank.whole)
    known = SoundBank(bank.whole[rows], bank.views[rows], bank.empty)
    return HeardBatches(shards, known, options, {})


def files_of(entries: Sequence[Entry]) -> tuple[list[Path], list[Path]]:
    """The pictures and sounds of a list."""
    samples = [entry.sample for entry in entries]
    return [Path(s.image) for s in samples], [Path(s.sound) for s in samples]


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
    """One and two processes over gloo, and what the machine gives two that exchange nothing."""
    folder = place.folder / "packed"
    found: dict[tuple[int, str], list[dict[str, float]]] = {
        (count, job): [] for job in ("memory", "shards", "share", "machine") for count in (1, 2)
    }
    for _ in range(max(1, place.rounds // 2)):
        for (count, job), some in found.items():
            some.append(together(count, f"{job}:{folder}"))

    def over(one: tuple[int, str], two: tuple[int, str], key: str = "wall") -> float:
        pairs = zip(found[one], found[two], strict=True)
        return statistics.median(a[key] / b[key] for a, b in pairs)

    for job in ("memory", "shards"):
        wall, cpu = (over((1, job), (2, job), key) for key in ("wall", "cpu"))
        place.ratios[f"ranks {job}"] = Ratio(wall, cpu)
        got = statistics.median(b["cpu"] / b["wall"] for b in found[2, job])
        print(
            f"ranks: two have {wall:.2f} times the rate of one by the clock, {cpu:.2f} by processor"
            f" time a scene ({job}; they got {got:.2f} cores)"
        )
    place.rates["two_ranks_cpu_ratio"] = over((1, "memory"), (2, "memory"), "cpu")
    ceiling = over((1, "memory"), (2, "share"))
    place.ratios["ranks ceiling"] = Ratio(ceiling, over((1, "memory"), (2, "share"), "cpu"))
    print(f"  two that take the same halves and exchange nothing: {ceiling:.2f}, the ceiling;")
    print(f"  two ranks have {over((2, 'share'), (2, 'memory')):.2f} of it")
    print(f"  one step is {over((1, 'memory'), (1, 'share')):.2f} times as long as that of a half")
    for key in ("multiply", "copy"):
        ratio = 2 * over((1, "machine"), (2, "machine"), key)
        print(f"  two processes that {key} have {ratio:.2f} times the rate of one")


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
    """One rank's part; wall times, and the processor time of all."""
    job, _, folder = told.partition(":")
    with ranks_of_environment("cpu") as (all_, _):
        if job == "machine":
            return machine(all_)
        alone = job == "share"
        part = Ranks(all_.number, 2) if alone else all_
        options = replace(OPTIONS, blocks=part.count)
        learner, batches = started(Shards.open(folder), options, Ranks() if alone else all_)
        source = Feed(batches, part)
        with closing(source(0, 1)) as once:
            kept = next(once)
        learner.learn(kept, 0)
        stream: Iterator[Batch] = iter([kept] * STEPS)
        if job == "shards":
            stream = source(0, STEPS + 1)
            next(stream)
        all_.objects(0)
        taken = Clock()
        taken.time(lambda: [learner.learn(batch, i) for i, batch in enumerate(stream)])
        if isinstance(stream, Generator):
            stream.close()
        return {"wall": taken.wall[0], "cpu": sum(all_.objects(taken.cpu[0]))}


def machine(all_: Ranks) -> dict[str, float]:
    """Seconds for what keeps to the caches, and for what passes through memory."""
    square, long = torch.ones(SQUARE, SQUARE), torch.ones(COPIED // 4)
    tasks: dict[str, Callable[[], Tensor]] = {
        "multiply": lambda: square @ square,
        "copy": lambda: torch.relu(long),
    }
    found = {}
    for name, task in tasks.items():
        task()
        all_.objects(0)
        taken = Clock()
        taken.time(lambda: [task() for _ in range(REPEATS)])  # noqa: B023
        found[name] = taken.wall[0]
    return found


def memory(place: Place) -> None:
    """Peak memory of training on a data set, and on one of 8 times the size."""
    peaks = {}
    for count in (ONCE, EIGHT):
        command = [sys.executable, __file__, "--job", f"memory={count}"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        peaks[count] = json.loads(done.stdout)["mib"]
    sizes = ", ".join(f"{count:,} samples {mib:.0f} MiB" for count, mib in peaks.items())
    ratio = peaks[EIGHT] / peaks[ONCE]
    place.ratios["memory"] = Ratio(ratio, math.nan)
    print(f"memory: {ratio:.3f} ({sizes})")


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
    place.ratios["index"] = clocks[SMALL].over(clocks[LARGE])
    print(f"index: a step under {LARGE:,} entries takes {place.ratios['index']}")
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
    silent = sum(len(place.shards.raw(number).sound) for number in numbers) / len(numbers)
    found["heard_sample_bytes"] = found["sample_bytes"] - silent
    counting = Counting()
    batch = batches.make(0)
    known = heard_batches(place.shards, batches.bank, OPTIONS)
    found["batch_bytes_a_scene"] = bytes_a_scene(batch)
    found["heard_batch_bytes_a_scene"] = bytes_a_scene(known.make(0))
    hearing = Clock()
    some = sounds_in(place.shards)
    hearing.time(lambda: hear(learner.model.sound_tower.eval(), some, range(HEARD_TIMED)))
    hearing.time(lambda: heard(learner.model, batch))
    found["hear_sound_s"] = hearing.cpu[0] / HEARD_TIMED
    found["hear_clip_s"] = hearing.cpu[1] / len(batch.clips)
    here = heard(learner.model, batch.to(learner.device))
    parts = learner.objective.embed(learner.model, here)
    learner.objective.loss(learner.model, parts, counting)
    for axes, sent in counting.bytes.items():
        found[f"gathered_bytes_a_scene^{axes}"] = sent / OPTIONS.scenes**axes
    found["summed_bytes_a_scene"] = counting.summed[0] / OPTIONS.scenes
    found["gradient_bytes"] = sum(p.numel() * p.element_size() for p in learner.trained)
    learner.learn(batch, 0)  # a checkpoint holds Adam's moments, which begin with the first step
    found |= checkpoint_rates(learner, place.folder)
    if films is not None:
        source, taken = open_source(films), Clock()
        taken.time(lambda: pack(source, place.folder / "films", workers=0))
        found["pack_film_s"] = taken.cpu[0] / len(source.entries)


def checkpoint_rates(learner: Learner, folder: Path) -> dict[str, float]:
    """How large a checkpoint is, and how long it takes to write."""
    tensors, taken = learner.tensors(), Clock()
    path = folder / "checkpoint.safetensors"
    taken.time(lambda: write_checkpoint(path, tensors, {"kind": "training"}))
    return {"checkpoint_bytes": path.stat().st_size, "checkpoint_s": taken.wall[0]}


def bytes_a_scene(batch: Batch) -> float:
    """What of a batch goes to the GPU."""
    tensors = [value for value in vars(batch).values() if isinstance(value, Tensor)]
    return sum(t.numel() * t.element_size() for t in tensors) / len(batch.pixels)


@dataclass(frozen=True)
class Counting(Ranks):
    """One rank that counts what all would gather; apart, what has a value for each two rows."""

    bytes: dict[int, int] = field(default_factory=lambda: {1: 0, 2: 0})
    """Gathered, by the power of the batch's size with which it grows."""
    summed: list[int] = field(default_factory=lambda: [0])
    """Added up over ranks; grows with the batch."""

    def gather(self, rows: Tensor) -> Tensor:
        """Count, and give back."""
        grows = 2 if rows.shape[1:] == rows.shape[:1] else 1
        self.bytes[grows] += rows.numel() * rows.element_size()
        return rows

    def sum(self, numbers: Tensor) -> Tensor:
        """Count, and give back."""
        self.summed[0] += numbers.numel() * numbers.element_size()
        return numbers


FACTS = ModelFacts(name=KIND, size=OPTIONS.side, method="similarity_map")


def started(
    shards: Shards, options: TrainOptions, all_: Ranks | None = None
) -> tuple[Learner, ClipBatches]:
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
    return learner, ClipBatches(shards, bank, options, waves=objective.waves)


def heard_bank(model: SimilarityModel, shards: Shards) -> SoundBank:
    """A few sounds."""
    return bank_of(model.sound_tower.eval(), (wave_of(shards.raw(i)) for i in range(HEARD_SOUNDS)))


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
