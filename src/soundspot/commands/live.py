"""`soundspot live`: camera and microphone, or a film played in real time."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundspot.commands.common import add_model, load_model, refuse_overwriting
from soundspot.errors import MediaError, OptionError

if TYPE_CHECKING:
    from soundspot.live import Answer, Pace
    from soundspot.live_feeds import Feed

SENTENCE = "Find where the sound comes from while it happens: camera and microphone."
STATUS_EVERY = 0.25
"""Seconds between two states of the status line."""
STATUS_WIDTH = 110


def define(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add = parser.add_argument
    add("--from", metavar="CLIP", dest="clip", help="play a film in real time; no camera is used")
    add("--camera", metavar="DEVICE", help="FFmpeg's name of the camera (default: the first)")
    add("--microphone", metavar="NAME", help="name or number (default: the system's choice)")
    add("--json", metavar="FILE", help="append each answer as a JSON line; - prints them")
    add("--seconds", metavar="N", type=float, help="stop after so long (default: at Ctrl-C)")
    add("--window", metavar="S", type=float, help="seconds of sound that count (default: 2)")
    add("--hop", metavar="S", type=float, help="seconds between windows (default: 0.5)")
    add("--smooth", metavar="S", type=float, help="seconds to average over (default: 0.5)")
    add("--method", metavar="M", help="how to make the map; similarity_map is the quickest")
    add_model(parser)


def run(arguments: argparse.Namespace) -> int:
    """Answer until the end, Ctrl-C included, and say how quickly."""
    named = [n for n in ("camera", "microphone") if getattr(arguments, n) is not None]
    if arguments.clip is not None and named:
        raise OptionError(f"--{named[0]} goes with a camera, not with --from")
    if arguments.seconds is not None and not arguments.seconds > 0:
        raise OptionError(f"--seconds {arguments.seconds}: must be more than 0")
    refuse_overwriting((arguments.json,), [arguments.clip] if arguments.clip else [])
    from soundspot.live import Pace, watch_live

    given = {name: getattr(arguments, name) for name in ("window", "hop", "smooth")}
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    answers = watch_live(
        _feed(arguments),
        load_model(arguments),
        arguments.method,
        seconds=arguments.seconds,
        device=arguments.device,
        **options,
    )
    pace = Pace()
    try:
        with (
            contextlib.suppress(KeyboardInterrupt),
            contextlib.closing(answers),
            _lines(arguments.json) as write,
        ):
            _follow(answers, pace, write)
    finally:
        _clear_status()
    print(pace, file=sys.stderr if arguments.json == "-" else sys.stdout)
    return 0


def _feed(arguments: argparse.Namespace) -> Callable[[], contextlib.AbstractContextManager[Feed]]:
    """What opens the film, or camera and microphone."""
    if arguments.clip is not None:
        from soundspot.live_feeds import film_feed

        return lambda: film_feed(arguments.clip)
    from soundspot.live_devices import device_feed

    return lambda: device_feed(arguments.camera, arguments.microphone)


def _follow(answers: Iterator[Answer], pace: Pace, write: Callable[[str], None]) -> None:
    """Count and write answers, and keep the status line."""
    from soundspot.track_file import frame_line

    shown = -STATUS_EVERY
    for answer in answers:
        pace.add(answer)
        write(json.dumps({**frame_line(answer.moment), "latency": round(answer.latency, 4)}))
        if pace.seconds >= shown + STATUS_EVERY and sys.stderr.isatty():
            shown = pace.seconds
            _show_status(f"{answer.moment.result} | {pace}")


@contextlib.contextmanager
def _lines(target: str | None) -> Iterator[Callable[[str], None]]:
    """What takes lines: the terminal (-), the end of a file, or nobody."""
    if target is None:
        yield lambda _: None
    elif target == "-":
        yield lambda line: print(line, flush=True)
    else:
        try:
            file = Path(target).open("a", buffering=1)  # noqa: SIM115 closed below
        except OSError as error:
            raise MediaError(f"{target} cannot be written: {error.strerror}") from error
        with file:
            yield lambda line: print(line, file=file)


def _show_status(text: str) -> None:
    print(f"\r{text[:STATUS_WIDTH]:<{STATUS_WIDTH}}", end="", file=sys.stderr, flush=True)


def _clear_status() -> None:
    if sys.stderr.isatty():
        print("\r" + " " * STATUS_WIDTH + "\r", end="", file=sys.stderr, flush=True)
