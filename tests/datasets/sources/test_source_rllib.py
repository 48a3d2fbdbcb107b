from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import package_layouts
import pytest
from gymnasium import spaces

from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.datasets.formats.packed_arrays import unpack
from offlinekit.errors import DatasetError, DatasetWarning, FileFormatError

RealData = Callable[[str], Path]


def test_facts_of_cartpole(real_data: RealData) -> None:
    path = real_data("rllib/cartpole_large.json")
    with pytest.warns(UserWarning, match=r"most episodes that end by 'dones' have 200 rows.*step_limit=200"):
        dataset, _ = get_dataset(path)
    assert (len(dataset), dataset.n_episodes) == (4_137, 21)
    assert dataset.terminals.sum() == 21
    limited, env = get_dataset(path, step_limit=200, env_id="CartPole-v0")
    assert env is not None
    assert limited.episode_lengths().max() == 200
    assert limited.timeouts.sum() == (limited.episode_lengths() == 200).sum()
    assert limited.next_observations is None
    assert limited.final_known.all()
    assert limited.action_space == spaces.Discrete(2)


def test_facts_of_pendulum(real_data: RealData) -> None:
    pytest.importorskip("lz4")
    path = real_data("rllib/pendulum_medium_sac_50eps.zip")
    dataset, env = get_dataset(path, env_id="Pendulum-v1", unsquash_actions=True)
    assert env is not None
    assert (len(dataset), dataset.n_episodes) == (10_000, 50)
    assert dataset.episode_returns().mean() == pytest.approx(-524.3, abs=0.1)
    assert not dataset.terminals.any()  # infos say TimeLimit.truncated.
    assert np.flatnonzero(dataset.timeouts).tolist() == list(range(199, 10_000, 200))
    # The reward is -(angle ** 2 + 0.1 speed ** 2 + 0.001 torque ** 2): torque is twice the action in the file.
    cosine, sine, speed = dataset.observations.T
    rewards = -(np.arctan2(sine, cosine) ** 2 + 0.1 * speed**2 + 0.001 * dataset.actions[:, 0] ** 2)
    np.testing.assert_allclose(dataset.rewards, rewards, atol=1e-4)
    raw, _ = get_dataset(path)
    assert dataset.behavior_log_probs is not None
    assert raw.behavior_log_probs is not None
    np.testing.assert_allclose(dataset.behavior_log_probs, raw.behavior_log_probs - np.log(2), atol=1e-6)
    assert raw.behavior_log_probs[0] == pytest.approx(-0.56348991)
    with pytest.raises(ValueError, match=r"unsquash_actions=True needs a bounded action_space="):
        get_dataset(path, unsquash_actions=True)


def test_log_probs_stay_with_their_rows(real_data: RealData, tmp_path: Path) -> None:
    pytest.importorskip("lz4")
    dataset, _ = get_dataset(real_data("rllib/pendulum_medium_sac_50eps.zip"))
    log_probs = dataset.behavior_log_probs
    assert log_probs is not None
    part = MDPDataset.load(dataset[[4, 1]].save(tmp_path / "x.h5"))
    expected = np.concatenate([log_probs[800:1000], log_probs[200:400]])
    np.testing.assert_array_equal(part.behavior_log_probs, expected)
    np.testing.assert_array_equal(part.concat(part).behavior_log_probs, np.tile(expected, 2))
    MDPDataset.load(tmp_path / "x.h5").save(tmp_path / "y.h5", compress=False)
    mapped = MDPDataset.open(tmp_path / "y.h5")
    np.testing.assert_array_equal(mapped.behavior_log_probs, expected)


def batch(**changes: Any) -> dict[str, Any]:
    rows: dict[str, Any] = {
        "type": "SampleBatch",
        "obs": [[0.0], [1.0], [10.0], [2.0]],
        "actions": [0, 1, 0, 1],
        "rewards": [1.0, 2.0, 3.0, 4.0],
        "new_obs": [[1.0], [2.0], [11.0], [3.0]],
        "dones": [False, False, True, False],
        "eps_id": [7, 7, 9, 7],
        "t": [0, 1, 5, 2],
    }
    return {key: value for key, value in {**rows, **changes}.items() if value is not None}


def write(path: Path, *batches: Any) -> Path:
    path.write_text("\n".join(json.dumps(line) for line in batches) + "\n")
    return path


def test_fragments_are_put_together(tmp_path: Path) -> None:
    later = batch(obs=[[3.0]], actions=[0], rewards=[5.0], new_obs=[[4.0]], dones=[True], eps_id=[7], t=[3])
    dataset, _ = get_dataset(write(tmp_path / "x.json", batch(), later))
    assert dataset.rewards.tolist() == [1, 2, 4, 5, 3]
    assert dataset.episode_ends.tolist() == [4, 5]
    assert dataset.final_observations.tolist() == [[4], [11]]
    assert dataset.terminals[[3, 4]].tolist() == [True, True]
    (tmp_path / "folder").mkdir()
    write(tmp_path / "folder" / "output-1.json", batch())
    write(tmp_path / "folder" / "output-2.json", later)
    assert get_dataset(tmp_path / "folder")[0].rewards.tolist() == [1, 2, 4, 5, 3]


def test_writers_that_number_their_episodes_alike(tmp_path: Path) -> None:
    write(tmp_path / "output-1.json", batch(eps_id=[0, 0, 0, 0], t=[0, 1, 2, 3]))
    write(tmp_path / "output-2.json", batch(eps_id=[0, 0, 0, 0], t=[0, 1, 2, 3]))
    with pytest.raises(
        DatasetError, match=r"'t' repeats 0 within an episode, at row 4 \(4 times\); writers that"
    ):
        get_dataset(tmp_path)


def test_columns_that_some_batches_lack(tmp_path: Path) -> None:
    later = {"eps_id": [3] * 4, "t": [0, 1, 2, 3], "new_obs": None, "dones": [False, False, False, True]}
    path = write(tmp_path / "x.json", batch(action_logp=[-0.5] * 4, new_obs=None), batch(**later))
    with pytest.warns(DatasetWarning, match="'action_logp' is in 1 of 2 batches, so that it is left out"):
        assert get_dataset(path)[0].behavior_log_probs is None
    path = write(tmp_path / "y.json", batch(), batch(eps_id=[3] * 4, t=[0, 1, 2, 3], dones=None))
    with pytest.raises(FileFormatError, match="'dones' is in 1 of 2 batches, expected in all or none"):
        get_dataset(path)


def test_probabilities_become_logarithms(tmp_path: Path) -> None:
    dataset, _ = get_dataset(write(tmp_path / "x.json", batch(action_prob=[0.5, 1.0, 0.25, 0.5])))
    # Rows of episode 7 first: 0, 1 and 3, then row 2; ln 0.5 = -0.6931, ln 0.25 = -1.3863.
    np.testing.assert_allclose(dataset.behavior_log_probs, [-0.6931, 0, -0.6931, -1.3863], atol=1e-4)
    with pytest.raises(DatasetError, match="behavior_log_probs must be finite, got -inf"):
        get_dataset(write(tmp_path / "y.json", batch(action_prob=[0.5, 0.0, 0.25, 0.5])))


def test_without_names_of_episodes_dones_rule(tmp_path: Path) -> None:
    with pytest.warns(
        DatasetWarning, match="differ from the following row though no episode ends, first at row 1"
    ):
        dataset, _ = get_dataset(write(tmp_path / "x.json", batch(eps_id=None, t=None)))
    assert dataset.episode_ends.tolist() == [3, 4]
    cut = batch(eps_id=None, t=None, dones=None, terminateds=[0, 1, 0, 0], truncateds=[0, 0, 1, 0])
    dataset, _ = get_dataset(
        write(tmp_path / "x.json", {"type": "MultiAgentBatch", "policy_batches": {"p": cut}})
    )
    assert dataset.episode_ends.tolist() == [2, 3, 4]
    assert np.flatnonzero(dataset.timeouts).tolist() == [2, 3]


def pack(value: Any, protocol: int) -> str:
    frame = pytest.importorskip("lz4.frame")
    return base64.b64encode(frame.compress(pickle.dumps(value, protocol))).decode()


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<i8", "|u1", "|b1", ">f4"])
def test_packed_arrays_of_each_kind(protocol: int, order: Any, dtype: str) -> None:
    array = np.asarray(np.arange(24).reshape(2, 3, 4) % 2 * 3, dtype=dtype, order=order)
    found = unpack(pack(array, protocol))
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickles_are_never_run(tmp_path: Path, protocol: int) -> None:
    trap = Trap(tmp_path / "sprung")
    for value in (trap, np.array([trap], object), [1, 2], np.float32, {"a": 1}, "x"):
        with pytest.raises(FileFormatError, match="is damaged, or no array of numbers"):
            unpack(pack(value, protocol))
    with pytest.raises(FileFormatError, match=r"'obs' at line 1 of .*x.json is no column"):
        get_dataset(write(tmp_path / "x.json", batch(obs=pack(trap, protocol))))
    assert not trap.path.exists()


def test_damage_is_told(tmp_path: Path) -> None:
    pytest.importorskip("lz4")
    whole = pack(np.ones(4), 5)
    for text in (whole[: len(whole) // 2], "%%%", ""):
        with pytest.raises(FileFormatError, match="packed column is"):
            unpack(text)
    path = write(tmp_path / "x.json", batch())
    path.write_text(path.read_text()[:-20])
    with pytest.raises(FileFormatError, match=r"line 1 of .*x.json is not JSON .*fetched completely"):
        get_dataset(path)
    with pytest.raises(FileFormatError, match=r"line 1 of .* has no obs, actions"):
        get_dataset(write(tmp_path / "x.json", {"type": "SampleBatch", "rewards": [1]}))
    with pytest.raises(FileFormatError, match=r"columns of differing length: .*'rewards': 3"):
        get_dataset(write(tmp_path / "x.json", batch(rewards=[1, 2, 3])))
    with pytest.raises(FileFormatError, match="no reader recognises"):
        get_dataset(write(tmp_path / "x.json", {"hello": 1}))


@pytest.mark.parametrize("layout", [package_layouts.rllib_rows, package_layouts.rllib_table])
def test_one_step_a_row(layout: Any, tmp_path: Path) -> None:
    dataset, _ = get_dataset(layout(tmp_path))
    assert dataset.terminals.tolist() == [False, False, True, False, False, False]
    assert dataset.timeouts.tolist() == [False] * 5 + [True]
    assert dataset.rewards.tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(dataset.final_observations, package_layouts.NEXT[[2, 5]])
    np.testing.assert_allclose(dataset.behavior_log_probs, -0.5)


def test_folders_of_rows_and_keys_that_files_share(tmp_path: Path) -> None:
    # Both files call their episodes "a" and "b"; those of the first file ended, so that none is joined to another.
    for run in ("run-000001-00001", "run-000001-00002"):
        (tmp_path / run).mkdir()
        package_layouts.rllib_rows(tmp_path / run)
    dataset, _ = get_dataset(tmp_path)
    assert dataset.episode_lengths().tolist() == [3, 3, 3, 3]
    assert dataset.terminals.sum() == dataset.timeouts.sum() == 2


def test_rows_of_episodes_that_alternate(tmp_path: Path) -> None:
    ends = {"terminateds": [False] * 4 + [True, True], "truncateds": [False] * 6}
    path = package_layouts.rllib_rows(tmp_path, eps_id=["a", "b"] * 3, **ends)
    dataset, _ = get_dataset(path)
    assert dataset.rewards.tolist() == [0, 2, 4, 1, 3, 5]


def test_a_column_that_some_rows_lack(tmp_path: Path) -> None:
    path = package_layouts.rllib_rows(tmp_path, terminateds=[False, False, True, None, None, None])
    with pytest.raises(FileFormatError, match="'terminateds' is in 1 of 2 batches, expected in all or none"):
        get_dataset(path)


def test_observations_that_are_dicts(tmp_path: Path) -> None:
    seen = [{"a": [float(i)], "b": [1.0, 2.0]} for i in range(6)]
    dataset, _ = get_dataset(package_layouts.rllib_rows(tmp_path, obs=seen, new_obs=None))
    assert dataset.observations["a"][:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    batch = {"type": "SampleBatch", "obs": {"a": [[0.0]] * 2, "b": [[1.0]] * 2}, "actions": [0, 1]}
    path = tmp_path / "batch.json"
    path.write_text(json.dumps({**batch, "rewards": [1.0, 2.0], "dones": [False, True]}))
    assert get_dataset(path)[0].observations["b"].tolist() == [[1], [1]]
    rows = [{"a": [float(i)], "inner": {"b": [1.0]}} for i in range(2)]
    path.write_text(json.dumps({**batch, "obs": rows, "rewards": [1.0, 2.0], "dones": [False, True]}))
    assert get_dataset(path)[0].observations["a"].tolist() == [[0], [1]]
    assert get_dataset(path)[0].observations["inner"]["b"].tolist() == [[1], [1]]


def test_actions_that_are_dicts(tmp_path: Path) -> None:
    taken = [{"gear": i + 1, "lamps": [i, 1]} for i in range(2)]
    columns = {"gear": [1, 2], "lamps": [[0, 1], [1, 1]]}
    batch = {"type": "SampleBatch", "obs": [[0.0], [1.0]], "rewards": [1.0, 2.0], "dones": [False, True]}
    space = spaces.Dict({"gear": spaces.Discrete(3, start=1), "lamps": spaces.MultiBinary(2)})
    for actions in (taken, columns):
        (tmp_path / "batch.json").write_text(json.dumps({**batch, "actions": actions}))
        dataset, _ = get_dataset(tmp_path / "batch.json", action_space=space)
        assert dataset.action_space.split(dataset.actions).tolist() == [[1, 0, 1], [2, 1, 1]]
    with pytest.raises(DatasetError, match=r"'gear', 'lamps', and no space says in which order; declare it"):
        get_dataset(tmp_path / "batch.json")


def test_packed_rows_and_whole_episodes(tmp_path: Path) -> None:
    frame, pyarrow = pytest.importorskip("lz4.frame"), pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [pickle.dumps(row) for row in package_layouts.SEEN]
    texts = [base64.b64encode(frame.compress(row)).decode() for row in rows]
    dataset, _ = get_dataset(package_layouts.rllib_table(tmp_path, obs=texts))
    np.testing.assert_array_equal(dataset.observations, package_layouts.SEEN)
    parquet.write_table(pyarrow.table({"item": [b"x", b"y"]}), tmp_path / "episodes.parquet")
    with pytest.raises(FileFormatError, match=r"holds episodes as msgpack.* output_write_episodes=False"):
        get_dataset(tmp_path / "episodes.parquet")


@pytest.mark.parametrize("ids", [(2**63 + 1, 2**63 + 2), (5, 2**63 + 1), (-5, 2**63 + 1), (2**53, 2**53 + 1)])
def test_large_ids_are_told_apart(ids: tuple[int, int], tmp_path: Path) -> None:
    # Three fragments of one row for each of two episodes, in turns.
    lines = [
        {
            "type": "SampleBatch",
            "obs": [[float(k), float(i)]],
            "actions": [0],
            "rewards": [1.0],
            "eps_id": [name],
        }
        | {"agent_index": [0], "terminateds": [i == 2], "truncateds": [False]}
        for i in range(3)
        for k, name in enumerate(ids)
    ]
    (tmp_path / "x.json").write_text("\n".join(map(json.dumps, lines)))
    dataset, _ = get_dataset(tmp_path / "x.json")
    assert dataset.observations.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert dataset.episode_ends.tolist() == [3, 6]
