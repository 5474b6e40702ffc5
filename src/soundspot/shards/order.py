"""The order of training: every sample once an epoch, shuffled, computed instead of stored.

A list of 100 million shuffled numbers costs 800 MB in each process. Here the number at a position
is computed from (seed, epoch, position), alone, in constant memory, so any process can start at
any position: position p of the epoch belongs to rank p mod world, whatever the number of ranks.

Reading at random from a disk or network is slow, so the shuffle is local (the shard shuffle of
WebDataset, made exact):

1. The samples are turned by a random shift (n + shift mod count) and cut into blocks of
   neighbours. The shift moves the cuts, and the short last block, to another place each epoch.
2. The blocks are permuted.
3. Runs of `group` permuted blocks are each permuted sample by sample.

A stretch of `group * block` positions thus reads from `group` random places only. With one group
over everything it is a uniform permutation.

Permutations are Feistel networks (Luby & Rackoff 1988) over rows x columns >= n, in which each
round adds a hash of one coordinate to the other; results beyond n are sent through again (cycle
walking, Black & Rogaway 2002), which keeps it one to one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundspot.errors import OptionError

BLOCK, GROUP = 256, 64
"""Samples that stay neighbours on the disk, and blocks that are mixed: 16,384 samples."""
ROUNDS = 8

Numbers = NDArray[np.int64]
Words = NDArray[np.uint64]

# splitmix64 (Steele, Lea & Flood 2014)
_STEP, _MIX1, _MIX2 = (
    np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def mix(*words: int | Words) -> Words:
    """A hash of 64-bit words; of arrays, element by element."""
    state = np.zeros(1, np.uint64)
    for word in words:
        state = state + np.asarray(word, np.uint64) + _STEP
        state = (state ^ (state >> np.uint64(30))) * _MIX1
        state = (state ^ (state >> np.uint64(27))) * _MIX2
        state = state ^ (state >> np.uint64(31))
    return state


def permuted(positions: Numbers, count: int | Numbers, key: int | Words) -> Numbers:
    """Where a keyed permutation of 0 .. count - 1 sends positions.

    `count` and `key` may differ from position to position.
    """
    x: Words = np.asarray(positions).astype(np.uint64)
    count = np.broadcast_to(np.asarray(count, np.uint64), x.shape)
    key = np.broadcast_to(np.asarray(key, np.uint64), x.shape)
    rows = np.ceil(np.sqrt(count.astype(np.float64))).astype(np.uint64)
    rows = np.maximum(rows, np.uint64(1))
    columns: Words = np.floor_divide(count + rows - np.uint64(1), rows).astype(np.uint64)
    result = x.copy()
    walking = np.arange(x.size)
    while walking.size:
        result[walking] = _network(result[walking], rows[walking], columns[walking], key[walking])
        walking = walking[result[walking] >= count[walking]]
    return result.astype(np.int64)


def _network(x: Words, rows: Words, columns: Words, key: Words) -> Words:
    row, column = x // columns, x % columns
    for turn in range(ROUNDS):
        if turn % 2:
            row = (row + mix(key, turn, column) % rows) % rows
        else:
            column = (column + mix(key, turn, row) % columns) % columns
    return row * columns + column


@dataclass(frozen=True)
class Order:
    """The order of one epoch: a one-to-one map from positions to sample numbers.

    Args:
        count: samples.
        seed: of the run.
        epoch: from 0.
        block: neighbours on the disk that stay in one group.
        group: blocks that are mixed sample by sample; `block * group >= count` mixes everything.
    """

    count: int
    seed: int = 0
    epoch: int = 0
    block: int = BLOCK
    group: int = GROUP

    def __post_init__(self) -> None:
        """Check the ranges."""
        if min(self.count, self.block, self.group) < 1 or min(self.seed, self.epoch) < 0:
            raise OptionError(
                "order: count, block and group are at least 1, seed and epoch 0 or more; got "
                f"{self.count}, {self.block}, {self.group}, {self.seed}, {self.epoch}"
            )

    def at(self, positions: ArrayLike) -> Numbers:
        """Sample numbers at positions 0 .. count - 1; costs the same wherever they are.

        Raises:
            OptionError: a position out of range.
        """
        given = np.asarray(positions, np.int64)
        place = given.reshape(-1)
        if place.size and not 0 <= place.min() <= place.max() < self.count:
            raise OptionError(f"order: positions are 0 to {self.count - 1}")
        in_blocks = self._mixed(place)
        shift = int(self._key(0)[0] % np.uint64(self.count))
        numbers: Numbers = (self._unblocked(in_blocks) + shift) % self.count
        return numbers.reshape(given.shape)

    def _mixed(self, place: Numbers) -> Numbers:
        """Shuffle within groups."""
        span = self.block * self.group
        group, within = place // span, place % span
        size = np.minimum(span, self.count - group * span)
        return group * span + permuted(within, size, mix(self._key(1), group.astype(np.uint64)))

    def _unblocked(self, place: Numbers) -> Numbers:
        """Send each whole block to its place; the short one at the end stays there."""
        block, within = place // self.block, place % self.block
        whole = self.count // self.block
        moved = block.copy()
        inside = block < whole
        moved[inside] = permuted(block[inside], whole, int(self._key(2)[0]))
        return moved * self.block + within

    def _key(self, purpose: int) -> Words:
        return mix(self.seed, self.epoch, purpose)


def blocks_for(count: int, samples_a_shard: int, shards: int = 16) -> tuple[int, int]:
    """A (block, group) whose groups hold as many samples as so many shards.

    Their blocks come from anywhere: with 1000 samples a shard, 63 blocks from up to 82 shards.
    """
    block = max(1, min(BLOCK, samples_a_shard, math.ceil(count / 4)))
    return block, max(1, math.ceil(shards * samples_a_shard / block))
