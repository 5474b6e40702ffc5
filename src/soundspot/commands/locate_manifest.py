"""`soundspot locate PAIRS.jsonl --out-dir DIR`: many pairs, resumable."""

from __future__ import annotations

import argparse
from pathlib import Path

from soundspot.commands.common import CUTS, require_folder
from soundspot.errors import OptionError

OPTIONS = {*CUTS, "out_dir", "save", "batch"}
BATCH = 8


def define(group: argparse._ArgumentGroup) -> None:
    """Options that only a manifest takes."""
    group.add_argument("--out-dir", metavar="DIR", help="where the results go")
    group.add_argument(
        "--save", metavar="LIST", help="overlay,json,map (default: first two), or lines"
    )


def run(arguments: argparse.Namespace) -> int:
    """Locate all pairs; 1 where some failed."""
    if arguments.out_dir is None:
        raise OptionError(f"{arguments.input}: a manifest needs --out-dir DIR for its results")
    require_folder(arguments.out_dir, "--out-dir")
    batch = BATCH if arguments.batch is None else arguments.batch
    if batch < 1:
        raise OptionError("--batch is at least 1")
    words = "overlay,json" if arguments.save is None else arguments.save
    from soundspot.batch import locate_all
    from soundspot.bulk import ManifestWork, parse_save
    from soundspot.commands.locate_shards import located, say, with_crew
    from soundspot.data.manifest import read_manifest

    maps = parse_save(words)
    samples = list(read_manifest(arguments.input))
    with with_crew(arguments) as (crew, locator):
        if maps is not None:
            return located(arguments, locator, ManifestWork(samples), maps, batch, crew)
        save = [word.strip() for word in words.split(",") if word.strip()]
        out_dir = Path(arguments.out_dir)
        tally = locate_all(locator, samples, out_dir, save, batch=batch, crew=crew)
        return say(tally, arguments.out_dir, crew)
