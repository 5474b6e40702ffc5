"""The tables of the paper's table, as Markdown. Scores are per cent; `-` is not known."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from paper_cost import FORWARD
from paper_levers import BLUR, REDUCTION
from paper_scores import (
    AUC,
    GRADIENTS,
    HALF_AUC,
    HALF_SHARE,
    OCCLUSION,
    OWN,
    PICTURE_ONLY,
    POINTING,
    SHARE,
    Judged,
    combined,
    difference,
    label,
    over_wrong_sound,
    score,
    wrong_sound_name,
)
from paper_sharpness import shares, smallest_found
from soundspot.metrics import Difference

BLIND = ("centre disc", "whole image", "random")
Cells = Sequence[str]


def table(head: Cells, lines: Iterable[Cells]) -> str:
    """A Markdown table; the first column flush left, numbers flush right."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, rule, *lines])


def percent(value: float | None) -> str:
    """A share as per cent."""
    return "-" if value is None or math.isnan(value) else f"{100 * value:.1f}"


def signed(found: Difference | Sequence[float]) -> str:
    """A difference in points with its interval."""
    mean, low, high = list(found)[:3]
    if math.isnan(mean):
        return "-"
    return f"{100 * mean:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def p_value(found: Difference | Sequence[float]) -> str:
    """The p of a difference."""
    p = list(found)[3]
    return "-" if math.isnan(p) else f"{p:.3f}"


def matrix(judged: dict[str, Judged], slow: dict[str, Judged]) -> str:
    """Share of each baseline under each method: the comparison at a glance."""
    columns = [OWN, *GRADIENTS, *(combined(OWN, g) for g in GRADIENTS)]
    count = next(iter(slow.values()))["n"]
    head = ["baseline", *map(label, columns), f"occlusion, n = {count}", "own map + occlusion"]
    lines = [
        [name, *(percent(score(scores, m)) for m in columns), *_slow_cells(slow[name])]
        for name, scores in judged.items()
    ]
    return table(head, lines)


def _slow_cells(judged: Judged) -> list[str]:
    alone, both = occlusion_rows(judged)
    return [percent(score(judged, alone)), percent(score(judged, both))]


def occlusion_rows(judged: Judged) -> tuple[str, str]:
    """The names of the rows of occlusion and of the own map combined with it."""
    methods = [name for name, row in judged["rows"].items() if row["kind"] == "method"]
    alone = next(name for name in methods if name.startswith(OCCLUSION))
    return alone, combined(OWN, alone)


def scores_table(judged: Judged) -> str:
    """All rows of one model: each method, then the same with a wrong sound beside it."""
    head = [
        *("map", "share", "95 %", "AUC", "95 %", "pointing", "95 %", "top half: share", "AUC"),
        *("wrong sound: share", "AUC", "pointing", "own sound over wrong, share"),
    ]
    names = [name for name, row in judged["rows"].items() if row["kind"] == "method"]
    return table(head, [_scores_line(judged, name) for name in [*names, *_deaf(judged)]])


def _deaf(judged: Judged) -> list[str]:
    return [PICTURE_ONLY] if PICTURE_ONLY in judged["rows"] else []


def _scores_line(judged: Judged, name: str) -> list[str]:
    wrong = wrong_sound_name(name)
    hears = wrong in judged["rows"]
    own = [
        cell
        for key in (SHARE, AUC, POINTING)
        for cell in (percent(score(judged, name, key)), _bounds(judged, name, key))
    ]
    half = [percent(score(judged, name, key)) for key in (HALF_SHARE, HALF_AUC)]
    other = [percent(score(judged, wrong, key)) for key in (SHARE, AUC, POINTING)]
    fall = signed(over_wrong_sound(judged, name)) if hears else "-"
    return [label(name), *own, *half, *(other if hears else ["-"] * 3), fall]


def _bounds(judged: Judged, name: str, key: str) -> str:
    low, high = judged["rows"][name]["intervals"][key]
    return "-" if math.isnan(low) else f"{100 * low:.1f} to {100 * high:.1f}"


def blind_table(judged: Judged) -> str:
    """The rows that look at nothing and hear nothing."""
    head = [
        *("map", "share", "95 %", "AUC", "95 %", "pointing", "95 %", "top half: share", "AUC"),
    ]
    lines = [_scores_line(judged, name)[: len(head)] for name in BLIND if name in judged["rows"]]
    return table(head, lines)


def differences_table(judged: dict[str, Judged], slow: dict[str, Judged]) -> str:
    """The combined map over the own map, and over what it was combined with."""
    head = [
        *("baseline", "combined with", "over own map: share", "p", "AUC", "p", "pointing", "p"),
        *("over the other part: share", "p"),
    ]
    lines = []
    for name, scores in judged.items():
        lines += [_differences_line(name, scores, g) for g in GRADIENTS]
        lines.append(_differences_line(name, slow[name], occlusion_rows(slow[name])[0]))
    return table(head, lines)


def _differences_line(name: str, judged: Judged, part: str) -> list[str]:
    both = combined(OWN, part)
    cells = [name, label(part)]
    for key in (SHARE, AUC, POINTING):
        found = difference(judged, both, OWN, key)
        cells += [signed(found), p_value(found)]
    over_part = difference(judged, both, part)
    return [*cells, signed(over_part), p_value(over_part)]


def cost_table(costs: dict[str, Any]) -> str:
    """Time, passes and memory by model and method."""
    head = [
        *("model", "map", "time over one forward pass", "forward passes", "backward passes"),
        *("map size", "peak memory, MiB", "over a forward pass, MiB"),
    ]
    lines = []
    for name, found in costs.items():
        base = found["methods"][FORWARD].get("memory")
        for method, facts in found["methods"].items():
            lines.append([name, label(method), *_cost_cells(facts, base)])
    return table(head, lines)


def _cost_cells(facts: dict[str, Any], base: float | None) -> list[str]:
    peak = facts.get("memory")
    size = facts.get("size")
    known = peak is not None and base is not None
    return [
        f"{facts['time']:.1f}",
        str(facts["forward"]),
        str(facts["backward"]),
        f"{size[0]} x {size[1]}" if size else "-",
        "-" if peak is None else f"{peak:.0f}",
        f"{peak - base:+.0f}" if known and peak is not None and base is not None else "-",
    ]


def sharpness_table(found: dict[str, Any], sizes: Sequence[int], canvas: int) -> str:
    """The share of planted sources found, by size, and the smallest size found."""
    head = ["model", "map", *(f"{size} px" for size in sizes), "smallest found"]
    lines = [["", "chance (area)", *(percent((s / canvas) ** 2) for s in sizes), ""]]
    for name, methods in found.items():
        for method in methods:
            row = shares(methods, method)
            cells = [f"{100 * value:.0f}" for value in row]
            lines.append([name, label(method), *cells, pixels(smallest_found(row, sizes))])
    return table(head, lines)


def pixels(size: int | None) -> str:
    """A size, or that none was found."""
    return "none" if size is None else f"{size} px"


def levers_table(found: dict[str, Any]) -> str:
    """Each variant's scores, models side by side."""
    head = ["variant"]
    for name, levers in found.items():
        head += [f"{name}, n = {levers['n']}: share", "AUC", "pointing", "share over own map"]
    variants = dict.fromkeys(v for levers in found.values() for v in levers["variants"])
    lines = [
        [lever_label(v), *(cell for levers in found.values() for cell in _lever_cells(levers, v))]
        for v in variants
    ]
    return table(head, lines)


def _lever_cells(levers: dict[str, Any], variant: str) -> list[str]:
    facts = levers["variants"].get(variant)
    if facts is None:
        return ["-"] * 4
    over = "" if variant == OWN else signed(facts["over_own"])
    return [*(percent(value) for value in facts["scores"]), over]


def lever_label(variant: str) -> str:
    """A variant's name in the table; defaults are marked."""
    method, _, option = variant.partition(": ")
    plus = "own map + " if method.startswith("own + ") else ""
    base = label(method.removeprefix("own + "))
    mark = " (default)" if option == f"blur {BLUR}" else ""
    scale = ", min-max" if plus and option.startswith("blur") else ""
    reduced = f", {REDUCTION}" if not plus and option.startswith("blur") else ""
    return f"{plus}{base}{', ' + option if option else ''}{scale}{reduced}{mark}"
