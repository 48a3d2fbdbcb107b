from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from offlinekit.datasets import get_dataset
from offlinekit.errors import DatasetError, DatasetWarning, FileFormatError

arrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def write(folder: Path, version: str = "v3.0", **features: Any) -> Path:
    """Two files of frames, an episode across both, rows of the second in no order."""
    made = {
        "observation.state": arrow.array(
            [[float(i), -float(i)] for i in range(6)], arrow.list_(arrow.float32(), 2)
        ),
        "action": arrow.array([[0.1 * i] for i in range(6)], arrow.list_(arrow.float32())),
        "episode_index": [0, 0, 0, 1, 1, 1],
        "frame_index": [0, 1, 2, 0, 2, 1],
        "task_index": [0, 0, 0, 1, 1, 1],
        "next.reward": np.arange(6, dtype=np.float32),
        "next.success": [False, False, True, False, False, False],
        **features,
    }
    columns = {name: column for name, column in made.items() if column is not None}
    table = arrow.table(columns)
    dtypes = {name: {"dtype": "float32"} for name in columns} | {"observation.images.top": {"dtype": "video"}}
    facts = {"codebase_version": version, "features": dtypes, "fps": 10, "robot_type": "arm"}
    (folder / "meta").mkdir(parents=True)
    (folder / "meta" / "info.json").write_text(json.dumps(facts))
    (folder / "data" / "chunk-000").mkdir(parents=True)
    for i, part in enumerate((table[:2], table[2:])):
        parquet.write_table(part, folder / "data" / "chunk-000" / f"file-{i:03d}.parquet")
    return folder


def test_frames_by_episode_and_time(tmp_path: Path) -> None:
    dataset, env = get_dataset(write(tmp_path / "pusht"))
    assert env is None
    assert dataset.observations.tolist() == [[0, 0], [1, -1], [2, -2], [3, -3], [5, -5], [4, -4]]
    assert dataset.actions[:, 0].tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.5, 0.4])
    assert dataset.rewards.tolist() == [0, 1, 2, 3, 5, 4]
    assert dataset.episode_ends.tolist() == [3, 6]
    assert not dataset.terminals.any()
    assert dataset.extras["task_index"].tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.metadata["lerobot"] == {"codebase_version": "v3.0", "robot_type": "arm", "fps": 10}
    succeeded, _ = get_dataset(tmp_path / "pusht", terminal="next.success")
    assert np.flatnonzero(succeeded.terminals).tolist() == [2]


def test_several_observations_are_a_dict_and_rewards_may_lack(tmp_path: Path) -> None:
    more = {"observation.effort": np.arange(6, dtype=np.float32), "next.reward": None}
    folder = write(tmp_path / "x", **more)
    with pytest.warns(DatasetWarning, match=r"no feature 'next.reward', so that rewards are 0"):
        dataset, _ = get_dataset(folder)
    assert {name: leaf.shape for name, leaf in dataset.observations.items()} == {
        "observation.effort": (6, 1),
        "observation.state": (6, 2),
    }
    assert not dataset.rewards.any()
    of_effort, _ = get_dataset(folder, observations="observation.effort", reward="observation.effort")
    assert of_effort.observations.shape == (6, 1)


def test_recordings_that_are_both_numbered_from_0(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", episode_index=[0] * 6, frame_index=[0, 1, 2, 0, 1, 2])
    with pytest.raises(
        DatasetError, match=r"frame_index repeats 0 within an episode, at row 3 \(3 times\); .*concat"
    ):
        get_dataset(folder)


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    folder = write(tmp_path / "x")
    with pytest.raises(DatasetError, match=r"no feature 'actoin'; did you mean 'action'"):
        get_dataset(folder, action="actoin")
    with pytest.raises(FileFormatError, match=r"has version v1.6 of LeRobot, expected v2 or v3"):
        get_dataset(write(tmp_path / "old", version="v1.6"))
    ragged = arrow.array([[1.0], [1.0, 2.0], [1.0], [1.0], [1.0], [1.0]])
    with pytest.raises(DatasetError, match=r"'action' in .* must hold lists of numbers of one length"):
        get_dataset(write(tmp_path / "y", action=ragged))
    holes = arrow.array([1.0, None, 1.0, 1.0, 1.0, 1.0])
    with pytest.raises(DatasetError, match=r"'next.reward' in .* has 1 rows without a value"):
        get_dataset(write(tmp_path / "z", **{"next.reward": holes}))
    (folder / "data" / "chunk-000" / "file-001.parquet").write_bytes(b"PAR1")
    with pytest.raises(FileFormatError, match=r"file-001.parquet is no Parquet file, or is damaged"):
        get_dataset(folder)


def test_stated_totals_are_compared(tmp_path: Path) -> None:
    path = write(tmp_path / "arm")
    facts = json.loads((path / "meta" / "info.json").read_text())
    for name, n in (("total_frames", 6), ("total_episodes", 2)):
        (path / "meta" / "info.json").write_text(json.dumps({**facts, name: n}))
        assert len(get_dataset(path)[0]) == 6
        (path / "meta" / "info.json").write_text(json.dumps({**facts, name: n + 1}))
        with pytest.raises(
            FileFormatError, match=f"states {name} {n + 1}, but its tables hold {n}; was it fetched"
        ):
            get_dataset(path)
