"""Reads what samples are about: pictures, the sounds that are asked with, and wrong ones.

Media are read once for all who are asked; files that several samples share, once while they are
among the latest few. A file that cannot be read is tried once, too.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, TypeVar

from soundspot.data.media import mask_of, picture_of, sound_of, source_sound
from soundspot.errors import MediaError
from soundspot.judging.plan import Heard, Plan, asked, locates
from soundspot.locating import LOUDEST_STEP, Picture, Waveform, fit_sound
from soundspot.types import Sample, Source

SOUNDS_KEPT = 256
PICTURES_KEPT = 4

T = TypeVar("T")


class Ear(NamedTuple):
    """What a model hears: the rate in Hz and the seconds at once."""

    rate: int
    seconds: float


@dataclass(frozen=True)
class Read:
    """A sample whose media were read.

    Args:
        number: the sample's place in the plan.
        sample: which.
        picture: upright, H W 3.
        sounds: by ear, one sound a map, fitted to what the ear hears at once.
        wrong: the same with wrong sounds; empty where there is none.
    """

    number: int
    sample: Sample
    picture: Picture
    sounds: Mapping[Ear, tuple[Waveform, ...]]
    wrong: Mapping[Ear, tuple[Waveform, ...]]

    @property
    def count(self) -> int:
        """How many maps are asked for."""
        return len(asked(self.sample))


class Reader:
    """Reads samples for all who will be asked, and draws the wrong sounds.

    Args:
        plan: the samples.
        ears: what the models hear; none: no sound is read.
        seed: of the wrong sounds.
    """

    def __init__(self, plan: Plan, ears: Sequence[Ear], seed: int):
        self.plan, self.ears, self.seed = plan, tuple(dict.fromkeys(ears)), seed
        self.pictures: OrderedDict[Hashable, Picture | MediaError] = OrderedDict()
        self.sounds: OrderedDict[Hashable, Waveform | MediaError] = OrderedDict()

    def read(self, number: int) -> Read:
        """Read one sample.

        Raises:
            MediaError: its picture, a mask, its truth or a sound of its own cannot be read.
        """
        sample = self.plan.samples[number]
        if sample.broken is not None:
            raise MediaError(sample.broken)
        seen = _picture_key(sample)
        picture = _kept(self.pictures, PICTURES_KEPT, seen, lambda: picture_of(sample))
        if isinstance(picture, MediaError):
            raise picture
        for mask in (sample.mask, *(source.mask for source in sample.sources)):
            if mask is not None:
                mask_of(mask)
        own = {ear: tuple(self._must_hear(h, ear) for h in asked(sample)) for ear in self.ears}
        wrong = self._wrong(sample) if locates(sample) else {}
        return Read(number, sample, picture, own, wrong)

    def _must_hear(self, heard: Heard, ear: Ear) -> Waveform:
        sound = self._hear(heard, ear)
        if isinstance(sound, MediaError):
            raise sound
        return sound

    def _hear(self, heard: Heard, ear: Ear) -> Waveform | MediaError:
        key = (ear, _sound_key(heard))
        return _kept(self.sounds, SOUNDS_KEPT, key, lambda: _fitted(heard, ear))

    def _wrong(self, sample: Sample) -> dict[Ear, tuple[Waveform, ...]]:
        """The first readable sounds, in the order drawn, that must be wrong here; one a map."""
        if not self.ears:
            return {}
        count = len(asked(sample))
        drawn = (h for h in self.plan.wrong_sounds(sample, self.seed) if self._readable(h))
        chosen = list(islice(drawn, count))
        if not chosen:
            return {}
        spread = [chosen[i % len(chosen)] for i in range(count)]
        return {ear: tuple(self._must_hear(h, ear) for h in spread) for ear in self.ears}

    def _readable(self, heard: Heard) -> bool:
        return not any(isinstance(self._hear(heard, ear), MediaError) for ear in self.ears)


def _fitted(heard: Heard, ear: Ear) -> Waveform:
    """Only what the model hears of it is kept, however long the file is."""
    if isinstance(heard, Source):
        sound = source_sound(heard, ear.rate)
    else:
        sound = sound_of(heard, ear.rate, ear.seconds)
    if sound is None:
        raise MediaError("a source that is asked about has no sound of its own")
    fitted = fit_sound(sound, round(ear.seconds * ear.rate), round(LOUDEST_STEP * ear.rate))
    return fitted.copy()


def _picture_key(sample: Sample) -> Hashable:
    return sample.image, sample.video, sample.time, tuple(s.image for s in sample.sources)


def _sound_key(heard: Heard) -> Hashable:
    if isinstance(heard, Source):
        return heard.sound
    composed = any(source.image is not None for source in heard.sources)
    return (heard.id, heard.sound) if composed or heard.video is not None else heard.sound


def _kept(
    found: OrderedDict[Hashable, T | MediaError],
    count: int,
    key: Hashable,
    read: Callable[[], T],
) -> T | MediaError:
    """What `read` gave for this key before, or gives now; an error too is kept, not raised."""
    if key in found:
        found.move_to_end(key)
        return found[key]
    try:
        found[key] = read()
    except MediaError as error:
        found[key] = error
    if len(found) > count:
        found.popitem(last=False)
    return found[key]
