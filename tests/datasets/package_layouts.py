"""One small sound recording in the layout of each of other packages' files, with columns to change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from layouts import ACTIONS, ENDS, NOTHING, REWARDS, SEEN, N, changed, hdf5, image, npz_file

from offlinekit.datasets.formats.protobuf import encode, encode_example
from offlinekit.datasets.formats.tfrecord import write_records

NEXT = SEEN + 3
FIRST = np.array([1, 0, 0, 1, 0, 0])


def buffer(folder: Path, **changes: Any) -> Path:
    """A buffer as TD3's code names its columns."""
    made = {"state": SEEN, "action": ACTIONS, "reward": REWARDS[:, None], "next_state": NEXT}
    return npz_file(folder / "buffer.npz", changed({**made, "not_done": 1 - ENDS[:, None]}, changes))


def buffer_hdf5(folder: Path, **changes: Any) -> Path:
    """D4RL's columns, but for `dones`."""
    made = {"observations": SEEN, "actions": ACTIONS, "rewards": REWARDS, "dones": ENDS}
    return hdf5(folder / "buffer.hdf5", changed(made, changes))


def dsrl(folder: Path, **changes: Any) -> Path:
    made = {"observations": SEEN, "actions": ACTIONS, "rewards": REWARDS, "next_observations": NEXT}
    made |= {"terminals": NOTHING, "timeouts": ENDS, "costs": np.arange(N)[::-1].astype(np.float32)}
    return hdf5(folder / "SafetyCarCircle.hdf5", changed(made, changes))


def robomimic(folder: Path, n_demos: int = 2, **changes: Any) -> Path:
    """Demonstrations whose numbers sort otherwise as texts; demo i has rewards 10 i, 10 i + 1, 10 i + 2."""
    made: dict[str, Any] = {"mask/train": np.array([b"demo_0"], "S6")}
    for i in range(n_demos):
        top = f"data/demo_{i}"
        made |= {f"{top}/obs/object": SEEN[:3] + i, f"{top}/next_obs/object": SEEN[:3] + i + 3}
        made |= {f"{top}/obs/eef": SEEN[:3, :2], f"{top}/next_obs/eef": SEEN[:3, :2] + 3}
        made |= {f"{top}/actions": ACTIONS[:3], f"{top}/rewards": 10.0 * i + np.arange(3)}
        made |= {f"{top}/dones": ENDS[:3], f"{top}/states": SEEN[:3]}
    path = hdf5(
        folder / "lift.hdf5", changed(made, {key.replace("__", "/"): v for key, v in changes.items()})
    )
    import h5py

    with h5py.File(path, "r+") as file:
        file["data"].attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1})
    return path


def imitation(folder: Path, **changes: Any) -> Path:
    """Trajectories of 2 and 4 actions; observation t of the first is t, of the second 10 + t."""
    seen = np.array([0, 1, 2, 10, 11, 12, 13, 14], np.float32)[:, None]
    made = {"obs": seen, "acts": np.array([0, 1, 1, 0, 1, 0]), "rews": REWARDS, "indices": np.array([2])}
    return npz_file(folder / "rollouts.npz", changed({**made, "terminal": np.array([True, False])}, changes))


def stable_baselines(folder: Path, **changes: Any) -> Path:
    made = {"obs": SEEN, "actions": ACTIONS, "rewards": REWARDS, "episode_starts": FIRST.astype(bool)}
    return npz_file(
        folder / "expert.npz", changed({**made, "episode_returns": np.array([3.0, 12.0])}, changes)
    )


def v_d4rl(folder: Path, **changes: Any) -> Path:
    """An episode of three steps: four images, the number t in all pixels of image t."""
    images = np.repeat(np.arange(4, dtype=np.uint8), 64 * 64 * 3).reshape(4, 64, 64, 3)
    made = {"image": images, "action": np.array([[0.0], [0.1], [0.2], [0.3]], np.float32)}
    made |= {"reward": np.array([0.0, 1.0, 2.0, 3.0]), "discount": np.array([1.0, 1.0, 1.0, 1.0])}
    return npz_file(folder / "20220101T000000-abc-4.npz", changed(made, changes))


def v_d4rl_shard(folder: Path, **changes: Any) -> Path:
    """Two episodes of two steps each, three images an episode."""
    made = {"observation": np.zeros((6, 3, 84, 84), np.uint8), "action": ACTIONS, "reward": REWARDS}
    made |= {"discount": np.array([1, 1, 0, 1, 1, 1.0]), "step_type": np.array([0, 1, 2, 0, 1, 2])}
    return hdf5(folder / "shard.hdf5", changed(made, changes))


def ogbench_compact(folder: Path, **changes: Any) -> Path:
    """What OGBench's package loads with compact_dataset=True: terminals at the last two rows of a trajectory."""
    made = {"observations": SEEN, "actions": ACTIONS, "terminals": np.array([0, 1, 1, 0, 1, 1])}
    return npz_file(folder / "compact.npz", changed({**made, "valids": 1 - ENDS}, changes))


def rllib_rows(folder: Path, **changes: Any) -> Path:
    """One step a line, as RLlib's newer API writes JSON."""
    columns = changed(rllib_columns(), changes)
    lines = [json.dumps({name: column[i] for name, column in columns.items()}) for i in range(N)]
    (folder / "rows.json").write_text("\n".join(lines) + "\n")
    return folder / "rows.json"


def rllib_columns() -> dict[str, list[Any]]:
    made = {"eps_id": ["a"] * 3 + ["b"] * 3, "agent_id": [None] * 6, "obs": SEEN.tolist()}
    made |= {"new_obs": NEXT.tolist(), "actions": [0, 1] * 3, "rewards": REWARDS.tolist()}
    made |= {"terminateds": [False, False, True] + [False] * 3, "truncateds": [False] * 5 + [True]}
    return made | {"action_logp": [-0.5] * 6}


def rllib_table(folder: Path, **changes: Any) -> Path:
    import pyarrow
    from pyarrow import parquet

    run = folder / "cartpole-v1" / "run-000001-00001"
    run.mkdir(parents=True)
    parquet.write_table(pyarrow.table(changed(rllib_columns(), changes)), run / "0_000000.parquet")
    return folder / "cartpole-v1"


def bandit(folder: Path, **changes: Any) -> Path:
    made = {"context": SEEN, "action": np.array([0, 1, 2] * 2), "reward": REWARDS}
    made |= {"pscore": np.full(N, 0.25), "position": np.arange(N)}
    return npz_file(folder / "rounds.npz", changed(made, changes))


def tfds_steps(**changes: Any) -> dict[str, Any]:
    """An episode of three steps, of which the last holds only its observation."""
    made = {
        "is_first": np.array([1, 0, 0]),
        "is_last": np.array([0, 0, 1]),
        "is_terminal": np.array([0, 0, 1]),
    }
    made |= {"observation/state": np.arange(6.0), "observation/image": [image(8)] * 3}
    made |= {"action": np.arange(6.0) / 10, "reward": np.array([0.5, 1.5, 9.0]), "discount": np.ones(3)}
    made |= {"language_instruction": [b"pick"] * 3}
    return {f"steps/{name}": value for name, value in changed(made, changes).items()}


def tfds(folder: Path, **changes: Any) -> Path:
    """A folder of TFDS with two episodes in its only shard."""
    renamed = {name.replace("__", "/"): value for name, value in changes.items()}
    made = {"episode_metadata/file_path": [b"/x"], **tfds_steps(**renamed)}
    place = folder / "toy" / "1.0.0"
    place.mkdir(parents=True)
    (place / "features.json").write_text(json.dumps(features_json()))
    write_records(place / "toy-train.tfrecord-00000-of-00001", [encode_example(made)] * 2, packed=False)
    return place


def features_json() -> dict[str, Any]:
    def tensor(*shape: str) -> dict[str, Any]:
        return {"tensor": {"shape": {"dimensions": list(shape)} if shape else {}, "dtype": "float32"}}

    def features(**parts: Any) -> dict[str, Any]:
        return {"featuresDict": {"features": parts}}

    image = {"image": {"shape": {"dimensions": ["8", "8", "1"]}, "dtype": "uint8"}}
    steps = features(
        observation=features(state=tensor("2"), image=image), action=tensor("2"), reward=tensor()
    )
    return features(steps={"sequence": {"feature": steps}}, episode_metadata=features(file_path={"text": {}}))


def tfds_sequence(folder: Path, **changes: Any) -> Path:
    """The same as a SequenceExample: one feature a step."""

    def one(value: Any) -> bytes:
        example = encode_example({"": value})  # Of which only the feature is wanted.
        inner = example[2:]  # Without the field of the features, 2 bytes as it is short.
        entry = inner[2:]
        return entry[entry.index(b"\x12") + 2 :]

    renamed = {name.replace("__", "/"): value for name, value in changes.items()}
    made = tfds_steps(
        **{"observation/image": None, "language_instruction": None, "discount": None, **renamed}
    )
    lists = []
    for name, values in made.items():
        per_step = np.split(values, 3)
        listed = encode(*((1, one(value)) for value in per_step))
        lists.append((1, encode((1, name.removeprefix("steps/").encode()), (2, listed))))
    return write_records(folder / "toy.tfrecord", [encode((2, encode(*lists)))] * 2)


LAYOUTS: Mapping[str, Any] = {
    make.__name__: make
    for group in (
        (buffer, buffer_hdf5, dsrl, robomimic, imitation, stable_baselines, v_d4rl, v_d4rl_shard),
        (ogbench_compact, rllib_rows, rllib_table, bandit, tfds, tfds_sequence),
    )
    for make in group
}
