"""What is judged (data sets, yield `types.Sample`) and what is trained on (`pairs`).

    data = open_data("pairs.jsonl")                       # a manifest
    data = open_data("films")                             # any folder of videos
    data = open_data("vgg_ss:/data/vggss?split=heard")    # NAME:ROOT?option=value&option=value
    for sample in data.samples(): ...

Importing this is light: pictures, sounds and videos are opened by `soundspot.data.media`.
"""

from __future__ import annotations

from pathlib import Path

from soundspot.data.avsbench import AVSBench
from soundspot.data.check import Check
from soundspot.data.dataset import Dataset
from soundspot.data.flickr_soundnet import FlickrSoundNet
from soundspot.data.is3 import IS3
from soundspot.data.manifest import Manifest
from soundspot.data.music import Music
from soundspot.data.slavc_extended import SlavcExtended
from soundspot.data.vgg_ss import VggSS
from soundspot.data.vggsound_duet import VGGSoundDuet
from soundspot.data.video_folder import VideoFolder
from soundspot.data.vpo import VPO
from soundspot.errors import DataError, OptionError

__all__ = ["DATASETS", "Check", "Dataset", "open_data"]

DATASETS: dict[str, type[Dataset]] = {
    kind.name: kind
    for kind in (
        FlickrSoundNet,
        VggSS,
        SlavcExtended,
        IS3,
        VPO,
        AVSBench,
        Music,
        VGGSoundDuet,
        Manifest,
        VideoFolder,
    )
}


def open_data(spec: str | Path) -> Dataset:
    """Open a data set: a manifest's path, a folder of videos, or `NAME:ROOT?option=value&...`.

    Raises:
        OptionError: an unknown name or option, or a value out of range.
        DataError: nothing is there.
    """
    text = str(spec)
    name, colon, rest = text.partition(":")
    if colon and name in DATASETS:
        root, options = split_options(rest)
        return DATASETS[name].opened(root, options)
    path = Path(text)
    if path.is_dir():
        return VideoFolder(path)
    if path.is_file():
        return Manifest(path)
    if colon and name.isidentifier() and len(name) > 1:
        raise OptionError(f"there is no data set {name!r}; there are {', '.join(DATASETS)}")
    raise DataError(
        f"{text} does not exist; give a manifest (.jsonl), a folder of videos, or NAME:ROOT with "
        f"one of {', '.join(DATASETS)}"
    )


def split_options(text: str) -> tuple[str, dict[str, str]]:
    """Cut `ROOT?a=1&b=2` into the root and its options; a root may itself hold a `?`.

    Raises:
        OptionError: an option without `=`, or given twice.
    """
    root, mark, words = text.rpartition("?")
    if not mark or Path(text).exists():
        return text, {}
    return root, named_options(words.split("&"))


def named_options(words: list[str]) -> dict[str, str]:
    """Options out of words like `split=heard`.

    Raises:
        OptionError: one without `=`, or given twice.
    """
    options: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key in options:
            raise OptionError(f"the option {word!r} must be KEY=VALUE, each key once")
        options[key] = value
    return options
