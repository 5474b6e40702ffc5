"""What can be seen of a run: a bar, a log in JSON Lines, and TensorBoard's files where asked for.

    {"step": 12, "loss": 5.1234, "rate": 0.0008, "tower_rate": 8e-05, "scenes_per_s": 41.2,
     "wait": 0.03}
    {"step": 80, "event": "validation", ...}

One line a step, so that a run can be followed with `tail -f` and drawn by anything. `wait` is the
share of the step's time in which it waited for data. JSON knows no NaN and no infinity: such a
number is null. A run that goes on from a checkpoint first takes the lines behind it out, so each
step stands there once. Of several ranks the first writes.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from tqdm import tqdm

from soundspot.errors import TrainingError
from soundspot.files import write_beside

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from soundspot.media.image import Picture

LOG, BOARD = "log.jsonl", "tensorboard"
JUDGED = "validation"
RATES = ("rate", "tower_rate")
"""Names of the optimiser's groups."""


class Journal:
    """Where a run says what it does.

    Args:
        run: its folder.
        step: after which it goes on.
        judged: the last step whose judgement is known.
        steps: in all.
        scenes: in a batch.
        writes: whether this rank is the one that writes.
        tensorboard: write TensorBoard's files too.
    """

    def __init__(
        self,
        run: Path,
        step: int,
        steps: int,
        scenes: int,
        *,
        judged: int,
        writes: bool,
        tensorboard: bool,
    ) -> None:
        self.scenes, self.writes = scenes, writes
        self.board = _board(run / BOARD, step) if tensorboard and writes else None
        if writes:
            _cut_behind(run / LOG, step, judged)
            self.log = (run / LOG).open("a", buffering=1)
        self.bar = tqdm(total=steps, initial=step, desc="training", unit="step", disable=not writes)
        self.last = time.perf_counter()

    def __enter__(self) -> Self:
        """Start the clock."""
        self.last = time.perf_counter()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        """Close what is open."""
        self.bar.close()
        with contextlib.suppress(OSError):  # a full disk has been told of by then
            if self.writes:
                self.log.close()
            if self.board is not None:
                self.board.close()

    def step(self, step: int, loss: float, optimiser: Optimizer, waited: float) -> None:
        """Note one step."""
        if not self.writes:
            return
        now = time.perf_counter()
        seconds, self.last = max(now - self.last, 1e-9), now
        rates = dict(zip(RATES, (g["lr"] for g in optimiser.param_groups), strict=True))
        found = {
            "loss": round(loss, 4),
            **{name: float(f"{rate:.4g}") for name, rate in rates.items()},
            "scenes_per_s": round(self.scenes / seconds, 2),
            "wait": round(min(1.0, waited / seconds), 3),
        }
        self._write({"step": step, **found})
        self._draw(step, found)
        self.bar.set_postfix(loss=f"{loss:.3f}")
        self.bar.update()

    def event(self, step: int, event: str, **found: Any) -> None:
        """Note what happens now and then."""
        if self.writes:
            self._write({"step": step, "event": event, **found})

    def judged(self, step: int, scores: Mapping[str, float], maps: Mapping[str, Picture]) -> None:
        """Note what a judgement found, and show some of its maps."""
        self.event(step, JUDGED, **scores)
        self._draw(step, {f"validation/{name}": score for name, score in scores.items()})
        if self.board is not None:
            for name, picture in maps.items():
                self.board.add_image(f"maps/{name}", picture, step, dataformats="HWC")
        self.last = time.perf_counter()

    def say(self, line: str) -> None:
        """Print a line beside the bar."""
        if self.writes:
            tqdm.write(f"soundspot: {line}", file=self.bar.fp)

    def _write(self, entry: Mapping[str, Any]) -> None:
        line = json.dumps({k: _finite(v) for k, v in entry.items()}, allow_nan=False)
        try:
            self.log.write(line + "\n")
        except OSError as error:
            raise TrainingError(f"{self.log.name} cannot be written ({error.strerror})") from None

    def _draw(self, step: int, scalars: Mapping[str, float]) -> None:
        if self.board is not None:
            for name, value in scalars.items():
                self.board.add_scalar(name, value, step)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cut_behind(log: Path, step: int, judged: int) -> None:
    """Keep the lines up to a step; a line that was cut short goes too."""
    if not log.exists():
        return
    kept = []
    for line in log.read_bytes().split(b"\n"):
        try:
            entry = json.loads(line.decode())
            last = judged if entry.get("event") == JUDGED else step
            if entry["step"] <= last:
                kept.append(line + b"\n")
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    with write_beside(log) as beside:
        beside.write_bytes(b"".join(kept))


def _board(folder: Path, step: int) -> Any:
    """TensorBoard's writer.

    Raises:
        TrainingError: it is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise TrainingError(
            "TensorBoard is not installed: pip install soundspot[tensorboard], or leave "
            "--tensorboard out; log.jsonl is written anyway"
        ) from None
    return SummaryWriter(str(folder), purge_step=step + 1)


def warn(line: str) -> None:
    """Say what a run must not do in silence."""
    tqdm.write(f"soundspot: {line}", file=sys.stderr)
