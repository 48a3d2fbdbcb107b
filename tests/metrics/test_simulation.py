"""Rollouts in dynamics that are known, by hand: their actions, and where they stop."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Discrete, MultiDiscrete

from offlinekit.datasets import MDPDataset
from offlinekit.ground.action_spaces import joined_actions
from offlinekit.metrics.ope import estimate, simulation
from offlinekit.metrics.ope.model_gain import model_gain_of
from offlinekit.metrics.ope.simulation import simulated
from offlinekit.metrics.ope.target import TargetPolicy
from offlinekit.metrics.ope.weighted_estimate import baseline_of


class Paying:
    """Two models that pay the number of the action, in which nothing changes and nothing ends."""

    n_members = 2

    def sample_steps(self, observations: Any, actions: Any, rng: Any) -> Any:
        return observations, np.asarray(actions, np.float64), np.zeros(actions.shape, bool)


@pytest.mark.parametrize("start", [0, 1, 5])
def test_discrete_actions_are_those_of_the_dataset(start):
    data = MDPDataset(
        np.zeros((4, 1)), np.arange(4) % 3 + start, np.zeros(4), [0, 1, 0, 1],
        action_space=Discrete(3, start=start),
    )  # fmt: skip
    # The second of three actions is start + 1, in each of 2 steps: 1.5 (start + 1).
    policy: Any = lambda o: np.tile([0.0, 1.0, 0.0], (len(o), 1))  # noqa: E731
    found = simulated(Paying(), TargetPolicy(policy, data.action_space), data, 0.5)
    np.testing.assert_allclose(found.returns, 1.5 * (start + 1))
    report = estimate(policy, data, ["model_based"], gamma=0.5, dynamics=Paying())
    assert report["model_based"].value == pytest.approx(1.5 * (start + 1))


def test_several_discrete_actions_are_numbered_as_the_dataset_has_them():
    space = MultiDiscrete([2, 3], start=[1, 5])
    data = MDPDataset(
        np.zeros((2, 1)), np.array([[1, 5], [2, 7]]), np.zeros(2), np.ones(2), action_space=space
    )
    # (2, 6) is the second of 2 and the second of 3: number 1 * 3 + 1.
    chosen = int(joined_actions(np.array([[2, 6]]), data.action_space)[0])
    policy: Any = lambda o: np.tile(np.eye(6)[chosen], (len(o), 1))  # noqa: E731
    found = simulated(Paying(), TargetPolicy(policy, data.action_space), data, 0.5)
    np.testing.assert_allclose(found.returns, 4.0)


class Steady(Paying):
    """Two models that pay 1 a step."""

    def sample_steps(self, observations: Any, actions: Any, rng: Any) -> Any:
        return observations, np.ones(actions.shape), np.zeros(actions.shape, bool)


def recorded(cut: list[int], ended: list[int], **columns: Any) -> MDPDataset:
    """Episodes of so many steps that were cut, then some that ended; all take action 1 of 2 and earn 1 a step."""
    lengths = [*cut, *ended]
    last = np.zeros(sum(lengths), bool)
    last[np.cumsum(lengths) - 1] = True
    terminals = last & (np.arange(len(last)) >= sum(cut))
    return MDPDataset(
        np.zeros((len(last), 1)), np.ones(len(last), int), np.ones(len(last)), terminals,
        timeouts=last & ~terminals, action_space=Discrete(2), **columns,
    )  # fmt: skip


def second(observations: Any) -> Any:
    return np.tile([0.0, 1.0], (len(observations), 1))


def test_rollouts_stop_where_their_episodes_were_cut():
    data = recorded([1, 3], [])
    found = simulated(Steady(), TargetPolicy(second, data.action_space), data, 0.5)
    np.testing.assert_allclose(found.returns, [1.0, 1.75])  # 1, and 1 + 1/2 + 1/4.
    report = estimate(
        second, data, ["pdis", "model_based"], gamma=0.5, dynamics=Steady(), behaviour=np.zeros(4)
    )
    assert report["pdis"].value == report["model_based"].value == 1.375
    assert report["pdis"].estimand == report["model_based"].estimand == "to the cut"


def test_rollouts_of_episodes_that_ended_go_on_to_where_they_could_have_been_cut(monkeypatch):
    monkeypatch.setattr(simulation, "ROLLOUTS", 50_000)
    data = recorded([2, 4], [1, 2, 3])
    found = simulated(Steady(), TargetPolicy(second, data.action_space), data, 0.5)
    # Of three that went on to step 2 and did not end there one was cut, at step 4 the one that was left. So those that
    # ended after 1 and 2 steps stop at 2 in a third of the rollouts, else at 4: 1.5 / 3 + 1.875 * 2 / 3.
    np.testing.assert_allclose(
        found.returns, [1.5, 1.875, 1.75, 1.75, 1.875], atol=0.005
    )  # Standard error 0.0012.
    np.testing.assert_allclose(found.returns[[0, 1, 4]], [1.5, 1.875, 1.875])


def test_rollouts_without_cuts_are_as_long_as_the_longest_episode():
    data = recorded([], [1, 3])
    found = simulated(Steady(), TargetPolicy(second, data.action_space), data, 0.5)
    np.testing.assert_allclose(found.returns, [1.75, 1.75])


def fit_saying(value: float) -> Any:
    """Stands for a fit by which all actions are worth the same."""
    scaling = SimpleNamespace(reward=None)
    return SimpleNamespace(
        gamma=0.5, seed=0, scaling=scaling, predict_value=lambda _, a: np.full(len(a), value)
    )


def test_gains_in_dynamics_count_what_follows_the_cut_on_both_sides():
    data = recorded([1, 2], [], final_observations=np.zeros((2, 1)))
    target = TargetPolicy(second, data.action_space)
    # 1 a step for ever is worth 2. Recorded: 2, and 1 + 2 / 2. In the models: 1 + 2 / 2, and 1 + 1 / 2 + 2 / 4.
    baseline = baseline_of([fit_saying(2.0)], data)
    np.testing.assert_allclose(baseline, [2.0, 2.0])
    same = model_gain_of(Steady(), target, [fit_saying(2.0)], baseline, data)
    assert (same.gain, same.error) == (0.0, 0.0)
    # Each model takes a bootstrap of its own: 6 and 10, on average 8. 1 + 8 / 2 = 5, and 1.5 + 8 / 4 = 3.5.
    fits = [fit_saying(value) for value in (0.0, 6.0, 10.0)]
    found = model_gain_of(Steady(), target, fits, baseline, data)
    assert found.gain == 4.25 - 2.0
    assert found.error > 0


def test_gains_in_dynamics_count_to_cuts_behind_which_nothing_is_known():
    known = np.array([False, True, False])
    data = recorded([1, 2], [1], final_observations=np.zeros((3, 1)), final_known=known)
    target = TargetPolicy(second, data.action_space)
    # 1; 1 + 1 / 2 + 8 / 4. Behind half of the cuts something is known, so from the start of the one that ended it is
    # 1 + 0.5 * 8 / 2 = 3 to a cut after 1 step, as one of two had that did not end there, else 1.5 + 0.5 * 8 / 4 = 2.5.
    found = simulated(Steady(), target, data, 0.5, beyond=lambda o, _: np.full(len(o), 8.0))
    np.testing.assert_allclose(found.returns[:2], [1.0, 3.5])
    assert found.returns[2] == pytest.approx(2.75, abs=0.15)  # Standard error 0.25 / sqrt(68) = 0.03.
