"""Scalers: the numbers by hand, the way back, JSON, errors."""

from __future__ import annotations

import json

import numpy as np
import pytest
from gymnasium import spaces

from offlinekit.datasets import MDPDataset
from offlinekit.sampling.scalers import (
    ClipRewardScaler,
    ConstantShiftRewardScaler,
    MinMaxRewardScaler,
    MultiplyRewardScaler,
    ReturnBasedRewardScaler,
    Scaling,
    StandardObservationScaler,
    StandardRewardScaler,
    resolve_scaler,
)


def dataset(observations=None, actions=None, rewards=(0.0, 2.0, 1.0, 5.0), action_space=None):
    n = len(rewards)
    return MDPDataset(
        np.zeros((n, 1)) if observations is None else observations,
        np.zeros(n, np.int64) if actions is None else actions,
        np.array(rewards),
        np.array([0, 1] * (n // 2)),
        action_space=action_space,
    )


def test_standard_observations():
    # Column (0, 2, 4, 6): mean 3, std sqrt((9 + 1 + 1 + 9) / 4) = sqrt(5).  A constant column divides by eps.
    data = dataset(np.array([[0.0, 7], [2, 7], [4, 7], [6, 7]]))
    scaling = Scaling.fit(data, StandardObservationScaler(eps=0.5), None, None)
    scaled = scaling.observations(data.observations)
    np.testing.assert_allclose(scaled[:, 0], (np.array([0, 2, 4, 6]) - 3) / (np.sqrt(5) + 0.5), rtol=1e-6)
    np.testing.assert_array_equal(scaled[:, 1], 0)
    assert scaled.dtype == np.float32


def test_moments_of_many_rows_are_summed_in_parts(monkeypatch):
    monkeypatch.setattr("offlinekit.sampling.scalers.ROWS_AT_ONCE", 3)
    values = np.random.default_rng(0).normal(5.0, 2.0, size=(100, 2, 2)).astype(np.float32)
    data = MDPDataset(values, np.zeros(100, np.int64), np.zeros(100), np.zeros(100))
    affine = StandardObservationScaler(eps=0.0).fit(data)
    np.testing.assert_allclose(affine.shift, values.astype(np.float64).mean(0), rtol=1e-12)
    np.testing.assert_allclose(affine.scale, values.astype(np.float64).std(0), rtol=1e-12)


def test_minmax_observations():
    data = dataset(np.array([[0.0], [2], [4], [8]]))
    scaling = Scaling.fit(data, "minmax", None, None)
    np.testing.assert_allclose(scaling.observations(data.observations)[:, 0], [-1, -0.5, 0, 1])


def test_images_are_left_to_the_network_and_trees_keep_their_shape():
    tree = {"image": np.full((4, 3, 8, 8), 9, np.uint8), "pair": (np.array([[0.0], [2], [4], [6]]),)}
    scaling = Scaling.fit(dataset(tree), "standard", None, None)
    scaled = scaling.observations(tree)
    assert scaled["image"].dtype == np.uint8
    assert float(scaled["pair"][0].sum()) == pytest.approx(0.0, abs=1e-6)
    again = Scaling.from_json(json.loads(json.dumps(scaling.to_json())))
    np.testing.assert_array_equal(again.observations(tree)["pair"][0], scaled["pair"][0])


def test_actions_by_the_bounds_of_the_space():
    actions = np.array([[0.0], [1], [2], [1]], np.float32)
    data = dataset(actions=actions, action_space=spaces.Box(-2.0, 6.0, (1,)))
    affine = Scaling.fit(data, None, "minmax", None).action
    np.testing.assert_allclose(affine.transform(actions)[:, 0], [-0.5, -0.25, 0, -0.25])
    np.testing.assert_allclose(affine.inverse(affine.transform(actions)), actions, atol=1e-6)


def test_actions_by_the_data_where_the_space_has_no_bounds_and_a_constant_one():
    actions = np.array([[0.0, 3], [1, 3], [4, 3], [1, 3]], np.float32)
    affine = Scaling.fit(dataset(actions=actions), None, "minmax", None).action
    np.testing.assert_allclose(affine.transform(actions), [[-1, 0], [-0.5, 0], [1, 0], [-0.5, 0]])
    np.testing.assert_allclose(affine.inverse(np.array([[1.0, 0.0]])), [[4.0, 3.0]])


@pytest.mark.parametrize(
    ("scaler", "expected"),
    [
        # Rewards (0, 2, 1, 5): mean 2, std sqrt((4 + 0 + 1 + 9) / 4) = sqrt(3.5).
        (StandardRewardScaler(eps=0.0), (np.array([0, 2, 1, 5]) - 2) / np.sqrt(3.5)),
        (MinMaxRewardScaler(multiplier=10.0), [0, 4, 2, 10]),
        # Returns 2 and 6, spread 4: times 1000 / 4.
        (ReturnBasedRewardScaler(multiplier=1000.0), [0, 500, 250, 1250]),
        (ConstantShiftRewardScaler(shift=-1.0), [-1, 1, 0, 4]),
        (ConstantShiftRewardScaler(shift=-0.5, multiplier=10.0), [-5, 15, 5, 45]),
        (MultiplyRewardScaler(multiplier=3.0), [0, 6, 3, 15]),
        (ClipRewardScaler(low=0.5, high=2.0), [0.5, 2, 1, 2]),
    ],
)
def test_rewards(scaler, expected):
    data = dataset()
    affine = Scaling.fit(data, None, None, scaler).reward
    np.testing.assert_allclose(affine.transform(data.rewards), expected, rtol=1e-6)
    again = Scaling.from_json(json.loads(json.dumps(Scaling(reward=affine).to_json()))).reward
    np.testing.assert_array_equal(again.transform(data.rewards), affine.transform(data.rewards))


def test_constant_rewards_and_returns_do_not_divide_by_zero():
    data = dataset(rewards=(1.0, 1.0, 1.0, 1.0))
    for name in ("standard", "minmax", "return"):
        affine = Scaling.fit(data, None, None, name).reward
        assert np.isfinite(affine.transform(data.rewards)).all()


def test_names_dicts_and_scalers_mean_the_same():
    scaler = StandardObservationScaler(eps=0.1)
    assert resolve_scaler(scaler.to_json(), "observation") == scaler
    assert resolve_scaler("standard", "observation") == StandardObservationScaler()
    assert resolve_scaler(None, "reward") is None


@pytest.mark.parametrize(
    ("scaler", "kind", "message"),
    [
        ("standart", "observation", "did you mean 'standard'"),
        (StandardObservationScaler(), "reward", "reward_scaler must scale rewards"),
        ({"type": "clip", "lo": 1}, "reward", "does not take"),
        ("", "action", "must be None or one of"),
    ],
)
def test_errors(scaler, kind, message):
    with pytest.raises(ValueError, match=message):
        resolve_scaler(scaler, kind)


def test_multiplier_of_zero():
    with pytest.raises(ValueError, match="must not be 0"):
        MultiplyRewardScaler(multiplier=0.0).fit(dataset())
