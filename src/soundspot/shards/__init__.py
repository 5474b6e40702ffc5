"""Shards: a data set decoded once, in a few large files that are read from start to end.

`soundspot data pack` makes them (`packing`), training and batch inference read them (`Shards`).
The format is in docs/shards.md. Importing this is light: names are imported when asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from soundspot.shards.catalogue import is_shards as is_shards
    from soundspot.shards.order import Order as Order
    from soundspot.shards.reader import RawPictures as RawPictures
    from soundspot.shards.reader import RawSample as RawSample
    from soundspot.shards.reader import Shards as Shards

_HOMES = {
    "Order": "order",
    "RawPictures": "reader",
    "RawSample": "reader",
    "Shards": "reader",
    "is_shards": "catalogue",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    """Import the home of a public name when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'soundspot.shards' has no attribute {name!r}")
    return getattr(import_module(f"soundspot.shards.{_HOMES[name]}"), name)
