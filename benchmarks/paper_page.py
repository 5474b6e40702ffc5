"""The page that `paper_table.py` writes: what was found, as Markdown, verdicts first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import paper_text
import paper_verdict
from paper_scores import label
from paper_sharpness import CANVAS


@dataclass(frozen=True)
class Run:
    """How the page came about.

    Args:
        command: as somebody would type it.
        date: in words.
        minutes: that all results took, those of earlier runs too.
        threads: of the processor.
        pairs: by data set, how many.
        trials: planted sources a size.
        sizes: of planted sources.
        groups: that sources were planted from.
        figure: its file, beside the page.
    """

    command: str
    date: str
    minutes: float
    threads: int
    pairs: dict[str, int]
    trials: int
    sizes: Sequence[int]
    groups: Sequence[str]
    figure: str


def document(found: dict[str, Any], run: Run) -> str:
    """The whole page."""
    parts = [
        "# The paper's table",
        _opening(found, run),
        *_verdicts(found, run),
        *(part for data in run.pairs for part in _data_parts(found, data)),
        *_cost_parts(found),
        *_sharp_parts(found, run),
        *_lever_parts(found),
        *_figure_parts(run.figure),
        *_convention_parts(found),
    ]
    return "\n\n".join(parts) + "\n"


def _opening(found: dict[str, Any], run: Run) -> str:
    amounts = ", ".join(f"{data} ({count} pairs)" for data, count in run.pairs.items())
    return (
        f"Own maps, gradient maps and their combinations. Models: {', '.join(found['cost'])}. "
        f"Data: {amounts}. Made by\n\n```\n{run.command}\n```\n\n"
        f"on {run.date}; its parts took {run.minutes:.0f} minutes together, beside whatever else "
        f"ran (threads: {run.threads}). Scores are per cent, "
        "differences points; in brackets the 95 % interval. The own map is what the model itself "
        "offers: attention, cluster assignment, class activation, sound energy at each pixel, or "
        "similarity at each position."
    )


def _verdicts(found: dict[str, Any], run: Run) -> list[str]:
    data = next(iter(run.pairs))
    judged, sharp = found["scores"][data], found["sharp"]
    claims = [
        paper_verdict.resolution(sharp, found["cost"], run.sizes),
        paper_verdict.low_cost(found["cost"]),
        paper_verdict.free_structure(judged),
        paper_verdict.improvement(judged, found["levers"]),
        paper_verdict.reasons(found["levers"]),
        paper_verdict.baselines(judged),
    ]
    told = [_claim(lines) for lines in claims if lines]
    return [f"## Verdicts\n\nAs measured on {data}, share of IoU at least 0.5.", *told]


def _claim(lines: Sequence[str]) -> str:
    """The verdict, and what it rests on as a list."""
    return f"{lines[0]}\n\n" + "\n".join(f"- {line}" for line in lines[1:])


def _data_parts(found: dict[str, Any], data: str) -> list[str]:
    judged, slow = found["scores"][data], found["slow"][data]
    some = next(iter(judged.values()))
    parts = [
        f"## {data}",
        f"{some['n']} pairs, {len(set(some['pictures']))} pictures"
        f"{', ' + str(some['unread']) + ' not read' if some['unread'] else ''}. Share of IoU at "
        "least 0.5, as many pixels highlighted as the truth has:",
        paper_text.matrix(judged, slow),
        "Combined over its parts, pair by pair:",
        paper_text.differences_table(judged, slow),
        "Maps that look at nothing and hear nothing, so that a wrong sound changes nothing:",
        paper_text.blind_table(some),
    ]
    for name, scores in judged.items():
        parts += [f"### {name}", paper_text.scores_table(scores)]
        parts += [
            f"Occlusion, on {slow[name]['n']} of these pairs, drawn by seed:",
            paper_text.scores_table(slow[name]),
            *(f"{label(m)}: {why}." for m, why in scores["refused"].items()),
        ]
    return parts


def _cost_parts(found: dict[str, Any]) -> list[str]:
    return [
        "## Cost",
        "Time over one forward pass of the same picture, measured in turn in one run, the sound "
        "heard once before; passes for one picture; peak memory (resident set) of a process of its "
        "own that makes one map, model and library included.",
        paper_text.cost_table(found["cost"]),
    ]


def _sharp_parts(found: dict[str, Any], run: Run) -> list[str]:
    return [
        "## Resolution",
        f"Sources planted at falling sizes on a canvas of {CANVAS} px, {run.trials} trials a "
        "size: the true box of a picture, pasted at a random place of a ground without a source "
        "(a gradient with noise, or another picture blurred), the right sound heard. Per cent of "
        "trials whose peak lies in the pasted box; the smallest size found in at least half of "
        "the trials, as is every larger one. Wrong sound: that of the next trial, of another group "
        "(where there are several). "
        f"Groups: {', '.join(run.groups)}.",
        paper_text.sharpness_table(found["sharp"], run.sizes, CANVAS),
    ]


def _lever_parts(found: dict[str, Any]) -> list[str]:
    return [
        "## Reduction, smoothing, normalisation",
        "Variants of the gradient maps, alone and averaged with the own map: reduction over RGB, "
        "blur as a share of the shorter side, and how two maps are brought to one scale. On a "
        "part of the pairs, drawn by seed; no wrong-sound control; the best cell of many is "
        "flattered.",
        paper_text.levers_table(found["levers"]),
    ]


def _figure_parts(figure: str) -> list[str]:
    return [
        "## Figure",
        f"![Rows: true box, then for each model its own map, guided back-propagation, and both "
        f"combined]({figure})",
        "The sample cat (`samples/`, CC0) pasted at falling sizes, asked about with its meow. The "
        "same figure of the data's own pictures is written beside the kept results and is not "
        "part of the repository: those pictures have other owners and licences.",
    ]


def _convention_parts(found: dict[str, Any]) -> list[str]:
    judged = next(iter(next(iter(found["scores"].values())).values()))
    told = judged["conventions"].items()
    lines = [f"- {topic}: {text}" for topic, text in told if topic != "AUROC"]
    return ["## Conventions", "\n".join(lines)]
