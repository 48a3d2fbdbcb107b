"""Rollouts in dynamics that are known, by hand: their actions, and where they stop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Discrete, MultiDiscrete

from offlinekit.datasets import MDPDataset
from offlinekit.ground.action_spaces import joined_actions
from offlinekit.metrics.ope import estimate
from offlinekit.metrics.ope.simulation import simulated
from offlinekit.metrics.ope.target import TargetPolicy


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
