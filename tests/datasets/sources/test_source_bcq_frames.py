"""Atari buffers of discrete BCQ, byte for byte as `AtariBuffer.save` of its authors writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offlinekit.datasets import get_dataset
from offlinekit.errors import FileFormatError

# Frame t has the number t in all pixels. Rows 0-2 end by a step limit, whose own step is not in the buffer;
# rows 3-5 by themselves; rows 6 and 7 are the newest.
N = 8
FRAMES = np.repeat(np.arange(N, dtype=np.uint8), 84 * 84).reshape(N, 84, 84)
COLUMNS = {
    "action": np.arange(N)[:, None] % 4,
    "reward": np.arange(N, dtype=np.float64)[:, None],
    "not_done": np.array([1, 1, 1, 1, 1, 0, 1, 1.0])[:, None],
    "first_timestep": np.array([1, 0, 0, 1, 0, 0, 1, 0], np.uint8),
}


def write(
    folder: Path, name: str = "Buffer_PongNoFrameskip-v0_0", pointer: int = N, chunk: int = 3, **changed: Any
) -> Path:
    """Writes a buffer as it lies with its next row at `pointer`; the frame behind its last row is of zeros."""
    folder.mkdir(exist_ok=True)
    for key, column in {**COLUMNS, **changed}.items():
        if column is not None and not key.startswith("state"):
            np.save(folder / f"{name}_{key}.npy", np.roll(column, pointer, axis=0))
    np.save(folder / f"{name}_replay_info.npy", changed.get("info", [pointer, chunk]))
    frames = np.concatenate([np.roll(FRAMES, pointer, axis=0), np.zeros_like(FRAMES[:1])])
    first, end = 0, min(chunk, N + 1)
    while first < N + 1:
        np.save(folder / f"{name}_state_{end}.npy", frames[first:end])
        first, end = end, min(end + chunk, N + 1)
    return folder


@pytest.mark.parametrize("chunk", [1, 3, 8, 9, 100_000])
@pytest.mark.parametrize("pointer", [0, 5, 8])
def test_rows_come_from_the_oldest_to_the_newest(chunk: int, pointer: int, tmp_path: Path) -> None:
    dataset, env = get_dataset(write(tmp_path / "b", pointer=pointer, chunk=chunk))
    assert env is None
    assert dataset.observations.shape == (N, 1, 84, 84)
    assert dataset.observations.dtype == np.uint8
    assert dataset.observations[:, 0, 0, 0].tolist() == dataset.rewards.tolist() == list(range(N))
    assert dataset.actions.tolist() == [0, 1, 2, 3] * 2
    assert np.flatnonzero(dataset.terminals).tolist() == [5]
    assert np.flatnonzero(dataset.timeouts).tolist() == [2, 7]
    assert not dataset.final_known.any()


@pytest.mark.filterwarnings("ignore::offlinekit.envs.environments.MissingExtraWarning")
def test_a_game_says_the_actions(tmp_path: Path) -> None:
    path = write(tmp_path / "b") / "Buffer_PongNoFrameskip-v0_0_replay_info.npy"
    dataset, _ = get_dataset(path, game="Pong")
    assert dataset.action_space.n == 6
    assert dataset.name == "Buffer_PongNoFrameskip-v0_0"


def test_a_file_names_one_of_two_buffers(tmp_path: Path) -> None:
    folder = write(write(tmp_path / "b", "a"), "b")
    with pytest.raises(
        FileFormatError, match=r"holds 2 buffers, expected one; give its file, (\S+)"
    ) as error:
        get_dataset(folder)
    assert get_dataset(str(error.value).rpartition(" ")[2])[0].name == "a"


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"replay_info is .9, 3., expected a row from 0 to 8"):
        get_dataset(write(tmp_path / "a", info=[9, 3]))
    with pytest.raises(FileFormatError, match=r"replay_info is .8, 0., expected"):
        get_dataset(write(tmp_path / "b", info=[8, 0]))
    with pytest.raises(FileFormatError, match=r"has no x_first_timestep.npy; a buffer has action, reward"):
        get_dataset(write(tmp_path / "c", "x", first_timestep=None))
    (write(tmp_path / "d", "x") / "x_state_6.npy").unlink()
    with pytest.raises(FileFormatError, match=r"has no x_state_6.npy; put all chunks"):
        get_dataset(tmp_path / "d")
    np.save(write(tmp_path / "e", "x") / "x_state_6.npy", np.zeros((3, 80, 80), np.uint8))
    with pytest.raises(FileFormatError, match=r"expected uint8 frames of one size"):
        get_dataset(tmp_path / "e")
    np.save(write(tmp_path / "f", "x") / "x_state_6.npy", np.zeros((1, 84, 84), np.uint8))
    with pytest.raises(FileFormatError, match=r"has 7 frames of x, expected 8"):
        get_dataset(tmp_path / "f")
