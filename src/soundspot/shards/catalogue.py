"""`shards.json`: what a folder of shards holds, how it was made, and a checksum of each file.

    {"soundspot": "shards", "version": 2,
     "samples": 8358, "counts": {...}, "settings": {...}, "source": {...}, "versions": {...},
     "shards": [{"name": "shard-000000", "samples": 1000, "bytes": 61440000, "sha256": "...",
                 "index_sha256": "..."}, ...]}

It is written last: a folder without it is unfinished. It names no time, no machine and no absolute
path, so that the same input gives the same bytes anywhere.

Version 1, whose samples have their FLAC before their JSON, is read too.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from soundspot.errors import DataError, OptionError
from soundspot.files import one_line
from soundspot.shards.index import SUFFIX as INDEX_SUFFIX
from soundspot.shards.kinds import check_file

NAME = "shards.json"
VERSION, KNOWN = 2, (1, 2)
"""That is written, and those that are read."""
UNSAID = {"sound": "flac"}
"""Settings that version 1 does not name."""
TAR_SUFFIX = ".tar"


@dataclass(frozen=True)
class ShardFile:
    """One shard: its name without suffix, samples, bytes and checksums (SHA-256, hexadecimal)."""

    name: str
    samples: int
    bytes: int
    sha256: str
    index_sha256: str

    @property
    def tar(self) -> str:
        """The tar's file name."""
        return self.name + TAR_SUFFIX

    @property
    def index(self) -> str:
        """The index's file name."""
        return self.name + INDEX_SUFFIX


@dataclass(frozen=True)
class Catalogue:
    """What `shards.json` says.

    Args:
        shards: in order.
        settings: of the packing, as given to `PackOptions`.
        counts: what became of the source's entries.
        source: of what kind it was, and a digest of its list.
        versions: of the libraries that decoded and encoded.
        version: of the format; of several folders, the oldest.
        stated: how many samples the file says there are in all; None where it does not.
    """

    shards: tuple[ShardFile, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    version: int = VERSION
    stated: int | None = field(default=None, compare=False)

    @property
    def samples(self) -> int:
        """How many there are in all."""
        return sum(shard.samples for shard in self.shards)

    def text(self) -> str:
        """The content of the file: a shard a line."""
        head = {
            "soundspot": "shards",
            "version": self.version,
            "samples": self.samples,
            "counts": self.counts,
            "settings": self.settings,
            "source": self.source,
            "versions": self.versions,
        }
        lines = ",\n".join(f"  {json.dumps(asdict(shard))}" for shard in self.shards)
        return f'{json.dumps(head, indent=1)[:-2]},\n "shards": [\n{lines}\n ]\n}}\n'


def is_shards(folder: str | Path) -> bool:
    """Whether a folder holds finished shards."""
    return (Path(folder) / NAME).is_file()


def read_catalogue(folder: str | Path) -> Catalogue:
    """Read a folder's `shards.json`.

    Raises:
        DataError: it is missing, or none of a known version.
    """
    path = Path(folder) / NAME
    name = one_line(path)
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(
            f"{name} does not exist: no shards, or unfinished ones; make or finish them with "
            "`soundspot data pack SOURCE --out FOLDER`"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{name} cannot be read ({one_line(error)}); pack again") from error
    try:
        if found["soundspot"] != "shards" or found["version"] not in KNOWN:
            known = " and ".join(map(str, KNOWN))
            raise DataError(f"{name} is of another kind or version; this reads versions {known}")
        check_file(found)
    except (LookupError, TypeError, ValueError) as error:
        raise DataError(f"{name} is damaged ({one_line(error)}); pack again") from error
    shards = tuple(ShardFile(**shard) for shard in found["shards"])
    rest = {key: found[key] for key in ("settings", "counts", "source", "versions")}
    if found["version"] == 1:
        rest["settings"] = {**UNSAID, **rest["settings"]}
    return Catalogue(shards, **rest, version=found["version"], stated=found.get("samples"))


def refuse_shards(folder: str | Path, option: str = "--out") -> None:
    """Refuse shards as the place of other results.

    Args:
        folder: where results are to be written.
        option: that names it.

    Raises:
        OptionError: it holds shards.
    """
    if is_shards(folder):
        raise OptionError(f"{one_line(folder)}: holds shards; choose another {option}")
