"""The cost model's arithmetic, and its simulations on small numbers."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import scaling
from scaling import Machines

RATES = {
    "make_sample_s": 0.004,
    "sample_bytes": 1e5,
    "gathered_bytes_a_scene^1": 1000.0,
    "gathered_bytes_a_scene^2": 6.0,
    "summed_bytes_a_scene": 5.0,
    "batch_bytes_a_scene": 1e6,
    "gradient_bytes": 1e7,
    "pack_pair_s": 0.01,
    "heard_make_sample_s": 0.002,
    "heard_sample_bytes": 2e4,
    "heard_batch_bytes_a_scene": 4e5,
    "hear_sound_s": 0.04,
    "hear_clip_s": 0.014,
}
MACHINES = Machines(
    gpu_rate=1000, cores=16, link=1e9, latency=0, disk=1e9, batch=100, bus=1e10, flops=1e13
)


def test_one_gpu_sends_nothing() -> None:
    step = scaling.step_of(1, RATES, MACHINES)
    assert step.gather == step.reduce == step.latency == step.match == 0
    assert step.compute == 0.1
    assert step.copy == pytest.approx(100 * 1e6 / 1e10)
    assert step.data == pytest.approx(1.26 * 100 * 0.004 / 16)
    assert step.seconds == pytest.approx(0.11)
    assert step.slowest == "compute"


def test_messages_of_many() -> None:
    """A gathered message passes (G - 1) / G of a link; its sum on the way back twice that."""
    step = scaling.step_of(4, RATES, MACHINES)
    assert step.reduce == pytest.approx(0.75 * 2 * 1e7 / 1e9)
    gathered = 400 * 1000 + 400**2 * 6
    assert step.gather == pytest.approx(0.75 * (3 * gathered + 6 * 400 * 5) / 1e9)
    assert step.seconds == pytest.approx(0.11 + step.match + step.reduce + step.gather)


def test_the_loss_of_many() -> None:
    """Regions of one GPU meet sounds of all: products forward and twice back, nine passes."""
    step = scaling.step_of(4, RATES, MACHINES)
    pairs = 126 * 3 * 126 * 196
    assert step.match == pytest.approx(pairs * (6 * 256 / 1e13 + 36 / 2e12))
    assert step.maps == pytest.approx(8 * 126 * 4 * 126 * 196 + 6 * 6 * 400**2)


def test_what_is_slow_is_named() -> None:
    few = Machines(gpu_rate=1000, cores=1, batch=100)
    assert scaling.step_of(1, RATES, few).slowest == "data"
    many = Machines(gpu_rate=1000, cores=99, batch=4000, link=1e9)
    assert scaling.step_of(256, RATES, many).slowest == "gather"
    assert scaling.step_of(1, RATES, Machines(bus=1e7, cores=99)).slowest == "copy"


def test_sounds_that_were_heard_before_are_not_read() -> None:
    step = scaling.step_of(1, scaling.heard_before(RATES), MACHINES)
    assert step.data == pytest.approx(1.26 * 100 * 0.002 / 16)
    assert step.read == pytest.approx(1.26 * 100 * 2e4 / 1e9)
    assert step.copy == pytest.approx(100 * 4e5 / 1e10)
    lines = list(scaling.heard(RATES, MACHINES))
    assert any("too, it pays after 2.5 epochs" in line for line in lines)
    rows = [line for line in lines if line.startswith("| 1,000,000 |")]
    assert rows[1] == "| 1,000,000 | 11.1 | 14.3 |"


def test_what_was_compared_says_what_falls_short() -> None:
    rows = list(scaling.machine({"feed": [0.85, 0.9], "memory": [1.02, math.nan]}))
    assert rows[2].endswith("| 0.9 | 0.85 | 0.90 | falls short |")
    assert rows[3].endswith("| 1 | 1.02 |  |  |")
    assert len(rows) == 4
    ratios = {"loader: small, 3 s: ours": [3.1, 3], "loader: large: ours": [2.9, 3]}
    assert list(scaling.loaders(ratios)) == [
        "| | small, 3 s | large |",
        "|---|---|---|",
        "| ours | **3.10** | 2.90 |",
    ]


def test_later_runs_win_and_what_was_not_measured_is_named(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_text(json.dumps({"rates": {**RATES, "hear_sound_s": 1.0}, "ratios": {"x": [1, 2]}}))
    second.write_text(json.dumps({"rates": {"hear_sound_s": 2.0}, "ratios": {"x": [3, 4]}}))
    rates, ratios = scaling.measured([first, second])
    assert rates == {**RATES, "hear_sound_s": 2.0}
    assert ratios == {"x": [3, 4]}
    with pytest.raises(SystemExit, match=r"b\.json and those before lack batch_bytes_a_scene, "):
        scaling.measured([second])


def test_the_tables_have_a_row_for_each() -> None:
    lines = list(scaling.costs(RATES, MACHINES))
    assert sum(line.startswith("| 144,000") for line in lines) == 4
    assert sum(line.startswith("| 256 |") for line in lines) == 2
    assert any("(4)" in line for line in lines), "steps of an epoch that has few"


def test_a_page_takes_new_tables() -> None:
    page = (
        "a `<!-- steps -->`\n<!-- steps -->\nold\n<!-- end -->\nb\n<!-- inputs -->\n<!-- end -->\n"
    )
    tables = {"inputs": "I\n", "steps": "| S |"}
    new = scaling.written(page, tables)
    assert new == (
        "a `<!-- steps -->`\n<!-- steps -->\n\n| S |\n\n<!-- end -->\nb\n"
        "<!-- inputs -->\n\nI\n\n<!-- end -->\n"
    )
    assert scaling.written(new, tables) == new
    with pytest.raises(SystemExit, match="lacks <!-- failures -->"):
        scaling.written(page, {"failures": ""})


def test_young_and_daly() -> None:
    assert scaling.young(50, 10_000) == 1000
    assert scaling.daly(1e-6, 1e6) == pytest.approx(scaling.young(1e-6, 1e6), rel=1e-3)
    assert scaling.daly(30, 10) == 10


def test_without_failures_only_checkpoints_cost() -> None:
    rng = np.random.default_rng(0)
    assert scaling.played(1000, 100, 2, 50, 1e12, rng) == 1020
    assert scaling.played(1050, 100, 2, 50, 1e12, rng) == 1050 + 22


def test_the_optimum_loses_least() -> None:
    """And so much as theory says: e^(R/M) M (e^((t + C)/M) - 1) / t - 1 (Daly 2006, eq. 13)."""
    cost, restart, mtbf = 5.0, 20.0, 1000.0
    best = scaling.daly(cost, mtbf)
    lost = {by: scaling.overhead(best * by, cost, restart, mtbf) for by in (0.2, 1, 5)}
    assert lost[1] < lost[0.2]
    assert lost[1] < lost[5]
    theory = np.exp(restart / mtbf) * mtbf * (np.exp((best + cost) / mtbf) - 1) / best - 1
    assert lost[1] == pytest.approx(theory, rel=0.1)


def test_one_group_over_all_mixes_uniformly() -> None:
    found = scaling.mixing(4000, per_shard=400, batch=100)
    assert found.twice == 0
    assert found.together == pytest.approx(1, abs=0.1)
    assert found.apart == pytest.approx(1, abs=0.1)


def test_local_groups_meet_more_often() -> None:
    """With many shards, two samples of a batch share one of the group's blocks."""
    found = scaling.mixing(60_000, per_shard=100, batch=128)
    assert found.twice == 0
    assert 1 < found.together < 600 / 16 * 1.3
    assert found.shards <= 16 * 2 + 1
    assert found.apart < 0.2
