"""Past one machine, on paper: what training costs on 1 to 256 GPUs, and where it breaks first.

    python benchmarks/scaling.py --rates rates.json [--gpu-rate 2000] [--cores 8] [--epochs 30] ...
    python benchmarks/scaling.py --simulate [--count 1000000]

The first prints `docs/scaling.md`'s tables from rates that `train_throughput.py` measured on one
processor core. **How fast a GPU takes a step is not measured here: it is an input**, as are links,
disks and failures; see `Machines`. The model of a step, on G GPUs with b scenes each and s samples
a scene:

    compute   b / gpu_rate
    data      b s make / cores                    overlaps with compute
    read      b s bytes / disk                    overlaps with compute
    gather    2 (G-1)/G (G b l + (G b)^2 q) / link     forward, and its sum on the way back
    reduce    2 (G-1)/G gradient / link           a ring; one message, after the way back
    step      max(compute, data, read) + gather + reduce + latency

l and q are the gathered bytes that grow with the batch, and with its square: each rank has its
regions' match with all sounds, and every rank gathers all of them. The maps behind it (a rank's
regions, all sounds, all positions) are memory: twice b r G b r P 4 bytes, with their gradient, for
r regions a scene.

The second runs the real `Order`: which shards meet in a batch, against a uniform shuffle; and plays
runs that fail at random (exponential times between failures) under several times between
checkpoints, beside the optimum of Young (CACM 1974), sqrt(2 C M), and Daly (FGCS 2006).
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from soundspot.shards.order import Order, blocks_for

CLIPS = (144_000, 1_000_000, 10_000_000, 100_000_000)
GPUS = (1, 8, 64, 256)
SAMPLES_A_SCENE = 1 + 0.22 * (1 + 2 / 11)
"""Of `shard_batches`, with the default share of scenes that show several."""
POSITIONS = 14 * 14
INDEX_BYTES, LISTED_BYTES, PRINT_BYTES, CATALOGUE_BYTES = 26, 1000, 50, 230
"""In an index and in the packer's memory, a sample; in `shards.json`, a shard."""
PER_SHARD = 1000
BATCH, GROUPS = 512, 3
RUNS = 200


@dataclass(frozen=True)
class Machines:
    """What is assumed, not measured; each is an option of the command line.

    Args:
        gpu_rate: scenes a second of one GPU on batches that wait for it.
        cores: processor cores for each GPU.
        core_speed: of one, in those of the machine that was measured.
        link: bytes a second between GPUs, for each.
        latency: seconds of a message, for each doubling of the ranks.
        disk: bytes a second that one GPU's share of the storage gives.
        batch: scenes on each GPU.
        memory: bytes of a GPU.
        epochs: over the clips.
        pack_cores: that pack.
        gpu_mtbf: hours between failures of one GPU with its share of a node.
        restart: seconds from a failure to the first step.
    """

    gpu_rate: float = 2000.0
    cores: float = 8.0
    core_speed: float = 1.0
    link: float = 25e9
    latency: float = 20e-6
    disk: float = 250e6
    batch: int = 128
    memory: float = 80e9
    epochs: float = 30.0
    pack_cores: float = 64.0
    gpu_mtbf: float = 50_000.0
    restart: float = 180.0


@dataclass(frozen=True)
class Step:
    """Seconds of one step, and bytes of its maps on each GPU."""

    compute: float
    data: float
    read: float
    gather: float
    reduce: float
    latency: float
    maps: float

    @property
    def seconds(self) -> float:
        """Of the whole step."""
        hidden = max(self.compute, self.data, self.read)
        return hidden + self.gather + self.reduce + self.latency

    @property
    def slowest(self) -> str:
        """What takes longest."""
        return max(("compute", "data", "read", "gather", "reduce"), key=lambda n: getattr(self, n))


def step_of(gpus: int, rates: Mapping[str, float], machines: Machines) -> Step:
    """The model of the module's docstring."""
    batch, whole = machines.batch, gpus * machines.batch
    samples, ring = batch * SAMPLES_A_SCENE, 2 * (gpus - 1) / gpus / machines.link
    linear, square = (rates[f"gathered_bytes_a_scene^{power}"] for power in (1, 2))
    return Step(
        compute=batch / machines.gpu_rate,
        data=samples * rates["make_sample_s"] / (machines.cores * machines.core_speed),
        read=samples * rates["sample_bytes"] / machines.disk,
        gather=ring * (whole * linear + whole**2 * square),
        reduce=ring * rates["gradient_bytes"],
        latency=10 * machines.latency * math.log2(gpus),
        maps=2 * samples * whole * SAMPLES_A_SCENE * POSITIONS * 4,
    )


def young(cost: float, between_failures: float) -> float:
    """Seconds between checkpoints that lose least, to first order."""
    return math.sqrt(2 * cost * between_failures)


def daly(cost: float, between_failures: float) -> float:
    """The same to higher order."""
    if cost >= 2 * between_failures:
        return between_failures
    part = math.sqrt(cost / (2 * between_failures))
    return young(cost, between_failures) * (1 + part / 3 + part**2 / 9) - cost


def played(
    work: float, every: float, cost: float, restart: float, mtbf: float, rng: np.random.Generator
) -> float:
    """Seconds that `work` seconds of steps take on machines that fail; all restart from the last.

    Failures strike at any time, also in a checkpoint and in a restart.
    """
    clock, done = 0.0, 0.0
    fails = rng.exponential(mtbf)
    while done < work:
        part = min(every, work - done)
        end = clock + part + cost
        if fails >= end:
            clock, done = end, done + part
            continue
        clock, fails = fails, fails + rng.exponential(mtbf)
        while fails < clock + restart:
            clock, fails = fails, fails + rng.exponential(mtbf)
        clock += restart
    return clock


def overhead(every: float, cost: float, restart: float, mtbf: float, seed: int = 0) -> float:
    """Time lost to checkpoints, failures and lost work, as a share of the work; mean of `RUNS`."""
    work, rng = 20 * max(mtbf, every), np.random.default_rng(seed)
    ends = [played(work, every, cost, restart, mtbf, rng) for _ in range(RUNS // 10)]
    return float(np.mean(ends)) / work - 1


@dataclass(frozen=True)
class Mixing:
    """How samples of one shard meet, over some groups of an order.

    Args:
        together: pairs of a batch that share a shard, over those of a uniform shuffle.
        most: samples of one shard in one batch, at most.
        shards: that a group reads from.
        twice: samples that an epoch has more than once; None: not counted.
        apart: positions between two samples that are neighbours in a shard, median over that of a
            uniform shuffle, count (1 - 1 / sqrt 2).
    """

    together: float
    most: int
    shards: float
    twice: int | None
    apart: float


def mixing(count: int, per_shard: int = PER_SHARD, batch: int = BATCH, seed: int = 0) -> Mixing:
    """Look at an epoch of the real order."""
    block, group = blocks_for(count, per_shard)
    order, span = Order(count, seed, 0, block, group), min(count, block * group)
    starts = np.linspace(0, count - span, GROUPS).astype(int) // span * span
    met = np.concatenate([order.at(np.arange(at, at + span)) for at in starts]) // per_shard
    cut = met[: len(met) // batch * batch].reshape(-1, batch)
    tallies = [np.unique(row, return_counts=True)[1] for row in cut]
    pairs = np.mean([np.sum(t * (t - 1)) for t in tallies]) / (batch * (batch - 1))
    expected = (min(per_shard, count) - 1) / (count - 1)
    every = order.at(np.arange(count)) if count <= 2_000_000 else None
    return Mixing(
        together=float(pairs / expected),
        most=int(max(t.max() for t in tallies)),
        shards=float(np.mean([len(np.unique(part)) for part in np.split(met, len(starts))])),
        twice=None if every is None else count - len(np.unique(every)),
        apart=math.nan if every is None else _apart(every) / (count * (1 - math.sqrt(0.5))),
    )


def _apart(order: np.ndarray[tuple[int], np.dtype[np.int64]]) -> float:
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    return float(np.median(np.abs(np.diff(places))))


def costs(rates: Mapping[str, float], machines: Machines) -> Iterator[str]:
    """The tables of the cost model."""
    yield "Assumed: " + ", ".join(
        f"{f.name} {getattr(machines, f.name):g}" for f in fields(Machines)
    )
    yield "\nMeasured (one core): " + ", ".join(
        f"{k} {v:.4g}" for k, v in rates.items() if not k.startswith("peer")
    )
    yield "\n| clips | packing, hours | shards, TB | indexes, MB | `shards.json`, MB | packer, GB |"
    yield "|---|---|---|---|---|---|"
    for clips in CLIPS:
        yield f"| {clips:,} | {_packing(clips, rates, machines)} | {_sizes(clips, rates)} |"
    yield "\n| GPUs | compute | data | read | gather | reduce | step, ms | maps, GB | efficiency |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for gpus in GPUS:
        step = step_of(gpus, rates, machines)
        parts = (step.compute, step.data, step.read, step.gather, step.reduce, step.seconds)
        shown = " | ".join(f"{part * 1e3:.1f}" for part in parts)
        full = " (does not fit)" if step.maps > machines.memory else ""
        share = step.compute / step.seconds
        yield f"| {gpus} | {shown} | {step.maps / 1e9:.2g}{full} | {share:.0%}: {step.slowest} |"
    yield f"\nHours of {machines.epochs:g} epochs:\n"
    yield "| clips | " + " | ".join(f"{gpus} GPU" for gpus in GPUS) + " |"
    yield "|---" * (len(GPUS) + 1) + "|"
    for clips in CLIPS:
        hours = [_hours(clips, gpus, rates, machines) for gpus in GPUS]
        yield f"| {clips:,} | " + " | ".join(f"{h:,.3g}" for h in hours) + " |"
    yield "\nCores a GPU needs before data are the slowest: " + ", ".join(_cores(rates, machines))


def _packing(clips: int, rates: Mapping[str, float], machines: Machines) -> str:
    """Of films where packing some was measured, and of pictures with sounds."""
    each = {"films": rates.get("pack_film_s"), "pictures and sounds": rates["pack_pair_s"]}
    cores = machines.pack_cores * machines.core_speed
    hours = {name: clips * s / cores / 3600 for name, s in each.items() if s is not None}
    return ", ".join(f"{name} {value:.2g}" for name, value in hours.items())


def _sizes(clips: int, rates: Mapping[str, float]) -> str:
    found = (
        f"{clips * rates['sample_bytes'] / 1e12:.3g}",
        f"{clips * INDEX_BYTES / 1e6:.0f}",
        f"{clips / PER_SHARD * CATALOGUE_BYTES / 1e6:.2f}",
        f"{clips * (LISTED_BYTES + PRINT_BYTES) / 1e9:.2g}",
    )
    return " | ".join(found)


def _hours(clips: int, gpus: int, rates: Mapping[str, float], machines: Machines) -> float:
    samples = gpus * machines.batch * SAMPLES_A_SCENE
    return machines.epochs * clips / samples * step_of(gpus, rates, machines).seconds / 3600


def _cores(rates: Mapping[str, float], machines: Machines) -> Iterator[str]:
    for gpu_rate in (500, 1000, 2000, 4000):
        need = gpu_rate * SAMPLES_A_SCENE * rates["make_sample_s"] / machines.core_speed
        yield f"{need:.0f} at {gpu_rate:,} scenes a second"


def shuffles(largest: int) -> Iterator[str]:
    """The table of `mixing`."""
    yield (
        "\n| samples | pairs of a shard in a batch, over uniform | most of one shard in a batch | "
        "shards a group | twice in an epoch | neighbours apart, over uniform |"
    )
    yield "|---" * 6 + "|"
    for count in (10_000, 144_000, 1_000_000, 10_000_000):
        if count <= largest:
            found = mixing(count)
            twice = "not counted" if found.twice is None else str(found.twice)
            apart = "not counted" if math.isnan(found.apart) else f"{found.apart:.2f}"
            shown = f"{found.together:.1f} | {found.most} | {found.shards:.0f} | {twice} | {apart}"
            yield f"| {count:,} | {shown} |"


def failures(cost: float, machines: Machines) -> Iterator[str]:
    """The table of runs that fail."""
    yield f"\nA checkpoint takes {cost:.2f} s, a restart {machines.restart:g} s.\n"
    yield "| GPUs | fails every, h | Young, s | Daly, s | lost at Daly / 4 | at Daly | at 4 Daly |"
    yield "|---|---|---|---|---|---|---|"
    for gpus in GPUS:
        mtbf = machines.gpu_mtbf * 3600 / gpus
        best = daly(cost, mtbf)
        lost = [overhead(best * by, cost, machines.restart, mtbf) for by in (0.25, 1, 4)]
        shown = " | ".join(f"{share:.3%}" for share in lost)
        yield f"| {gpus} | {mtbf / 3600:,.0f} | {young(cost, mtbf):,.0f} | {best:,.0f} | {shown} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rates", type=Path, metavar="FILE")
    parser.add_argument("--simulate", action="store_true")
    parser.add_argument("--count", type=int, default=1_000_000)
    for field in fields(Machines):
        option = "--" + field.name.replace("_", "-")
        parser.add_argument(option, type=type(field.default), default=field.default)
    told = parser.parse_args()
    machines = Machines(**{f.name: getattr(told, f.name) for f in fields(Machines)})
    rates = json.loads(told.rates.read_text()) if told.rates else {}
    if not (rates or told.simulate):
        parser.error("give --rates FILE (of train_throughput.py), --simulate, or both")
    for line in costs(rates, machines) if rates else ():
        print(line)
    if told.simulate:
        for lines in (shuffles(told.count), failures(rates.get("checkpoint_s", 1.0), machines)):
            print(*lines, sep="\n")


if __name__ == "__main__":
    main()
