"""How processes that torchrun started, and perhaps started again, find one another.

They meet through a store of keys that torchrun keeps. It outlives a restart, so a process that is
early reads where its fellows *were* and waits for the dead (pytorch issue 135712); nor does a count
of restarts help, since each machine counts its own. Hence a round of introductions first:

1. every process writes a token that nobody wrote before;
2. the first process reads all tokens and proposes the list; while it waits, it proposes anew
   whenever a token changes;
3. a process that finds its own token in the proposal says so; when all have, the list is sealed.

No dead process can agree, and the sealed list names keys of this attempt alone.
"""

from __future__ import annotations

import hashlib
import secrets
import time

from torch.distributed.distributed_c10d import PrefixStore, Store

INTERVAL = 0.05
"""Seconds from look to look."""
TOKEN_BYTES = 16


def meet(store: Store, number: int, count: int, seconds: float) -> Store:
    """A part of the store for this attempt alone; every process must call it.

    Args:
        store: that all processes see.
        number: of this process, from 0.
        count: of all.
        seconds: after which nobody is waited for.

    Raises:
        TimeoutError: not all came.
    """
    store.set(f"token/{number}", secrets.token_hex(TOKEN_BYTES))
    mine, end = store.get(f"token/{number}").decode(), time.monotonic() + seconds
    proposed = ""
    while time.monotonic() < end:
        if number == 0:
            proposed = _propose(store, count, proposed)
        found = store.get("proposal").decode() if store.check(["proposal"]) else ""
        if mine in found.split():
            name = hashlib.sha256(found.encode()).hexdigest()
            store.set(f"{name}/agrees/{number}", "yes")
            if store.check([f"{name}/agrees/{i}" for i in range(count)]):
                return PrefixStore(name, store)
        time.sleep(INTERVAL)
    raise TimeoutError(f"not all of {count} processes came within {seconds:.0f} s")


def _propose(store: Store, count: int, before: str) -> str:
    """Write down the tokens of all, where all are there and they are not the proposal yet."""
    keys = [f"token/{i}" for i in range(count)]
    if not store.check(keys):
        return before
    tokens = " ".join(store.get(key).decode() for key in keys)
    if tokens != before:
        store.set("proposal", tokens)
    return tokens
