"""What `soundspot evaluate` writes: refused before any work where it cannot be, and at the end."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from soundspot.commands.common import refuse_overwriting, write_json
from soundspot.errors import OptionError
from soundspot.files import check_writable, write_beside

if TYPE_CHECKING:
    from soundspot.judging.ranks import Crew
    from soundspot.report import Report
    from soundspot.types import Sample


def check_outputs(
    arguments: argparse.Namespace, samples: Iterable[Sample], models: Sequence[str], crew: Crew
) -> None:
    """Refuse outputs that are read from, written twice, or cannot be written, before any work."""
    outputs = [arguments.json, arguments.csv, arguments.html, arguments.samples]
    media = (path for sample in samples for path in _media(sample))
    lists = (path for spec in arguments.data for path in _lists(spec))
    refuse_overwriting(outputs, [*lists, *models, *media])
    for folder in (*arguments.maps, *arguments.wrong_maps):
        refuse_overwriting(outputs, _maps_written_over(folder, outputs))
    if [arguments.json, arguments.csv].count("-") > 1:
        raise OptionError("--json - and --csv - would both print; write one to a file")
    for name in (arguments.html, arguments.samples):
        if name == "-":
            raise OptionError("--html and --samples are written to files, not printed")
    for name in outputs:
        if name and name != "-" and crew.leads:
            check_writable(name)


def _lists(spec: str) -> Iterator[Path]:
    """The manifest, or the files that a data set's options name."""
    from soundspot.data import open_data

    data = open_data(spec)
    yield data.root
    for option in data.options():
        yield data.root / str(getattr(data, option.name))


def _maps_written_over(folder: str, outputs: Iterable[str | None]) -> Iterator[Path]:
    """The outputs that would be a map or the confidences of a folder of maps."""
    from soundspot.judging.map_folder import CONFIDENCES, SUFFIX

    for path in (Path(name).resolve() for name in outputs if name and name != "-"):
        named = path.suffix == SUFFIX or path.name in CONFIDENCES
        if named and path.parent == Path(folder).resolve():
            yield path


def _media(sample: Sample) -> Iterator[Path]:
    sources = ((s.sound, s.image, s.mask) for s in sample.sources)
    files = (
        sample.image,
        sample.sound,
        sample.mask,
        sample.video,
        *(f for s in sources for f in s),
    )
    return (path for path in files if path is not None)


def deliver(arguments: argparse.Namespace, report: Report) -> None:
    """Print the tables, unless something else is printed, and write what was asked for."""
    if "-" not in (arguments.json, arguments.csv):
        print(report.table())
    if arguments.json:
        write_json(arguments.json, report.json())
    if arguments.csv:
        from soundspot.report.tidy import csv_of

        _write(arguments.csv, csv_of(report))
    if arguments.html:
        from soundspot.report.html import html_of

        _write(arguments.html, html_of(report))


def _write(target: str, text: str) -> None:
    if target == "-":
        print(text, end="")
        return
    with write_beside(target) as beside:
        beside.write_text(text, encoding="utf-8")
