"""Several folders of shards as one long list of samples.

Their shards are put behind each other in an order of their own (by checksum), so neither the order
in which folders are named nor where they lie matters: the same shards are the same data. `order`
then mixes all of them as it mixes the shards of one folder.

Each sample counts once: a folder that has twice the samples is met twice as often. Shards that are
given twice are refused, since an epoch would hold their samples twice.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from soundspot.errors import OptionError
from soundspot.files import one_line
from soundspot.shards.catalogue import Catalogue, ShardFile
from soundspot.shards.reader import Shards

WILD = frozenset("*?[")
LONGEST = "seconds"
"""The setting of which the greatest counts: samples of other folders are shorter."""


def open_shards(folders: Sequence[str | Path]) -> Shards:
    """Open folders of shards; of several, all of their samples as one list.

    Raises:
        DataError: one holds no finished shards.
        OptionError: no folder, or the same shards twice.
    """
    if not folders:
        raise OptionError("no folder of shards is named; give one or more")
    opened = sorted(map(Shards.open, folders), key=_digest)
    if len(opened) == 1:
        return opened[0]
    entries, seen = list[ShardFile](), dict[str, Path]()
    for shards in opened:
        for entry in shards.catalogue.shards:
            path = shards.folder.absolute() / entry.name
            if entry.sha256 in seen:
                raise OptionError(
                    f"{one_line(seen[entry.sha256])} and {one_line(path)} are the same shard; give "
                    "each folder once"
                )
            seen[entry.sha256] = path
            entries.append(replace(entry, name=str(path)))
    settings = _common([shards.catalogue.settings for shards in opened])
    oldest = min(shards.catalogue.version for shards in opened)
    return Shards(Path(os.sep), Catalogue(tuple(entries), settings, version=oldest))


def folders_of(shards: Shards) -> list[str]:
    """The names of the folders that shards lie in, sorted."""
    paths = {(shards.folder / entry.name).parent for entry in shards.catalogue.shards}
    return sorted(one_line(path.name or path) for path in paths)


def expand(names: Sequence[str]) -> tuple[str, ...]:
    """Paths for patterns such as `shards/part-*`, sorted; a path that exists stands for itself.

    Raises:
        OptionError: a pattern that nothing matches.
    """
    found: list[str] = []
    for name in names:
        matches = [name] if os.path.exists(name) or not WILD & set(name) else glob.glob(name)
        if not matches:
            raise OptionError(f"{one_line(name)}: nothing matches; check the path")
        found += sorted(matches)
    return tuple(found)


def _digest(shards: Shards) -> str:
    sums = "".join(entry.sha256 for entry in shards.catalogue.shards)
    return hashlib.sha256(sums.encode()).hexdigest()


def _common(settings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The settings that all share, and the longest samples of any."""
    shared = {
        name: value
        for name, value in settings[0].items()
        if all(other.get(name) == value for other in settings)
    }
    longest = [other[LONGEST] for other in settings if other.get(LONGEST)]
    return {**shared, **({LONGEST: max(longest)} if len(longest) == len(settings) else {})}
