"""What shards cost: does reading a batch slow down with the number of samples? And packing?

    python benchmarks/shards.py [--films FOLDER] [--rounds 30]

Reading: the same sample under 1 thousand, 10 thousand, ... 1 million entries (real indexes and
shards, whose tars are hard links of one), read in the shuffled order, 64 at a time. The sizes take
turns, round after round, in one process; the median over rounds is given as a ratio to the
smallest. Memory is this process's peak after the largest.

With --films, of the folder's films:

- Formats: a moment of each second is packed with its sound in FLAC and in WAV. All samples are read
  in each of several ways, which take turns; from memory, so that it is about processors and not
  disks. The least time over rounds is given, and its ratio to reading and decoding FLAC. What disks
  have to give is the bytes a sample.
- Packing: with 1 and with 2 workers, in turn.
"""

from __future__ import annotations

import argparse
import io
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from soundspot.shards.catalogue import Catalogue, ShardFile
from soundspot.shards.format import SOUNDS, stretch_of
from soundspot.shards.index import Place, index_bytes, open_index
from soundspot.shards.options import PackOptions, SoundFormat
from soundspot.shards.packing import pack
from soundspot.shards.reader import Shards
from soundspot.shards.sources import open_source

BATCH, EACH = 64, 1000
SIZES = (1_000, 10_000, 100_000, 1_000_000)
SIDE, RATE, SECONDS = 256, 16_000, 3
PACKING_ROUNDS = 3
WAYS: dict[str, tuple[SoundFormat, Callable[[Shards, int], object]]] = {
    "flac: raw() and wave()": ("flac", lambda shards, number: shards.raw(number).wave()),
    "flac: raw()": ("flac", lambda shards, number: shards.raw(number)),
    "flac: pictures()": ("flac", lambda shards, number: shards.pictures(number)),
    "wav: raw() and wave()": ("wav", lambda shards, number: shards.raw(number).wave()),
    "wav: raw()": ("wav", lambda shards, number: shards.raw(number)),
    "wav: pictures()": ("wav", lambda shards, number: shards.pictures(number)),
    "a picture, of 224 or more": (
        "flac",
        lambda shards, number: shards.pictures(number).picture(at_least=(224, 224)),
    ),
}
"""Ways to read a sample; the first is what the others are compared with."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", metavar="FOLDER", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        reading(Path(folder), arguments.rounds)
        if arguments.films:
            formats(arguments.films, Path(folder), arguments.rounds)
            packing(arguments.films, Path(folder))


def reading(folder: Path, rounds: int) -> None:
    """Time batches from small and large sets in turn."""
    sets = {count: synthetic(folder / str(count), count) for count in SIZES}
    orders = {count: shards.order(seed=1) for count, shards in sets.items()}
    times: dict[int, list[float]] = {count: [] for count in SIZES}
    for turn in range(rounds + 1):
        for count, shards in sets.items():
            start = time.perf_counter()
            positions = np.arange(turn * BATCH, (turn + 1) * BATCH) % count
            for number in orders[count].at(positions).tolist():
                raw = shards.raw(number)
                raw.picture(at_least=(224, 224))
                raw.wave()
            if turn:  # the first opens files
                times[count].append(time.perf_counter() - start)
    base = statistics.median(times[SIZES[0]])
    print(f"{BATCH} samples read and decoded; median of {rounds} rounds")
    for count in SIZES:
        median = statistics.median(times[count])
        print(f"{count:>9,} entries  {median * 1e3:7.1f} ms   {median / base:.2f} of {SIZES[0]:,}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def synthetic(folder: Path, count: int) -> Shards:
    """So many entries; each shard's tar and index are links to the same two files."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (12, 16, 3), np.uint8)
    picture, sound = io.BytesIO(), io.BytesIO()
    patches = Image.fromarray(noise).resize((SIDE * 4 // 3, SIDE), Image.Resampling.BICUBIC)
    patches.save(picture, "JPEG", quality=90)
    wave = rng.normal(0, 0.1, RATE * SECONDS)
    soundfile.write(sound, wave.clip(-1, 1), RATE, format="FLAC")
    stretch = stretch_of("000000000", [picture.getvalue()], sound.getvalue(), b"{}")
    (folder / "one.tar").write_bytes(stretch)
    index = index_bytes([Place.of(0, stretch)] * EACH, ["000000000"] * EACH)
    (folder / "one.idx").write_bytes(index)
    entries = []
    for n in range(count // EACH):
        entry = ShardFile(f"shard-{n:06d}", EACH, len(stretch), "", "")
        os.link(folder / "one.tar", folder / entry.tar)
        os.link(folder / "one.idx", folder / entry.index)
        entries.append(entry)
    return Shards(folder, Catalogue(tuple(entries)))


def formats(films: Path, folder: Path, rounds: int) -> None:
    """Time ways to read samples whose sounds are FLAC or WAV, in turn."""
    kinds: dict[SoundFormat, Shards] = {}
    for sound in SOUNDS:
        options = PackOptions(frames="all", sound=sound)
        pack(open_source(films), folder / sound, options)
        kinds[sound] = Shards.open(folder / sound)
    count = len(kinds["flac"])
    best = dict.fromkeys(WAYS, float("inf"))
    for _ in range(rounds):
        for name, (sound, read) in WAYS.items():
            start = time.perf_counter()
            for number in range(count):
                read(kinds[sound], number)
            best[name] = min(best[name], (time.perf_counter() - start) / count)
    base = best[next(iter(WAYS))]
    print(f"{count} samples; a sample, best of {rounds} rounds")
    for name, taken in best.items():
        print(f"{name:28} {taken * 1e3:6.3f} ms   {taken / base:.3f}")
    for sound, shards in kinds.items():
        whole, head = (statistics.mean(sizes) for sizes in zip(*sizes_of(shards), strict=True))
        print(f"{sound}: {whole:,.0f} bytes a sample, {head / whole:.2f} of them without the sound")


def sizes_of(shards: Shards) -> Iterator[tuple[int, int]]:
    """Bytes of each sample in its tar, whole and without its sound."""
    for entry in shards.catalogue.shards:
        index = open_index(shards.folder / entry.index)
        for number in range(len(index)):
            place = index.place(number)
            yield place.length, place.head


def packing(films: Path, folder: Path) -> None:
    """Time packing with one and two workers in turn."""
    source = open_source(films)
    times: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(PACKING_ROUNDS):
        for workers, taken in times.items():
            start = time.perf_counter()
            pack(source, folder / "packed", PackOptions(), workers=workers)
            taken.append(time.perf_counter() - start)
            shutil.rmtree(folder / "packed")
    one, two = (min(taken) for taken in times.values())
    print(f"packing {len(source.entries)} films: {len(source.entries) / one:.1f} films a second")
    print(f"two workers: {one / two:.2f} times the rate of one (starting them is counted)")


if __name__ == "__main__":
    main()
