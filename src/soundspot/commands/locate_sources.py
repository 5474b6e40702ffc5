"""`soundspot locate ... --sources K`: of a picture, or of a video, several sources at once."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from soundspot.commands.common import (
    load_model,
    refuse_overwriting,
    require_film_outputs,
    say_what_is_encoded_again,
    write_json,
)
from soundspot.errors import OptionError
from soundspot.files import check_writable

if TYPE_CHECKING:
    from soundspot.several import SourceResult

OPTIONS = {"sources", "approach", "listen"}
VIDEO_OPTIONS = {"sources", "output", "json", "tracks", "start", "stop", "every"}
"""Of a video, those that several sources take."""
MOST = 4


def define(group: argparse._ArgumentGroup) -> None:
    """Options of several sources."""
    add = group.add_argument
    add("--sources", metavar="K", help="several sources: how many (1 to 4), or auto")
    add("--approach", metavar="A", help="how they are told apart (default: territories)")
    add("--listen", metavar="DIR", help="write what each source sounds like, as .wav, there")


def check(arguments: argparse.Namespace) -> None:
    """Refuse options that need `--sources` where it is missing.

    Raises:
        OptionError: naming the option.
    """
    for name in ("approach", "listen"):
        if getattr(arguments, name) is not None and arguments.sources is None:
            raise OptionError(f"--{name} goes with --sources; give --sources auto or a number")


def number(text: str) -> int | str:
    """What `--sources` says.

    Raises:
        OptionError: neither auto nor a number from 1 to 4.
    """
    if text == "auto":
        return text
    if text.isdecimal() and 1 <= int(text) <= MOST:
        return int(text)
    raise OptionError(f"--sources {text}: give auto, or a number from 1 to {MOST}")


def run(arguments: argparse.Namespace) -> int:
    """Locate, write what is asked for, and say it in one line a source."""
    sources = number(arguments.sources)
    maps = _files(arguments.map, MOST) if arguments.map else []
    sounds = _files(f"{arguments.listen}/source.wav", MOST) if arguments.listen else []
    refuse_overwriting(
        [arguments.output, arguments.json, *map(str, maps), *map(str, sounds)],
        (arguments.input, arguments.sound, arguments.model),
    )
    from soundspot.media.image import as_picture
    from soundspot.several import locate_sources, save

    found = locate_sources(
        load_model(arguments),
        arguments.input,
        arguments.sound,
        sources,  # type: ignore[arg-type]
        arguments.approach,
        arguments.method,
        listen=arguments.listen is not None,
        device=arguments.device,
    )
    for file in [*maps[: len(found)], *sounds[: len(found)]]:
        check_writable(file)  # all or nothing: one that fails would leave the others behind
    if arguments.output:
        save(arguments.output, as_picture(arguments.input), found)
    for one, file in zip(found, maps, strict=False):
        one.result.save_map(file)
    _write_sounds(found, sounds)
    if arguments.json:
        write_json(arguments.json, {"sources": [one.json() for one in found]})
    text = "\n".join(map(str, found)) or "no visible source"
    drawn = f"\ndrawn in {arguments.output}" if arguments.output else ""
    print(text + drawn, file=sys.stderr if arguments.json == "-" else sys.stdout)
    return 0


def run_video(arguments: argparse.Namespace, options: set[str]) -> int:
    """The same in each frame of a video; `options` are those that a video can be given."""
    for name in sorted(options - VIDEO_OPTIONS):
        if getattr(arguments, name) is not None:
            typed = name if name == "sound" else f"--{name.replace('_', '-')}"
            raise OptionError(f"{typed} does not go with --sources of a video")
    require_film_outputs(arguments)
    sources = number(arguments.sources)
    outputs = arguments.output, arguments.tracks, arguments.json
    refuse_overwriting(outputs, (arguments.input, arguments.model))
    if arguments.json not in (None, "-"):
        check_writable(arguments.json)
    if arguments.output:
        say_what_is_encoded_again(arguments.input, arguments.output)
    from soundspot.filming_sources import film_sources

    found = film_sources(
        arguments.input,
        load_model(arguments),
        arguments.output,
        sources,  # type: ignore[arg-type]
        arguments.method,
        tracks=arguments.tracks,
        every=1 if arguments.every is None else arguments.every,
        start=arguments.start or 0.0,
        stop=arguments.stop,
        device=arguments.device,
        progress=sys.stderr.isatty(),
    )
    if arguments.json:
        write_json(arguments.json, {"sources": [one.json() for one in found]})
    written = [f"written: {path}" for path in (arguments.output, arguments.tracks) if path]
    text = "\n".join([*map(str, found), *written])
    print(text, file=sys.stderr if arguments.json == "-" else sys.stdout)
    return 0


def _files(name: str, count: int) -> list[Path]:
    """The names of so many files: a.npy becomes a-1.npy, a-2.npy and so on."""
    path = Path(name)
    return [path.with_name(f"{path.stem}-{n + 1}{path.suffix}") for n in range(count)]


def _write_sounds(found: list[SourceResult], files: list[Path]) -> None:
    for one, file in zip(found, files, strict=False):
        if one.sound is not None:
            one.sound.save(file)
