"""Is each value of `shards.json` of its kind? Said before anybody calculates with it.

A file that was damaged or edited by hand is so named by its key, in one line, instead of by
whatever fails on it first.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from soundspot.errors import OptionError
from soundspot.shards.options import PackOptions

SHOWN = 60
"""Characters of a wrong value."""
MOST = 2**48
"""Samples or bytes of one shard."""
SHARD = {"name": str, "samples": int, "bytes": int, "sha256": str, "index_sha256": str}
"""Keys of a shard, and the kinds of their values."""
OBJECTS = ("settings", "counts", "source", "versions")
FOUND = "found"
"""The count that is an object of counts."""


def check_file(found: dict[str, Any]) -> None:
    """Check the content of `shards.json`.

    Raises:
        LookupError, TypeError, ValueError: a key is missing, or its value wrong; says which.
    """
    for key in OBJECTS:
        _require(isinstance(_value(found, key), dict), key, found[key], "an object")
    shards = _value(found, "shards")
    _require(isinstance(shards, list), "shards", shards, "a list")
    for number, shard in enumerate(shards):
        _check_shard(shard, f"shards[{number}]")
    _check_settings(found["settings"])
    counts = dict(found["counts"])
    nested = counts.pop(FOUND, {})
    _require(isinstance(nested, dict), f"counts.{FOUND}", nested, "an object")
    _check_numbers("counts", counts.items())
    _check_numbers(f"counts.{FOUND}", nested.items())
    for key in ("samples", "source.entries"):
        holder = found["source"] if "." in key else found
        last = key.rpartition(".")[2]
        if last in holder:
            _require(_is_count(holder[last]), key, holder[last], "a whole number from 0 on")


def _check_shard(shard: Any, where: str) -> None:
    _require(isinstance(shard, dict), where, shard, "an object")
    for key, kind in SHARD.items():
        value, place = _value(shard, key, f"{where}."), f"{where}.{key}"
        if kind is int:
            _require(_is_count(value), place, value, "a whole number from 0 on")
        else:
            _require(isinstance(value, str), place, value, "a string")
    unknown = shard.keys() - SHARD.keys()
    if unknown:
        raise ValueError(f"{where}.{min(unknown)} is unknown")
    name = shard["name"]
    plain = Path(name).name == name != "" and name.isprintable()
    _require(plain, f"{where}.name", name, "a file name without folders")


def _check_settings(settings: dict[str, Any]) -> None:
    """Settings that packing knows have its kinds and ranges; others are let be."""
    known = dict[str, Any]()
    for option in fields(PackOptions):
        if option.name not in settings:
            continue
        value, default = settings[option.name], option.default
        if isinstance(default, str):
            fits, kind = isinstance(value, str), "a string"
        elif isinstance(default, tuple):
            fits, kind = isinstance(value, list) and all(isinstance(v, str) for v in value), "words"
        else:
            fits, kind = _is_number(value), "a number"
        _require(fits, f"settings.{option.name}", value, kind)
        known[option.name] = tuple(value) if isinstance(value, list) else value
    try:
        PackOptions(**known)
    except OptionError as error:
        raise ValueError(str(error).replace("pack: ", "settings.", 1)) from error


def _check_numbers(where: str, items: Iterable[tuple[str, Any]]) -> None:
    for key, value in items:
        _require(_is_number(value) and value >= 0, f"{where}.{key}", value, "a number from 0 on")


def _value(holder: dict[str, Any], key: str, where: str = "") -> Any:
    if key not in holder:
        raise LookupError(f"{where}{key} is missing")
    return holder[key]


def _require(fits: bool, key: str, value: Any, kind: str) -> None:
    if not fits:
        raise ValueError(f"{key} is {json.dumps(value)[:SHOWN]}, not {kind}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST
