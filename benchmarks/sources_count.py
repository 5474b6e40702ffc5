"""How many sources are answered where there are two, one and none.

    python benchmarks/sources_count.py --data MIXTURES --data PAIRS --data NEGATIVES

Up to `--max` samples of each kind, the same ones each time; ambiguous ones are left out.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from typing import TYPE_CHECKING

from tqdm import tqdm

import soundspot
from one_line_errors import one_line_errors
from soundspot.data import open_data
from soundspot.memory import keep_freed
from soundspot.several import locate_sources
from soundspot.several.counting import MOST

if TYPE_CHECKING:
    from soundspot.types import Sample

QUICK = "similarity_map"
"""The method changes the maps, not how many sources there are."""


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--model", default="default")
    parser.add_argument("--max", type=int, default=40, help="samples of each kind (default: 40)")
    arguments = parser.parse_args()
    keep_freed()
    with one_line_errors("sources_count"):
        _run(arguments)


def _run(arguments: argparse.Namespace) -> None:
    model = soundspot.load(arguments.model)
    kinds: dict[str, list[Sample]] = {}
    for spec in arguments.data:
        for sample in open_data(spec).samples():
            if not sample.ambiguous:
                kinds.setdefault(sample.kind, []).append(sample)
    print(f"| kind | samples | {' | '.join(str(n) for n in range(MOST + 1))} |")
    print("|---" * (MOST + 3) + "|")
    for kind, members in kinds.items():
        chosen = random.Random(0).sample(members, min(arguments.max, len(members)))
        counts = Counter(
            len(locate_sources(model, sample.image, sample.sound, method=QUICK))
            for sample in tqdm(chosen, desc=kind, unit="sample")
        )
        shares = [f"{100 * counts[n] / len(chosen):.0f} %" for n in range(MOST + 1)]
        print(f"| {kind} | {len(chosen)} | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    main()
