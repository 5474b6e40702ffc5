"""Hearing all sounds before the first step: in parts, on all ranks, and never twice.

    RUN/sounds.parts/00000000.safetensors    recordings 0 to 127, heard
    RUN/sounds.parts/00000001.safetensors    recordings 128 to 255
    RUN/sounds.safetensors                   at the end: all of them in one file, and no parts

A part is `PART` neighbours of the list, whoever hears it: each rank takes one in turn and sends
what it heard to the first, which writes it beside, brings it to the disk and renames it. So
`kill -9` loses the parts in hand, and the next start hears what is missing. Parts, and dice that
belong to each recording (`soundspot.sound_bank`), make the bytes of the bank the same on any number
of ranks and after any number of kills, on the same kind of device with as many threads.

The parts are joined by copying from file to file, which needs twice the room on the disk (14 KB
a sound) and little memory. A bank that is found is first read once, in order, to compare it with
its checksum, then mapped. Processes that see the same file map it too;
to those on nodes without it, it is sent, and they hold it in memory.

One process hears at a time (`sounds.lock`, which stays); a second start waits for the first.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from soundspot.checkpoint_file import read_checkpoint, read_header, write_checkpoint
from soundspot.data.marks import Marks
from soundspot.errors import CheckpointError, MediaError, SoundspotError, TrainingError
from soundspot.files import TEMPORARY_PREFIX, make_folder
from soundspot.sound_bank import KIND, Broken, Heard, SoundBank, Sounds, hear, hear_nothing
from soundspot.training.banks import (
    DICE,
    OPTION,
    compare,
    header_of,
    require_own,
    say_what_lacks,
)
from soundspot.training.joining import digest_of, join_parts
from soundspot.training.keeping import Lock, sync_folder

if TYPE_CHECKING:
    from soundspot.ranks import Ranks
    from soundspot.towers.logmel_cnn import LogMelCNN

BANK, PARTS, LOCK = "sounds.safetensors", "sounds.parts", "sounds.lock"
PART_KIND = "sound_part"
PART = 128
"""Recordings of a part: a few seconds of work."""
LEAST = 2
"""Sounds that can be told from one another."""
ALONE = "one sound alone cannot be told from another; give two or more"
WAIT = 0.5
"""Seconds between two looks at what another process hears."""
Stop = Callable[[str], None]
"""Told after each part how far it is; every rank calls it, and it may raise."""


@dataclass(frozen=True)
class Hearing:
    """How the sounds of one run are heard.

    Args:
        tower: what hears, on each rank's device.
        sounds: what is heard.
        folder: where it is kept; the first rank alone reads and writes it.
        origin: tells this tower, and sounds of shards, from others.
        ranks: who hears.
        strict: stop at the first that cannot be read.
        stop: told after each part how far it is.
        marks: of sounds that are files.
    """

    tower: LogMelCNN
    sounds: Sounds
    folder: Path
    origin: str
    ranks: Ranks
    strict: bool = False
    stop: Stop = field(default=lambda _: None)
    marks: Marks = field(default_factory=Marks)

    def bank(self) -> tuple[SoundBank, Broken]:
        """Hear what has not been heard, and open the bank.

        Returns:
            the bank, and the recordings that are not in it.

        Raises:
            TrainingError: the folder holds other sounds, or the disk refuses.
            MediaError: one cannot be read, where that is strictly forbidden.
        """
        ranks = self.ranks
        ranks.first_does(lambda: make_folder(self.folder, OPTION))
        with contextlib.ExitStack() as holds:
            self._wait_and_hold(holds)
            found = ranks.of_first(ranks.first_does(self._is_kept))
            if not found:
                self._hear_missing()
                ranks.first_does(self._join)
        if found:
            ranks.first_does(lambda: compare(self._file))
        header = ranks.of_first(ranks.first_does(lambda: read_header(self._file)))
        assert header is not None
        broken: Broken = header.get("broken", {})
        if self.strict and broken:
            raise MediaError(
                f"{next(iter(broken.values()))}; {self._file} was made without it: mend it, and "
                "delete that file to hear all of them again"
            )
        return self._opened(header), broken

    @property
    def _file(self) -> Path:
        return self.folder / BANK

    @property
    def _parts(self) -> Path:
        return self.folder / PARTS

    def _part(self, number: int) -> Path:
        return self._parts / f"{number:08d}.safetensors"

    def _count(self) -> int:
        return -(-len(self.sounds) // PART)

    def _is_kept(self) -> bool:
        """Whether the bank is there, whoever made it.

        Raises:
            TrainingError: it is another one.
        """
        if not self._file.exists():
            return False
        header = header_of(self._file)
        require_own(self._file, header, self.origin, self.marks, self._file)
        say_what_lacks(self._file, header.get("broken", {}))
        shutil.rmtree(self._parts, ignore_errors=True)  # a kill left them behind the finished bank
        return True

    def _wait_and_hold(self, holds: contextlib.ExitStack) -> None:
        """Keep others from hearing into the same folder; wait for one that does."""
        ranks = self.ranks
        lock = ranks.first_does(lambda: holds.enter_context(self._lock()))
        if ranks.of_first(lock is None or lock.try_()):
            return
        bar = tqdm(
            total=len(self.sounds), desc="waiting: another process hears", unit="sound",
            disable=not ranks.leads,
        )  # fmt: skip
        with bar:
            while not ranks.of_first(lock is None or lock.try_()):
                self.stop("another process hears the sounds")
                ranks.first_does(self._require_theirs)
                heard = PART * len(list(self._parts.glob("*.safetensors"))) if ranks.leads else 0
                bar.update(min(heard, len(self.sounds)) - bar.n)
                time.sleep(WAIT)

    def _require_theirs(self) -> None:
        """Do not wait for other sounds than one's own."""
        with contextlib.suppress(CheckpointError):  # no part yet, or none any more
            part, marks = self._part(0), self.marks.part(self._numbers(0))
            require_own(part, read_header(part), self.origin, marks)

    def _lock(self) -> Lock:
        try:
            return Lock(self.folder / LOCK)
        except OSError as error:
            raise TrainingError(
                f"{self.folder}: cannot be written ({error.strerror}); choose another {OPTION}"
            ) from None

    def _missing(self) -> list[int]:
        """The parts that are still to be heard; damaged ones are heard again.

        So are those of which nothing could be read: a disk that was not mounted may be by now.

        Raises:
            TrainingError: there are parts of other sounds.
        """
        make_folder(self._parts, OPTION)
        for half in self._parts.glob(f"{TEMPORARY_PREFIX}*"):  # a kill left it
            half.unlink(missing_ok=True)
        missing = []
        for number in range(self._count()):
            path = self._part(number)
            try:
                header = read_checkpoint(path, PART_KIND)[0] if path.exists() else None
            except CheckpointError:
                header = None
            if header is None:
                missing.append(number)
                continue
            if header.get("dice") != DICE:
                raise TrainingError(
                    f"{path}: belongs to another version of soundspot; choose another {OPTION}, "
                    f"or delete {self._parts}"
                )
            marks = self.marks.part(self._numbers(number))
            require_own(path, header, self.origin, marks, self._parts)
            if not header.get("rows"):
                missing.append(number)
        return missing

    def _hear_missing(self) -> None:
        """Rounds in which each rank hears one part."""
        ranks, total = self.ranks, len(self.sounds)
        todo = ranks.of_first(ranks.first_does(self._missing)) or []
        before = total - sum(len(self._numbers(number)) for number in todo)
        bar = tqdm(
            total=total, initial=before, desc="hearing sounds", unit="sound",
            disable=not ranks.leads,
        )  # fmt: skip
        with bar:
            for start in range(0, len(todo), ranks.count):
                now = todo[start : start + ranks.count]
                self._hear_round(now)
                bar.update(sum(len(self._numbers(number)) for number in now))
                self.stop(f"{bar.n:,} of {total:,} sounds are heard and kept")

    def _hear_round(self, numbers: Sequence[int]) -> None:
        """Hear one part on each rank; the first writes them all."""
        mine, error = None, None
        if self.ranks.number < len(numbers):
            try:
                mine = self._heard(numbers[self.ranks.number])
            except SoundspotError as raised:
                error = raised
        for said in self.ranks.objects(error):
            if said is not None:
                raise said
        every = self.ranks.to_first(mine)
        self.ranks.first_does(lambda: self._keep(numbers, every))

    def _heard(self, number: int) -> Heard:
        return hear(self.tower, self.sounds, self._numbers(number), strict=self.strict)

    def _numbers(self, number: int) -> range:
        return range(number * PART, min((number + 1) * PART, len(self.sounds)))

    def _keep(self, numbers: Sequence[int], every: Sequence[Heard | None]) -> None:
        for number, heard in zip(numbers, every, strict=False):
            assert heard is not None
            tensors = {"whole": heard.whole, "views": heard.views}
            header = {
                "kind": PART_KIND, "origin": self.origin, "dice": DICE, "broken": heard.broken,
                "rows": len(heard.whole), "sha256": digest_of(tensors),
                **self._marked(self.marks.part(self._numbers(number))),
            }  # fmt: skip
            try:
                write_checkpoint(self._part(number), tensors, header)
            except CheckpointError as error:
                raise TrainingError(f"{error}; the parts heard before are kept") from None

    def _marked(self, marks: Marks) -> dict[str, str]:
        return {"marks": marks.text()} if marks.names else {}

    def _join(self) -> None:
        """One file of all parts, and then no parts."""
        parts = [self._part(number) for number in range(self._count())]
        headers = [read_header(path) for path in parts]
        rows = sum(header["rows"] for header in headers)
        broken = {name: why for header in headers for name, why in header["broken"].items()}
        if rows < LEAST:
            shutil.rmtree(self._parts, ignore_errors=True)
            raise TrainingError(_too_few(rows, broken))
        digests = "".join(header["sha256"] for header in headers)
        header = {
            "kind": KIND, "origin": self.origin, "dice": DICE, "broken": broken,
            "sha256": hashlib.sha256(digests.encode()).hexdigest(), **self._marked(self.marks),
        }  # fmt: skip
        try:
            join_parts(
                self._file, parts, PART_KIND, {"empty": hear_nothing(self.tower)}, rows, header
            )
            sync_folder(self.folder)
        except (SoundspotError, OSError) as error:
            raise TrainingError(
                f"{error}; to join the heard sounds takes as much room again as {self._parts}, "
                "which is kept"
            ) from None
        shutil.rmtree(self._parts, ignore_errors=True)

    def _opened(self, header: Mapping[str, Any]) -> SoundBank:
        """The bank, mapped where this rank sees the file of the first, else sent to it."""
        ranks = self.ranks
        own = SoundBank.mapped(self._file) if ranks.leads or self._is_here(header) else None
        if not ranks.any(own is None):
            assert own is not None
            return own
        sent = ranks.tensors_of_first(own.tensors() if own is not None else {})
        return own if own is not None else SoundBank(**sent, path=None)

    def _is_here(self, header: Mapping[str, Any]) -> bool:
        """Whether this machine has the very file that the first rank means."""
        try:
            mine = read_header(self._file)
        except CheckpointError:
            return False
        return "sha256" in header and mine == header


def _too_few(rows: int, broken: Broken) -> str:
    if not broken:
        return ALONE
    found = "one sound alone can be read" if rows else "no sound can be read"
    return f"{found}; the first that cannot: {next(iter(broken.values()))}"
