"""Model cards: what a model is, how it was made, whose labels it owes, what its numbers say.

A card is the README.md of a model's folder: front matter that the hub reads (licence, library,
tags, pipeline), then text for people. It is made from the checkpoint's header alone, so it claims
nothing that was not stored; what nobody stated is called not stated. (Mitchell et al., "Model Cards
for Model Reporting", FAT* 2019.) Of the notes these are known by name:

    license    an identifier of the hub, such as "apache-2.0"
    labels     which labelled data stand behind the weights
    trained    how it was trained: options by name
    calibrated on how much the confidence was fitted, and how well it fits there
    figures    scores by what they are: {"pointing, val/pairs.jsonl": 0.89}
    limits     what it cannot do
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

PIPELINE = "image-segmentation"
"""The hub's nearest task: it has none in which a picture and a sound are asked together."""
TAGS = ("soundspot", "sound-source-localization", "audio-visual", "pytorch")
LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")
UNKNOWN = "unknown"
"""The hub's word for a licence that nobody stated."""
KNOWN_NOTES = ("license", "labels", "trained", "calibrated", "figures", "limits")
NOT_STATED = "Not stated by whoever saved this model."
DECIMALS = 4


def card(header: Mapping[str, Any], parameters: int, *, title: str, load: str) -> str:
    """The card of a model.

    Args:
        header: of its checkpoint, as JSON has it.
        parameters: how many numbers it has learned.
        title: the heading.
        load: what `soundspot.load` is given to load it.
    """
    notes = header["notes"]
    sections = {
        "What it is": _what(header, parameters),
        "Use": _use(load),
        "How it was trained": _listed(notes.get("trained")),
        "Labels behind it": _said(notes.get("labels")),
        "What its numbers mean": _calibration(header["facts"], notes.get("calibrated")),
        "Figures": _listed(notes.get("figures")),
        "Limits": _said(notes.get("limits")),
        "Other notes": _listed({k: v for k, v in notes.items() if k not in KNOWN_NOTES}),
    }
    if not any(name not in KNOWN_NOTES for name in notes):
        del sections["Other notes"]
    parts = [_front_matter(notes.get("license")), f"# {title}", INTRO]
    parts += [f"## {heading}\n\n{text}" for heading, text in sections.items()]
    return "\n\n".join(parts) + "\n"


INTRO = (
    "Answers where in a picture a sound comes from, with a pixel-wise map, boxes, a confidence, "
    'and an honest "no visible source". It is loaded by the Python library soundspot.'
)


def _front_matter(licence: object) -> str:
    """YAML; every value is written as JSON, which YAML reads."""
    entries: dict[str, Any] = {"license": UNKNOWN}
    if isinstance(licence, str) and LICENCE.fullmatch(licence):
        entries = {"license": licence}
    elif licence is not None:
        entries = {"license": "other", "license_name": str(licence)}
    entries |= {"library_name": "soundspot", "pipeline_tag": PIPELINE, "tags": list(TAGS)}
    return "\n".join(["---", *(f"{k}: {json.dumps(v)}" for k, v in entries.items()), "---"])


def _what(header: Mapping[str, Any], parameters: int) -> str:
    facts = header["facts"]
    heard = ", ".join(facts["heard"]) or "not stated"
    rows = {
        "kind of model": f"`{header['model']}` ({_options(header['config'])})",
        "parameters": f"{parameters / 1e6:.1f} million",
        "picture": _picture(facts),
        "sound": f"mono, {facts['sample_rate']} Hz, up to {facts['seconds']:g} s (the loudest)",
        "method for its maps": f"`{facts['method']}`" if facts["method"] else "not chosen",
        "groups heard in training": heard,
    }
    if "base" in header:
        rows["stands on"] = f"the model `{header['base']['name']}` that comes with soundspot"
    return "\n".join(["| | |", "|---|---|", *(f"| {k} | {_cell(v)} |" for k, v in rows.items())])


def _picture(facts: Mapping[str, Any]) -> str:
    side = facts["size"]
    if facts.get("keeps_proportions"):
        return f"in its own proportions, at about as many pixels as {side} x {side}"
    return f"squeezed to {side} x {side} pixels"


def _use(load: str) -> str:
    return (
        "```python\nimport soundspot\n\n"
        f"model = soundspot.load({load})\n"
        'result = soundspot.locate(model, "street.jpg", "siren.wav")\n```'
    )


def _calibration(facts: Mapping[str, Any], fit: object) -> str:
    known = facts["calibration"]
    if known is None:
        return "Nothing was calibrated: the confidence is a bare sigmoid, maps are cut at half."
    cuts = "; ".join(f"`{name}` at {_number(v)}" for name, v in known["thresholds"].items())
    lines = [
        f"- confidence = sigmoid({_number(known['scale'])} s + {_number(known['bias'])}) of the "
        "similarity s, silence 0",
        f"- a visible source is said to be heard from a confidence of {_number(known['visible'])}",
        f"- maps are cut at raw values: {cuts or 'none was fitted'}",
    ]
    return "\n".join(lines) + ("" if fit is None else f"\n\nThe fit:\n\n{_listed(fit)}")


def _listed(value: object) -> str:
    """Notes of any shape: names and values as a list, all else as it is."""
    if not isinstance(value, Mapping):
        return _said(value)
    return "\n".join(f"- {name}: {_inline(v)}" for name, v in sorted(value.items())) or NOT_STATED


def _said(value: object) -> str:
    return NOT_STATED if value in (None, "") else _inline(value)


def _options(config: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_inline(value)}" for name, value in config.items()) or "no options"


def _inline(value: object) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {_inline(v)}" for name, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_inline(v) for v in value)
    return _number(value) if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    return f"{value:.{DECIMALS}g}"


def _cell(text: str) -> str:
    """Text that cannot end its cell of the table."""
    return " ".join(text.split()).replace("|", "\\|")
