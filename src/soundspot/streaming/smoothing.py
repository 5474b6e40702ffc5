"""Smoothing over time: what a frame's neighbours say counts, the nearer the more.

    m'(t) = sum_i w(t_i - t) m_i / sum_i w(t_i - t),   w(d) = cos^2(pi d / (2 r)) for |d| < r

A weighted mean (Nadaraya 1964; Watson 1964) with a raised cosine, of maps and of similarities,
which are the confidence before its sigmoid (up to scale and bias): two frames that are sure of
opposite things meet at "unknown". Times are the film's, in seconds, so a rate that varies changes
nothing, and the weight ends at 0: no frame counts suddenly.

Offline the mean looks r seconds to both sides: it has no lag, and an answer waits for the frames
up to r after it. Causal, it looks back only: it waits for nothing, and the mean age of what it
says is 0.3 r.

Only frames of the same shot count, and only those that are both in silence or both in sound: a
map of a silent window says nothing about the sound before it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from soundspot.maps import FloatMap
from soundspot.streaming.looking import Frame


@dataclass(frozen=True, eq=False)
class Seen:
    """A frame, and what was found in it.

    Args:
        frame: number, time and picture.
        map: raw evidence, h w at the method's resolution.
        similarity: of the frame with its window of sound.
        silent: nothing is to be heard in its window.
        seconds: spent on it.
    """

    frame: Frame
    map: FloatMap
    similarity: float
    silent: bool
    seconds: float

    def counts_for(self, other: Seen) -> bool:
        """Whether it may be averaged with another."""
        return self.frame.shot == other.frame.shot and self.silent == other.silent


@dataclass(frozen=True, eq=False)
class Smoothed:
    """What a frame and its neighbours say; `back` is the earliest frame within reach."""

    seen: Seen
    map: FloatMap
    similarity: float
    back: Frame


def weight(apart: float, reach: float) -> float:
    """How much a frame so many seconds away counts, 1 to 0; `reach` is above 0."""
    return math.cos(math.pi * apart / (2 * reach)) ** 2 if abs(apart) < reach else 0.0


def average(seen: Seen, others: Sequence[Seen], reach: float) -> Smoothed:
    """The weighted mean of a frame and of what counts for it, itself being among `others`."""
    if reach == 0:
        return Smoothed(seen, seen.map, seen.similarity, seen.frame.bare())
    weighed = [(o, weight(o.frame.time - seen.frame.time, reach)) for o in others]
    reached = [(o, w) for o, w in weighed if w > 0]
    back = min((o.frame for o, _ in reached), key=lambda frame: frame.number)
    kept = [(o, w) for o, w in reached if o.counts_for(seen)]
    if len(kept) == 1:
        return Smoothed(seen, seen.map, seen.similarity, back)
    share = np.array([w for _, w in kept])
    share /= share.sum()
    maps = np.stack([o.map for o, _ in kept])
    mean = np.tensordot(share.astype(np.float32), maps, 1)
    similarity = float(share @ np.array([o.similarity for o, _ in kept]))
    return Smoothed(seen, mean, similarity, back)


def smoothed(
    stream: Iterable[Seen | Frame], reach: float, *, causal: bool
) -> Iterator[Smoothed | Frame]:
    """Smooth what was found in judged frames; those between pass through, all in their order.

    Args:
        stream: judged frames (`Seen`) and others, by time.
        reach: seconds to either side that count; 0 counts the frame alone.
        causal: look back only, and wait for nothing.
    """
    waiting: deque[Seen | Frame] = deque()
    recent: deque[Seen] = deque()
    for item in stream:
        waiting.append(item)
        if isinstance(item, Seen):
            recent.append(replace(item, frame=item.frame.bare()))
        while waiting and (causal or _time(waiting[0]) + reach <= _time(item)):
            first = waiting.popleft()
            yield average(first, recent, reach) if isinstance(first, Seen) else first
        oldest = _time(waiting[0] if waiting else item) - reach
        while len(recent) > 1 and recent[0].frame.time <= oldest:
            recent.popleft()
    for item in waiting:
        yield average(item, recent, reach) if isinstance(item, Seen) else item


def _time(item: Seen | Frame) -> float:
    return item.frame.time if isinstance(item, Seen) else item.time
