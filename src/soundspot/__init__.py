"""soundspot: where in a picture a sound comes from.

    import soundspot
    model  = soundspot.load()                                   # the embedded default
    result = soundspot.locate(model, "street.jpg", "siren.wav") # .map .boxes .confidence .visible
    result.save("where.png")

Data flows one way, and this is the map of the package:

    media/        the world <-> arrays: pictures, sounds, videos
    towers/       one file = one encoder of pictures or sounds, with its front end
    models/       one file = one similarity model
    similarity    what a model must be (any function of a picture and a sound), and its laws
    watch         guided gradients, frozen parameters: touch a network only inside `with`
    localize/     one file = one method that turns similarities into a map
    maps          resize, smooth, normalise, cut into boxes
    inputs, locating    the road from files to a `Result`
    separating    the sound of one pixel
    several/      several sources at once: one file = one approach
    streaming/    films and live pictures, frame by frame
    data/         one file = one data set, each yields `Sample`
    metrics/      one file = one family of scores: pure functions
    protocols/    one file = one frozen way to judge
    judging/, benchmark, report/    the referee
    losses/       one file = one objective
    shards/       data decoded once into tars, for training and batch inference
    train, training/, distill, average, calibrate    how models are made

Importing soundspot imports nothing heavy; torch comes with the first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from soundspot.benchmark import Report as Report
    from soundspot.benchmark import evaluate as evaluate
    from soundspot.checkpoint import load as load
    from soundspot.checkpoint import save as save
    from soundspot.data import open_data as open_data
    from soundspot.data.manifest import read_manifest as read_manifest
    from soundspot.errors import SoundspotError as SoundspotError
    from soundspot.facts import Calibration as Calibration
    from soundspot.facts import ModelFacts as ModelFacts
    from soundspot.film_job import FilmTask as FilmTask
    from soundspot.filming import film_clip as film_clip
    from soundspot.filming_sources import film_sources as film_sources
    from soundspot.live_feeds import LatestFrame as LatestFrame
    from soundspot.localize import METHODS as METHODS
    from soundspot.localize import parse as parse
    from soundspot.locating import Locator as Locator
    from soundspot.locating import locate as locate
    from soundspot.render_film import Look as Look
    from soundspot.result import Result as Result
    from soundspot.separating import separate as separate
    from soundspot.several import SourceResult as SourceResult
    from soundspot.several import locate_sources as locate_sources
    from soundspot.similarity import check_model as check_model
    from soundspot.streaming import Moment as Moment
    from soundspot.streaming import TrackedBox as TrackedBox
    from soundspot.streaming import stream as stream
    from soundspot.types import Sample as Sample

__version__ = "0.1.0"

_HOMES = {
    "METHODS": "localize",
    "Calibration": "facts",
    "FilmTask": "film_job",
    "LatestFrame": "live_feeds",
    "Locator": "locating",
    "Look": "render_film",
    "ModelFacts": "facts",
    "Moment": "streaming",
    "Report": "benchmark",
    "Result": "result",
    "Sample": "types",
    "SoundspotError": "errors",
    "SourceResult": "several",
    "TrackedBox": "streaming",
    "check_model": "similarity",
    "evaluate": "benchmark",
    "film_clip": "filming",
    "film_sources": "filming_sources",
    "load": "checkpoint",
    "locate": "locating",
    "locate_sources": "several",
    "open_data": "data",
    "parse": "localize",
    "read_manifest": "data.manifest",
    "save": "checkpoint",
    "separate": "separating",
    "stream": "streaming",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    """Import the home of a public name when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'soundspot' has no attribute {name!r}")
    return getattr(import_module(f"soundspot.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The public names."""
    return [*__all__, "__version__"]
