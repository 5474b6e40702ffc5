"""`soundspot locate ... --sources K`: of a picture, or of a video, several sources at once."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from soundspot.commands import film_look
from soundspot.commands.common import (
    cuts,
    load_model,
    refuse_overwriting,
    require_film_outputs,
    say_what_is_encoded_again,
    write_json,
)
from soundspot.errors import MethodError, OptionError
from soundspot.files import check_writable, write_beside

if TYPE_CHECKING:
    from soundspot.filming_sources import FilmedSource
    from soundspot.separating import Separated
    from soundspot.several import SourceResult

OPTIONS = {"sources", "approach", "listen"}
WINDOWS = "the sources are told apart once, by 1 s of sound every 0.5 s; leave it out"
NOT_OF_VIDEOS = {
    "window": WINDOWS,
    "hop": WINDOWS,
    "smooth": "each frame answers for itself; leave it out",
    "batch": "frames are asked one by one; leave it out, --every 5 is what saves time",
    "keep_partial": "all of the clip is heard first; give a --stop that lies before the damage",
}
"""Options of a video of one source that several do not take, and what to do."""
MOST = 4


def define(group: argparse._ArgumentGroup) -> None:
    """Options of several sources."""
    add = group.add_argument
    add("--sources", metavar="K", help="several sources: how many (1 to 4), or auto")
    add("--approach", metavar="A", help="how they are told apart (default: territories)")
    add("--listen", metavar="DIR", help="write what each source sounds like there, as .wav")


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
    sounds = _sound_files(arguments, MOST)
    refuse_overwriting(
        [arguments.output, arguments.json, *map(str, maps), *map(str, sounds)],
        (arguments.input, arguments.sound, arguments.model),
    )
    from soundspot.media.image import as_picture
    from soundspot.several import save

    found = _locate(arguments, sources)
    for file in [*maps[: len(found)], *sounds[: len(found)]]:
        check_writable(file)  # all or nothing: one that fails would leave the others behind
    if arguments.output:
        save(arguments.output, as_picture(arguments.input), found)
    for one, file in zip(found, maps, strict=False):
        one.result.save_map(file)
    _write_sounds([one.sound for one in found], sounds)
    if arguments.json:
        write_json(arguments.json, {"sources": [one.json() for one in found]})
    text = "\n".join(map(str, found)) or "no visible source"
    drawn = f"\ndrawn in {arguments.output}" if arguments.output else ""
    written = [f"\nwritten: {file}" for file in [*maps[: len(found)], *sounds[: len(found)]]]
    said = "".join([text, drawn, *written])
    print(said, file=sys.stderr if arguments.json == "-" else sys.stdout)
    return 0


def _locate(arguments: argparse.Namespace, sources: int | str) -> list[SourceResult]:
    """The sources.

    Raises:
        MethodError: the approach cannot work on the model; says which --model it can.
    """
    from soundspot.several import APPROACHES, locate_sources

    try:
        return locate_sources(
            load_model(arguments),
            arguments.input,
            arguments.sound,
            sources,  # type: ignore[arg-type]
            arguments.approach,
            arguments.method,
            listen=arguments.listen is not None,
            device=arguments.device,
            **cuts(arguments),
        )
    except MethodError as refused:
        made_for = APPROACHES[arguments.approach].model if arguments.approach else arguments.model
        if made_for == arguments.model:
            raise
        raise MethodError(f"{refused}; here: --model {made_for}") from None


def run_video(arguments: argparse.Namespace) -> int:
    """The same in each frame of a video."""
    sounds = _check_video(arguments)
    if arguments.output:
        heard = arguments.sound or arguments.input
        say_what_is_encoded_again(heard, arguments.output)
    found = _film(arguments)
    _write_sounds([one.sound for one in found], sounds)
    if arguments.json:
        write_json(arguments.json, {"sources": [one.json() for one in found]})
    paths = (arguments.output, arguments.tracks, *sounds[: len(found)])
    written = [f"written: {path}" for path in paths if path]
    text = "\n".join([*map(str, found), *written])
    print(text, file=sys.stderr if arguments.json == "-" else sys.stdout)
    return 0


def _check_video(arguments: argparse.Namespace) -> list[Path]:
    """Refuse, before any work is done, what cannot be done or written; the sounds' files.

    Raises:
        OptionError: naming the option.
        MediaError: the disk takes no such file.
    """
    for name, reason in NOT_OF_VIDEOS.items():
        if getattr(arguments, name) is not None:
            typed = f"--{name.replace('_', '-')}"
            raise OptionError(f"{typed} does not go with --sources of a video: {reason}")
    sources = number(arguments.sources)
    require_film_outputs(arguments)
    film_look.check(arguments)
    sounds = _sound_files(arguments, MOST if sources == "auto" else int(sources))
    inputs = [arguments.input, arguments.sound, arguments.model]
    refuse_overwriting(
        [arguments.output, arguments.tracks, arguments.json, *map(str, sounds)],
        [name for name in inputs if name is not None],
    )
    for file in [*([arguments.json] if arguments.json not in (None, "-") else []), *sounds]:
        check_writable(file)
    return sounds


def _film(arguments: argparse.Namespace) -> list[FilmedSource]:
    from soundspot.filming_sources import film_sources

    return film_sources(
        arguments.input,
        load_model(arguments),
        arguments.output,
        number(arguments.sources),  # type: ignore[arg-type]
        arguments.method,
        sound=arguments.sound,
        tracks=arguments.tracks,
        look=film_look.look_of(arguments),
        listen=arguments.listen is not None,
        every=1 if arguments.every is None else arguments.every,
        start=arguments.start or 0.0,
        stop=arguments.stop,
        device=arguments.device,
        progress=sys.stderr.isatty(),
        **cuts(arguments),
    )


def _files(name: str, count: int) -> list[Path]:
    """The names of so many files: a.npy becomes a-1.npy, a-2.npy and so on."""
    path = Path(name)
    return [path.with_name(f"{path.stem}-{n + 1}{path.suffix}") for n in range(count)]


def _sound_files(arguments: argparse.Namespace, count: int) -> list[Path]:
    """Where the sounds of so many sources go, if anywhere."""
    return _files(f"{arguments.listen}/source.wav", count) if arguments.listen else []


def _write_sounds(sounds: Sequence[Separated | None], files: Sequence[Path]) -> None:
    """All of them, or none."""
    with contextlib.ExitStack() as stack:
        for sound, file in zip(sounds, files, strict=False):
            if sound is not None:
                sound.save(stack.enter_context(write_beside(file)))
