"""`soundspot data pack` and `soundspot data info`: shards, made and looked at."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soundspot.commands.common import write_json
from soundspot.errors import OptionError
from soundspot.files import one_line
from soundspot.shards.options import PackOptions, parse_per_shard

if TYPE_CHECKING:
    from soundspot.shards.catalogue import Catalogue
    from soundspot.shards.packing import Progress

DEFAULTS = PackOptions()
FAILURES_SHOWN = 10
"""So many are printed; `errors.jsonl` names all."""


def define_pack(parser: argparse.ArgumentParser) -> None:
    """Arguments of `data pack`."""
    add = parser.add_argument
    add("source", metavar="SOURCE", help="a folder of videos, a manifest, or NAME:ROOT")
    add("--out", metavar="SHARDS", required=True, help="the folder to make, or to finish")
    add(
        "--frames",
        choices=("middle", "first", "all"),
        default=DEFAULTS.frames,
        help="of a film: the picture in its middle, its first, or --fps a second (default: middle)",
    )
    add("--fps", metavar="N", type=float, help="with --frames all (default: 1)")
    _add(parser, "pictures", int, "pictures a sample, spread over its window")
    _add(parser, "seconds", float, "of sound around the picture")
    _add(parser, "side", int, "shorter side of larger pictures, in pixels")
    _add(parser, "quality", int, "of the JPEGs, 1 to 95")
    _add(parser, "rate", int, "of the sound, in Hz")
    add(
        "--sound",
        choices=("flac", "wav"),
        default=DEFAULTS.sound,
        help="of the same 16 bits, flac is smaller and wav is read faster (default: flac)",
    )
    add(
        "--per-shard",
        metavar="N",
        default=str(DEFAULTS.per_shard),
        help="samples, or a size such as 500MB (default: 1000)",
    )
    add("--drop", metavar="LIST", default="", help="leave out any of duplicates,still,silent")
    add(
        "--order",
        choices=("shuffled", "source"),
        default=DEFAULTS.order,
        help="of the samples (default: shuffled, so that neighbours are strangers)",
    )
    add("--workers", metavar="N", type=int, help="processes (default: one for each core)")
    add("--strict", action="store_true", help="stop at the first entry that fails")
    add("--check", action="store_true", help="then read and decode all of it")


def _add(parser: argparse.ArgumentParser, name: str, kind: type, says: str) -> None:
    default = getattr(DEFAULTS, name)
    parser.add_argument(
        f"--{name}", metavar="N", type=kind, default=default, help=f"{says} (default: {default:g})"
    )


def define_info(parser: argparse.ArgumentParser) -> None:
    """Arguments of `data info`."""
    parser.add_argument("shards", metavar="SHARDS", help="made by `soundspot data pack`")
    parser.add_argument("--sheet", metavar="FILE", help="draw a contact sheet: .png or .jpg")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="which samples are shown")
    parser.add_argument("--json", metavar="FILE", help="write what is found; - prints it")


def pack_data(arguments: argparse.Namespace) -> int:
    """Pack, say what became of the entries; exit code 1 where some failed."""
    if arguments.fps is not None and arguments.frames != "all":
        raise OptionError("--fps goes with --frames all")
    if arguments.workers is not None and arguments.workers < 0:
        raise OptionError("--workers is 0 (this process) or more")
    options = _options(arguments)
    from soundspot.shards.packing import pack
    from soundspot.shards.sources import open_source

    out = Path(arguments.out)
    source = open_source(arguments.source)
    with _Bar(len(source.entries)) as bar:
        catalogue = pack(
            source,
            out,
            options,
            workers=arguments.workers,
            strict=arguments.strict,
            watch=bar.show,
        )
    print(*_summary(catalogue, out), sep="\n")
    failed = bool(catalogue.counts["failed"])
    return max(int(failed), check_shards(out) if arguments.check else 0)


def _options(arguments: argparse.Namespace) -> PackOptions:
    return PackOptions(
        frames=arguments.frames,
        fps=DEFAULTS.fps if arguments.fps is None else arguments.fps,
        pictures=arguments.pictures,
        seconds=arguments.seconds,
        side=arguments.side,
        quality=arguments.quality,
        rate=arguments.rate,
        sound=arguments.sound,
        drop=tuple(word.strip() for word in arguments.drop.split(",") if word.strip()),
        order=arguments.order,
        **parse_per_shard(arguments.per_shard),
    )


class _Bar:
    """The progress bar: entries, their rate and the time left; the first failures above it."""

    def __init__(self, total: int):
        from tqdm import tqdm

        self._bar = tqdm(total=total, desc="packing", unit=" entries", disable=None)
        self._started = False
        self._failures = 0

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        more = self._failures - FAILURES_SHOWN
        if more > 0:
            print(f"failed: {more:,} more, named in errors.jsonl", file=sys.stderr)

    def show(self, progress: Progress) -> None:
        """Move on."""
        if not self._started:
            self._bar.initial = progress.done
            self._started = True
        if progress.error is not None:
            self._failures += 1
            if self._failures <= FAILURES_SHOWN:
                self._bar.write(f"failed: {one_line(progress.error)}", file=sys.stderr)
        self._bar.set_postfix(failed=progress.counts["failed"], refresh=False)
        self._bar.update(progress.done - self._bar.n)


def _summary(catalogue: Catalogue, out: Path) -> list[str]:
    counts = catalogue.counts
    lines = [
        f"{counts['packed']:,} samples ({counts['seconds'] / 3600:.2f} h of sound) of "
        f"{counts['entries']:,} entries in {len(catalogue.shards):,} shards, "
        f"{sum(shard.bytes for shard in catalogue.shards) / 1e6:,.1f} MB: {out}"
    ]
    for name, says in (
        ("failed", "failed, with reasons in errors.jsonl"),
        ("left_out", "samples left out, with reasons in left_out.jsonl"),
        ("empty", "entries without any sound beside their pictures"),
        ("other_kinds", "of another kind than positive, left out"),
    ):
        if counts[name]:
            lines.append(f"{counts[name]:,} {says}")
    found = [f"{n:,} {name}" for name, n in counts["found"].items() if n]
    if found:
        lines.append(f"found: {', '.join(found)}")
    return lines


def check_shards(folder: Path, report: str | None = None) -> int:
    """Read and decode everything; exit code 1 where something is wrong."""
    from tqdm import tqdm

    from soundspot.shards.checking import check

    _refuse_inside([report], folder)

    def watch(total: int) -> Any:
        return tqdm(total=total, desc="checking", unit=" samples", disable=None)

    found = check(folder, watch)
    if report != "-":
        print(*found.lines(), sep="\n")
    if report:
        write_json(report, found.json())
    return 0 if found.ok else 1


def _refuse_inside(outputs: Iterable[str | None], shards: str | Path) -> None:
    """Refuse to write among shards."""
    for name in outputs:
        if name not in (None, "-") and Path(name).resolve().parent == Path(shards).resolve():
            raise OptionError(f"{name}: lies among the shards; write to another folder")


def show_info(arguments: argparse.Namespace) -> int:
    """Say what is in shards, and draw a sheet."""
    from soundspot.shards.info import describe
    from soundspot.shards.reader import Shards
    from soundspot.shards.sheet import contact_sheet

    shards = Shards.open(arguments.shards)
    _refuse_inside((arguments.json, arguments.sheet), arguments.shards)
    found = describe(shards)
    if arguments.sheet:
        from soundspot.media.image import write_picture

        write_picture(arguments.sheet, contact_sheet(shards, arguments.seed))
    if arguments.json != "-":
        sheet = [f"contact sheet: {arguments.sheet}"] if arguments.sheet else []
        print(*found.lines(), *sheet, sep="\n")
    if arguments.json:
        write_json(arguments.json, found.json())
    return 0
