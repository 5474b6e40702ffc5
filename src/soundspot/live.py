"""Live: what a camera sees and a microphone hears, answered as it happens.

The engine is the one for films (`streaming`), fed from the world (`live_feeds`, `live_devices`)
and looking back only. Latency is from a frame's capture (when the camera handed it over, or when a
played film showed it) to its answer, with all the waiting in between. The model is asked once
before the clock starts: the first call is slower. Times are seconds since the feed began.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from soundspot.live_feeds import Feed
from soundspot.locating import Locator
from soundspot.streaming import HOP, SMOOTH, Moment, stream

if TYPE_CHECKING:
    from soundspot.localize import Method
    from soundspot.similarity import Similarity


@dataclass(frozen=True, eq=False)
class Answer:
    """A moment, and how it came about.

    Args:
        moment: the answer.
        latency: seconds from the frame's capture to the answer.
        dropped: frames so far that nobody had time for.
    """

    moment: Moment
    latency: float
    dropped: int


@dataclass
class Pace:
    """How quickly answers came."""

    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0
    dropped: int = 0

    def add(self, answer: Answer) -> None:
        """Count one more answer."""
        self.latencies.append(answer.latency)
        self.seconds = answer.moment.time + answer.latency
        self.dropped = answer.dropped

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds if self.seconds > 0 else 0.0

    def __str__(self) -> str:
        """One line for people."""
        if not self.latencies:
            return "no frame answered"
        median, late = np.percentile(self.latencies, (50, 95)) * 1000
        return (
            f"{len(self.latencies)} frames answered, {self.dropped} dropped, {self.rate:.1f} a "
            f"second; latency {median:.0f} ms median, {late:.0f} ms 95th percentile"
        )


def watch_live(
    open_feed: Callable[[], AbstractContextManager[Feed]],
    model: Similarity,
    method: str | Method | None = None,
    *,
    window: float | None = None,
    hop: float = HOP,
    smooth: float = SMOOTH,
    seconds: float | None = None,
    device: str = "auto",
) -> Generator[Answer]:
    """Answer the latest frame again and again.

    Args:
        open_feed: opens camera and microphone, or plays a film; called when the model is ready.
        model: what `load` gave, or any `similarity(images, sounds)`.
        method: as for `locate`.
        window: seconds of sound up to a frame, as for `stream`.
        hop: seconds from one window to the next.
        smooth: seconds back over which answers are averaged.
        seconds: when to stop; None: with the film, or never.
        device: "auto", "cpu", "cuda" or "mps".

    Raises:
        MediaError: no camera, no microphone, or the film cannot be played.
        OptionError: an option out of range, or `sounddevice` is missing.
    """
    options: dict[str, Any] = {
        "window": window, "hop": hop, "smooth": smooth, "live": True, "device": device,
    }  # fmt: skip
    _warm_up(model, method, options)
    with open_feed() as feed:
        moments = stream(feed.frames, feed.sound, model, method, stop=seconds, **options)
        for moment in moments:
            yield Answer(moment, feed.now() - moment.time, feed.frames.dropped)


def _warm_up(model: Similarity, method: str | Method | None, options: dict[str, Any]) -> None:
    """Ask once about nothing: checks the options, and the first call is the slowest."""
    facts = Locator(model, method, device=options["device"]).facts
    grey = np.full((facts.size, facts.size, 3), 128, np.uint8)
    hiss = np.random.default_rng(0).uniform(-0.1, 0.1, 2 * facts.sample_rate)
    for _ in stream([(1.0, grey)], (hiss, facts.sample_rate), model, method, **options):
        pass
