"""The job: a source decoded once, in order, into shards that do not depend on how it went.

    entries -> workers -> samples in the entries' order -> kept or left out -> shard after shard

The same source and settings give the same bytes (with the same versions of the libraries, which
`shards.json` names): whatever the number of workers, and however often the job was killed. After
a kill the same call goes on behind the last whole shard. A bad entry is noted in `errors.jsonl`
with its reason, counted, and passed over.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL
import soundfile
import soxr
from PIL import features

import soundspot
from soundspot.errors import DataError, MediaError, OptionError
from soundspot.files import one_line, write_beside
from soundspot.shards.alike import Print, Seen
from soundspot.shards.catalogue import NAME as CATALOGUE
from soundspot.shards.catalogue import Catalogue, ShardFile, is_shards, read_catalogue
from soundspot.shards.folder import ERRORS, LEFT_OUT, LISTS, shard_name, sweep
from soundspot.shards.journal import Commit, Journal, remove_journal
from soundspot.shards.lists import GrowingList
from soundspot.shards.making import Made, meta_bytes
from soundspot.shards.options import PackOptions
from soundspot.shards.order import permuted
from soundspot.shards.pool import End, Message, in_processes, in_this_process
from soundspot.shards.sources import Entry, Source
from soundspot.shards.writer import ShardWriter

ORDER_KEY = 0x50ACC
"""Of the fixed permutation of "shuffled"."""
ALIKE = "duplicates"

Watch = Callable[["Progress"], None]


@dataclass(frozen=True)
class Progress:
    """What a progress bar shows: entries done of all, and the counts so far."""

    done: int
    total: int
    counts: dict[str, Any]
    error: str | None = None
    """Of the entry that failed just now."""


def pack(
    source: Source,
    out: Path,
    options: PackOptions | None = None,
    *,
    workers: int | None = None,
    strict: bool = False,
    watch: Watch = lambda _: None,
) -> Catalogue:
    """Pack a source into shards, or go on with an unfinished packing of it.

    Args:
        source: from `open_source`.
        out: the folder of the shards.
        options: what is packed, and how.
        workers: processes; None: one for each core; 0: in this process.
        strict: stop at the first entry that fails.
        watch: is told how it goes.

    Raises:
        OptionError: the folder holds another packing, or something else.
        MediaError: the disk refuses; or, with `strict`, an entry failed.
        DataError: not one sample could be packed.
    """
    options = options or PackOptions()
    job = {**options.json(), "source": _description(source), "versions": versions()}
    if is_shards(out):
        return _finished(out, job)
    with Journal.opened(out, job) as journal:
        count = (os.cpu_count() or 1) if workers is None else workers
        packing = _Packing(source, out, options, journal, strict, watch)
        catalogue = packing.run(max(0, min(count, len(source.entries))))
        with write_beside(out / CATALOGUE) as beside:
            beside.write_text(catalogue.text())
        journal.remove()
    return catalogue


def versions() -> dict[str, str]:
    """Of everything that has a say in the bytes."""
    return {
        "soundspot": soundspot.__version__,
        "av": av.__version__,
        "ffmpeg": av.ffmpeg_version_info,
        "pillow": PIL.__version__,
        "libjpeg_turbo": str(features.version("libjpeg_turbo")),
        "libsndfile": soundfile.__libsndfile_version__,
        "soxr": soxr.__version__,
        "numpy": np.__version__,
    }


def _description(source: Source) -> dict[str, Any]:
    return {"kind": source.kind, "entries": len(source.entries), "sha256": source.digest()}


def _finished(out: Path, job: dict[str, Any]) -> Catalogue:
    """What is packed already, where it is the same."""
    found = read_catalogue(out)
    theirs = {**found.settings, "source": found.source}
    for name, value in job.items():
        if name != "versions" and theirs.get(name) != json.loads(json.dumps(value)):
            raise OptionError(
                f"{one_line(out)}: holds finished shards with another {name}: "
                f"{one_line(theirs.get(name))}, not {one_line(value)}; choose another --out"
            )
    remove_journal(out)
    sweep(out)
    return found


class _Packing:
    """One run of the job; its state after each shard is a `Commit`."""

    def __init__(
        self,
        source: Source,
        out: Path,
        options: PackOptions,
        journal: Journal,
        strict: bool,
        watch: Watch,
    ):
        self.source, self.out, self.options = source, out, options
        self.journal, self.strict, self.watch = journal, strict, watch
        self.shards = [commit.shard for commit in journal.commits]
        last = journal.commits[-1] if journal.commits else None
        self.position, self.taken = (last.position, last.taken) if last else (0, 0)
        self.counts = dict(last.counts) if last else _no_counts(source)
        self.lists = {name: GrowingList(out / name, _noted(journal, name)) for name in LISTS}
        self.seen = Seen()
        for text in chain.from_iterable(commit.prints for commit in journal.commits):
            self.seen.add(Print.parse(text))

    def run(self, workers: int) -> Catalogue:
        """Pack what is left."""
        sweep(self.out)
        entries = [self.source.entries[n] for n in self._order()[self.position :]]
        messages = (
            in_processes(entries, self.options, workers)
            if workers
            else in_this_process(entries, self.options)
        )
        self._tell()
        with closing(messages):
            kept = self._kept(entries, messages)
            while self._shard(kept):
                pass
        for name in LISTS:
            self.lists[name].flush()
        if not self.shards:
            raise DataError(f"nothing could be packed: {self._why_nothing()}")
        description = _description(self.source)
        return Catalogue(
            tuple(self.shards), self.options.json(), self.counts, description, versions()
        )

    def _why_nothing(self) -> str:
        """What became of all entries, where no sample is left of them."""
        counts, options = self.counts, self.options
        said = {
            "failed": f"of {counts['entries']:,} entries failed, see {one_line(self.out / ERRORS)}",
            "left_out": f"samples were left out by --drop {','.join(options.drop)}, see "
            f"{one_line(self.out / LEFT_OUT)}",
            "empty": "entries have no sound beside their pictures",
        }
        return "; ".join(f"{counts[name]:,} {text}" for name, text in said.items() if counts[name])

    def _order(self) -> Sequence[int]:
        count = len(self.source.entries)
        if self.options.order == "source":
            return range(count)
        shuffled: list[int] = permuted(np.arange(count), count, ORDER_KEY).tolist()
        return shuffled

    def _kept(
        self, entries: list[Entry], messages: Iterator[Message]
    ) -> Iterator[tuple[str, Made]]:
        """Yield (key, sample) of all that is packed; note the rest; keep the position."""
        skip, self.taken = self.taken, 0
        for entry in entries:
            for message in messages:
                if isinstance(message, End):
                    self._close(entry, message)
                    break
                self.taken += 1
                if self.taken > skip and self._is_kept(entry, message):
                    yield _key(entry, message), message
            skip = 0

    def _close(self, entry: Entry, end: End) -> None:
        """An entry is done, well or badly."""
        error = None
        if end.error is not None:
            error = _placeless(entry, end.error)
            if self.strict:
                raise MediaError(f"{end.error} (--strict stops here; whole shards are kept)")
            self.counts["failed"] += 1
            self.lists[ERRORS].add({**_named(entry), "error": error})
        elif not self.taken:
            self.counts["empty"] += 1
        self.position, self.taken = self.position + 1, 0
        self._tell(error)

    def _is_kept(self, entry: Entry, made: Made) -> bool:
        """Decide about one sample, and count it."""
        prints = Print.parse(made.prints)
        twin = self.seen.find(prints)
        faults = (*((ALIKE,) if twin is not None else ()), *made.faults)
        for fault in faults:
            self.counts["found"][fault] += 1
        reason = next((fault for fault in faults if fault in self.options.drop), None)
        if reason is None:
            self.seen.add(prints)
            self.counts["packed"] += 1
            self.counts["seconds"] = round(self.counts["seconds"] + made.meta["seconds"], 6)
            return True
        self.counts["left_out"] += 1
        of = {"of_sample": twin} if reason == ALIKE else {}
        time = {"time": made.meta["time"]} if "time" in made.meta else {}
        self.lists[LEFT_OUT].add({**_named(entry), **time, "reason": reason, **of})
        return False

    def _shard(self, kept: Iterator[tuple[str, Made]]) -> bool:
        """Fill one shard; False where nothing was left for it."""
        first = next(kept, None)
        if first is None:
            return False
        name = shard_name(len(self.shards))
        prints: list[str] = []
        with ExitStack() as stack:
            opened = ShardWriter.opened(self.out, name, self.options.sound)
            writer = stack.enter_context(opened)
            for key, made in chain([first], kept):
                writer.add(key, made.pictures, made.sound, meta_bytes(made.meta))
                prints.append(made.prints)
                if self._is_full(writer):
                    break
        self._commit(writer.entry(name), prints)
        return True

    def _is_full(self, writer: ShardWriter) -> bool:
        enough = len(writer.keys) >= self.options.per_shard
        return enough or 0 < self.options.shard_bytes <= writer.size

    def _commit(self, shard: ShardFile, prints: list[str]) -> None:
        added = {name: self.lists[name].flush() for name in LISTS}
        counts = json.loads(json.dumps(self.counts))
        self.journal.add(Commit(shard, self.position, self.taken, counts, added, prints))
        self.shards.append(shard)

    def _tell(self, error: str | None = None) -> None:
        self.watch(Progress(self.position, len(self.source.entries), self.counts, error))


def _noted(journal: Journal, name: str) -> str:
    """A list's content after the last whole shard."""
    return "".join(commit.added[name] for commit in journal.commits)


def _no_counts(source: Source) -> dict[str, Any]:
    return {
        "entries": len(source.entries),
        "packed": 0,
        "seconds": 0.0,
        "failed": 0,
        "empty": 0,
        "left_out": 0,
        "other_kinds": source.other_kinds,
        "found": {"duplicates": 0, "still": 0, "silent": 0},
    }


def _key(entry: Entry, made: Made) -> str:
    return f"{entry.number:09d}" + ("" if made.part is None else f"-{made.part:06d}")


def _placeless(entry: Entry, text: str) -> str:
    """A message on one line, in which the entry's files are named from the source's root on."""
    names = {one_line(path): one_line(name) for path, name in entry.names().items()}
    longest_first = sorted(filter(None, names), key=len, reverse=True)
    known = "|".join(map(re.escape, longest_first))
    return re.sub(known, lambda found: names[found[0]], one_line(text))


def _named(entry: Entry) -> dict[str, str]:
    return {"id": entry.sample.id, "file": entry.source}
