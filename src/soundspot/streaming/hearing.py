"""Windows of sound: which one a frame is judged with, and each of them heard once.

Window k is `window` seconds long. Offline it lies around the time k * hop, and a frame is judged
with the window whose middle is nearest to it (of two equally near, the later one). Live it ends at
k * hop, and a frame is judged with the last window that has ended: no sound after the frame.

Windows do not depend on where reading starts, so a part of a film, or a film resumed, is judged as
the whole is. Where frames come more often than windows, `AHEAD` of them are heard in one call,
which is quicker, and gives batches of pictures that span windows one question to ask.

A window is shorter than what the model hears at once (10 s, the default one). It is repeated until
that is full, where `locate` puts zeros behind a short sound: much of a film's window would
otherwise be silence. The engine's docstring has the measurement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from soundspot.errors import MediaError
from soundspot.locating import Locator, Waveform, is_silence
from soundspot.media.sound_track import SoundTrack
from soundspot.similarity import Question

SHORTEST = 0.1
"""Seconds; less than that, at the ends of a track, is not recognised and counts as silence."""
AHEAD = 8
"""Windows heard in one call where every one of them is needed."""
TIME_SLACK = 1e-6
"""In hops; times such as 0.3 and hops such as 0.1 have no exact floats."""


@dataclass(frozen=True)
class Windows:
    """Where windows lie.

    Args:
        window: length of each, seconds.
        hop: seconds from one to the next.
        live: each ends, rather than has its middle, at a multiple of the hop.
    """

    window: float
    hop: float
    live: bool

    def number(self, time: float) -> int:
        """The window that a frame at `time` is judged with."""
        return math.floor(time / self.hop + (0.0 if self.live else 0.5) + TIME_SLACK)

    def span(self, number: int) -> tuple[float, float]:
        """From when until when a window reaches, seconds; it may begin before 0."""
        end = number * self.hop + (0.0 if self.live else self.window / 2)
        return end - self.window, end


@dataclass(frozen=True, eq=False)
class Heard:
    """A window that was heard: the question, its row in it, and whether there was silence."""

    question: Question
    row: int
    silent: bool


class Hearing:
    """Hears the windows that frames need, each once, going forwards.

    Args:
        locator: whose model hears.
        windows: where they lie.
        open_track: opens the sound; its argument is where the first window begins, seconds.
        ahead: hear windows before they are needed.
    """

    def __init__(
        self,
        locator: Locator,
        windows: Windows,
        open_track: Callable[[float], SoundTrack],
        *,
        ahead: bool,
    ) -> None:
        self.locator, self.windows = locator, windows
        self._open, self._ahead = open_track, AHEAD if ahead else 1
        self.damage: MediaError | None = None
        self._track: SoundTrack | None = None
        self._heard: dict[int, Heard] = {}

    def hear(self, times: Sequence[float]) -> list[Heard]:
        """The windows for frames at `times`, in their order, as far as the sound is whole.

        Where fewer come than were asked for, `damage` says why.
        """
        numbers = [self.windows.number(time) for time in times]
        track = self._opened(numbers[0])
        new: dict[int, Waveform] = {}
        whole = 0
        for time, number in zip(times, numbers, strict=True):
            if number not in self._heard and number not in new:
                new[number] = track.window(*self.windows.span(number))
            try:
                track.check(time)
            except MediaError as error:
                self.damage = error
                break
            whole += 1
        if new and numbers[-1] - numbers[0] < len(numbers) - 1:
            for number in range(numbers[-1] + 1, min(new) + self._ahead):
                new[number] = track.window(*self.windows.span(number))
        self._listen(new)
        answer = [self._heard[n] for n in numbers[:whole]]
        self._heard = {n: h for n, h in self._heard.items() if n >= numbers[-1]}
        return answer

    def close(self) -> None:
        """Close the sound."""
        if self._track is not None:
            self._track.close()

    def _opened(self, number: int) -> SoundTrack:
        if self._track is None:
            self._track = self._open(max(0.0, self.windows.span(number)[0]))
        return self._track

    def _listen(self, new: dict[int, Waveform]) -> None:
        if not new:
            return
        facts = self.locator.facts
        length, least = round(facts.seconds * facts.sample_rate), SHORTEST * facts.sample_rate
        filled = [filled_up(samples, length, least) for samples in new.values()]
        question = self.locator.listen(filled)
        for row, (number, samples) in enumerate(zip(new, filled, strict=True)):
            self._heard[number] = Heard(question, row, is_silence(samples))


def filled_up(samples: Waveform, length: int, least: float) -> Waveform:
    """Repeat a sound until it has `length` samples; one of fewer than `least` is silence."""
    if len(samples) < least:
        return np.zeros(length, np.float32)
    return np.resize(samples, length)
