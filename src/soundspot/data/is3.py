"""IS3: generated pictures of two things, each of which may sound (Interactive).

Senocak et al., "Aligning Sight and Sound: Advanced Sound Source Localization Through Audio-Visual
Alignment", 2024. 3,240 entries; each file is called `THING_THING_NUMBER_SOUNDING`, and the picture
stands there once for each of its two sounds.

By default both are one sample with two `sources`, so that a protocol can ask whether *every*
sound of a picture is found (IIoU). The sample's own sound, boxes and mask are the first source's:
who looks at no sources judges a true pair. `per=sound` gives each entry a sample.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from soundspot.data.check import Notes
from soundspot.data.dataset import Dataset, option
from soundspot.data.lists import Ids, is_safe, shown
from soundspot.data.sslalign import Seen, read_seen
from soundspot.errors import DataError
from soundspot.types import Sample, Source

LISTS = {"boxes": "synthetic3240_bbox.json", "masks": "synthetic3240_seg.json"}
_NAME = re.compile(r"(?P<picture>.+_\d+)_(?P<thing>.+)")


@dataclass(frozen=True)
class IS3(Dataset):
    """IS3 at `root`."""

    truth: str = option("boxes", "boxes or masks", LISTS)
    per: str = option("picture", "picture (with sources) or sound", ("picture", "sound"))
    list: str = option("", "JSON list; default: synthetic3240_bbox.json or _seg.json")
    author_root: str = option("/mnt/lynx2/users/arda/synthetic3241", "what paths begin with")

    name: ClassVar[str] = "is3"
    sentence: ClassVar[str] = "Generated pictures of two things, a sound for each (3,240 pairs)."
    source: ClassVar[str] = "https://github.com/kaistmm/SSLalignment"
    layout: ClassVar[str] = (
        "synthetic3240_bbox.json, visual_frames/NAME.jpg, audio_wav/NAME.wav, and for truth=masks "
        "synthetic3240_seg.json, gt_masks/NAME.jpg"
    )

    def read(self, notes: Notes) -> Iterator[Sample]:
        """Yield a sample a picture, or a sound."""
        seen = read_seen(self, self.list or LISTS[self.truth], self.author_root, notes)
        return gather(((*_named(one), one) for one in seen), self.per)


def _named(one: Seen) -> tuple[str, str]:
    """The picture that a file shows, and the thing whose sound it is."""
    found = _NAME.fullmatch(one.image.stem)
    if found is None:
        raise DataError(
            f"{one.place}: {shown(one.image.name)} is not called THING_THING_NUMBER_SOUNDING"
        )
    return found["picture"], found["thing"]


def gather(named: Iterator[tuple[str, str | None, Seen]], per: str) -> Iterator[Sample]:
    """Samples from (picture, thing, entry): one an entry, or one a picture with its sources.

    A picture takes the place of its first entry.
    """
    ids = Ids()
    pictures: dict[str, list[tuple[str | None, Seen]]] = {}
    for picture, thing, one in named:
        if per == "sound":
            ids.take(one.image.stem, one.place)
        if not (is_safe(one.image.stem) and is_safe(picture)):
            raise DataError(f"{one.place}: {shown(one.image.name)} is not safe as an id")
        key = one.image.stem if per == "sound" else picture
        pictures.setdefault(key, []).append((thing, one))
    for identity, entries in pictures.items():
        yield _sample(identity, entries)


def _sample(identity: str, entries: list[tuple[str | None, Seen]]) -> Sample:
    thing, first = entries[0]
    sources = tuple(Source(one.boxes, what, one.sound, one.mask) for what, one in entries)
    return Sample(
        id=identity,
        image=first.image,
        sound=first.sound,
        boxes=first.boxes,
        group=thing,
        kind="offscreen" if first.silent else "positive",
        sources=sources if len(sources) > 1 else (),
        mask=first.mask,
        broken=next((one.broken for _, one in entries if one.broken), None),
    )
