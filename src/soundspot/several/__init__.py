"""Several sources at once: one map, boxes and a confidence for each thing that sounds.

| file | what |
|---|---|
| `locate` | `locate_sources`, and the list of approaches |
| `approach` | what an approach is; one file each: `territories` (the default), `factor_maps`, |
| | `explaining_away`, `separate_first`, `model_clusters`, `pixel_masks`, `two_blobs` |
| `counting` | how many sources there are |
| `clip` | the same over the frames of a clip, with ids that stay |
| `film` | a film with every source in its colour |
| `scene` | what all are given: pictures in their proportions and a sound |
| `space`, `territory_fit` | p and q of all at once; which positions and moments go together |
| `factorising`, `spectra`, `time_shares` | non-negative factors, masks of spectrograms |
| `source` | the answer |
"""

from __future__ import annotations

from soundspot.several.approach import Approach, Found
from soundspot.several.clip import SourcesOfClip, sources_of_clip
from soundspot.several.locate import APPROACHES, DEFAULT_APPROACH, locate_sources, parse_approach
from soundspot.several.source import SourceResult, draw, save

__all__ = [
    "APPROACHES",
    "DEFAULT_APPROACH",
    "Approach",
    "Found",
    "SourceResult",
    "SourcesOfClip",
    "draw",
    "locate_sources",
    "parse_approach",
    "save",
    "sources_of_clip",
]
