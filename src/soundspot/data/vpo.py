"""VPO: pictures of COCO with sounds of VGGSound for one kind of thing in them.

Chen et al., "Unraveling Instance Associations: A Closer Look for Audio-Visual Segmentation"
(Visual Post-production), CVPR 2024; lists with boxes and masks by SSLalignment. Two parts: `ss`
(a single source) and `ms` (several). A file is called `COCO-PICTURE_COCO-ANNOTATION`; entries of
one picture become one sample with `sources` (as in `is3`), or a sample each with `per=sound`.

The sound was put to the picture afterwards; nothing here was recorded together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from soundspot.data.check import Notes
from soundspot.data.dataset import Dataset, option
from soundspot.data.is3 import gather
from soundspot.data.sslalign import read_seen
from soundspot.types import Sample

ENDINGS = {"boxes": "bbox", "masks": "seg"}


@dataclass(frozen=True)
class VPO(Dataset):
    """One part of VPO; both lie under `root`."""

    part: str = option("ss", "ss (one source) or ms (several)", ("ss", "ms"))
    truth: str = option("boxes", "boxes or masks", ENDINGS)
    per: str = option("picture", "picture (with sources) or sound", ("picture", "sound"))
    list: str = option("", "JSON list; default: vpo_PART_bbox.json or _seg.json")
    author_root: str = option("/mnt/lynx2/users/arda/SSL_COCO", "what paths begin with")

    name: ClassVar[str] = "vpo"
    sentence: ClassVar[str] = "COCO pictures with VGGSound sounds: one source, or several."
    source: ClassVar[str] = "https://github.com/cyh-0/CAVP (lists: kaistmm/SSLalignment)"
    layout: ClassVar[str] = (
        "vpo_ss_bbox.json, COCO_AV/visual_frames/NAME.jpg, COCO_AV/audio_wav/NAME.wav; for "
        "part=ms vpo_ms_bbox.json and COCO_AV_MS; for truth=masks vpo_PART_seg.json and gray_masks"
    )

    def read(self, notes: Notes) -> Iterator[Sample]:
        """Yield a sample a picture, or a sound."""
        name = self.list or f"vpo_{self.part}_{ENDINGS[self.truth]}.json"
        seen = read_seen(self, name, self.author_root, notes)
        return gather(((one.image.stem.split("_")[0], None, one) for one in seen), self.per)
