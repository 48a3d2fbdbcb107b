"""Recordings by recipe: the rows of maze2d, what files say of themselves, and the name that reads them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from offlinekit.cli.main import main
from offlinekit.datasets import MDPDataset, get_dataset, record
from offlinekit.datasets.recording.maze_recording import goal_returns, walk
from offlinekit.datasets.recording.recipes import RECIPES, path_of
from offlinekit.datasets.recording.stand_in import spread
from offlinekit.datasets.sources import d4rl
from offlinekit.envs.mazes.maze2d import Maze2d

pytest.importorskip("mujoco")


@pytest.fixture(scope="module")
def maze(tmp_path_factory: pytest.TempPathFactory) -> MDPDataset:
    return record("maze2d-umaze", tmp_path_factory.mktemp("maze") / "u.h5", n_steps=6_000, score_episodes=10)


def test_rewards_are_those_of_the_rows_own_observations(maze: MDPDataset) -> None:
    near = np.linalg.norm(maze.observations[:, :2] - [1, 1], axis=1) <= 0.5
    np.testing.assert_array_equal(maze.rewards, near.astype(np.float32))
    assert 0.03 < near.mean() < 0.15  # 0.073 of a million rows.


def test_episodes_are_targets_of_one_walk(maze: MDPDataset) -> None:
    assert not maze.terminals.any()
    starts = np.array([episode.observations[0] for episode in maze])
    np.testing.assert_array_equal(maze.final_observations[:-1], starts[1:])
    assert 60 < maze.episode_lengths().mean() < 90  # 73 of a million rows.
    for episode in maze[:-1]:  # The last one is cut.
        targets = episode.extras["targets"]
        assert (targets == targets[0]).all()
        assert np.linalg.norm(episode.observations[-1, :2] - np.rint(targets[0])) < 0.1 + 1e-6


def test_rows_follow_from_one_another(maze: MDPDataset) -> None:
    env = Maze2d("umaze")
    env.reset(seed=0)
    for t in (0, 17, 1_000, 4_321):
        env.data.qpos[:], env.data.qvel[:] = np.split(maze.observations[t].astype(float), 2)
        env.data.qacc_warmstart[:] = 0
        np.testing.assert_allclose(env.step(maze.actions[t])[0], maze.observations[t + 1], atol=2e-3)


def test_a_seed_repeats_a_walk_and_another_does_not() -> None:
    walks = [walk(Maze2d("medium"), 500, seed) for seed in (3, 3, 4)]
    np.testing.assert_array_equal(walks[0].states, walks[1].states)
    assert not np.array_equal(walks[0].states, walks[2].states)


def test_a_target_out_of_reach_is_given_up_behind_the_horizon(monkeypatch: pytest.MonkeyPatch) -> None:
    env = Maze2d("umaze")
    env.maze = env.maze._replace(horizon=4)
    ends = np.flatnonzero(walk(env, 100, 0).ends)
    assert np.diff(ends).max() == 5  # As in D4RL's script, where a row is added before the count.


def test_the_controller_scores_as_measured() -> None:
    # 214.5 +- 5.4 over 100 episodes; D4RL's maximum is 161.86 of a slower one, the best known policy has 250.6.
    returns = goal_returns(Maze2d("umaze"), 40, 0)
    assert 190 < returns.mean() < 250


def test_a_file_says_how_it_was_recorded(maze: MDPDataset) -> None:
    facts = maze.metadata
    assert facts["recipe"].startswith("D4RL's maze2d: PD control")
    assert facts["stands_for"] == "maze2d-umaze-v1"
    assert (facts["recorded_seed"], facts["env_id"]) == (0, "offlinekit/Maze2d-umaze-v1")
    assert maze.reference_scores == (23.85, 161.86)
    assert {"mujoco", "gymnasium", "numpy", "offlinekit"} <= facts["versions"].keys()
    assert facts["behaviour_returns"]["episodes"] == facts["random_returns"]["episodes"] == 10
    assert facts["behaviour_returns"]["mean"] > 100 > facts["random_returns"]["mean"]


def test_spread_by_hand() -> None:
    # Mean of (1, 5) is 3, deviation sqrt(8), error sqrt(8) / sqrt(2) = 2.
    assert spread(np.array([1.0, 5.0])) == {"mean": 3.0, "standard_error": pytest.approx(2.0), "episodes": 2}
    assert spread(np.array([4.0])) == {"mean": 4.0, "standard_error": 0.0, "episodes": 1}


def policy_file(path: Path) -> Path:
    """Writes D4RL's file of a small policy of Hopper: 11 numbers in, 3 actions out."""
    rng = np.random.default_rng(0)
    shapes = {"fc0": (4, 11), "fc1": (4, 4), "last_fc": (3, 4), "last_fc_log_std": (3, 4)}
    with h5py.File(path, "w") as file:
        for name, shape in shapes.items():
            file[f"metadata/policy/{name}/weight"] = rng.normal(size=shape).astype(np.float32)
            file[f"metadata/policy/{name}/bias"] = np.zeros(shape[0], np.float32)
    return path


def test_a_level_is_recorded_with_the_policy_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFFLINEKIT_DATA", str(tmp_path / "data"))
    given = policy_file(tmp_path / "hopper_medium-v2.hdf5")
    recorded = record("hopper-medium", n_steps=60, score_episodes=2, policy_file=given)
    dataset, env = get_dataset("recorded/hopper-medium")
    assert env is not None
    np.testing.assert_array_equal(dataset.actions, recorded.actions)
    assert len(dataset) == 60
    assert dataset.behavior_log_probs is not None
    assert dataset.metadata["policy"] == "d4rl:hopper_medium-v2.hdf5"
    assert dataset.metadata["env_id"] == "Hopper-v4"
    assert dataset.reference_scores == (-20.272305, 3234.3)


def test_names_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFLINEKIT_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="record it by: offlinekit datasets record maze2d-large"):
        get_dataset("recorded/maze2d-large")
    with pytest.raises(ValueError, match="no recipe is named 'maze2d-lage'; did you mean 'maze2d-large'"):
        record("maze2d-lage")
    found = CliRunner().invoke(
        main, ["datasets", "record", "maze2d-large", "--steps", "300", "--score-episodes", "1"]
    )
    assert found.exit_code == 0, found.output
    assert f"Wrote {path_of('maze2d-large')}" in found.output
    dataset, env = get_dataset("recorded/maze2d-large")
    assert (dataset.name, len(dataset), env is None) == ("maze2d-large", 300, False)
    with pytest.raises(FileExistsError, match="is there already"):
        record("maze2d-large")
    wrong = CliRunner().invoke(main, ["datasets", "record", "maze2d-lage"])
    assert wrong.exit_code == 2
    assert "did you mean 'maze2d-large'" in wrong.output


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_recipes_say_what_they_stand_for(name: str) -> None:
    recipe = RECIPES[name]
    if recipe.env_id.startswith("ALE/"):
        assert (recipe.n_steps, "Tianshou" in recipe.stands_for) == (100_000, True)
    else:
        assert {"min", "max"} <= d4rl.table()[recipe.stands_for].keys()
        assert recipe.n_steps == 1_000_000
        assert name in recipe.stands_for
