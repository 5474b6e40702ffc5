"""VGGSound-Duet: two clips of VGG-SS shown side by side, and heard at once.

Lists of AVGN (Mo & Tian, "Audio-Visual Grouping Network for Sound Localization from Mixtures",
CVPR 2023): a line `CLIP,CLASS,CLIP,CLASS`; boxes of `vggss.json`.

AVGN judges each picture by itself with the mixed sound. Here the two pictures are one: each
squashed to a square, side by side, in the order of the line, so that a map must also say *which*
of the two it means. Boxes are fractions of that. The sound is the sum of both clips'. Nothing has
to be composed on the disk: `soundspot.data.media` does it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from soundspot.data.check import Notes
from soundspot.data.dataset import Dataset, find_media, option
from soundspot.data.lists import PICTURES, SOUNDS, Entry, Ids, Row, listed_id, read_rows
from soundspot.data.vgg_ss import boxes_and_class, read_truth
from soundspot.errors import DataError
from soundspot.types import Box, Sample, Source

CELLS = 4


@dataclass(frozen=True)
class VGGSoundDuet(Dataset):
    """VGGSound-Duet over a folder laid out as VGG-SS."""

    list: str = option("vggsound_duet_test.csv", "CLIP,CLASS,CLIP,CLASS a line")
    truth: str = option("vggss.json", "the boxes of the clips")
    images: str = option("frames", "folder of the pictures, ID.jpg")
    sounds: str = option("audio", "folder of the sounds, ID.wav")

    name: ClassVar[str] = "vggsound_duet"
    sentence: ClassVar[str] = "Two VGG-SS clips side by side, heard at once."
    source: ClassVar[str] = "https://github.com/stoneMo/AVGN (clips and boxes: vgg_ss)"
    layout: ClassVar[str] = "vggsound_duet_test.csv, vggss.json, frames/ID.jpg, audio/ID.wav"

    def read(self, notes: Notes) -> Iterator[Sample]:
        """Yield a sample a line, with one source a clip."""
        truth = read_truth(self.list_file(self.truth))
        ids = Ids()
        for row in read_rows(self.list_file(self.list)):
            if len(row.cells) != CELLS:
                raise DataError(f"{row.place}: must be CLIP,CLASS,CLIP,CLASS")
            yield self._sample(row, ids, truth, notes)
        if not ids:
            raise DataError(f"{self.root / self.list}: lists no duets")

    def _sample(self, row: Row, ids: Ids, truth: dict[str, Entry], notes: Notes) -> Sample:
        clips = [listed_id(row.cells[column], row.place) for column in (0, 2)]
        identity = ids.take("__".join(clips), row.place)
        sources, broken = [], []
        for place, clip in enumerate(clips):
            boxes: tuple[Box, ...] = ()
            if clip in truth:
                (boxes, _), reason = boxes_and_class(truth[clip], notes)
                broken += [] if reason is None else [reason]
            else:
                notes.miss(f"{self.root / self.truth}: boxes of {clip!r}", identity)
            sources.append(
                Source(
                    boxes=tuple(_beside(box, place, len(clips)) for box in boxes),
                    group=row.cells[2 * place + 1] or None,
                    sound=find_media(self.root / self.sounds, clip, SOUNDS),
                    image=find_media(self.root / self.images, clip, PICTURES),
                )
            )
        return _mixture(identity, tuple(sources), next(iter(broken), None))


def _mixture(identity: str, sources: tuple[Source, ...], broken: str | None) -> Sample:
    image, sound = sources[0].image, sources[0].sound
    if image is None or sound is None:
        raise AssertionError("each clip has a picture and a sound")
    return Sample(
        id=identity,
        image=image,
        sound=sound,
        boxes=tuple(box for source in sources for box in source.boxes),
        kind="mixture",
        sources=sources,
        broken=broken,
    )


def _beside(box: Box, place: int, count: int) -> Box:
    """A box of one picture, in fractions of `count` pictures side by side."""
    x0, y0, x1, y1 = box
    return (place + x0) / count, y0, (place + x1) / count, y1
