"""The course of a score over an online run, and what to go online with, by hand."""

from __future__ import annotations

import pytest
import torch
from small_data import continuous_dataset

from offlinekit.algos import IQL, SAC, MLPEncoder
from offlinekit.training.online.before_after import BeforeAfter, advice
from offlinekit.training.online.resets import reset

RENEWED = tuple(f"networks.{name}." for name in ("q", "target_q", "value")) + tuple(
    f"optimizers.{name}." for name in ("critic", "value")
)


def history(*pairs):
    return [{"step": step, "eval/return_mean": score, "updates": step // 2} for step, score in pairs]


def test_report_by_hand():
    rows = history((0, 50.0), (100, 20.0), (200, 60.0), (400, 80.0))
    rows.insert(2, {"step": 150, "critic_loss": 1.0})
    found = BeforeAfter.of(rows)
    assert (found.before, found.lowest, found.dip, found.after) == (50.0, 20.0, 30.0, 80.0)
    # Shortfalls against 80: 30, 60, 20, 0. Areas: 100 * 45 + 100 * 40 + 200 * 10 = 10,500; / 400 = 26.25.
    assert found.regret == 26.25
    assert (found.recovered_at, found.steps, found.updates) == (200, 400, 200)
    # Against 60: 10, 40, 0, 0 (80 is more): 100 * 25 + 100 * 20 = 4,500; / 400 = 11.25.
    assert BeforeAfter.of(rows, reference=60.0).regret == 11.25


def test_regret_ends_where_the_score_crosses_the_reference():
    # Against 10: 10 short, then 10 above: the triangle 10 * 50 / 2 = 250, then nothing; / 200 = 1.25.
    assert BeforeAfter.of(history((0, 0.0), (100, 20.0), (200, 10.0))).regret == 1.25
    # Against 15: 5 above, then 15 short, below it for 75 of 100 steps: 15 * 75 / 2 = 562.5; the same on the way back;
    # / 200 = 5.625.
    rows = history((0, 20.0), (100, 0.0), (200, 20.0))
    assert BeforeAfter.of(rows, reference=15.0).regret == 5.625


def test_a_score_that_never_falls_or_never_comes_back():
    rising = BeforeAfter.of(history((0, 1.0), (10, 2.0)))
    assert (rising.dip, rising.recovered_at, rising.regret) == (0.0, 0, 0.5)
    assert BeforeAfter.of(history((0, 2.0), (10, 1.0))).recovered_at is None
    assert BeforeAfter.of(history((0, 2.0))) is None
    assert BeforeAfter.of(history((5, 2.0), (10, 1.0))) is None


def test_advice_by_the_better_of_policy_and_data():
    assert advice(100.0, 50.0) == "policy"
    assert advice(50.0, 100.0) == "data"
    assert advice(97.0, 100.0) == "policy"  # Within 5% of 100.
    assert advice(94.0, 100.0) == "data"
    assert advice(-900.0, -950.0, random=-800.0) == "anew"
    # From random at -1000 the scores are 80 and 100 away: 80 < 100 - 5.
    assert advice(-920.0, -900.0, random=-1000.0) == "data"


@pytest.mark.parametrize("front", [SAC, IQL])
def test_resets_bring_back_what_is_named_and_nothing_else(front):
    data = continuous_dataset()
    algo = front(seed=0, device="cpu", batch_size=4, encoder=MLPEncoder((4,)))
    algo.build(data)
    first = {name: value.clone() for name, value in algo.impl.state_tensors().items()}
    algo.fit(data, 12, out=None, progress=False, value_alarm="off")
    learned = {name: value.clone() for name, value in algo.impl.state_tensors().items()}
    reset(algo.impl, ())
    assert all(torch.equal(value, learned[name]) for name, value in algo.impl.state_tensors().items())
    reset(algo.impl, ("critics",))
    for name, value in algo.impl.state_tensors().items():
        renewed = name.startswith(RENEWED)
        assert torch.equal(value, (first if renewed else learned)[name]), name
    reset(algo.impl, ("moments", "temperature"))
    for name, value in algo.impl.state_tensors().items():
        if name.startswith("optimizers.") or "temperature" in name:
            assert torch.equal(value, first[name]), name
    assert torch.equal(
        algo.impl.state_tensors()["networks.policy.network.mlp.layers.0.weight"],
        learned["networks.policy.network.mlp.layers.0.weight"],
    )
