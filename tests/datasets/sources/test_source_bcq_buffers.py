"""Buffers of BCQ and TD3, byte for byte as `ReplayBuffer.save` of their authors writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offlinekit.datasets import get_dataset
from offlinekit.errors import FileFormatError

# Three episodes on a line: rows 0-3 end by a step limit, at 4 after the state 3; rows 4-6 by themselves; 7-9 are cut.
STATES = np.array([0, 1, 2, 3, 50, 51, 52, 100, 101, 102.0])[:, None]
FOLLOWING = np.array([1, 2, 3, 4, 51, 52, 53, 101, 102, 103.0])[:, None]
NOT_DONE = np.array([1, 1, 1, 1, 1, 1, 0, 1, 1, 1.0])[:, None]


def write(folder: Path, name: str = "Hopper_0", pointer: int = 10, **changed: Any) -> Path:
    folder.mkdir(exist_ok=True)
    actions, rewards = np.linspace(-1, 1, 10)[:, None], np.arange(10.0)[:, None]
    columns = {"state": STATES, "action": actions, "next_state": FOLLOWING, "reward": rewards}
    rolled = {
        key: np.roll(column, pointer, axis=0) for key, column in {**columns, "not_done": NOT_DONE}.items()
    }
    for key, column in {**rolled, "ptr": np.array(pointer), **changed}.items():
        if column is not None:
            np.save(folder / f"{name}_{key}.npy", column)
    return folder


def test_ends_by_a_step_limit_are_timeouts_and_others_terminals(tmp_path: Path) -> None:
    dataset, env = get_dataset(write(tmp_path / "buffers"))
    assert env is None
    assert dataset.name == "Hopper_0"
    assert dataset.episode_lengths().tolist() == [4, 3, 3]
    assert np.flatnonzero(dataset.terminals).tolist() == [6]
    assert np.flatnonzero(dataset.timeouts).tolist() == [3, 9]
    assert dataset.next_observations is None
    assert dataset.final_observations[:, 0].tolist() == [4, 53, 103]
    assert dataset.rewards.tolist() == list(range(10))


@pytest.mark.parametrize("pointer", [0, 4, 10])
def test_a_buffer_that_was_full_begins_behind_its_pointer(pointer: int, tmp_path: Path) -> None:
    # With ptr = 4 the file begins with the newest rows 6 to 9, behind which the oldest follow.
    dataset, _ = get_dataset(write(tmp_path / "buffers", pointer=pointer))
    assert dataset.rewards.tolist() == list(range(10))
    assert dataset.episode_lengths().tolist() == [4, 3, 3]


def test_one_of_several_buffers_is_named_by_its_file(tmp_path: Path) -> None:
    folder = write(write(tmp_path / "buffers"), "Walker_1")
    with pytest.raises(
        FileFormatError, match=r"holds 2 buffers, expected one; give its file, (\S+)"
    ) as error:
        get_dataset(folder)
    path = str(error.value).rpartition(" ")[2]
    assert get_dataset(path)[0].name == "Hopper_0"
    assert get_dataset(folder / "Walker_1_state.npy")[0].name == "Walker_1"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"next_state": None}, r"has no Hopper_0_next_state.npy; a buffer has state, action, next_state"),
        ({"ptr": np.array(11)}, "ptr is 11, expected a row from 0 to 10"),
        ({"state": np.array([{}] * 10, object)}, "Hopper_0_state.npy is damaged, or holds objects"),
        ({"reward": np.zeros((9, 1))}, "9"),
    ],
)
def test_what_is_wrong_is_named(changed: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        get_dataset(write(tmp_path / "buffers", **changed))


def test_a_header_that_claims_more_than_the_file_has(tmp_path: Path) -> None:
    folder = write(tmp_path / "buffers")
    content = (folder / "Hopper_0_state.npy").read_bytes()
    (folder / "Hopper_0_state.npy").write_bytes(content.replace(b"(10, 1)", b"(99, 1)"))
    with pytest.raises(FileFormatError, match="damaged"):
        get_dataset(folder)


def test_folders_of_plain_names(tmp_path: Path) -> None:
    """Logged bandits of the Open Bandit Pipeline, and any buffer, as one NPY file a column."""
    rounds = {"context": np.eye(4), "action": [0, 1, 0, 1], "reward": np.ones(4), "pscore": np.full(4, 0.5)}
    buffer = {"obs": STATES, "action": STATES / 200, "reward": np.ones(10), "done": 1 - NOT_DONE[:, 0]}
    for name, columns in (("rounds", rounds), ("buffer", buffer)):
        (tmp_path / name).mkdir()
        for key, column in columns.items():
            np.save(tmp_path / name / f"{key}.npy", column)
    with pytest.warns(UserWarning, match="a logged bandit"):
        bandit, _ = get_dataset(tmp_path / "rounds")
    assert bandit.n_episodes == 4
    np.testing.assert_allclose(bandit.behavior_log_probs, np.log(0.5), rtol=1e-6)
    found, _ = get_dataset(tmp_path / "buffer")
    assert found.episode_lengths().tolist() == [7, 3]
    with pytest.raises(FileFormatError, match=r"has no key 'observation'; it has action"):
        get_dataset(tmp_path / "buffer", observations="observation")


@pytest.mark.parametrize("name", ["a.pkl", "a.pt", "a.msgpack", "a.npy", "a.mat"])
def test_files_that_are_never_read_say_how_to_save_their_arrays(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        get_dataset(tmp_path / name)
    (tmp_path / name).write_bytes(b"\x80\x04")
    with pytest.raises(FileFormatError, match=r"save its arrays: (np\.savez\(.*\))$") as error:
        get_dataset(tmp_path / name)
    call = str(error.value).partition("save its arrays: ")[2]
    columns = (np.zeros((4, 2)), "np.array([0, 1, 0, 1])", np.ones(4), "[0, 0, 0, 1]")
    for column in columns:
        text = column if isinstance(column, str) else f"np.array({column.tolist()})"
        call = call.replace("...", text, 1)
    exec(call.replace("data.npz", str(tmp_path / "data.npz")), {"np": np})
    assert len(get_dataset(tmp_path / "data.npz")[0]) == 4
