"""The alarm for values that leave what rewards allow: bounds by hand, once, and what runs do about it."""

from __future__ import annotations

import csv
import logging
from typing import Any

import numpy as np
import pytest
import torch
from known import Known, KnownImpl, two_episodes
from torch import Tensor

from offlinekit.algos import DiscreteBC, DoubleDQN
from offlinekit.datasets import MDPDataset
from offlinekit.training.value_alarm import ValueAlarm, value_alarm, value_bounds

WARNING = "value estimates diverge"
SETTINGS: dict[str, Any] = {"out": None, "progress": False, "log_interval": 1, "eval_interval": 100}


class Growing(KnownImpl):
    """Values a state at 3 for each update taken, and learns nothing."""

    def predict_value(self, observations: Any, actions: Tensor | None) -> Tensor:
        return torch.full((len(observations),), 3.0 * self.grad_step)


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    return [line for line in warned if "one action" not in line]


def constant_rewards() -> MDPDataset:
    """Makes ten rewards of 1 before a terminal reward of -4."""
    rewards = np.ones(11)
    rewards[-1] = -4.0
    return MDPDataset(np.zeros((11, 1), np.float32), np.arange(11) % 2, rewards, np.arange(11) == 10)


def test_bounds_come_from_rewards_returns_and_gamma() -> None:
    # Rewards of 1 for ever: 1 / (1 - 1/2) = 2. The last return is -4, which is met once, not for ever.
    # The range from -4 to 2 is 6 wide, half of it is the margin.
    algo = Known().build(constant_rewards())
    assert value_bounds(algo, constant_rewards()) == pytest.approx((-7.0, 5.0))
    # Without discount for as long as the longest episode, 11 steps: -4 to 11, margin 7.5.
    algo = Known(gamma=1.0).build(constant_rewards())
    assert value_bounds(algo, constant_rewards()) == pytest.approx((-11.5, 18.5))
    # Scaled by 10: -40 to 20, margin 30.
    algo = Known(reward_scaler={"type": "multiply", "multiplier": 10.0}).build(constant_rewards())
    assert value_bounds(algo, constant_rewards()) == pytest.approx((-70.0, 50.0))


def test_rare_rewards_do_not_widen_the_bounds_beyond_what_was_returned() -> None:
    # One reward of 100 in 1,000 rows: 100 / (1 - 1/2) is never earned, 100 is: -50 to 150.
    rewards = np.zeros(1_000)
    rewards[500] = 100.0
    data = MDPDataset(np.zeros((1_000, 1), np.float32), np.zeros(1_000, int), rewards, np.zeros(1_000))
    assert value_bounds(Known().build(data), data) == pytest.approx((-50.0, 150.0))
    # Rewards of 0 alone leave half a unit.
    data = MDPDataset(np.zeros((3, 1), np.float32), np.zeros(3, int), np.zeros(3), np.zeros(3))
    assert value_bounds(Known().build(data), data) == (-0.5, 0.5)


def test_it_warns_once_and_says_so_in_the_history(caplog: pytest.LogCaptureFixture) -> None:
    # Above 5 from the second update on.
    algo = Known(impl_class=Growing)
    algo.fit(constant_rewards(), 4, **SETTINGS)
    assert [row["value_estimate"] for row in algo.history] == [3.0, 6.0, 9.0, 12.0]
    assert [row["value_diverged"] for row in algo.history] == [0.0, 1.0, 1.0, 1.0]
    (said,) = warnings_in(caplog)
    assert WARNING in said
    assert "step 2" in said
    assert "estimate 6.0" in said
    assert "possible (-7.0, 5.0)" in said
    algo.fit(constant_rewards(), 1, **SETTINGS)
    assert len(warnings_in(caplog)) == 2  # Another run says it again.


def test_it_stops_a_run_or_stays_silent(caplog: pytest.LogCaptureFixture) -> None:
    algo = Known(impl_class=Growing).fit(constant_rewards(), 4, value_alarm="stop", **SETTINGS)
    assert algo.grad_step == 2
    caplog.clear()
    algo = Known(impl_class=Growing).fit(constant_rewards(), 4, value_alarm="off", **SETTINGS)
    assert algo.grad_step == 4
    assert "value_estimate" not in algo.history[-1]
    assert not warnings_in(caplog)
    with pytest.raises(ValueError, match=r"value_alarm must be one of \['warn', 'stop', 'off'\], got 'of'"):
        Known().fit(constant_rewards(), 1, value_alarm="of", **SETTINGS)


def test_a_resumed_run_does_not_say_it_again(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings = {**SETTINGS, "out": tmp_path, "checkpoint_interval": 3}
    first = Known(impl_class=Growing).fit(constant_rewards(), 3, **settings)
    caplog.clear()
    resumed = Known(impl_class=Growing).fit(constant_rewards(), 5, resume=first.run_dir, **settings)
    assert resumed.history[-1]["value_diverged"] == 1.0
    assert not warnings_in(caplog)
    assert resumed.run_dir is not None
    with (resumed.run_dir / "metrics.csv").open() as file:
        assert [row["value_diverged"] for row in csv.DictReader(file)] == ["0.0", "1.0", "1.0", "1.0", "1.0"]


def test_low_values_and_nan_ring_too(monkeypatch: pytest.MonkeyPatch) -> None:
    algo = Known().build(constant_rewards())
    alarm = ValueAlarm(algo, constant_rewards())
    for estimate, expected in (
        (-7.1, 1.0),
        (-6.9, 0.0),
        (4.9, 0.0),
        (float("nan"), 1.0),
        (float("inf"), 1.0),
    ):
        monkeypatch.setattr(algo, "predict_value", lambda _, v=estimate: np.full(3, v))
        assert alarm.update([{"value_diverged": 1.0}], 1)["value_diverged"] == expected


def test_it_leaves_random_numbers_alone_and_looks_at_rows_all_over_the_data() -> None:
    data = two_episodes()
    algo = Known().build(data)
    before = algo.impl.random.state()
    # (1 + 2 + 3 + 5 + 6) / 5 + 10.
    assert ValueAlarm(algo, data).update([], 1)["value_estimate"] == pytest.approx(13.4)
    assert torch.equal(before, algo.impl.random.state())


def test_there_is_none_without_values(monkeypatch: pytest.MonkeyPatch) -> None:
    data = two_episodes()
    assert value_alarm(DiscreteBC().build(data), data, "warn") is None
    algo = Known().build(data)
    monkeypatch.setattr(Known, "is_stateful", True, raising=False)
    assert value_alarm(algo, data, "warn") is None


def test_an_impl_that_does_not_tell_its_values_trains_without_it() -> None:
    class Silent(KnownImpl):
        predict_value = KnownImpl.__mro__[1].predict_value  # type: ignore[attr-defined]  # Of Impl itself.

    algo = Known(impl_class=Silent).fit(constant_rewards(), 2, **SETTINGS)
    assert "value_estimate" not in algo.history[-1]


def test_a_sound_algorithm_rings_no_alarm(caplog: pytest.LogCaptureFixture) -> None:
    algo = DoubleDQN(encoder={"type": "mlp", "hidden_sizes": [8]}, seed=0).fit(two_episodes(), 50, **SETTINGS)
    assert not warnings_in(caplog)
    assert algo.history[-1]["value_diverged"] == 0.0
