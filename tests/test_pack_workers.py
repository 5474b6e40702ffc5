"""Workers that die: an entry is tried once more, alone; what came of it comes once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pack_films import FRAMES, Deadly, Unlucky, make_films
from soundspot.shards.options import PackOptions
from soundspot.shards.pool import End, Message, in_processes, in_this_process
from soundspot.shards.sources import Entry, open_source

OPTIONS = PackOptions(frames="all", fps=FRAMES, seconds=0.2, side=32)
COUNT = 7


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    """Seven films of ten samples each."""
    return list(open_source(make_films(tmp_path_factory.mktemp("films"), COUNT)).entries)


@pytest.fixture(scope="module")
def undisturbed(entries: list[Entry]) -> list[Message]:
    return list(in_this_process(entries, OPTIONS))


def with_path(entries: list[Entry], number: int, kind: Callable[[Path], Path]) -> list[Entry]:
    """The same entries, one of them under a path of another kind."""
    changed, film = entries[number], kind(entries[number].sample.image)
    sample = replace(changed.sample, image=film, sound=film, video=film)
    return [*entries[:number], replace(changed, sample=sample), *entries[number + 1 :]]


def workers() -> list[int]:
    text = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text()
    pids = map(int, text.split())
    return [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.parametrize(("team", "number"), [(1, 0), (2, 3), (3, COUNT - 1)])
def test_an_entry_whose_worker_is_killed_once_is_packed(entries, undisturbed, team, number):
    for path in (entry.sample.image for entry in entries):
        Path(f"{path}.died").unlink(missing_ok=True)
    unlucky = with_path(entries, number, Unlucky)
    assert list(in_processes(unlucky, OPTIONS, team)) == undisturbed
    assert Path(f"{entries[number].sample.image}.died").exists()


@pytest.mark.parametrize("team", [1, 3])
def test_a_decoder_that_crashes_costs_one_entry(entries, undisturbed, team):
    deadly = with_path(entries, 2, Deadly)
    messages = list(in_processes(deadly, OPTIONS, team))
    ends = [message for message in messages if isinstance(message, End)]
    failed = [(n, end.error) for n, end in enumerate(ends) if end.error is not None]
    assert [n for n, _ in failed] == [2]
    assert "crashes the decoder or takes too much memory (SIGKILL, twice)" in failed[0][1]
    assert [m for m in messages if m != ends[2]] == list(without(undisturbed, 2))


def without(messages: list[Message], number: int) -> Iterator[Message]:
    """All but what came of one entry, and its end among good ones that look the same."""
    entry = 0
    for message in messages:
        if entry != number:
            yield message
        entry += isinstance(message, End)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="lists processes by /proc")
@pytest.mark.parametrize("team", [1, 2])
def test_what_was_passed_on_is_not_passed_on_again(entries, undisturbed, team):
    """All workers are killed within a film, twice in different films."""
    messages = in_processes(entries, OPTIONS, team)
    found = []
    for number, message in enumerate(messages):
        found.append(message)
        if number in (3, 40):
            for pid in workers():
                os.kill(pid, signal.SIGKILL)
    assert found == undisturbed
