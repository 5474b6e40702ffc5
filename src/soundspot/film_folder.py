"""The folder of an unfinished film: whole segments, and where to go on.

`where.mp4.part/` beside `where.mp4` holds

    film.settings      what the film is made of and how: another run with others is refused
    000000.nut         pictures of the first segment, encoded
    000000.json        its track lines and the state behind it: written last, it makes it count

Each file is written beside and renamed, so whatever stops a job, even a pulled plug, leaves whole
segments; the job goes on behind the last one. The folder goes when the film is there.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soundspot.errors import MediaError, OptionError
from soundspot.files import one_line, write_beside
from soundspot.media.film_pictures import PART_SUFFIX

SETTINGS = "film.settings"
FOLDER_SUFFIX = ".part"


@dataclass(frozen=True)
class Segment:
    """A stretch of frames that is done.

    Args:
        lines: of the track file, of its judged frames.
        state: behind its last frame, for `stream(resume=...)`.
        scale: of the heat behind its last frame.
        frames: how many, judged or not.
        last: time of its last frame, seconds.
    """

    lines: list[dict[str, Any]]
    state: dict[str, Any]
    scale: dict[str, Any]
    frames: int
    last: float


class FilmFolder:
    """The segments of one unfinished film.

    Args:
        output: the file that is being made; the folder lies beside it.
        settings: plain data; the folder is of use only for the same.

    Raises:
        OptionError: the folder is of other settings, or not of a film.
        MediaError: the disk refuses.
    """

    def __init__(self, output: Path, settings: Mapping[str, Any]) -> None:
        self.path = output.with_name(output.name + FOLDER_SUFFIX)
        self.name = one_line(self.path)
        self._claim(json.dumps(settings, sort_keys=True, indent=1) + "\n")

    def _claim(self, settings: str) -> None:
        note = self.path / SETTINGS
        if note.is_file():
            if note.read_text() == settings:
                return
            if self._note(0).is_file():
                raise OptionError(
                    f"{self.name}: holds an unfinished film of another clip or other settings; "
                    "give the same ones to go on, or delete the folder"
                )
        try:
            if not note.is_file() and self.path.exists() and any(self.path.iterdir()):
                raise OptionError(f"{self.name}: is needed for parts; move what is there")
        except OSError as error:
            raise MediaError(f"{self.name} cannot be used: {error.strerror}") from error
        with write_beside(note) as beside:
            beside.write_text(settings)

    def pictures(self, number: int) -> Path:
        """Where a segment's pictures are."""
        return self.path / f"{number:06}{PART_SUFFIX}"

    def finish(self, number: int, segment: Segment) -> None:
        """Make a segment count; its pictures are there."""
        with write_beside(self._note(number)) as beside:
            beside.write_text(json.dumps(vars(segment)) + "\n")

    def segments(self) -> Iterator[Segment]:
        """What is done, in order, read one at a time."""
        number = 0
        while self._note(number).is_file():
            try:
                yield Segment(**json.loads(self._note(number).read_text()))
            except (ValueError, TypeError) as error:
                note = one_line(self._note(number))
                raise OptionError(f"{note}: is broken; delete the folder to start anew") from error
            number += 1

    def remove(self) -> None:
        """The film is there, or nothing was done."""
        with contextlib.suppress(OSError):
            shutil.rmtree(self.path)

    def _note(self, number: int) -> Path:
        return self.path / f"{number:06}.json"
