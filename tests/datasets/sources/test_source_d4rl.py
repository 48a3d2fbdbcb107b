from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
from gymnasium import spaces

from offlinekit.datasets import MDPDataset, get_dataset, make_env
from offlinekit.datasets.families.d4rl_alignment import cut_at_limit
from offlinekit.datasets.families.d4rl_facts import KnownFaultWarning
from offlinekit.datasets.sources import d4rl
from offlinekit.envs.made_env import MadeEnv
from offlinekit.errors import DatasetError, DownloadError, FileFormatError, MissingExtraError

RealData = Callable[[str], Path]
FILES = [
    *(f"{task}_medium.hdf5" for task in ("ant", "halfcheetah", "hopper")),
    *(f"{task}_random-v1.hdf5" for task in ("ant", "halfcheetah", "hopper")),
    *(f"{task}_medium_replay-v1.hdf5" for task in ("ant", "halfcheetah", "hopper")),
    *(f"{task}_medium-v2.hdf5" for task in ("ant", "halfcheetah", "hopper")),
    *(
        f"{t}-{kind}-v{v}.hdf5"
        for t in ("door", "hammer", "pen")
        for kind in ("human", "cloned", "expert")
        for v in (0, 1)
    ),
    "antmaze-medium-diverse-v0.hdf5",
    "antmaze-medium-play-v0.hdf5",
]


def qlearning(columns: dict[str, Any], limit: int | None = None) -> dict[str, Any]:
    """The transitions that D4RL hands to Q-learning, told as a plain loop over the rows of its file."""
    out: dict[str, list[Any]] = {name: [] for name in ("obs", "next", "act", "rew", "done")}
    steps = 0
    for i in range(len(columns["rewards"]) - 1):
        is_full = steps == limit - 1 if limit else bool(columns["timeouts"][i])
        if is_full:
            steps = 0
            continue
        if columns["terminals"][i]:
            steps = 0
        out["obs"].append(columns["observations"][i])
        out["next"].append(columns["observations"][i + 1])
        out["act"].append(columns["actions"][i])
        out["rew"].append(columns["rewards"][i])
        out["done"].append(bool(columns["terminals"][i]))
        steps += 1
    return {name: np.array(values) for name, values in out.items()}


def transitions_of(dataset: MDPDataset) -> dict[str, Any]:
    return {
        "obs": dataset.observations,
        "next": dataset.next_observations_at(np.arange(len(dataset))),
        "act": dataset.actions,
        "rew": dataset.rewards,
        "done": dataset.terminals,
    }


def dataset_of(read: Any) -> MDPDataset:
    """Builds what the reader gives: columns, or a pair of them and an environment."""
    return MDPDataset(**(read[0] if isinstance(read, tuple) else read))


def columns_of(path: Path) -> dict[str, Any]:
    with h5py.File(path) as file:
        return {key: file[key][()].squeeze() for key in file if key not in ("infos", "metadata")}


def assert_transitions(dataset: MDPDataset, expected: dict[str, Any]) -> None:
    for name, values in transitions_of(dataset).items():
        np.testing.assert_array_equal(values, expected[name].astype(values.dtype), err_msg=name)


@pytest.mark.filterwarnings("ignore::offlinekit.envs.environments.MissingExtraWarning")
@pytest.mark.filterwarnings("ignore::offlinekit.datasets.families.d4rl_facts.KnownFaultWarning")
@pytest.mark.filterwarnings("ignore:terminals are set on two rows running")  # antmaze-medium-diverse-v0.
@pytest.mark.parametrize("name", FILES)
def test_every_recorded_file_keeps_all_or_is_d4rl_exactly(real_data: RealData, name: str) -> None:
    path = real_data(f"d4rl/{name}")
    columns = columns_of(path)
    everything = MDPDataset(**d4rl.build(columns, d4rl.name_of(path)))
    assert len(everything) == len(columns["rewards"])
    assert everything.reference_scores is not None
    np.testing.assert_array_equal(everything.terminals, columns["terminals"].astype(bool))
    last = columns["terminals"].astype(bool) | columns["timeouts"].astype(bool)
    np.testing.assert_array_equal(np.flatnonzero(last) + 1, everything.episode_ends)
    assert everything.next_observations is None  # Where a file has them they repeat the row below.
    assert everything.final_known.all() == ("next_observations" in columns)
    dataset = dataset_of(d4rl.read(path, transitions="d4rl"))
    assert_transitions(dataset, qlearning(columns))
    assert dataset.final_known.all()
    assert dataset.action_space == spaces.Box(-1, 1, (columns["actions"].shape[1],), np.float32)


@pytest.mark.parametrize(
    ("name", "rows", "mean", "env_id"),
    [
        ("hopper_medium-v2", 911, 1439, "Hopper-v4"),
        ("halfcheetah_medium-v2", 2000, 4774.8, "HalfCheetah-v4"),
        ("ant_medium-v2", 2000, 3769, "Ant-v4"),
    ],
)
def test_facts_of_the_medium_files(
    real_data: RealData, name: str, rows: int, mean: float, env_id: str
) -> None:
    pytest.importorskip("mujoco")
    dataset, env = get_dataset(real_data(f"d4rl/{name}.hdf5"))
    assert (len(dataset), dataset.name) == (rows, name.replace("_", "-"))
    assert dataset.episode_returns().mean() == pytest.approx(mean, abs=0.5)
    assert env is not None
    assert env.spec is not None
    assert env.spec.id == env_id
    assert env.reset(seed=0)[0].shape == dataset.observations.shape[1:]


FACTS = {
    "ant_medium": (2000, 2, 0, 3367.09),
    "ant_medium-v2": (2000, 2, 0, 3768.68),
    "ant_medium_replay-v1": (70, 2, 2, -42.81),
    "ant_random-v1": (366, 2, 2, -116.73),
    "halfcheetah_medium": (1898, 2, 1, 3986.30),
    "halfcheetah_medium-v2": (2000, 2, 0, 4774.75),
    "halfcheetah_medium_replay-v1": (2000, 2, 0, -304.30),
    "halfcheetah_random-v1": (2000, 2, 0, -299.68),
    "hopper_medium": (524, 2, 2, 860.02),
    "hopper_medium-v2": (911, 2, 2, 1438.96),
    "hopper_medium_replay-v1": (49, 2, 2, 24.13),
    "hopper_random-v1": (50, 2, 2, 24.24),
    "antmaze-medium-diverse-v0": (67, 3, 3, 1.0),
    "antmaze-medium-play-v0": (1998, 2, 0, 0.0),
    "door-human-v0": (300, 2, 1, 260.21),
    "door-human-v1": (600, 2, 0, 375.29),
    "door-cloned-v0": (300, 2, 1, 260.21),
    "door-cloned-v1": (400, 2, 0, -62.38),
    "door-expert-v0": (400, 2, 0, 3028.27),
    "door-expert-v1": (400, 2, 0, 3029.25),
    "hammer-human-v0": (400, 2, 0, 1085.04),
    "hammer-human-v1": (936, 2, 0, 4140.51),
    "hammer-cloned-v0": (400, 2, 0, 1085.04),
    "hammer-cloned-v1": (400, 2, 0, -175.07),
    "hammer-expert-v0": (400, 2, 0, 13429.24),
    "hammer-expert-v1": (400, 2, 0, 6327.11),
    "pen-human-v0": (200, 2, 0, 188.59),
    "pen-human-v1": (400, 2, 0, 5113.22),
    "pen-cloned-v0": (200, 2, 0, 188.59),
    "pen-cloned-v1": (200, 2, 0, 1413.69),
    "pen-expert-v0": (200, 2, 0, 3423.60),
    "pen-expert-v1": (200, 2, 0, 1402.62),
}
"""Of each recorded file: rows, episodes, terminals, mean return."""


@pytest.mark.filterwarnings("ignore::offlinekit.envs.environments.MissingExtraWarning")
@pytest.mark.filterwarnings("ignore::offlinekit.datasets.families.d4rl_facts.KnownFaultWarning")
@pytest.mark.filterwarnings("ignore:terminals are set on two rows running")  # antmaze-medium-diverse-v0.
@pytest.mark.parametrize("name", FACTS)
def test_facts_of_every_file(real_data: RealData, name: str) -> None:
    path = real_data(f"d4rl/{name}.hdf5")
    dataset = dataset_of(d4rl.read(path))
    found = (len(dataset), dataset.n_episodes, int(dataset.terminals.sum()))
    assert found == FACTS[name][:3]
    assert dataset.episode_returns().mean() == pytest.approx(FACTS[name][3], abs=0.02)
    has_log_probs = name[-2:] in ("v1", "v2") and name.split("_")[0] in ("ant", "hopper", "halfcheetah")
    assert (dataset.behavior_log_probs is not None) == has_log_probs


def test_facts_are_told_of_every_file() -> None:
    assert sorted(f"{name}.hdf5" for name in FACTS) == sorted(FILES)


@pytest.mark.filterwarnings("ignore::offlinekit.envs.environments.MissingExtraWarning")
@pytest.mark.parametrize("task", ["ant", "halfcheetah", "hopper"])
def test_log_probs_are_of_the_policy_that_the_file_carries(real_data: RealData, task: str) -> None:
    path = real_data(f"d4rl/{task}_medium-v2.hdf5")
    dataset = dataset_of(d4rl.read(path))
    with h5py.File(path) as file:
        layers = {
            k: {n: v[()] for n, v in g.items()}
            for k, g in file["metadata/policy"].items()
            if hasattr(g, "items")
        }
    hidden = dataset.observations.astype(np.float64)
    for layer in ("fc0", "fc1"):
        hidden = np.maximum(hidden @ layers[layer]["weight"].T + layers[layer]["bias"], 0)
    mean, log_std = (
        hidden @ layers[layer]["weight"].T + layers[layer]["bias"] for layer in ("last_fc", "last_fc_log_std")
    )
    log_std = np.clip(log_std, -20, 2)
    raw = np.arctanh(np.clip(dataset.actions.astype(np.float64), -1 + 1e-7, 1 - 1e-7))
    gaussian = -0.5 * ((raw - mean) / np.exp(log_std)) ** 2 - log_std - 0.5 * np.log(2 * np.pi)
    expected = (gaussian - np.log(1 - dataset.actions.astype(np.float64) ** 2 + 1e-6)).sum(axis=1)
    assert dataset.behavior_log_probs is not None
    assert np.median(np.abs(dataset.behavior_log_probs - expected)) <= 1e-4


def test_infos_are_kept_where_asked(real_data: RealData) -> None:
    pytest.importorskip("mujoco")
    path = real_data("d4rl/hopper_medium-v2.hdf5")
    dataset, _ = get_dataset(path, infos=["qpos"], transitions="d4rl")
    with h5py.File(path) as file:
        np.testing.assert_array_equal(dataset.extras["infos/qpos"], file["infos/qpos"][:-1])
    with pytest.raises(FileFormatError, match=r"has no 'gaol'"):
        get_dataset(path, infos=["gaol"])


def test_known_faults_are_told_until_mended(real_data: RealData, tmp_path: Path) -> None:
    path = real_data("d4rl/antmaze-medium-play-v0.hdf5")
    with pytest.warns(KnownFaultWarning, match=r"timeouts are out of step .*step_limit=1001"):
        get_dataset(path)
    dataset, _ = get_dataset(path, step_limit=1001)
    place = dataset.observations[:, :2]
    assert dataset.episode_ends.tolist() == [1001, 1998]
    assert np.linalg.norm(place[1001] - place[1000]) > 8  # There the maze was reset; elsewhere the ant walks.
    assert np.linalg.norm(np.diff(place, axis=0), axis=1)[np.arange(1997) != 1000].max() < 1
    maze = write(tmp_path / "maze2d-umaze-v1.hdf5", **flat())
    with pytest.warns(KnownFaultWarning, match=r"state before its action; alignment='RSA'"):
        get_dataset(maze)
    get_dataset(maze, alignment="RSA")


def test_a_right_file_is_not_called_wrong(tmp_path: Path) -> None:
    # Two walks of 300 rows, steps of 0.02: from (0, 0) to (6, 6), and again from (0, 0).
    step = np.arange(600) % 300
    walk = np.stack([step, step], axis=1) / 50
    columns = {
        "observations": np.concatenate([walk, np.random.default_rng(0).normal(size=(600, 2))], axis=1),
        "actions": np.random.default_rng(1).uniform(-1, 1, (600, 2)),
        "rewards": np.zeros(600),
        "terminals": np.zeros(600, bool),
    }
    right = write(tmp_path / "antmaze-umaze-v0.hdf5", **columns, timeouts=step == 299)
    assert get_dataset(right)[0].n_episodes == 2
    early = write(tmp_path / "antmaze-large-play-v0.hdf5", **columns, timeouts=step == 297)
    with pytest.warns(KnownFaultWarning, match="timeouts are out of step"):
        get_dataset(early)


def test_rewards_before_states(tmp_path: Path) -> None:
    columns = flat(terminals=[0, 0, 1, 0, 0, 0, 0, 0], timeouts=[0, 0, 0, 0, 0, 1, 0, 0])
    dataset, _ = get_dataset(write(tmp_path / "x.hdf5", **columns), alignment="RSA")
    # Episodes are rows 0-2, 3-5 and 6-7: the last row of each is only what followed the one before it.
    assert dataset.observations[:, 0].tolist() == [0, 2, 6, 8, 12]
    assert dataset.rewards.tolist() == [1, 2, 4, 5, 7]
    assert np.flatnonzero(dataset.terminals).tolist() == [1]
    assert dataset.episode_ends.tolist() == [2, 4, 5]
    assert dataset.final_observations[:, 0].tolist() == [4, 10, 14]
    with pytest.raises(ValueError, match="alignment='RSA' goes with transitions='all'"):
        get_dataset(tmp_path / "x.hdf5", alignment="RSA", transitions="d4rl")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Returns of the episodes are 0 + 1 + 2 + 3 = 6 and 4 + 5 + 6 + 7 = 22: 1000 / 16 = 62.5.
        ("iql", lambda r: 62.5 * r),
        ("r-1", lambda r: r - 1),
        ("10r-5", lambda r: 10 * r - 5),
        ("4(r-.5)", lambda r: 4 * r - 2),
        ("100r", lambda r: 100 * r),
    ],
)
def test_reward_transforms(tmp_path: Path, name: str, expected: Callable[[Any], Any]) -> None:
    path = write(tmp_path / "x.hdf5", **flat(timeouts=[0, 0, 0, 1, 0, 0, 0, 1]))
    dataset, _ = get_dataset(path, reward_transform=name, dataset="kitchen-mixed-v0")
    assert dataset.rewards.tolist() == expected(np.arange(8.0)).tolist()
    assert dataset.rewards.dtype == np.float32
    assert dataset.metadata["reward_transform"] == name
    assert get_dataset(path)[0].rewards.tolist() == list(range(8))


def test_reward_transforms_that_cannot_be(tmp_path: Path) -> None:
    path = write(tmp_path / "x.hdf5", **flat())
    with pytest.raises(DatasetError, match="'iql' divides by the range of the episodes' returns"):
        get_dataset(path, reward_transform="iql")
    with pytest.raises(ValueError, match="reward_transform must be 'iql', 'r-1', '10r-5'"):
        get_dataset(path, reward_transform="r+1")


def test_ant_has_the_contact_forces_of_the_data(real_data: RealData) -> None:
    pytest.importorskip("mujoco")
    dataset, env = get_dataset(real_data("d4rl/ant_medium-v2.hdf5"))
    assert isinstance(env, MadeEnv)
    for each in (env, env.again()):
        assert each is not None
        seen = steps_of(each)
        assert seen.shape == (30, 111)
        assert not seen[:, 27:].any()
    assert not dataset.observations[:, 27:].any()
    dataset, env = get_dataset(real_data("d4rl/ant_medium.hdf5"))  # Of v0, recorded with forces.
    assert env is not None
    assert steps_of(env)[:, 27:].any()
    assert dataset.observations[:, 27:].any()


def steps_of(env: Any) -> Any:
    env.reset(seed=0)
    return np.stack([env.step(np.zeros(8))[0] for _ in range(30)])


def test_by_name_in_the_usual_folder(real_data: RealData, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mujoco")
    monkeypatch.setenv("OFFLINEKIT_DATA", str(real_data("d4rl").parent))
    dataset, env = get_dataset("hopper-medium-v2", transitions="d4rl")
    assert len(dataset) == 910  # No timeout in it: all but the last row.
    assert env is not None
    # 100 * (1439 + 20.272305) / (3234.3 + 20.272305) = 44.837...
    assert dataset.normalized_score(1439.0) == pytest.approx(44.8376, abs=1e-3)


def test_table_of_names() -> None:
    table = d4rl.table()
    assert len(table) == 155
    assert sum("min" in row for row in table.values()) == 147
    assert all(
        row["url"].startswith("http://rail.eecs.berkeley.edu/datasets/offline_rl/") for row in table.values()
    )
    scores = {
        "halfcheetah-medium-v2": (-280.178953, 12135.0),
        "hopper-full-replay-v1": (-20.272305, 3234.3),
        "walker2d-expert-v0": (1.629008, 4592.3),
        "ant-random-v2": (-325.6, 3879.7),
        "pen-human-v1": (96.262799, 3076.8331017826877),
        "relocate-cloned-v0": (-6.425911, 4233.877797728884),
        "antmaze-umaze-v2": (0.0, 1.0),
        "kitchen-mixed-v0": (0.0, 4.0),
    }
    for name, (low, high) in scores.items():
        assert (table[name]["min"], table[name]["max"]) == (low, high)


def write(path: Path, **columns: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name] = values
    return path


def flat(n: int = 8, **options: Any) -> dict[str, Any]:
    return {
        "observations": np.arange(n * 2, dtype=np.float64).reshape(n, 2),
        "actions": np.linspace(-1, 1, n)[:, None],
        "rewards": np.arange(n, dtype=np.float64)[:, None],
        "terminals": np.zeros(n),
        **options,
    }


def test_final_observations_come_from_the_column(tmp_path: Path) -> None:
    columns = flat(terminals=[0, 0, 0, 1, 0, 0, 0, 0], timeouts=[0, 0, 0, 0, 0, 0, 0, 1])
    following = columns["observations"] + 2
    following[[3, 7]] = [[100, 101], [200, 201]]
    dataset, env = get_dataset(write(tmp_path / "x.hdf5", **columns, next_observations=following))
    assert env is None
    assert dataset.final_observations.tolist() == [[100, 101], [200, 201]]
    assert dataset.reference_scores is None
    assert dataset.action_space == spaces.Box(-np.inf, np.inf, (1,), np.float32)


def test_transitions_of_d4rl_where_a_row_is_terminal_and_timeout(tmp_path: Path) -> None:
    columns = flat(terminals=[0, 1, 0, 1, 0, 0, 0, 0], timeouts=[0, 1, 0, 0, 1, 0, 0, 0])
    dataset, _ = get_dataset(write(tmp_path / "x.hdf5", **columns), transitions="d4rl")
    assert_transitions(dataset, qlearning({**columns, "rewards": columns["rewards"][:, 0]}))
    assert dataset.rewards.tolist() == [0, 2, 3, 5, 6]
    assert dataset.episode_lengths().tolist() == [1, 2, 2]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 50])
def test_step_limit_counts_as_d4rl_does(limit: int) -> None:
    generator = np.random.default_rng(limit)
    columns = flat(60, terminals=generator.random(60) < 0.2)
    columns["rewards"] = columns["rewards"][:, 0]
    expected = qlearning(columns, limit)
    if len(expected["rew"]) == 0:
        with pytest.raises(DatasetError, match="leaves no transition"):
            d4rl.build(columns, None, transitions="d4rl", step_limit=limit)
        return
    assert_transitions(
        MDPDataset(**d4rl.build(columns, None, transitions="d4rl", step_limit=limit)), expected
    )


def test_step_limit_cuts_whole_episodes(tmp_path: Path) -> None:
    path = write(tmp_path / "x.hdf5", **flat(10, terminals=[0, 0, 0, 0, 1, 0, 0, 1, 0, 0]))
    dataset, _ = get_dataset(path, step_limit=3)
    assert dataset.episode_lengths().tolist() == [3, 2, 3, 2]
    assert dataset.terminals.sum() == 2
    assert cut_at_limit(np.zeros(7, bool), 3).tolist() == [0, 0, 1, 0, 0, 1, 0]
    with pytest.raises(ValueError, match="step_limit must be at least 1, got 0"):
        get_dataset(path, step_limit=0)


def test_options_are_checked(tmp_path: Path) -> None:
    path = write(tmp_path / "x.hdf5", **flat())
    with pytest.raises(DatasetError, match=r"the file has no timeouts; .* needs step_limit="):
        get_dataset(path, transitions="d4rl")
    with pytest.raises(ValueError, match="transitions must be 'all', 'd4rl', got 'q'"):
        get_dataset(path, transitions="q")
    with pytest.raises(ValueError, match="dataset must be one of 155 names of D4RL, got 'hopper'"):
        get_dataset(path, dataset="hopper")
    with pytest.raises(ValueError, match="source must be 'file', 'd4rl', got 'web'"):
        get_dataset("hopper-medium-v2", source="web")
    named, _ = get_dataset(path, dataset="kitchen-mixed-v0")
    assert named.reference_scores == (0.0, 4.0)
    assert named.action_space == spaces.Box(-1, 1, (1,), np.float32)


def test_actions_a_little_outside(tmp_path: Path) -> None:
    path = write(tmp_path / "kitchen-mixed-v0.hdf5", **flat(actions=np.linspace(-1.001, 1, 8)[:, None]))
    with pytest.raises(DatasetError, match=r"got \[-1.0010.*\] at row 0, in episode 0; .*clip_actions=True"):
        get_dataset(path)
    dataset, _ = get_dataset(path, clip_actions=True)
    assert dataset.actions[0, 0] == -1


def test_files_without_the_columns(tmp_path: Path) -> None:
    columns = flat()
    del columns["rewards"]
    path = write(tmp_path / "x.hdf5", **columns)
    with pytest.raises(FileFormatError, match="no reader recognises"):
        get_dataset(path)
    with pytest.raises(FileFormatError, match="has no 'rewards', it holds actions, observations, terminals"):
        get_dataset(path, format="d4rl")


@pytest.mark.parametrize("options", [{}, {"transitions": "d4rl"}, {"alignment": "RSA"}, {"step_limit": 3}])
def test_columns_of_differing_length(tmp_path: Path, options: dict[str, Any]) -> None:
    columns = flat(timeouts=np.zeros(8), next_observations=np.zeros((8, 2)))
    for name in ("timeouts", "terminals", "observations", "actions"):
        path = write(tmp_path / "x.hdf5", **{**columns, name: columns[name][:-1]})
        with pytest.raises(DatasetError, match=rf"{name} has 7 rows, expected 8"):
            get_dataset(path, **options)
    path = write(tmp_path / "x.hdf5", **{**columns, "rewards": 1.0})
    with pytest.raises(DatasetError, match=r"rewards must have shape \[N\]"):
        get_dataset(path, **options)


def test_what_cannot_be_fetched_says_where_to_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFLINEKIT_DATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setitem(d4rl.table(), "hopper-medium-v2", {"url": "ftp://example.invalid/h.hdf5"})
    with pytest.raises(
        DownloadError,
        match="ftp://example.invalid/h.hdf5 could not be fetched: only http and https are fetched, .* "
        f"put it at {tmp_path}/d4rl/h.hdf5",
    ):
        get_dataset("hopper-medium-v2")


def test_the_package_d4rl_may_be_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingExtraError, match=r"needs the module 'd4rl'.*pip install 'offlinekit\[d4rl\]'"):
        get_dataset("kitchen-mixed-v0", source="d4rl")
    env = make_env("MountainCarContinuous-v0")
    assert env is not None
    env.get_dataset = lambda: {**flat(terminals=np.arange(8) == 3), "infos/x": 1}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "d4rl", ModuleType("d4rl"))
    monkeypatch.setitem(sys.modules, "gym", SimpleNamespace(make=lambda name: env))
    dataset, found = get_dataset("kitchen-mixed-v0", source="d4rl")
    assert found is env
    assert dataset.episode_ends.tolist() == [4, 8]
    assert dataset.reference_scores == (0.0, 4.0)
