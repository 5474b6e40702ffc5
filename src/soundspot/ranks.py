"""Several processes that train one model: who I am, what the others have, and its gradient.

torchrun starts the processes and tells each its number (RANK, LOCAL_RANK) and their count
(WORLD_SIZE); they talk over NCCL between GPUs and over gloo between CPUs. A process alone is one
rank of one: it talks to nobody.

The rule by which everything here is exact: **what is trained is the mean of the ranks' losses**.
`gather` is then a linear map like any other, each rank's rows to the rows of all, and its adjoint
sends back the sum over ranks of what arrived at those rows:

    forward   y = (x_1, ..., x_R) on every rank
    backward  dx_r = sum over ranks of dy[rows of r]

With gradients averaged over the ranks after `backward`, a loss that every rank computes from
gathered rows has the gradient of the same loss on one process, to rounding.

`sum` and `mean_rows` are the same numbers on every rank, from which every rank computes the same:
then dy is the same everywhere, its sum over ranks is R dy, and nothing is sent on the way back.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.distributed.nn.functional  # before there is a group: see `ranks_of_environment`
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from soundspot.errors import OptionError, SoundspotError, TrainingError
from soundspot.meeting import meet
from soundspot.processes import require_meeting_place

T = TypeVar("T")
PATIENCE = timedelta(hours=2)
"""How long ranks wait for one another: the first may hear a whole data set meanwhile. A rank that
dies is noticed at once, by its closed connections or by torchrun."""

FEW = 2**14
"""Numbers of all ranks that are sooner sent to all than added up on their way round."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Args:
        number: of this one, from 0.
        count: of all.
    """

    number: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that reads, writes and prints."""
        return self.number == 0

    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all ranks in their order; differentiable; ranks may differ in length."""
        if self.count == 1:
            return rows
        gathered: Tensor = _Gather.apply(rows, self.lengths(rows), self.number)  # type: ignore[no-untyped-call]
        return gathered

    def lengths(self, rows: Tensor) -> list[int]:
        """How many rows each rank has."""
        if self.count == 1:
            return [len(rows)]
        mine = torch.tensor([len(rows)], device=rows.device)
        found = [torch.empty_like(mine) for _ in range(self.count)]
        dist.all_gather(found, mine)
        return [int(length) for length in found]

    def place(self, rows: Tensor) -> slice:
        """Where this rank's rows stand among the gathered."""
        lengths = self.lengths(rows)
        start = sum(lengths[: self.number])
        return slice(start, start + len(rows))

    def numbers(self, rows: Tensor) -> Tensor:
        """The numbers of this rank's rows among the gathered."""
        place = self.place(rows)
        return torch.arange(place.start, place.stop, device=rows.device)

    def previous(self, rows: Tensor) -> Tensor:
        """The row before each row; the first rank's first has the last rank's last before it."""
        last = rows[-1:] if self.count == 1 else self.gather(rows[-1:])[self.number - 1][None]
        return torch.cat((last, rows[:-1]))

    def mean(self, tensors: Sequence[Tensor]) -> None:
        """Average over the ranks, in place: one message for each type of number."""
        if self.count == 1:
            return
        for kind in sorted({(t.dtype, t.device) for t in tensors}, key=str):
            group = [t for t in tensors if (t.dtype, t.device) == kind]
            flat = torch.cat([t.reshape(-1) for t in group])
            dist.all_reduce(flat)
            flat /= self.count
            for tensor, mean in zip(
                group, torch.split(flat, [t.numel() for t in group]), strict=True
            ):
                tensor.copy_(mean.view_as(tensor))

    def log_sum_exp(self, rows: Tensor) -> Tensor:
        """The logarithm of the sum of exponentials down each column of all ranks' rows.

        Only a number a column is sent: its greatest, then its sum. Differentiable.
        """
        top = rows.detach().amax(0) if len(rows) else rows.new_full(rows.shape[1:], -torch.inf)
        if self.count > 1:
            _reduce(top, self.count, dist.ReduceOp.MAX)
        return self.sum((rows - top).exp().sum(0)).log() + top

    def mean_rows(self, *several: Tensor) -> Tensor:
        """The mean of all ranks' rows; of several, the sum of their means.

        Differentiable where all ranks use it alike.
        """
        if self.count == 1:
            return torch.stack([rows.mean() for rows in several]).sum()
        sums = torch.stack([rows.sum() for rows in several])
        numbers = sums.new_tensor([rows.numel() for rows in several])
        total = self.sum(torch.stack((sums, numbers)))
        return (total[0] / total[1]).sum()

    def sum(self, numbers: Tensor) -> Tensor:
        """Sum over the ranks of tensors of one shape; differentiable where all use it alike."""
        if self.count == 1:
            return numbers
        total: Tensor = _Sum.apply(numbers, self.count)  # type: ignore[no-untyped-call]
        return total

    def greatest(self, *mine: int) -> list[int]:
        """Of each number, the greatest that a rank gives; one message."""
        if self.count == 1:
            return list(mine)
        numbers = torch.tensor(mine)
        _reduce(numbers, self.count, dist.ReduceOp.MAX)
        return [int(number) for number in numbers]

    def any(self, here: bool) -> bool:
        """Whether it holds on any rank."""
        return bool(self.greatest(here)[0])

    def objects(self, mine: T) -> list[T]:
        """What every rank gives, in their order."""
        if self.count == 1:
            return [mine]
        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, mine)
        return found

    def to_first(self, mine: T) -> list[T]:
        """What every rank gives, in their order, on the first; nothing on the others."""
        if self.count == 1:
            return [mine]
        found: list[Any] | None = [None] * self.count if self.leads else None
        dist.gather_object(mine, found, 0)
        return found or []

    def of_first(self, value: T) -> T:
        """What the first rank gives; the others' is ignored."""
        if self.count == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, 0)
        return box[0]

    def first_does(self, work: Callable[[], T]) -> T | None:
        """What the first rank makes while the others wait; they get None, or its error.

        Raises:
            SoundspotError: what the work raised, on every rank.
        """
        made, error = None, None
        if self.leads:
            try:
                made = work()
            except SoundspotError as raised:
                error = raised
        error = self.of_first(error)
        if error is not None:
            raise error
        return made

    def tensors_of_first(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The first rank's tensors, on the processor; the others give none."""
        if self.count == 1:
            return dict(tensors)
        shapes = self.of_first([(k, tuple(t.shape), t.dtype) for k, t in tensors.items()])
        found = {}
        for name, shape, dtype in shapes:
            own = tensors[name].detach().cpu().contiguous() if self.leads else None
            found[name] = torch.empty(shape, dtype=dtype) if own is None else own
            dist.broadcast(found[name], 0)
        return found

    @contextmanager
    def together(self) -> Iterator[None]:
        """Say in one line that another rank is gone; what is kept is for others to say.

        Raises:
            TrainingError: a message to it or from it failed.
        """
        try:
            yield
        except RuntimeError as error:
            if self.count == 1 or not ("gloo" in str(error) or isinstance(error, dist.DistError)):
                raise
            raise TrainingError(
                f"rank {self.number} of {self.count}: another rank is gone; start again, or let "
                "torchrun do so (--max-restarts)"
            ) from error


def _reduce(numbers: Tensor, count: int, how: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM) -> None:
    """Sum over the ranks, or take the greatest, in place."""
    if numbers.numel() * count > FEW:
        dist.all_reduce(numbers, how)
        return
    found = [torch.empty_like(numbers) for _ in range(count)]
    dist.all_gather(found, numbers)
    all_ = torch.stack(found)
    numbers.copy_(all_.sum(0) if how == dist.ReduceOp.SUM else all_.amax(0))


class _Gather(torch.autograd.Function):
    """Rows of all ranks; see the module's docstring for its adjoint."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, lengths: list[int], number: int) -> Tensor:
        ctx.place, ctx.count = (sum(lengths[:number]), len(rows)), len(lengths)
        padded = rows.new_zeros(max(lengths), *rows.shape[1:])
        padded[: len(rows)] = rows
        found = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(found, padded)
        return torch.cat([part[:length] for part, length in zip(found, lengths, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        total = gradient.contiguous().clone()
        _reduce(total, ctx.count)
        start, length = ctx.place
        return total[start : start + length], None, None


class _Sum(torch.autograd.Function):
    """Sum over ranks; what arrives at it is the same on each of them, and so needs no message."""

    @staticmethod
    def forward(ctx: Any, numbers: Tensor, count: int) -> Tensor:
        ctx.count = count
        total = numbers.detach().clone()
        _reduce(total, count)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.count, None


@contextmanager
def ranks_of_environment(device: str = "auto") -> Iterator[tuple[Ranks, str]]:
    """The ranks that torchrun started, or this process alone, and the device to train on.

    The group's threads end with it, while Python still runs: one that lets go of a tensor when
    Python has gone aborts the process. A group ends when nothing refers to it, and functions of
    `torch.distributed.nn.functional` would for ever, as a default argument, if they were first
    imported (optimisers do so) while it is there.

    Args:
        device: "auto" or a torch device name; under torchrun "auto" and "cuda" take the GPU of
            this process's number on its machine.

    Raises:
        OptionError: RANK and its like are missing or no numbers, or there are fewer GPUs than
            processes.
        TrainingError: the processes cannot reach each other.
    """
    try:
        number, count, local = (
            int(os.environ.get(name, default))
            for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
        )
    except ValueError:
        raise OptionError("RANK, WORLD_SIZE and LOCAL_RANK must be whole numbers") from None
    if count <= 1:
        yield Ranks(), device
        return
    require_meeting_place(count)
    device = _own_device(device, local)
    backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
    try:
        store, _, _ = next(rendezvous("env://", number, count, timeout=PATIENCE))
        own = meet(store, number, count, PATIENCE.total_seconds())
        dist.init_process_group(backend, store=own, rank=number, world_size=count, timeout=PATIENCE)
    except (RuntimeError, ValueError, TimeoutError) as error:
        raise TrainingError(f"the processes cannot reach each other: {error}") from error
    try:
        yield Ranks(number, count), device
    finally:
        dist.destroy_process_group()


def _own_device(device: str, local: int) -> str:
    if device not in {"auto", "cuda"} or not torch.cuda.is_available():
        return device
    if local >= torch.cuda.device_count():
        raise OptionError(
            f"process {local} of this machine has no GPU of its own; start as many as there are "
            f"({torch.cuda.device_count()}), or give --device cpu"
        )
    torch.cuda.set_device(local)
    return f"cuda:{local}"
