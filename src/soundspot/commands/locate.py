"""`soundspot locate`: a picture and a sound, a manifest of many, shards, or a video.

What the first argument *is* decides what runs: a name ending in `.jsonl` is a manifest, a folder
holds shards; of any other file its content says whether it is a picture or a video. Options that
belong to another kind of input are refused, never ignored.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from soundspot.commands import (
    locate_manifest,
    locate_picture,
    locate_shards,
    locate_sources,
    locate_video,
)
from soundspot.commands.common import add_cuts, add_model
from soundspot.errors import OptionError
from soundspot.files import require_file, what_is

SENTENCE = "Find where in a picture or a video a sound comes from."
KINDS = {
    "a manifest (.jsonl)": (locate_manifest.OPTIONS, locate_manifest.run),
    "a folder of shards": (locate_shards.OPTIONS, locate_shards.run),
    "a picture": (locate_picture.OPTIONS, locate_picture.run),
    "a video": (locate_video.OPTIONS, locate_video.run),
}
"""What may be given: the options that go with it (names of arguments), and what runs."""
SHARD_FILES = "*.tar"
EVERYWHERE = {"input", "run", "method", "model", "device"}


def define(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add = parser.add_argument
    add(
        "input",
        metavar="INPUT",
        help="IMAGE, a video, a manifest ending in .jsonl, or a folder of shards",
    )
    add(
        "sound",
        metavar="SOUND",
        nargs="?",
        help="a sound, or a video's sound track (default with a video: its own)",
    )
    add(
        "-o",
        "--output",
        metavar="OUT",
        help="draw map and boxes: of a picture .png, .jpg or .webp; of a video .mp4, .m4v, .mov or "
        ".mkv",
    )
    add("--json", metavar="FILE", help="write the answer (video: summary) as JSON; - prints it")
    add("--method", metavar="M", help="how to make the map (default: the model's own choice)")
    add(
        "--batch",
        metavar="N",
        type=int,
        help="pairs (default: 8) or frames (default: 2 on a CPU, 16 elsewhere) at a time",
    )
    add_model(parser)
    add_cuts(parser.add_argument_group("in place of the model's own thresholds"))
    locate_sources.define(parser.add_argument_group("several sources at once"))
    locate_picture.define(parser.add_argument_group("for a picture"))
    locate_manifest.define(parser.add_argument_group("for a manifest of many pairs, or shards"))
    locate_video.define(parser.add_argument_group("for a video"))


def run(arguments: argparse.Namespace) -> int:
    """Find out what was given, and locate."""
    kind = kind_of(arguments.input)
    allowed, locate = KINDS[kind]
    for name, value in vars(arguments).items():
        if value is None or name in allowed | EVERYWHERE:
            continue
        raise OptionError(f"{_as_typed(name, value)} {_where_it_goes(name)}, not with {kind}")
    return locate(arguments)


def kind_of(name: str) -> str:
    """Which of `KINDS` a file is.

    Raises:
        MediaError: it is missing, empty or no regular file.
    """
    if name.lower().endswith(".jsonl"):
        return "a manifest (.jsonl)"
    if Path(name).is_dir() and any(Path(name).glob(SHARD_FILES)):
        return "a folder of shards"
    file = require_file(name)
    what = what_is(file)
    if what is not None and not what.endswith(("video", "sound")):
        return "a picture"
    if what is None or what.endswith("sound"):  # Ogg may hold pictures; old containers have no sign
        from soundspot.media.video import is_video

        return "a video" if is_video(file) else "a picture"
    return "a video"


def _as_typed(name: str, value: object) -> str:
    return str(value) if name == "sound" else f"--{name.replace('_', '-')}"


def _where_it_goes(name: str) -> str:
    kinds = [kind for kind, (options, _) in KINDS.items() if name in options]
    return f"goes with {' or '.join(kinds)}"
