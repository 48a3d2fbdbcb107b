from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import h5py
import numpy as np
import pytest

from offlinekit.datasets import get_dataset
from offlinekit.errors import DatasetError, FileFormatError


def record(n_steps: int, mode: Any, n_envs: int = 2) -> tuple[dict[str, Any], Any]:
    """A loop over a real vector environment whose episodes last at most 7 steps."""
    options: dict[str, Any] = {"vectorization_mode": "sync", "vector_kwargs": {"autoreset_mode": mode}}
    envs = gymnasium.make_vec("CartPole-v1", n_envs, max_episode_steps=7, **options)
    envs.action_space.seed(0)
    names = ("observations", "actions", "rewards", "terminations", "truncations")
    rows: dict[str, list[Any]] = {name: [] for name in names}
    seen, _ = envs.reset(seed=0)
    for _ in range(n_steps):
        actions = envs.action_space.sample()
        after, *results, _ = envs.step(actions)
        for name, value in zip(names, (seen, actions, *results), strict=False):
            rows[name].append(value)
        seen = after
    envs.close()
    return {name: np.array(values) for name, values in rows.items()}, seen


def test_vector_environment_that_resets_with_the_next_step(tmp_path: Path) -> None:
    columns, after = record(20, gymnasium.vector.AutoresetMode.NEXT_STEP)
    path = tmp_path / "x.npz"
    np.savez(path, **{**columns, "observations": np.concatenate([columns["observations"], after[None]])})
    dataset, _ = get_dataset(path, autoreset="next_step", env_id="CartPole-v1")
    # Of 20 steps each 8th did nothing but begin an episode: 7 + 7 + 4 rows in each environment.
    assert dataset.episode_lengths().tolist() == [7, 7, 4, 7, 7, 4]
    assert (dataset.rewards == 1).all()
    assert dataset.final_known.all()
    assert not dataset.terminals.any()
    # CartPole moves by 0.02 s times the velocity, so the recorded next observations can be told from others.
    moved = dataset.observations[:, 0] + 0.02 * dataset.observations[:, 1]
    np.testing.assert_allclose(dataset.next_observations_at(np.arange(36))[:, 0], moved, atol=1e-6)
    with pytest.raises(DatasetError, match=r"a recording of 2 environments needs autoreset="):
        get_dataset(path)
    with pytest.raises(ValueError, match=r"autoreset must be one of .*got 'later'"):
        get_dataset(path, autoreset="later")


def test_vector_environment_that_resets_in_the_same_step(tmp_path: Path) -> None:
    columns, _ = record(16, gymnasium.vector.AutoresetMode.SAME_STEP)
    np.savez(tmp_path / "x.npz", **columns)
    dataset, _ = get_dataset(tmp_path / "x.npz", autoreset="same_step")
    assert dataset.episode_lengths().tolist() == [7, 7, 2, 7, 7, 2]
    assert not dataset.final_known.any()


def single(**changes: Any) -> dict[str, Any]:
    made = {
        "obs": np.arange(5.0)[:, None],
        "action": np.full((5, 1), 0.5),
        "reward": np.ones(5),
        "terminated": np.array([0, 1, 0, 0, 0]),
        "truncated": np.array([0, 1, 0, 1, 0]),
    }
    return {**made, **changes}


def test_one_environment(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **single())
    dataset, _ = get_dataset(tmp_path / "x.npz")
    assert dataset.episode_ends.tolist() == [2, 4, 5]
    assert np.flatnonzero(dataset.terminals).tolist() == [1]
    assert not dataset.final_known.any()
    np.savez(tmp_path / "x.npz", **single(next_obs=np.arange(5.0)[:, None] + 100))
    assert get_dataset(tmp_path / "x.npz")[0].next_observations is not None
    np.savez(tmp_path / "x.npz", **single(obs=np.arange(6.0)[:, None]))
    dataset, _ = get_dataset(tmp_path / "x.npz")
    assert dataset.final_known.tolist() == [False, False, True]
    assert dataset.final_observations[2, 0] == 5


def test_nested_observations_of_hdf5(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name, column in single().items():
            file[f"{name}/state" if name == "obs" else name] = column
    dataset, _ = get_dataset(tmp_path / "x.h5")
    assert dataset.observations["state"].shape == (5, 1)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    columns = single()
    del columns["truncated"]
    np.savez(tmp_path / "x.npz", **columns)
    with pytest.raises(FileFormatError, match=r"has no truncations; it has obs, action"):
        get_dataset(tmp_path / "x.npz", format="gymnasium")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name, column in single().items():
            file[name] = column
        del file["reward"]
        file["reward"] = h5py.SoftLink("/obs")
    with pytest.raises(FileFormatError, match=r"no reader recognises|SoftLink"):
        get_dataset(tmp_path / "x.h5")
