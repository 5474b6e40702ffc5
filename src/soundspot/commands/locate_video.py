"""`soundspot locate CLIP.mp4 -o where.mp4`: a film with the source drawn in, and its tracks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundspot.commands import film_look, locate_sources
from soundspot.commands.common import (
    CUTS,
    load_model,
    refuse_overwriting,
    require_film_outputs,
    say_what_is_encoded_again,
    write_json,
)
from soundspot.files import check_writable, one_line

if TYPE_CHECKING:
    from soundspot.film_job import FilmReport, FilmTask

STREAM = ("start", "stop", "every", "window", "hop", "smooth", "batch")
OUTPUTS = {"output", "json", "tracks", "listen"}
OPTIONS = {"sound", "keep_partial", "sources", *OUTPUTS, *CUTS, *film_look.OPTIONS, *STREAM}
SECONDS_A_PLACE = 60
"""Between the places of 1:02:03."""


def define(group: argparse._ArgumentGroup) -> None:
    """Options that only a video takes."""
    add = group.add_argument
    add("--tracks", metavar="FILE", help="write what is in each frame, as JSON Lines (.jsonl)")
    add("--start", metavar="T", type=seconds, help="from this time: seconds, or 1:30")
    add("--stop", metavar="T", type=seconds, help="up to this time")
    add("--every", metavar="N", type=int, help="judge each N-th frame; all are written")
    add("--window", metavar="S", type=float, help="seconds of sound around a frame (default: 2)")
    add("--hop", metavar="S", type=float, help="seconds between windows (default: 0.5)")
    add("--smooth", metavar="S", type=float, help="seconds to average over, each side (0: off)")
    film_look.define(group)
    film_look.add_flag(group, "--keep-partial", "of a video that breaks off, keep what came before")


def seconds(text: str) -> float:
    """A time as 90, 1:30 or 0:01:30.5, in seconds."""
    total = 0.0
    try:
        for place in text.split(":"):
            total = total * SECONDS_A_PLACE + float(place)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give 90 or 1:30") from None
    return total


def run(arguments: argparse.Namespace) -> int:
    """Localize frame by frame, write what is asked for, say who sounded when; 1 if only a part."""
    if arguments.sources is not None:
        return locate_sources.run_video(arguments)
    _check(arguments)
    from soundspot.filming import film_clip
    from soundspot.track_file import summary_text

    task = _task(arguments)
    if task.film is not None:
        say_what_is_encoded_again(task.sound or task.clip, task.film)
    report = film_clip(
        task, load_model(arguments), arguments.method, device=arguments.device, progress=True
    )
    if arguments.json:
        write_json(arguments.json, report.json())
    print(summary_text(report.summary), file=_people(arguments))
    for path in (arguments.output, arguments.tracks):
        if path:
            print(f"written: {path}", file=_people(arguments))
    return _verdict(report)


def _people(arguments: argparse.Namespace) -> Any:
    """Where people read: not where the JSON goes."""
    return sys.stderr if arguments.json == "-" else sys.stdout


def _verdict(report: FilmReport) -> int:
    if report.broken is None:
        return 0
    print(f"soundspot: {one_line(report.broken)}; what came before is kept", file=sys.stderr)
    return 1


def _check(arguments: argparse.Namespace) -> None:
    """Refuse, before any work is done, what cannot be written."""
    locate_sources.check(arguments)
    require_film_outputs(arguments)
    film_look.check(arguments)
    inputs = [arguments.input, arguments.sound, arguments.model]
    refuse_overwriting(
        (arguments.output, arguments.tracks, arguments.json), [i for i in inputs if i is not None]
    )
    if arguments.json not in (None, "-"):
        check_writable(arguments.json)


def _task(arguments: argparse.Namespace) -> FilmTask:
    from soundspot.film_job import FilmTask

    given = {n: v for n in STREAM if (v := getattr(arguments, n)) is not None}
    return FilmTask(
        clip=Path(arguments.input),
        film=_path(arguments.output),
        tracks=_path(arguments.tracks),
        sound=_path(arguments.sound),
        look=film_look.look_of(arguments),
        keep_partial=bool(arguments.keep_partial),
        threshold=arguments.threshold,
        visible=arguments.visible,
        **given,
    )


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name)
