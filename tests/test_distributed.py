"""Shared and divided steps are exact: ranks, pieces and one whole pass give the same gradient."""

from __future__ import annotations

import atexit
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed import HashStore

import soundspot.ranks
from gloo import on_ranks
from soundspot.batches import Batch, join
from soundspot.checkpoint import load
from soundspot.errors import OptionError
from soundspot.losses import BY_NAME
from soundspot.meeting import meet
from soundspot.models import MODELS, TwoTower
from soundspot.options import TrainOptions
from soundspot.ranks import Ranks, ranks_of_environment
from soundspot.training.computing import Computing
from soundspot.training.learning import Learner

SCENES, SIDE, SAMPLES = 6, 64, 64_000
STEP = 3
TOLERANCE = 1e-5
EMBEDDED_OF = {kind: name for name, kind in MODELS.items()}
OPTIONS = TrainOptions(steps=10, scenes=SCENES, side=SIDE, seed=1)


def batch_of(scenes: int = SCENES) -> Batch:
    """A batch of noise; every third scene shows two things."""
    dice = torch.Generator().manual_seed(0)
    shown = [scene for scene in range(scenes) for _ in range(2 if scene % 3 == 1 else 1)]
    regions = torch.zeros(len(shown), (SIDE // 16) ** 2, dtype=torch.bool)
    for row, scene in enumerate(shown):
        second = row > 0 and shown[row - 1] == scene
        first = scene % 3 == 1 and not second
        regions[row, 8 if second else 0 : 8 if first else 16] = True

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=dice)

    n = len(shown)
    return Batch(
        noise(scenes, 3, SIDE, SIDE).sigmoid(),
        torch.tensor(shown),
        regions,
        noise(n, 512).abs(),
        noise(4, 512).abs(),
        noise(4, 512).abs(),
        0.1 * noise(n, SAMPLES) * (1 + torch.arange(n))[:, None] / n,
    )


def learner_of(name: str, ranks: Ranks, chunk: int = 0, **how: bool) -> Learner:
    """A trained model without dropout, which would differ from piece to piece."""
    objective = BY_NAME[name]()
    model = load("default" if objective.model is TwoTower else EMBEDDED_OF[objective.model])
    model.sound_tower.requires_grad_(False)
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return Learner(model, objective, OPTIONS, chunk, ranks, Computing(**how))


def gradients(learner: Learner, batch: Batch) -> tuple[float, dict[str, Tensor]]:
    """The loss of a step and the gradient that it leaves, averaged over the ranks."""
    torch.manual_seed(7)
    learner.model.train()
    loss = learner._differentiate(batch, STEP)
    learner.ranks.mean([p.grad for p in learner.trained if p.grad is not None])
    parts: dict[str, nn.Module] = {"model": learner.model, "objective": learner.objective}
    return loss, {
        f"{prefix}.{name}": weight.grad
        for prefix, part in parts.items()
        for name, weight in part.named_parameters()
        if weight.grad is not None
    }


def assert_same(found: tuple[float, dict[str, Tensor]], wanted: Any) -> None:
    """Losses and gradients agree, these as a whole and in each element of each weight."""
    assert found[0] == pytest.approx(wanted[0], rel=TOLERANCE)
    assert found[1].keys() == wanted[1].keys()
    mine, theirs = (torch.cat([g.flatten() for g in each[1].values()]) for each in (found, wanted))
    assert float((mine - theirs).norm()) <= TOLERANCE * float(theirs.norm())
    assert float((mine - theirs).abs().max()) <= TOLERANCE * float(theirs.abs().max())


@pytest.mark.parametrize("chunk", [1, 4])
@pytest.mark.parametrize("name", BY_NAME)
def test_pieces_leave_the_gradient_of_the_whole(
    name: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By one kernel: a single picture is else computed by another, which rounds differently."""
    monkeypatch.setattr("soundspot.towers.efficientnet_lite.POINT_DILATION", 1)
    whole = gradients(learner_of(name, Ranks()), batch_of())
    assert_same(gradients(learner_of(name, Ranks(), chunk), batch_of()), whole)


def shares(ranks: Ranks, chunk: int, few: int) -> dict[str, Any]:
    """On each rank: the gradients of every objective on this rank's scenes."""
    soundspot.ranks.FEW = few
    split = [0, 4, SCENES] if ranks.count == 2 else [0, SCENES]
    first, last = split[ranks.number], split[ranks.number + 1]
    whole = batch_of()
    mine = whole._piece(first, last, ranks.number, ranks.count)
    return {name: gradients(learner_of(name, ranks, chunk), mine) for name in BY_NAME}


@pytest.mark.parametrize(
    ("chunk", "few"), [(0, soundspot.ranks.FEW), pytest.param(3, 0, marks=pytest.mark.slow)]
)
def test_ranks_leave_the_gradient_of_one_process(chunk: int, few: int, tmp_path: Path) -> None:
    found = on_ranks(2, tmp_path, shares, chunk, few)
    for name in BY_NAME:
        whole = gradients(learner_of(name, Ranks()), batch_of())
        for each in found:
            assert_same(each[name], whole)


def rows_of(number: int) -> Tensor:
    """Of one rank: as many as its number and one."""
    return torch.arange(3.0 * (number + 1)).view(-1, 3).cos() + number


def shared(ranks: Ranks) -> list[list[float]]:
    """Means, sums of exponentials and their gradient, by messages of either kind."""
    found = []
    for few in (0, soundspot.ranks.FEW):
        soundspot.ranks.FEW = few
        rows = rows_of(ranks.number).requires_grad_()
        value = ranks.mean_rows(rows[:, 0], rows[:, 1:]) + ranks.log_sum_exp(rows).square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        assert rows.grad is not None
        assert ranks.greatest(ranks.number, -ranks.number, 15) == [ranks.count - 1, 0, 15]
        assert [ranks.any(ranks.leads), ranks.any(False)] == [True, False]
        found.append([float(value.detach()), *ranks.gather(rows.grad).flatten().tolist()])
    return found


def test_sums_over_ranks_are_those_of_one_process(tmp_path: Path) -> None:
    """A rank's gradient is as many times that of one process as there are ranks."""
    rows = torch.cat([rows_of(0), rows_of(1)]).requires_grad_()
    value = rows[:, 0].mean() + rows[:, 1:].mean() + rows.logsumexp(0).square().sum()
    value.backward()  # type: ignore[no-untyped-call]
    assert rows.grad is not None
    wanted = [float(value.detach()), *(2 * rows.grad).flatten().tolist()]
    for found in on_ranks(2, tmp_path, shared):
        for each in found:
            assert each == pytest.approx(wanted, rel=1e-6)


def leave_alone(ranks: Ranks) -> None:
    """Talk, beside an optimiser; when Python ends, fail if a thread of the group is left."""
    torch.optim.AdamW([nn.Parameter(torch.zeros(1))])  # imports more of torch.distributed
    ranks.objects(0)

    def check() -> None:
        tasks = Path("/proc/self/task").glob("*/comm")
        left = [name for name in (task.read_text().strip() for task in tasks) if "gloo" in name]
        if left:
            os.write(2, f"left: {left}".encode())
            os._exit(1)

    atexit.register(check)


@pytest.mark.skipif(sys.platform != "linux", reason="names of threads are read from /proc")
def test_no_thread_outlives_the_ranks(tmp_path: Path) -> None:
    """One that lets go of a tensor while Python ends would abort the process, now and then."""
    on_ranks(2, tmp_path, leave_alone)


def test_ranks_that_cannot_find_one_another_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As srun starts them; not each of them trains alone in silence."""
    for name in ("MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "4")
    missing = pytest.raises(OptionError, match=r"without MASTER_ADDR and MASTER_PORT, .* torchrun")
    with missing, ranks_of_environment("cpu"):
        pass
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    with ranks_of_environment("cpu") as (ranks, _):
        assert ranks == Ranks()


def test_pieces_join_to_the_whole() -> None:
    batch = replace(batch_of(), files=("a", "b"))
    parts = batch.cut(4)
    assert [len(part.pixels) for part in parts] == [3, 3]
    again = join([replace(part, files=()) for part in parts])
    for name, value in vars(batch).items():
        if isinstance(value, Tensor):
            assert torch.equal(getattr(again, name), value), name


def test_checkpointing_leaves_the_same_gradient() -> None:
    whole = gradients(learner_of("region_contrast", Ranks()), batch_of())
    assert_same(
        gradients(learner_of("region_contrast", Ranks(), checkpoint=True), batch_of()), whole
    )


@pytest.mark.parametrize("name", BY_NAME)
def test_bfloat16_leaves_nearly_the_same_gradient(name: str) -> None:
    loss, exact = gradients(learner_of(name, Ranks()), batch_of())
    near, rounded = gradients(learner_of(name, Ranks(), bf16=True), batch_of())
    assert near == pytest.approx(loss, rel=0.05)
    one, other = (torch.cat([g.flatten() for g in found.values()]) for found in (exact, rounded))
    assert torch.cosine_similarity(one, other, 0) > 0.9
    assert all(gradient.dtype == torch.float32 for gradient in rounded.values())


def test_processes_that_start_again_meet_those_that_live() -> None:
    """A restart on the same store: the early process does not take the dead for its fellow."""
    store = HashStore()

    def attempt(delays: dict[int, float]) -> list[str]:
        def prefix(number: int) -> str:
            time.sleep(delays.get(number, 0.0))
            meet(store, number, 2, 20.0)
            return store.get("proposal").decode()

        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(prefix, range(2)))

    first = attempt({})
    early, late = attempt({0: 0.5}), attempt({1: 0.5})
    assert len({*first, *early, *late}) == 3
    assert all(one == other for one, other in (first, early, late))
    with pytest.raises(TimeoutError, match="not all of 2"):
        meet(HashStore(), 0, 2, 0.2)
