"""The founding paper's four claims, judged by the numbers at hand: every word here is computed.

What counts as a real difference stands in `paper_sides`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from paper_cost import FORWARD, times_cheaper
from paper_levers import BLUR, REDUCTION, best_average
from paper_scores import (
    GRADIENTS,
    GUIDED,
    OCCLUSION,
    OWN,
    SEED,
    Judged,
    combined,
    difference,
    difference_together,
    label,
    over_wrong_sound,
    score,
    wrong_sound_name,
)
from paper_sharpness import shares, smallest_found
from paper_sides import outcome, sides
from paper_text import lever_label, percent, pixels, signed
from soundspot.metrics import Difference, paired_difference

CHEAP = 10.0
"""Times cheaper than occlusion, from which a method is called cheap."""
DEFAULTS = f"blur {BLUR}, reduce {REDUCTION}, min-max"
LISTENING = 0.10
"""By how much an own map must beat itself with a wrong sound."""


def resolution(
    sharp: Mapping[str, Any], costs: Mapping[str, Any], sizes: Sequence[int]
) -> list[str]:
    """Claim 1: the gradient's map is finer than the model's own."""
    lines: list[str] = []
    cases: dict[str, Difference] = {}
    for name, found in ((name, found) for name, found in sharp.items() if found):
        gradients = [m for m in GRADIENTS if m in found]
        sizes_of = {m: smallest_found(shares(found, m), sizes) for m in (OWN, *gradients)}
        named = ", ".join(f"{label(m)} {pixels(size)}" for m, size in sizes_of.items())
        over = {m: found_more(found, m, OWN) for m in gradients}
        gains = ", ".join(f"{label(m)} {signed(d)}" for m, d in over.items())
        lines.append(
            f"{name}: {_map_sizes(costs.get(name))}smallest planted source found: {named}; "
            f"found over all sizes, points above the own map: {gains}{_with_wrong_sounds(found)}."
        )
        cases |= {f"{label(m)} on {name}": d for m, d in over.items()}
    told = sides(cases)
    verdict = outcome(len(told.above), len(cases))
    head = f"**High resolution: as a map's size always, as sharpness it {verdict}.**"
    if not cases:
        head = "**High resolution: not measured.**"
    return [f"{head} Planted sources found more often than by the own map: {told}.", *lines]


def _with_wrong_sounds(found: Mapping[str, Any]) -> str:
    """How often the planted thing is found though another thing is heard."""
    told = ", ".join(
        f"{label(m)} {percent(float(np.mean(found[wrong_sound_name(m)])))} "
        f"instead of {percent(float(np.mean(found[m])))}"
        for m in (OWN, *GRADIENTS)
        if m in found and wrong_sound_name(m) in found
    )
    return f"; found with a wrong sound, per cent: {told}" if told else ""


def _map_sizes(cost: Any) -> str:
    sizes = {m: cost["methods"].get(m, {}).get("size") for m in (OWN, GUIDED)} if cost else {}
    if not all(sizes.values()) or not sizes:
        return ""
    return (
        f"map of {' x '.join(map(str, sizes[GUIDED]))} against "
        f"{' x '.join(map(str, sizes[OWN]))} of the own map; "
    )


def found_more(found: Mapping[str, Any], a: str, b: str) -> Difference:
    """The difference in planted sources found, over all sizes; a trial is drawn as a whole."""
    first, second = (np.array(found[m], dtype=np.float64) for m in (a, b))
    trials = np.broadcast_to(np.arange(first.shape[1]), first.shape).ravel().tolist()
    return paired_difference(first.ravel(), second.ravel(), trials, seed=SEED)


def low_cost(costs: Mapping[str, Any]) -> list[str]:
    """Claim 2: a gradient costs little beside occlusion."""
    ratios = {
        f"{label(m)} on {name}": times_cheaper(found, m)
        for name, found in costs.items()
        for m in GRADIENTS
        if m in found["methods"]
    }
    cheap = [name for name, ratio in ratios.items() if ratio >= CHEAP]
    head = (
        f"**Low cost: {outcome(len(cheap), len(ratios))}**, taken as at least {CHEAP:.0f} times "
        "cheaper than occlusion with its default grid."
    )
    return [head, *(_cost_line(name, found) for name, found in costs.items())]


def _cost_line(name: str, found: Mapping[str, Any]) -> str:
    methods = found["methods"]
    parts = [
        f"{label(m)} {methods[m]['time']:.1f} forward passes' time "
        f"({times_cheaper(dict(found), m):.0f} times cheaper{_memory(methods, m)})"
        for m in GRADIENTS
        if m in methods
    ]
    slow = methods[OCCLUSION]
    return (
        f"{name}: {', '.join(parts)}; occlusion {slow['time']:.0f} forward passes' time for "
        f"{slow['forward']} passes."
    )


def _memory(methods: Mapping[str, Any], method: str) -> str:
    peak, base = (methods[m].get("memory") for m in (method, FORWARD))
    return "" if peak is None or base is None else f", {peak - base:+.0f} MiB over a forward pass"


def free_structure(judged: Mapping[str, Judged]) -> list[str]:
    """Claim 3: the gradient works on any network."""
    random, wrong, lines = {}, {}, []
    for name, scores in judged.items():
        for gradient in GRADIENTS:
            case = f"{label(gradient)} on {name}"
            random[case] = difference(scores, gradient, "random")
            wrong[case] = over_wrong_sound(scores, gradient)
            if gradient in scores["refused"]:
                lines.append(f"{case}: refused ({scores['refused'][gradient]}).")
    told, heard = sides(random), sides(wrong)
    both = [case for case in random if case in told.above and case in heard.above]
    head = (
        f"**Free structure: {outcome(len(both), len(random))}**, taken as a share above the "
        "random map's and above its own with a wrong sound."
    )
    others = (
        "Other structures (residual, transformer, mixer, cross-attention and early-fusion "
        "networks, plain functions): [structures.md](structures.md)."
    )
    return [head, f"Above random: {told}.", f"Above a wrong sound: {heard}.", *lines, others]


def improvement(judged: Mapping[str, Judged], levers: Mapping[str, Any]) -> list[str]:
    """Claim 4: a gradient map improves every baseline that it is combined with."""
    best: list[str] = []
    lines: list[str] = []
    cases: dict[str, Difference] = {}
    for name, scores in judged.items():
        over = {g: difference(scores, combined(OWN, g), OWN) for g in GRADIENTS}
        cases |= {f"{name} + {label(g)}": d for g, d in over.items()}
        if sides({label(g): d for g, d in over.items()}).above:
            best.append(name)
        else:
            lines.append(_why_not(name, scores, levers.get(name)))
    told = sides(cases)
    head = (
        f"**Consistent improvement when combined: {outcome(len(best), len(judged))}**, taken as at "
        "least one of the two combined maps above the own map beyond its interval."
    )
    gains = [f"Share over the own map, {name}: {signed(d)}." for name, d in cases.items()]
    gains += [
        f"All baselines together, with {label(g)}: {_together(judged, g)}." for g in GRADIENTS
    ]
    return [head, *gains, f"That is {told} ({len(told.above)} of {len(cases)}).", *lines]


def _together(judged: Mapping[str, Judged], gradient: str) -> str:
    both = combined(OWN, gradient)
    over_own = difference_together(judged.values(), both, OWN)
    over_part = difference_together(judged.values(), both, gradient)
    return f"{signed(over_own)} over the own maps, {signed(over_part)} over the gradient alone"


def _why_not(name: str, judged: Judged, levers: Any) -> str:
    own = score(judged, OWN)
    parts = ", ".join(
        f"{label(g)} {percent(score(judged, g))} ({100 * (score(judged, g) - own):+.1f})"
        for g in GRADIENTS
        if g not in judged["refused"]
    )
    text = f"{name}, where it does not show: its own map scores {percent(own)}, alone {parts}"
    if levers is None:
        return text + "."
    variant, facts = best_average(levers)
    return (
        f"{text}; of all the averages tried on {levers['n']} pairs the best is "
        f"{lever_label(variant)}, {signed(facts['over_own'])} over the own map, chosen there."
    )


def baselines(judged: Mapping[str, Judged]) -> list[str]:
    """Whether each own map is worth improving: above random, and listening."""
    random = sides({name: difference(scores, OWN, "random") for name, scores in judged.items()})
    falls = {name: over_wrong_sound(scores, OWN) for name, scores in judged.items()}
    enough = [name for name, d in falls.items() if d.mean >= LISTENING]
    told = "; ".join(f"{name} {signed(d)}" for name, d in falls.items())
    return [
        f"**The baselines' own maps.** Above random: {random}.",
        f"Over themselves with a wrong sound: {told}. At least {100 * LISTENING:.0f} points: "
        f"{', '.join(enough) or 'none'} ({len(enough)} of {len(falls)}).",
    ]


def reasons(levers: Mapping[str, Any]) -> list[str]:
    """What smoothing, reduction and normalisation do, from the variants."""
    lines = [_reason(name, found) for name, found in levers.items()]
    head = (
        "**What makes it hold.** Points of share that a variant is above the default "
        f"({DEFAULTS}), on fewer pairs; the variants' own scores stand below."
    )
    return [head, *lines] if lines else []


def _reason(name: str, found: Mapping[str, Any]) -> str:
    share = {variant: facts["scores"][0] for variant, facts in found["variants"].items()}
    parts = []
    for method in dict.fromkeys(v.split(": ")[0] for v in share if v != OWN):
        default = f"{method}: blur {BLUR}"
        told = ", ".join(
            f"{variant.partition(': ')[2]} {100 * (share[variant] - share[default]):+.1f}"
            for variant in share
            if variant.startswith(f"{method}: ") and variant != default
        )
        parts.append(f"{lever_label(method)} (default {percent(share[default])}): {told}")
    return f"{name}, n = {found['n']}: {'; '.join(parts)}."
