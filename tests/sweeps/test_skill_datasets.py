"""Datasets of five skills from one online run."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest

from offlinekit.algos import SAC, DoubleDQN
from offlinekit.core.units import SampledPolicy
from offlinekit.datasets import MDPDataset
from offlinekit.errors import DatasetError
from offlinekit.sweeps.skill_datasets import LEVELS, Snapshot, choose_snapshots, record_levels, rounds_online


def test_medium_is_the_first_that_is_a_share_of_the_way_to_the_best() -> None:
    # From 10 to 70: a third of the way is 30, which round 2 is the first to reach.
    returns = [10.0, 29.0, 30.0, 70.0, 20.0, 60.0]
    snapshots = [Snapshot(Path(str(i)), value, i) for i, value in enumerate(returns)]
    medium, best = choose_snapshots(snapshots, 1 / 3)
    assert (medium.n_rows, best.n_rows) == (2, 3)
    assert choose_snapshots(snapshots[:1], 0.5) == (snapshots[0], snapshots[0])


def test_rounds_end_with_an_episode_and_the_first_makes_no_update() -> None:
    algo = DoubleDQN(seed=0, batch_size=8)
    rounds = rounds_online(
        algo, gymnasium.make("CartPole-v1"), rounds=3, steps=50, updates=4, eval_episodes=1
    )
    seen = [(step, algo.grad_step) for step, _ in rounds]
    assert algo.experience is not None
    assert {step for step, _ in seen} <= set(np.cumsum(algo.experience.episode_lengths()).tolist())
    # 4 updates in 50 steps, after the first 50 steps: floor(0.08 (step - 50)) of them; 12 of all 200 steps.
    assert [updates for _, updates in seen] == [int(0.08 * (step - 50)) for step, _ in seen]
    assert seen[-1] == (200, 12)
    assert 2 <= len(seen) <= 4


def test_levels_are_files(tmp_path: Path) -> None:
    env = gymnasium.make("CartPole-v1")
    algo = DoubleDQN(seed=0, batch_size=32, learning_rate=1e-3, n_step=5)
    settings = {"rounds": 2, "steps": 300, "updates": 300, "n_rows": 250, "eval_episodes": 3}
    files = record_levels(env, tmp_path, algo=algo, **settings)  # type: ignore[arg-type]
    assert list(files) == list(LEVELS)
    found = {level: MDPDataset.load(path) for level, path in files.items()}
    returns = {level: dataset.episode_returns().mean() for level, dataset in found.items()}
    assert returns["expert"] >= returns["medium"] > returns["random"]
    assert {level: len(found[level]) for level in ("random", "medium", "expert", "medium-expert")} == {
        "random": 250,
        "medium": 250,
        "expert": 250,
        "medium-expert": 500,
    }
    assert 300 <= len(found["medium-replay"]) < 900
    np.testing.assert_array_equal(found["medium-expert"].rewards[:250], found["medium"].rewards)
    assert found["expert"].behavior_log_probs.tolist() == [0.0] * 250
    assert found["medium"].metadata["algorithm"] == "DoubleDQN"
    before = files["expert"].read_bytes()
    again = DoubleDQN(seed=0, batch_size=32, learning_rate=1e-3, n_step=5)
    record_levels(env, tmp_path, algo=again, **settings)  # type: ignore[arg-type]
    assert files["expert"].read_bytes() == before
    other = DoubleDQN(seed=0, batch_size=32, learning_rate=1e-3, n_step=5)
    with pytest.raises(DatasetError, match=r"random\.h5 holds 250 rows of .*, expected 90 rows of"):
        record_levels(env, tmp_path, algo=other, **{**settings, "n_rows": 90})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"medium must be in \(0, 1\), got 1"):
        record_levels(env, tmp_path, medium=1)


def test_drawn_actions_have_densities_in_the_units_of_the_data() -> None:
    rng = np.random.default_rng(0)
    space = gymnasium.spaces.Box(-2, 2, (1,))
    data = MDPDataset(
        rng.normal(size=(9, 3)), rng.uniform(-2, 2, (9, 1)), np.ones(9), np.eye(9)[8], action_space=space
    )
    policy = SampledPolicy(SAC(seed=0).build(data))
    grid = np.linspace(-1.9999, 1.9999, 4001)
    densities = np.exp(policy.log_prob(np.zeros((4001, 3)), grid[:, None]))
    assert abs(densities.mean() * 4 - 1) < 0.01  # A density over [-2, 2] sums to 1.
    assert np.abs(policy.predict(data.observations)).max() <= 2
    discrete = MDPDataset(np.zeros((4, 2)), [0, 1, 0, 1], np.ones(4), np.eye(4)[3])
    assert not hasattr(SampledPolicy(DoubleDQN(seed=0).build(discrete)), "log_prob")
