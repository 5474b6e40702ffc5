"""`soundspot locate SHARDS --out-dir DIR`: one result file a shard; resumable, on many ranks."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from soundspot.commands.common import CUTS, cuts, load_model, require_folder
from soundspot.errors import OptionError

if TYPE_CHECKING:
    from soundspot.batch import Tally
    from soundspot.bulk import Work
    from soundspot.judging.ranks import Crew
    from soundspot.locating import Locator

OPTIONS = {*CUTS, "out_dir", "save", "batch"}
BATCH = 8


def run(arguments: argparse.Namespace) -> int:
    """Locate all samples of the shards; 1 where some failed."""
    if arguments.out_dir is None:
        raise OptionError(f"{arguments.input}: shards need --out-dir DIR for the results")
    require_folder(arguments.out_dir, "--out-dir")
    batch = BATCH if arguments.batch is None else arguments.batch
    if batch < 1:
        raise OptionError("--batch is at least 1")
    from soundspot.bulk import ShardWork, parse_save
    from soundspot.shards import Shards

    shards = Shards.open(arguments.input)
    maps = parse_save("lines" if arguments.save is None else arguments.save)
    if maps is None:
        raise OptionError(f"--save {arguments.save}: of shards 'lines' or 'lines,map' are saved")
    with with_crew(arguments) as (crew, locator):
        return located(arguments, locator, ShardWork(shards), maps, batch, crew)


def located(
    arguments: argparse.Namespace,
    locator: Locator,
    work: Work,
    maps: bool,
    batch: int,
    crew: Crew,
) -> int:
    """Locate work in blocks and say how it went."""
    from soundspot.bulk import locate_blocks

    out_dir = Path(arguments.out_dir)
    tally = locate_blocks(locator, work, out_dir, maps=maps, batch=batch, crew=crew)
    return say(tally, arguments.out_dir, crew)


def say(tally: Tally, out_dir: str, crew: Crew) -> int:
    """One line, said once; 1 where some failed."""
    if crew.leads:
        print(
            f"{tally.located} located, {tally.already_done} done before, {tally.failed} failed; "
            f"results in {out_dir}"
        )
    return 1 if tally.failed and crew.leads else 0


@contextmanager
def with_crew(arguments: argparse.Namespace) -> Iterator[tuple[Crew, Locator]]:
    """The processes that torchrun started, each with the model on an accelerator of its own."""
    from soundspot.judging.ranks import crew_of_environment
    from soundspot.locating import Locator

    with crew_of_environment() as crew:
        device = _device(arguments.device) if crew.size > 1 else arguments.device
        model = load_model(arguments)
        yield crew, Locator(model, arguments.method, device=device, **cuts(arguments))


def _device(name: str) -> str:
    import torch

    if name not in ("auto", "cuda") or not torch.cuda.is_available():
        return name
    return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"
