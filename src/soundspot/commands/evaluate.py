"""`soundspot evaluate`: models, methods and other programs' maps against true boxes."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from soundspot.commands.common import add_device
from soundspot.commands.evaluate_job import agreed_job
from soundspot.commands.evaluate_outputs import deliver
from soundspot.errors import SoundspotError

if TYPE_CHECKING:
    from soundspot.judging.ranks import Crew

SENTENCE = "Score methods against true boxes."


def define(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    add = parser.add_argument
    add(
        "data",
        metavar="DATA",
        nargs="+",
        help="manifests (of pictures or videos, with true boxes), or data sets as NAME:ROOT",
    )
    add(
        "--model",
        metavar="NAME",
        action="append",
        help="from `soundspot models`, a file, a folder, a hub id or package.module:function; may "
        "be given again (default: default)",
    )
    add("--models", metavar="M,N", help="several of them, between commas")
    add("--maps", metavar="DIR", action="append", default=[], help="ID.npy of another program")
    add(
        "--wrong-maps",
        metavar="DIR",
        action="append",
        default=[],
        help="its maps with wrong sounds, one DIR for each --maps",
    )
    add("--methods", metavar="A,B", help="methods, or all (default: each model's own)")
    add(
        "--protocol",
        "--protocols",
        metavar="P,Q",
        default="soundspot",
        help="how to judge, or all (default: soundspot)",
    )
    add("--json", metavar="FILE", help="write the report as JSON; - prints it")
    add("--csv", metavar="FILE", help="a line a row and score; - prints it")
    add("--html", metavar="FILE", help="a page with tables, curves, best and worst samples")
    add("--samples", metavar="FILE", help="a line a sample and row, written as it goes; a run that "
        "was cut short goes on from it")  # fmt: skip
    add("--batch", metavar="N", type=int, default=8, help="pairs at a time (default: 8)")
    add_device(parser)


def run(arguments: argparse.Namespace) -> int:
    """Judge and print the tables; exit code 1 where samples could not be judged."""
    from soundspot.judging.ranks import crew_of_environment

    with crew_of_environment() as crew:
        try:
            return _run(arguments, crew)
        except SoundspotError:
            if crew.leads:
                raise
            return 2


def _run(arguments: argparse.Namespace, crew: Crew) -> int:
    from soundspot.benchmark import judge_all

    job = agreed_job(arguments, crew)
    for note in job.notes if crew.leads else ():
        print(note, file=sys.stderr)
    report = judge_all(
        job.samples, job.models, job.methods, job.folders, settings=job.settings, crew=crew
    )
    if report is None:
        return 0
    report = replace(report, notes=[*report.notes, *job.notes])
    deliver(arguments, report)
    return 1 if report.failures else 0
