"""The founding paper's comparison by one command: own maps, gradient maps, and both combined.

    python benchmarks/paper_table.py --data ../shared/data/val/pairs.jsonl

For each model: its own map, the input gradient, guided back-propagation, the own map combined with
each, and occlusion; scores with intervals, wrong-sound controls and rows that look at nothing;
cost; sharpness by planted sources; the variants of smoothing and averaging; a verdict on each claim
of the paper, computed from these numbers. Each result is kept as it comes (`--work`): the same
command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

import paper_figure
import soundspot
from one_line_errors import one_line_errors
from paper_measure import FULL, PICTURES, QUICK, Plan, heard_by_all, measure
from paper_page import Run, document
from paper_scores import OWN, one_clip, positives, readable, refusals, subset
from paper_store import Store, fingerprint_of_samples, log
from soundspot.data import open_data
from soundspot.errors import SoundspotError
from soundspot.files import write_beside
from soundspot.memory import keep_freed
from soundspot.similarity import Similarity

MODELS = "attention,clusters,fusion,pixel_sound"
FIGURE_COLUMNS = 6


def main() -> None:
    """Measure, print and write."""
    arguments = _arguments()
    keep_freed()
    with one_line_errors("paper_table"):
        text = _run(arguments)
    print(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add(
        "--data",
        action="append",
        required=True,
        metavar="DATA",
        help="a manifest, or what `soundspot evaluate` takes, such as flickr_soundnet:ROOT; may "
        "be given again (sharpness and variants: of the first)",
    )
    add("--models", default=MODELS, help="names or checkpoints, with commas between")
    add("--out", type=Path, default=Path("docs/paper_table.md"))
    add("--figure", type=Path, help="of the repository's sample (default: beside --out)")
    add(
        "--work",
        type=Path,
        default=Path("runs/paper_table"),
        help="kept results, and the figure of the data's own pictures",
    )
    add("--every-clip", action="store_true", help="judge all clips of a picture and group")
    add("--device", default="auto")
    add("--fresh", action="store_true", help="measure again what an earlier run kept")
    add("--quick", action="store_true", help="a few samples, to see that all works")
    return parser.parse_args()


def _run(arguments: argparse.Namespace) -> str:
    plan = _plan(arguments)
    found = measure(plan)
    figure = arguments.figure or arguments.out.with_name("paper_figure.jpg")
    log("figures ...")
    paper_figure.draw(plan.models, paper_figure.planted(), figure, plan.device)
    first = next(iter(plan.data.values()))
    paper_figure.draw(
        plan.models,
        paper_figure.pairs(readable(subset(first, PICTURES)), FIGURE_COLUMNS),
        arguments.work / "figure.jpg",
        plan.device,
    )
    text = document(found, _run_of(plan, figure))
    with write_beside(arguments.out) as beside:
        beside.write_text(text, encoding="utf-8")
    return text


def _run_of(plan: Plan, figure: Path) -> Run:
    return Run(
        command=_command(sys.argv),
        date=time.strftime("%d %B %Y"),
        minutes=plan.store.seconds() / 60,
        threads=torch.get_num_threads(),
        pairs={label: len(samples) for label, samples in plan.data.items()},
        trials=plan.amounts["trials"],
        sizes=plan.amounts["sizes"],
        groups=heard_by_all(plan),
        figure=figure.name,
    )


def _plan(arguments: argparse.Namespace) -> Plan:
    amounts = QUICK if arguments.quick else FULL
    names, data = _names(arguments.models), {}
    for spec in arguments.data:
        samples = positives(open_data(spec).samples())
        samples = samples if arguments.every_clip else one_clip(samples)
        if not samples:
            raise SoundspotError(f"{spec}: says of no picture where its sound comes from")
        data[_label(spec)] = subset(samples, amounts["pairs"] or len(samples))
    return Plan(
        {name: _loaded(word) for name, word in names.items()},
        data,
        {label: fingerprint_of_samples(samples) for label, samples in data.items()},
        {**amounts, "names": names},
        Store(arguments.work / "results.json", fresh=arguments.fresh),
        arguments.device,
    )


def _loaded(word: str) -> Similarity:
    """A model with a map of its own, which is what the table compares with."""
    model = soundspot.load(word)
    for why in refusals(model, [OWN], "auto").values():
        raise SoundspotError(f"{word}: {why}")
    return model


def _names(models: str) -> dict[str, str]:
    """What to load, by the name in the tables."""
    words = [word.strip() for word in models.split(",") if word.strip()]
    names = {Path(word).stem: word for word in words}
    if not words or len(names) < len(words):
        raise SoundspotError(f"--models {models}: give models of different names")
    return names


def _label(spec: str) -> str:
    """A data set's name in the headings: its file's name and its folder's."""
    name, colon, path = spec.rpartition(":")
    return name + colon + "/".join(Path(path).parts[-2:])


def portable(words: str) -> str:
    """Paths, with commas between, as the file's name and its folder's; all else as it is."""
    return ",".join(map(_portable, words.split(",")))


def _portable(word: str) -> str:
    name, colon, path = word.rpartition(":")
    return name + colon + "/".join(Path(path).parts[-2:]) if Path(path).is_absolute() else word


def _command(argv: Sequence[str]) -> str:
    """The command as somebody would type it elsewhere."""
    return " ".join(["python benchmarks/paper_table.py", *map(portable, argv[1:])])


if __name__ == "__main__":
    main()
