"""The policies that D4RL's files carry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from offlinekit.datasets import collect
from offlinekit.datasets.families.d4rl_policy import LAYERS, TanhGaussianPolicy
from offlinekit.errors import FileFormatError


def constant(mean: float, log_std: float) -> TanhGaussianPolicy:
    """One action dimension, whatever is observed."""
    zero, hidden = np.zeros((1, 2)), (np.zeros((2, 2)), np.zeros(2))
    weights = {"last_fc": (zero, np.array([mean])), "last_fc_log_std": (zero, np.array([log_std]))}
    return TanhGaussianPolicy({"fc0": hidden, "fc1": hidden, **weights})


def test_density_by_hand() -> None:
    # tanh(x) = 0.5 at x = 0.5493061; mean 0.25, std 2: z = 0.1496531.
    # log N = -0.5 z^2 - log 2 - 0.5 log(2 pi) = -0.0111980 - 0.6931472 - 0.9189385 = -1.6232837;
    # the slope of tanh is 1 - 0.25 = 0.75, log 0.75 = -0.2876821: -1.6232837 + 0.2876821 = -1.3356016.
    found = constant(0.25, np.log(2)).log_prob(np.zeros((1, 2)), np.array([[0.5]]))
    np.testing.assert_allclose(found, [-1.3356016], rtol=1e-6)


def test_the_deviation_is_bounded() -> None:
    seen, action = np.zeros((1, 2)), np.array([[0.5]])
    assert constant(0, 5).log_prob(seen, action) == constant(0, 2).log_prob(seen, action)
    assert constant(0, 1.9).log_prob(seen, action) != constant(0, 2).log_prob(seen, action)


def test_drawn_actions_have_the_densities_told() -> None:
    policy = constant(0.25, np.log(0.5))
    actions, log_probs = policy(np.zeros((4000, 2)))
    np.testing.assert_allclose(policy.log_prob(np.zeros((4000, 2)), actions), log_probs, atol=1e-4)
    raw = np.arctanh(actions.astype(np.float64))
    assert abs(raw.mean() - 0.25) < 0.04
    assert abs(raw.std() - 0.5) < 0.04
    policy.seed(0)
    np.testing.assert_array_equal(policy(np.zeros((4000, 2)))[0], actions)


def test_layers_are_relu() -> None:
    # Hidden: relu(o) = (2, 0), relu of its negative + 3 = (1, 3); mean 1 * 10 + 3 = 13 -> tanh = 1.
    weights = {
        "fc0": (np.eye(2), np.zeros(2)),
        "fc1": (-np.eye(2), np.full(2, 3.0)),
        "last_fc": (np.array([[0.1, 0.01]]), np.zeros(1)),
        "last_fc_log_std": (np.zeros((1, 2)), np.array([-30.0])),  # At least -20.
    }
    actions, _ = TanhGaussianPolicy(weights)(np.array([[2.0, -5.0]]))
    np.testing.assert_allclose(actions, np.tanh([[0.1 * 1 + 0.01 * 3]]), rtol=1e-6)


@pytest.mark.parametrize("name", ["hopper", "halfcheetah", "ant"])
def test_densities_are_those_that_d4rl_stored(real_data: Callable[[str], Path], name: str) -> None:
    path = real_data(f"d4rl/{name}_medium-v2.hdf5")
    with h5py.File(path) as file:
        found = TanhGaussianPolicy.from_d4rl(path).log_prob(file["observations"][()], file["actions"][()])
        assert np.median(np.abs(found - file["infos/action_log_probs"][()])) < 1e-5


def test_recorded_again_it_earns_what_d4rl_recorded(real_data: Callable[[str], Path]) -> None:
    pytest.importorskip("mujoco", reason="the mujoco extra is not installed")
    policy = TanhGaussianPolicy.from_d4rl(real_data("d4rl/hopper_medium-v2.hdf5"))
    dataset = collect(policy, "Hopper-v4", 6_000)
    assert 900 < dataset.episode_returns()[:-1].mean() < 1500
    found = policy.log_prob(dataset.observations, dataset.actions)
    assert np.median(np.abs(found - dataset.behavior_log_probs)) < 1e-4


def test_files_without_a_policy(tmp_path: Path) -> None:
    path = tmp_path / "x.hdf5"
    with h5py.File(path, "w") as file:
        file["rewards"] = np.zeros(3)
    with pytest.raises(FileFormatError, match="has no 'metadata', it holds rewards"):
        TanhGaussianPolicy.from_d4rl(path)
    with h5py.File(path, "a") as file:
        for name in LAYERS:
            file[f"metadata/policy/{name}/weight"] = np.zeros((2, 3))
            file[f"metadata/policy/{name}/bias"] = np.zeros(2)
    with pytest.raises(
        FileFormatError, match=r"layer 'fc1' of shapes \[2, 3\] and \[2\], expected \[outputs, 2\]"
    ):
        TanhGaussianPolicy.from_d4rl(path)
