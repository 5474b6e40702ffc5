"""Scores that grow sample by sample and add up over processes, after torchmetrics' conventions.

An accumulator has `update(...)` (one sample), `compute()` (the score of all so far; NaN of none)
and `reset()`. What it remembers is its *state*, plain Python that can be pickled or written as
JSON: either **summed** (whole numbers) or **collected** (rows, one a sample). `state()` hands it
out, `from_state(state)` builds an accumulator with the same options that holds it, `merge(other)`
adds another one's samples, `gather(accumulator)` merges those of all processes of
torch.distributed. torchmetrics itself is not needed.

To the last bit, in any order. A sum of floating numbers depends on their order, so none is ever
taken: scores in 0..1 are counted in whole units of 2^-40 (each rounded by at most 4.5e-13), and
collected rows are sorted before they are judged. Parts that are merged, in whichever order, give
exactly the score of the whole.

| accumulator | update | compute | memory |
|---|---|---|---|
| `accumulate_mean()` | a score | mean | constant |
| `accumulate_share(threshold)` | a score | `overlap.share_at` | constant |
| `accumulate_auc()` | a score | `overlap.auc` | constant |
| `accumulate_f()` | an F curve | `segmentation.max_f` | constant |
| `Collected(name, function)` | one value a column | function(column, ...) | grows |

`Collected` is for scores that need all samples at once: `confidence.auroc`,
`negatives.detection_ap`, `interactive.iiou_share`. Its columns come sorted by row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, Self, TypeAlias, TypeVar, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from soundspot.metrics.overlap import AUC_THRESHOLDS
from soundspot.metrics.ranked import F_THRESHOLDS

State: TypeAlias = Mapping[str, Any]
Value: TypeAlias = float | int | bool | str

UNITS = 2**40
"""A score of 1, in the unit in which scores are counted."""


class Accumulator(Protocol):
    """What every accumulator offers besides `update`, whose arguments are its own."""

    def compute(self) -> float:
        """The score of all samples so far; NaN of none."""

    def reset(self) -> None:
        """Forget all samples."""

    def state(self) -> State:
        """What is remembered."""

    def from_state(self, state: State) -> Self:
        """An accumulator with the same options that holds this state."""

    def merge(self, other: Self) -> None:
        """Add another one's samples."""


AnyAccumulator = TypeVar("AnyAccumulator", bound=Accumulator)


@final
class Summed:
    """Adds whole numbers: memory does not grow with the number of samples.

    Args:
        name: of the score, its options included; states of another name are refused.
        tally: one sample's whole numbers, the first of them 1, or 0 for a sample that is left out.
        finish: the score from the sums; called with at least one sample.
    """

    def __init__(
        self,
        name: str,
        tally: Callable[[ArrayLike], list[int]],
        finish: Callable[[Sequence[int]], float],
    ):
        self.name, self.tally, self.finish = name, tally, finish
        self.totals: list[int] = []

    def update(self, sample: ArrayLike) -> None:
        """Add one sample's score (or curve)."""
        self._add(self.tally(sample))

    def compute(self) -> float:
        """The score of all samples so far; NaN of none."""
        return self.finish(self.totals) if self.totals and self.totals[0] else float("nan")

    def reset(self) -> None:
        """Forget all samples."""
        self.totals = []

    def state(self) -> State:
        """The sums, and the score's name."""
        return {"name": self.name, "summed": list(self.totals)}

    def from_state(self, state: State) -> Summed:
        """An accumulator with the same options that holds this state."""
        other = Summed(self.name, self.tally, self.finish)
        other._add(_part(state, "summed", self.name))
        return other

    def merge(self, other: Summed) -> None:
        """Add another one's samples."""
        self._add(_part(other.state(), "summed", self.name))

    def _add(self, numbers: list[int]) -> None:
        if self.totals and numbers:
            self.totals = [a + b for a, b in zip(self.totals, numbers, strict=True)]
        else:
            self.totals = self.totals or list(numbers)


@final
class Collected:
    """Keeps every sample's row and judges all of them at once, sorted.

    Args:
        name: of the score, its options included; states of another name are refused.
        function: from the columns to the score. It may be called with empty columns.
        columns: how many values a row has.
    """

    def __init__(self, name: str, function: Callable[..., float], columns: int):
        self.name, self.function, self.columns = name, function, columns
        self.rows: list[tuple[Value, ...]] = []

    def update(self, *row: Value | np.generic) -> None:
        """Add one sample's values, in the order of the function's arguments."""
        if len(row) != self.columns or any(value != value for value in row):
            raise ValueError(f"{self.name} takes {self.columns} values a sample, none NaN: {row}")
        self.rows.append(tuple(v.item() if isinstance(v, np.generic) else v for v in row))

    def compute(self) -> float:
        """The score of all samples so far; NaN of none."""
        if not self.rows:
            return float("nan")
        return self.function(*(list(column) for column in zip(*sorted(self.rows), strict=True)))

    def reset(self) -> None:
        """Forget all samples."""
        self.rows = []

    def state(self) -> State:
        """The rows, and the score's name."""
        return {"name": self.name, "collected": list(self.rows)}

    def from_state(self, state: State) -> Collected:
        """An accumulator with the same options that holds this state."""
        other = Collected(self.name, self.function, self.columns)
        for row in _part(state, "collected", self.name):
            other.update(*row)
        return other

    def merge(self, other: Collected) -> None:
        """Add another one's samples."""
        self.rows = [*self.rows, *_part(other.state(), "collected", self.name)]


def accumulate_mean() -> Summed:
    """Mean of scores in 0..1."""
    return Summed(
        "mean",
        lambda score: [1, *_units(score, 1)],
        lambda totals: totals[1] / (totals[0] * UNITS),
    )


def accumulate_share(threshold: float = 0.5) -> Summed:
    """Share of samples that score at or above the threshold."""
    return Summed(
        f"share >= {threshold}",
        lambda score: [1, int(_scores(score, 1)[0] >= threshold)],
        lambda totals: totals[1] / totals[0],
    )


def accumulate_auc() -> Summed:
    """Area under the share of samples over thresholds 0, .05 .. 1."""
    return Summed(
        "auc",
        lambda score: [1, *(_scores(score, 1) >= AUC_THRESHOLDS).astype(int).tolist()],
        lambda totals: float(np.trapezoid(np.array(totals[1:]) / totals[0], AUC_THRESHOLDS)),
    )


def accumulate_f() -> Summed:
    """F over the whole set, of curves; a curve of NaN (an empty truth) is left out."""
    return Summed("f", _curve_units, lambda totals: max(totals[1:]) / (totals[0] * UNITS))


def gather(accumulator: AnyAccumulator) -> AnyAccumulator:
    """A new accumulator with the samples of all processes; every process gets the same one.

    Call it in every process of the default torch.distributed group, or none will go on. Without a
    group there is one process, and its own samples come back.
    """
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return accumulator.from_state(accumulator.state())
    states: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(states, accumulator.state())
    whole = accumulator.from_state(states[0])
    for state in states[1:]:
        whole.merge(accumulator.from_state(state))
    return whole


def _part(state: State, key: str, name: str) -> list[Any]:
    if state.get("name") != name or key not in state:
        raise ValueError(f"this is the state of {state.get('name')!r}, not of {name!r}")
    return list(state[key])


def _scores(values: ArrayLike, size: int) -> NDArray[np.float64]:
    scores = np.asarray(values, dtype=np.float64).reshape(-1)
    if scores.size != size or not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError(f"an update takes {size} score(s) in 0..1, not {values!r}")
    return scores


def _units(values: ArrayLike, size: int) -> list[int]:
    units: list[int] = np.rint(_scores(values, size) * UNITS).astype(np.int64).tolist()
    return units


def _curve_units(curve: ArrayLike) -> list[int]:
    if np.isnan(np.asarray(curve, dtype=np.float64)).all():
        return [0] * (1 + F_THRESHOLDS.size)
    return [1, *_units(curve, F_THRESHOLDS.size)]
