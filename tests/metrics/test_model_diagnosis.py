"""What dynamics get right, by hand: errors of a step, calibration, errors ahead, and the figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box

from offlinekit.datasets import MDPDataset
from offlinekit.errors import DatasetError
from offlinekit.metrics.model_diagnosis import LEVELS, coverage_of, diagnose_model


class Shifted:
    """Two members that add the action and 0.5, or the action and -0.1; the reward is the action and 1 too much."""

    n_simulated = 2

    def check(self, dataset: Any) -> None:
        pass

    def predict_steps(self, observations: Any, actions: Any) -> Any:
        shifts = np.array([0.5, -0.1])[:, None, None]
        after = observations + actions + shifts
        rewards = np.broadcast_to(actions + 1.0, after.shape)
        means = np.concatenate([after, rewards], -1)
        return means, np.ones_like(means)


# Two episodes, 0 1 3 and 10 12, that were cut; what follows the last rows was not recorded.
OBSERVATIONS = np.array([[0.0], [1.0], [3.0], [10.0], [12.0]])
ACTIONS = np.array([[1.0], [2.0], [0.0], [2.0], [1.0]])
DATA = MDPDataset(
    OBSERVATIONS, ACTIONS, ACTIONS[:, 0], np.zeros(5), timeouts=[0, 0, 1, 0, 1], action_space=Box(-9, 9, (1,))
)


def test_errors_of_a_step_by_hand():
    found: Any = diagnose_model(Shifted(), DATA)  # type: ignore[arg-type]  # As much of dynamics as is read.
    # Rows 0, 1 and 3: the members' mean is 0.2 too high, the reward 1. Changes and rewards are (1, 2, 2): variance 2/9.
    assert found.names == ("observation 0", "reward")
    np.testing.assert_allclose(found.errors, [0.2, 1.0])
    np.testing.assert_allclose(found.explained, [1 - 0.04 * 4.5, 1 - 4.5])


def test_errors_ahead_by_hand():
    found: Any = diagnose_model(Shifted(), DATA)  # type: ignore[arg-type]
    # Only the first episode is 3 rows long, and what follows its last row is unknown: from 0 by actions 1 and 2 to 1
    # and 3. Members are off by 0.5 and -0.1, then 1 and -0.2; a model in which nothing changes by 1, then 3.
    size = OBSERVATIONS.std()
    np.testing.assert_allclose(found.growth, [np.sqrt(0.13) / size, np.sqrt(0.52) / size])
    np.testing.assert_allclose(found.standing, [1 / size, 3 / size])
    assert len(diagnose_model(Shifted(), DATA, horizon=1).growth) == 1  # type: ignore[arg-type]


def test_rows_without_an_order_are_looked_at_one_step_ahead():
    after = OBSERVATIONS + ACTIONS
    data = MDPDataset(
        OBSERVATIONS, ACTIONS, ACTIONS[:, 0], np.zeros(5), timeouts=np.ones(5), next_observations=after,
        action_space=Box(-9, 9, (1,)),
    )  # fmt: skip
    found: Any = diagnose_model(Shifted(), data)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.errors, [0.2, 1.0])
    np.testing.assert_allclose(found.growth, [np.sqrt(0.13) / OBSERVATIONS.std()])


def test_coverage_by_hand():
    # A standard normal: 0 is inside every central interval, 1 inside those of more than 68.3%.
    found = coverage_of(np.zeros((1, 2, 1)), np.ones((1, 2, 1)), np.array([[0.0], [1.0]]))
    np.testing.assert_allclose(found, [0.5 if level < 0.683 else 1.0 for level in LEVELS])
    # Between two members, each sure of itself: half of the mixture lies below.
    sure = coverage_of(np.array([[[-1.0]], [[1.0]]]), np.full((2, 1, 1), 1e-3), np.array([[0.0]]))
    np.testing.assert_allclose(sure, 1.0)
    far = coverage_of(np.zeros((1, 1, 1)), np.ones((1, 1, 1)), np.array([[9.0]]))
    np.testing.assert_allclose(far, 0.0)


def test_right_deviations_are_calibrated():
    rng = np.random.default_rng(0)
    stds = rng.uniform(0.1, 3.0, (1, 20_000, 1))
    outcomes = rng.normal(size=(20_000, 1)) * stds[0]
    np.testing.assert_allclose(coverage_of(np.zeros_like(stds), stds, outcomes), LEVELS, atol=0.015)
    assert coverage_of(np.zeros_like(stds), 0.5 * stds, outcomes)[4] < 0.3  # Too sure of themselves.


def test_the_figure_and_plain_data(tmp_path):
    found = diagnose_model(Shifted(), DATA)  # type: ignore[arg-type]
    assert found.plot(tmp_path / "model.png").read_bytes().startswith(b"\x89PNG")
    data = found.to_json()
    assert data["errors"]["reward"] == pytest.approx(1.0)
    assert data["calibration_error"] == pytest.approx(found.calibration_error)


def test_refusals():
    with pytest.raises(ValueError, match="n_rows and horizon must be at least 1, got 0 and 20"):
        diagnose_model(Shifted(), DATA, n_rows=0)  # type: ignore[arg-type]
    lone = MDPDataset(
        OBSERVATIONS, ACTIONS, ACTIONS[:, 0], np.zeros(5), timeouts=np.ones(5), action_space=Box(-9, 9, (1,))
    )
    with pytest.raises(DatasetError, match="no row of the dataset has a recorded next observation"):
        diagnose_model(Shifted(), lone)  # type: ignore[arg-type]
