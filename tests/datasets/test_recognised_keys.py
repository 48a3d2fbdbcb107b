"""Files of one's own that have keys of a benchmark's format among others: nothing that they say is lost."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.errors import DatasetError, DatasetWarning, FileFormatError

# Episodes of 3, 4 and 3 rows: a timeout, a terminal, a timeout.
N = 10
TIMEOUTS, TERMINALS = np.zeros(N, bool), np.zeros(N, bool)
TIMEOUTS[[2, 9]] = True
TERMINALS[6] = True
SEEN = np.arange(2.0 * N).reshape(N, 2)
REWARDS = np.arange(1.0, N + 1)
VALUES: dict[str, Any] = {
    "seen": SEEN,
    "following": SEEN + 0.5,
    "taken": np.arange(N) % 3,
    "earned": REWARDS,
    "terminal": TERMINALS,
    "timeout": TIMEOUTS,
    "ended": TERMINALS | TIMEOUTS,
    "going": ~(TERMINALS | TIMEOUTS),
    "goes_on": ~TERMINALS,
    "begun": np.roll(TERMINALS | TIMEOUTS, 1),
    "ones": np.ones(N),
    "number": np.arange(N),
    "half": np.full(N, 0.5),
    "legal": np.ones((N, 3), bool),
    "logs": np.full(N, -1.0),
    "discrete": np.array(1),
}
BASE = "observations=seen actions=taken rewards=earned"
OBS = "obs=seen act=taken rew=earned"
ENDS = "terminals=terminal timeouts=timeout"

# Suffix, keys with what they hold, and what beside rewards, terminals and timeouts must be there.
FILES = [
    (".npz", f"observations=seen actions=taken reward=earned {ENDS} next_obs=following", "finals"),
    (".npz", "observations=seen actions=taken reward=earned terminals=terminal timeout=timeout", ""),
    (".npz", f"{BASE} {ENDS} masks=ones", ""),
    (".npz", f"{BASE} {ENDS} masks=ones valids=ones", "left"),
    (".npz", f"{BASE} dones=ended terminated=terminal", ""),
    (".npz", f"{BASE} dones=ended terminations=terminal", ""),
    (".npz", f"{BASE} not_done=going terminals=terminal", ""),
    (".npz", f"{BASE} terminals=terminal truncation=timeout", ""),
    (".npz", "obs=seen actions=taken rewards=earned episode_starts=begun dones=ended timeouts=timeout", ""),
    (
        ".npz",
        f"obs=seen actions=taken rewards=earned episode_starts=begun {ENDS} next_obs=following",
        "finals",
    ),
    (".npz", "obs=seen actions=taken rewards=earned episode_starts=begun terminals=terminal", ""),
    (
        ".npz",
        "obs=seen next_obs=following action=taken reward=earned done=ended index=number timeouts=timeout",
        "finals",
    ),
    (".npz", "context=seen action=taken reward=earned done=ended timeouts=timeout pscore=half", "left"),
    (".npz", f"{BASE} {ENDS} context=seen propensity=half", "left"),
    (".npz", f"{BASE} {ENDS} is_first=begun is_last=ended is_terminal=terminal", "left"),
    (".npz", f"{BASE} terminations=terminal truncations=timeout dones=ended", ""),
    (".npz", f"{BASE} terminations=terminal truncations=timeout next_observations=following", "finals"),
    (".npz", f"{BASE} terminations=terminal truncations=timeout behavior_log_probs=logs", "logs"),
    (".npz", f"{BASE} {ENDS} behavior_log_probs=logs legal_actions=legal", "logs legal"),
    (".h5", f"{OBS} {ENDS}", ""),
    (".h5", f"{OBS} dones=ended timeouts=timeout next_obs=following", "finals"),
    (".h5", f"{OBS} obs2=following {ENDS}", "finals"),
    (".h5", f"{OBS} done=ended truncated=timeout", ""),
    (".h5", f"{OBS} not_done=going timeouts=timeout", ""),
    (".h5", f"{OBS} terminated=terminal truncated=timeout obs_next=following", "finals"),
    (".h5", f"{BASE} terminals=terminal truncations=timeout", ""),
    (".h5", f"{BASE} terminals=terminal dones=ended next_observations=following", "finals"),
    (".h5", f"{BASE} terminals=terminal episode_terminals=ended next_observations=following", "finals"),
    (".h5", f"{BASE} {ENDS} next_obs=following", "finals"),
    (".h5", f"{BASE} {ENDS} next_observations=following", "finals"),
    (".h5", f"{BASE} {ENDS} behavior_log_probs=logs legal_actions=legal", "logs legal"),
    (
        ".h5",
        f"{BASE} {ENDS} episode_terminals=ended behavior_log_probs=logs legal_actions=legal",
        "logs legal",
    ),
    (".h5", f"{BASE} {ENDS} discrete_action=discrete next_obs=following", "finals left"),
    (".h5", f"{BASE} terminals=terminal truncations=timeout costs=earned", "left"),
    ("", "obs=seen action=taken reward=earned done=ended timeouts=timeout next_obs=following", "finals"),
    ("", f"{BASE} {ENDS}", ""),
    ("", "context=seen action=taken reward=earned done=ended timeouts=timeout pscore=half", "left"),
]


def write(path: Path, keys: str) -> Path:
    named = dict(pair.split("=") for pair in keys.split())
    arrays = {key: VALUES[value] for key, value in named.items()}
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for key, array in arrays.items():
                file[key] = array
    else:
        path.mkdir()
        for key, array in arrays.items():
            np.save(path / f"{key}.npy", array)
    return path


def read(path: Path, **options: Any) -> tuple[MDPDataset, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset, _ = get_dataset(path, **options)
    return dataset, [str(each.message) for each in caught]


@pytest.mark.parametrize(("suffix", "keys", "held"), FILES, ids=lambda value: str(value)[:90])
def test_every_usual_key_is_read(suffix: str, keys: str, held: str, tmp_path: Path) -> None:
    dataset, messages = read(write(tmp_path / f"own{suffix}", keys))
    assert len(dataset) == N
    assert np.flatnonzero(dataset.terminals).tolist() == [6]
    assert np.flatnonzero(dataset.timeouts).tolist() == [2, 9]
    assert dataset.rewards.tolist() == REWARDS.tolist()
    expected = ["finals"] * ("finals" in held)
    if expected:
        np.testing.assert_array_equal(dataset.next_observations_at([2, 6, 9]), (SEEN + 0.5)[[2, 6, 9]])
    assert dataset.final_known.any() == bool(expected)
    assert (dataset.behavior_log_probs is not None) == ("logs" in held)
    assert isinstance(dataset.observations, dict) == ("legal" in held)
    assert any("left out" in message for message in messages) == ("left" in held), messages


def test_options_that_name_keys_go_to_the_reader_that_takes_them(tmp_path: Path) -> None:
    path = write(tmp_path / "own.npz", "observations=seen actions=taken terminals=terminal r=earned")
    with pytest.raises(FileFormatError, match=r"has no key 'rewards'.*; say which is which by options"):
        get_dataset(path)
    assert get_dataset(path, rewards="r")[0].rewards.tolist() == REWARDS.tolist()
    raw = write(tmp_path / "raw.npz", "observations=seen actions=taken terminals=terminal qpos=earned")
    assert get_dataset(raw)[0].rewards.sum() == 0  # As OGBench's are.
    with pytest.warns(DatasetWarning, match="'ogbench' have, .*; left out: qpos"):
        assert len(get_dataset(raw, rewards="actions")[0]) == N
    get_dataset(raw, rewards="qpos")  # Without a warning: the option takes it.
    with pytest.raises(TypeError, match="has no option 'goals'; did you mean 'goal'"):
        get_dataset(raw, goals=[0, 0])


def test_options_of_a_table_go_to_tables(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    columns = {"obs": list(SEEN), "actions": VALUES["taken"], "rewards": REWARDS, "terminateds": TERMINALS}
    frame = pandas.DataFrame({**columns, "eps_id": np.cumsum(VALUES["begun"])})
    frame.to_parquet(tmp_path / "own.parquet")
    named = {"observations": ["obs"], "action": "actions", "reward": "rewards", "episode": "eps_id"}
    for options in ({}, {**named, "terminal": "terminateds"}):
        dataset, _ = read(tmp_path / "own.parquet", **options)
        assert np.flatnonzero(dataset.timeouts).tolist() == [2, 9], options
        assert dataset.rewards.sum() == REWARDS.sum()


def test_a_row_number_is_no_index_of_trajectories(tmp_path: Path) -> None:
    keys = "obs=seen next_obs=following action=taken reward=earned done=terminal index=number"
    dataset, _ = read(write(tmp_path / "own.npz", keys))
    assert dataset.n_episodes == 2  # Ends at rows 6 and 9: `done` says no timeouts.


def test_keys_that_no_reader_takes_are_warned_of(tmp_path: Path) -> None:
    keys = "obs=seen actions=taken rewards=earned episode_starts=begun next_obs=following"
    with pytest.warns(DatasetWarning, match="next_obs of .*own.npz are not read by 'stable_baselines'"):
        dataset, _ = get_dataset(write(tmp_path / "own.npz", keys), step_limit=9)
    assert dataset.n_episodes == 3


def test_masks_that_are_never_cleared_may_be_those_of_padding(tmp_path: Path) -> None:
    keys = f"{BASE} terminals=terminal next_observations=following masks=ones"
    with pytest.warns(DatasetWarning, match="pass format='npz' if terminals end the MDP"):
        dataset, _ = get_dataset(write(tmp_path / "own.npz", keys))
    assert not dataset.terminals.any()
    assert np.flatnonzero(get_dataset(tmp_path / "own.npz", format="npz")[0].terminals).tolist() == [6]


def test_one_long_episode_is_asked_for_an_end_before_its_last_row(tmp_path: Path) -> None:
    n = 1_500
    with h5py.File(tmp_path / "own.h5", "w") as file:
        file["obs"], file["act"], file["rew"] = (
            np.random.default_rng(0).normal(size=(n, 2)),
            np.arange(n) % 2,
            np.ones(n),
        )
    with pytest.warns(DatasetWarning, match="set at no earlier row than the last: all are one episode"):
        get_dataset(tmp_path / "own.h5")


def test_ends_that_contradict_one_another_are_refused(tmp_path: Path) -> None:
    short = {"observations": SEEN, "actions": VALUES["taken"], "rewards": REWARDS, "terminals": TERMINALS}
    np.savez(tmp_path / "x.npz", **short, dones=np.zeros(3))
    with pytest.raises(DatasetError, match="dones has 3 rows, expected 10"):
        get_dataset(tmp_path / "x.npz")
