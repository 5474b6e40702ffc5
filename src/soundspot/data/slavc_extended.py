"""Extended Flickr-SoundNet and VGG-SS: the test sets "plus silent", with negatives.

Mo & Morgado, "A Closer Look at Weakly-Supervised Audio-Visual Source Localization" (SLAVC),
NeurIPS 2022. The positives are those of the base set; the list adds, a line, a video whose picture
is shown, a video whose sound is heard, and the label `non-sounding`.

In spite of the name the lists do not say that these sounds are silent. Nearly all are another
clip's sound; the VGG-SS list begins with some hundred clips that keep their own. Either way no
source of what is heard is in the picture: kind "offscreen". Only a label `silent` would be kind
"silence".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from soundspot.data.check import Notes
from soundspot.data.dataset import Dataset, find_media, option
from soundspot.data.flickr_soundnet import FlickrSoundNet
from soundspot.data.lists import PICTURES, SOUNDS, Ids, Row, listed_id, read_rows, shown
from soundspot.data.vgg_ss import VggSS
from soundspot.errors import DataError
from soundspot.types import Kind, Sample

KIND_OF: dict[str, Kind] = {"non-sounding": "offscreen", "silent": "silence"}
POSITIVE = "sounding"
HEADER = ("video", "audio", "label")


@dataclass(frozen=True)
class SlavcExtended(Dataset):
    """An extended set at `root`: positives first, then negatives, each in its list's order."""

    part: str = option("flickr", "flickr or vggss", ("flickr", "vggss"))
    list: str = option("", "video,audio,label; default: PART_test_plus_silent.csv")
    positives: str = option("", "ids of the positives; default: PART_test.csv")
    truth: str = option("", "their boxes; default: Annotations, or vggss.json")
    images: str = option("frames", "folder of the pictures, ID.jpg")
    sounds: str = option("audio", "folder of the sounds, ID.wav")

    name: ClassVar[str] = "slavc_extended"
    sentence: ClassVar[str] = "Flickr-SoundNet or VGG-SS plus as many negatives (SLAVC)."
    source: ClassVar[str] = "https://github.com/stoneMo/SLAVC"
    layout: ClassVar[str] = (
        "frames/ID.jpg, audio/ID.wav; for part=flickr flickr_test.csv, Annotations/ID.xml, "
        "flickr_test_plus_silent.csv; for part=vggss vggss_test.csv, vggss.json, "
        "vggss_test_plus_silent.csv"
    )

    def read(self, notes: Notes) -> Iterator[Sample]:
        """Yield the base set's samples, then the negatives."""
        listed = self.list_file(self.list or f"{self.part}_test_plus_silent.csv")
        ids = Ids()
        for sample in self._base().read(notes):
            ids.taken(sample.id, f"the positives in {self.positives or self.part + '_test.csv'}")
            yield sample
        for row in read_rows(listed):
            if row.cells[:3] != HEADER and self._is_negative(row, notes):
                yield self._negative(row, ids)

    def _base(self) -> Dataset:
        chosen = self.positives or f"{self.part}_test.csv"
        places = {"list": chosen, "images": self.images, "sounds": self.sounds}
        if self.part == "flickr":
            return FlickrSoundNet(self.root, truth=self.truth or "Annotations", **places)
        return VggSS(self.root, truth=self.truth or "vggss.json", **places)

    def _is_negative(self, row: Row, notes: Notes) -> bool:
        if len(row.cells) != len(HEADER):
            raise DataError(f"{row.place}: must be video,audio,label")
        if row.cells[2] == POSITIVE:
            notes.count("lines labelled 'sounding', which are in the list of positives", row.place)
        elif row.cells[2] not in KIND_OF:
            words = ", ".join((*KIND_OF, POSITIVE))
            raise DataError(f"{row.place}: the label {shown(row.cells[2])} is none of {words}")
        return row.cells[2] in KIND_OF

    def _negative(self, row: Row, ids: Ids) -> Sample:
        video, audio = (listed_id(cell, row.place) for cell in row.cells[:2])
        return Sample(
            id=ids.take(f"{video}__{audio}", row.place),
            image=find_media(self.root / self.images, video, PICTURES),
            sound=find_media(self.root / self.sounds, audio, SOUNDS),
            kind=KIND_OF[row.cells[2]],
        )
