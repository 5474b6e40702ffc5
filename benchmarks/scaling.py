"""Past one machine, on paper: what training costs on 1 to 256 GPUs, and where it breaks first.

    python benchmarks/scaling.py --rates rates.json [--gpu-rate 2000] [--cores 8] [--epochs 30] ...
    python benchmarks/scaling.py --simulate [--count 1000000]
    python benchmarks/scaling.py --rates rates.json --simulate --docs docs/scaling.md

The first prints tables from rates that `train_throughput.py` measured on one processor core; the
last also puts all tables between the marks of `docs/scaling.md`. Steps are modelled twice: with
sounds read and heard in each, and with all heard before (`soundspot train --hear-all`). **How fast
a GPU takes a step is not measured here: it is an input**, as are links, disks and failures; see
`Machines`. The model of a step, on G GPUs with b scenes each, s samples a scene, n = G b s samples
in all:

    hear      clips hear / cores                  once, before the first step
    data      b s make / cores                    overlaps with the GPU
    read      b s bytes / disk                    overlaps with the GPU
    copy      b batch / bus                       to the GPU, from memory that may be paged out
    compute   b / gpu_rate                        towers, and the loss of a batch of b
    match     what the loss takes longer over n sounds than over b s (below)
    gather    (G-1)/G (3 (G b l + (G b)^2 q) + 6 G b c) / link
    reduce    2 (G-1)/G gradient / link           a ring; one message, after the way back
    step      max(copy + compute + match, data, read) + gather + reduce + latency

Gathering passes (G-1)/G of the whole through each link, and its adjoint, a sum over all of it
(`soundspot.ranks`), twice that: l and q are the gathered bytes that grow with the batch and with
its square. c are bytes of sums over ranks, a number a sample, sent three times: the greatest, the
sum, and the sum on the way back.

The loss matches each of a rank's b s regions with all n sounds at P positions of d channels:

    match     6 b s n P d / flops + 9 * 4 b s n P / bandwidth
    maps      2 * 4 b s n P bytes, with their gradient; and 6 (G b)^2 q where n x n is gathered

(a product forward and two back; nine passes: written, masked, searched, and their way back). The
towers' own activations stand beside it and do not grow with G.

The second runs the real `Order`: which shards meet in a batch, against a uniform shuffle; and plays
runs that fail at random (exponential times between failures) under several times between
checkpoints, beside the optimum of Young (CACM 1974), sqrt(2 C M), and Daly (FGCS 2006).
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from soundspot.shards.order import Order, blocks_for

CLIPS = (144_000, 1_000_000, 10_000_000, 100_000_000)
GPUS = (1, 8, 64, 256)
SAMPLES_A_SCENE = 1 + 0.22 * (1 + 2 / 11)
"""Of `shard_batches`, with the default share of scenes that show several."""
POSITIONS = 14 * 14
INDEX_BYTES, LISTED_BYTES, PRINT_BYTES, CATALOGUE_BYTES = 34, 1000, 50, 230
"""In an index and in the packer's memory, a sample; in `shards.json`, a shard."""
BANK_BYTES = 7 * 512 * 4
"""Of a heard sound: as it is and six times varied."""
COMPARED = {
    "feed": ("training from shards, over the step on batches in memory", "0.9", 0.9, math.inf),
    "ranks memory": ("two CPU ranks over one, batches in memory", "1.6", 1.6, math.inf),
    "ranks shards": ("two CPU ranks over one, from shards", "1.6", 1.6, math.inf),
    "ranks ceiling": ("two processes, half a batch each, that exchange nothing", "", 0, math.inf),
    "memory": ("peak memory with 160,000 samples, over 20,000", "1", 0, 1.05),
    "index": ("the rate under 1 thousand index entries, over 1 million", "1", 0, 1.05),
}
"""Of `train_throughput.py`: what is compared, what is wanted, between what it is there."""
NEEDED = {
    "pack_pair_s", "sample_bytes", "make_sample_s", "batch_bytes_a_scene", "gradient_bytes",
    "gathered_bytes_a_scene^1", "gathered_bytes_a_scene^2", "summed_bytes_a_scene", "hear_sound_s",
    "hear_clip_s", "heard_make_sample_s", "heard_sample_bytes", "heard_batch_bytes_a_scene",
}  # fmt: skip
"""Rates without which there is no cost model."""
FASTER = 3.0
"""Times the rate of peers' loader that is wanted."""
HEARD = "heard_"
"""Before the name of a rate: the same of a step whose sounds were heard before."""
PER_SHARD = 1000
CHANNELS = 256
"""Of the space where pictures and sounds meet."""
PASSES = 9
"""Over a map of numbers, forward and back."""
SQUARES = 6
"""n x n matrices that a gathered loss holds: matches, logits, both ways' log-shares, gradients."""
FEW_STEPS = 100
"""An epoch of fewer is marked: the batch has outgrown the data."""
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
        bus: bytes a second to a GPU, from memory that is not pinned.
        flops: float32 operations a second of a GPU outside its tensor cores.
        bandwidth: bytes a second of a GPU's memory.
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
    bus: float = 8e9
    flops: float = 40e12
    bandwidth: float = 2e12
    batch: int = 128
    memory: float = 80e9
    epochs: float = 30.0
    pack_cores: float = 64.0
    gpu_mtbf: float = 50_000.0
    restart: float = 180.0


@dataclass(frozen=True)
class Step:
    """Seconds of one step, and bytes that its loss holds on each GPU."""

    compute: float
    match: float
    copy: float
    data: float
    read: float
    gather: float
    reduce: float
    latency: float
    maps: float

    @property
    def gpu(self) -> float:
        """What the GPU is busy with, or waits for while it is copied."""
        return self.compute + self.match + self.copy

    @property
    def seconds(self) -> float:
        """Of the whole step."""
        hidden = max(self.gpu, self.data, self.read)
        return hidden + self.gather + self.reduce + self.latency

    @property
    def slowest(self) -> str:
        """What takes longest."""
        names = ("compute", "match", "copy", "data", "read", "gather", "reduce")
        return max(names, key=lambda n: getattr(self, n))


def step_of(gpus: int, rates: Mapping[str, float], machines: Machines) -> Step:
    """The model of the module's docstring."""
    batch, whole = machines.batch, gpus * machines.batch
    samples, sent = batch * SAMPLES_A_SCENE, (gpus - 1) / gpus / machines.link
    linear, square = (rates[f"gathered_bytes_a_scene^{power}"] for power in (1, 2))
    gathered = whole * linear + whole**2 * square
    more = samples * (gpus - 1) * samples * POSITIONS
    return Step(
        compute=batch / machines.gpu_rate,
        match=more * (6 * CHANNELS / machines.flops + PASSES * 4 / machines.bandwidth),
        copy=batch * rates["batch_bytes_a_scene"] / machines.bus,
        data=samples * rates["make_sample_s"] / (machines.cores * machines.core_speed),
        read=samples * rates["sample_bytes"] / machines.disk,
        gather=sent * (3 * gathered + 6 * whole * rates["summed_bytes_a_scene"]),
        reduce=2 * sent * rates["gradient_bytes"],
        latency=10 * machines.latency * math.log2(gpus),
        maps=2 * samples * whole * SAMPLES_A_SCENE * POSITIONS * 4 + SQUARES * whole**2 * square,
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


def inputs(rates: Mapping[str, float], machines: Machines) -> Iterator[str]:
    """What goes in."""
    yield "Assumed: " + ", ".join(
        f"{f.name} {getattr(machines, f.name):g}" for f in fields(Machines)
    )
    yield "\nMeasured (one core): " + ", ".join(
        f"{k} {v:.4g}" for k, v in rates.items() if not k.startswith("peer")
    )


def packing(rates: Mapping[str, float], machines: Machines) -> Iterator[str]:
    """The table of packing and storing."""
    yield "| clips | packing, hours | shards, TB | indexes, MB | `shards.json`, MB | packer, GB |"
    yield "|---" * 6 + "|"
    for clips in CLIPS:
        yield f"| {clips:,} | {_packing(clips, rates, machines)} | {_sizes(clips, rates)} |"


def steps(rates: Mapping[str, float], machines: Machines) -> Iterator[str]:
    """The tables of a step, of whole runs, and of what a GPU asks of its machine."""
    names = ("compute", "match", "copy", "data", "read", "gather", "reduce", "seconds")
    yield "| GPUs | " + " | ".join(names[:-1]) + " | step, ms | loss holds, GB | efficiency |"
    yield "|---" * (len(names) + 3) + "|"
    for gpus in GPUS:
        step = step_of(gpus, rates, machines)
        shown = " | ".join(f"{getattr(step, name) * 1e3:.1f}" for name in names)
        full = " (does not fit)" if step.maps > machines.memory else ""
        share = step.compute / step.seconds
        yield f"| {gpus} | {shown} | {step.maps / 1e9:.2g}{full} | {share:.0%}: {step.slowest} |"
    yield f"\nHours of {machines.epochs:g} epochs; in brackets the steps of an epoch where few:\n"
    yield "| clips | " + " | ".join(f"{gpus} GPU" for gpus in GPUS) + " |"
    yield "|---" * (len(GPUS) + 1) + "|"
    for clips in CLIPS:
        hours = " | ".join(_hours(clips, gpus, rates, machines) for gpus in GPUS)
        yield f"| {clips:,} | {hours} |"
    yield "\nWhat a GPU asks of its machine:\n"
    yield "| scenes a second | cores | reads a second | read, MB/s | all 256 read, GB/s |"
    yield "|---" * 5 + "|"
    for gpu_rate in (500, 1000, 2000, 4000):
        yield f"| {gpu_rate:,} | {_wants(gpu_rate, rates, machines)} |"


def heard_before(rates: Mapping[str, float]) -> dict[str, float]:
    """The rates of a run that heard all sounds before its first step."""
    return {
        **rates,
        **{name.removeprefix(HEARD): v for name, v in rates.items() if name.startswith(HEARD)},
    }


def heard(rates: Mapping[str, float], machines: Machines) -> Iterator[str]:
    """The tables of `steps` where all sounds were heard, and what hearing them costs."""
    yield from steps(heard_before(rates), machines)
    saved = rates["make_sample_s"] - rates[f"{HEARD}make_sample_s"] + rates["hear_clip_s"]
    yield (
        f"\nHearing once, on processors alone; where steps run on them too, it pays after "
        f"{rates['hear_sound_s'] / saved:.1f} epochs:\n"
    )
    yield "| clips | hours of a core | bank, GB |"
    yield "|---" * 3 + "|"
    for clips in CLIPS:
        hours, size = clips * rates["hear_sound_s"] / 3600, clips * BANK_BYTES / 1e9
        yield f"| {clips:,} | {hours:,.3g} | {size:,.3g} |"


def costs(rates: Mapping[str, float], machines: Machines) -> Iterator[str]:
    """All tables of the cost model."""
    for part in (inputs, packing, steps, heard):
        yield from part(rates, machines)
        yield ""


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


def _hours(clips: int, gpus: int, rates: Mapping[str, float], machines: Machines) -> str:
    count = clips / (gpus * machines.batch * SAMPLES_A_SCENE)
    hours = machines.epochs * count * step_of(gpus, rates, machines).seconds / 3600
    return f"{hours:,.3g}" + (f" ({count:.0f})" if count < FEW_STEPS else "")


def _wants(gpu_rate: float, rates: Mapping[str, float], machines: Machines) -> str:
    samples = gpu_rate * SAMPLES_A_SCENE
    cores = samples * rates["make_sample_s"] / machines.core_speed
    read = samples * rates["sample_bytes"]
    return f"{cores:.0f} | {samples:,.0f} | {read / 1e6:,.0f} | {256 * read / 1e9:.0f}"


def machine(ratios: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """What was compared side by side, and what falls short."""
    yield "| | wanted | by the clock | by processor time | |"
    yield "|---|---|---|---|---|"
    for name in filter(ratios.__contains__, COMPARED):
        (what, wanted, least, most), (wall, cpu) = COMPARED[name], ratios[name]
        said = "" if least <= wall <= most else "falls short"
        processor = "" if math.isnan(cpu) else f"{cpu:.2f}"
        yield f"| {what} | {wanted} | {wall:.2f} | {processor} | {said} |"


def loaders(ratios: Mapping[str, Sequence[float]]) -> Iterator[str]:
    """Samples a second over those of peers' loader: our ways down, peers' files across."""
    cells: dict[str, dict[str, float]] = {}
    for name, (wall, _) in ratios.items():
        if name.startswith("loader: "):
            files, way = name.removeprefix("loader: ").split(": ")
            cells.setdefault(way, {})[files] = wall
    columns = next(iter(cells.values()), {})
    yield "| | " + " | ".join(columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for way, row in cells.items():
        yield (
            f"| {way} | " + " | ".join(_bold(wall, wall >= FASTER) for wall in row.values()) + " |"
        )


def _bold(value: float, bold: bool) -> str:
    return f"**{value:.2f}**" if bold else f"{value:.2f}"


def shuffles(largest: int) -> Iterator[str]:
    """The table of `mixing`."""
    yield (
        "| samples | pairs of a shard in a batch, over uniform | most of one shard in a batch | "
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
    yield f"A checkpoint takes {cost:.2f} s, a restart {machines.restart:g} s.\n"
    yield "| GPUs | fails every, h | Young, s | Daly, s | lost at Daly / 4 | at Daly | at 4 Daly |"
    yield "|---|---|---|---|---|---|---|"
    for gpus in GPUS:
        mtbf = machines.gpu_mtbf * 3600 / gpus
        best = daly(cost, mtbf)
        lost = [overhead(best * by, cost, machines.restart, mtbf) for by in (0.25, 1, 4)]
        shown = " | ".join(f"{share:.3%}" for share in lost)
        yield f"| {gpus} | {mtbf / 3600:,.0f} | {young(cost, mtbf):,.0f} | {best:,.0f} | {shown} |"


def written(text: str, tables: Mapping[str, str]) -> str:
    """A page with new tables between its marks, the lines `<!-- NAME -->` and `<!-- end -->`.

    Raises:
        SystemExit: a mark is missing.
    """
    for name, table in tables.items():
        before, mark, rest = text.partition(f"\n<!-- {name} -->\n")
        _, end, after = f"\n{rest}".partition("\n<!-- end -->\n")
        if not (mark and end):
            raise SystemExit(f"scaling: the page lacks <!-- {name} --> with <!-- end --> behind")
        text = f"{before}{mark}\n{table.strip()}\n{end}{after}"
    return text


def measured(paths: Sequence[Path]) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Rates and ratios of several runs of `train_throughput.py`; later ones win.

    Raises:
        SystemExit: what the model needs was not measured.
    """
    rates, ratios = dict[str, float](), dict[str, list[float]]()
    for path in paths:
        found = json.loads(path.read_text())
        rates |= found["rates"]
        ratios |= found["ratios"]
    if rates and (missing := sorted(NEEDED - rates.keys())):
        raise SystemExit(
            f"scaling: {paths[-1]} and those before lack {', '.join(missing)}; measure with "
            "train_throughput.py --only loader,ranks --rates FILE"
        )
    return rates, ratios


def main() -> None:
    """Print the tables, or write them into a page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rates", type=Path, metavar="FILE", nargs="+", default=[])
    parser.add_argument("--simulate", action="store_true")
    parser.add_argument("--docs", type=Path, metavar="PAGE")
    parser.add_argument("--count", type=int, default=1_000_000)
    for field in fields(Machines):
        option = "--" + field.name.replace("_", "-")
        parser.add_argument(option, type=type(field.default), default=field.default)
    told = parser.parse_args()
    machines = Machines(**{f.name: getattr(told, f.name) for f in fields(Machines)})
    rates, ratios = measured(told.rates)
    if not (rates or told.simulate):
        parser.error("give --rates FILE (of train_throughput.py), --simulate, or both")
    parts: dict[str, Iterator[str]] = {}
    if rates:
        parts = {f.__name__: f(rates, machines) for f in (inputs, packing, steps, heard)}
        parts |= {f.__name__: f(ratios) for f in (machine, loaders)}
    if told.simulate:
        parts["shuffles"] = shuffles(told.count)
        parts["failures"] = failures(rates.get("checkpoint_s", 1.0), machines)
    tables = {name: "\n".join(lines) for name, lines in parts.items()}
    print(*tables.values(), sep="\n\n")
    if told.docs:
        told.docs.write_text(written(told.docs.read_text(), tables))


if __name__ == "__main__":
    main()
