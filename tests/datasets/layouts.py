"""One small sound dataset in the layout of each format, with columns to change; six steps or a few."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

from offlinekit.datasets import MDPDataset
from offlinekit.datasets.formats.protobuf import encode, encode_example
from offlinekit.datasets.formats.tfrecord import write_records

N = 6
SEEN = np.arange(N * 3, dtype=np.float32).reshape(N, 3)
ACTIONS = np.linspace(-1, 1, N * 2, dtype=np.float32).reshape(N, 2)
REWARDS = np.arange(N, dtype=np.float32)
ENDS = np.array([0, 0, 1, 0, 0, 1], np.uint8)
NOTHING = np.zeros(N, np.uint8)
BOX = {"type": "Box", "dtype": "float32", "shape": [3], "low": [-99.0] * 3, "high": [99.0] * 3}
ACT = {"type": "Box", "dtype": "float32", "shape": [2], "low": [-1.0] * 2, "high": [1.0] * 2}
TABLE = {"observations": ["x"], "action": "dose", "reward": "gain", "bandit": False}


def changed(columns: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Returns columns with others in their place; None leaves one out."""
    return {name: column for name, column in {**columns, **changes}.items() if column is not None}


def hdf5(path: Path, columns: dict[str, Any], **attributes: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, column in columns.items():
            file[name] = column
        file.attrs.update(attributes)
    return path


def npz_file(path: Path, columns: dict[str, Any]) -> Path:
    np.savez_compressed(path, **columns)
    return path


def flat(**changes: Any) -> dict[str, Any]:
    made = {"observations": SEEN, "actions": ACTIONS, "rewards": REWARDS, "terminals": NOTHING}
    return changed({**made, "timeouts": ENDS}, changes)


def native(folder: Path, **header: Any) -> Path:
    """A file of `save`, with other words in its header."""
    path = MDPDataset(**flat()).save(folder / "native.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["header"] = text = json.dumps({**json.loads(file.attrs["header"]), **header})
        file.attrs["header_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    return path


def d4rl(folder: Path, **changes: Any) -> Path:
    return hdf5(folder / "hopper-like.hdf5", flat(**changes))


def d3rlpy_v1(folder: Path, **changes: Any) -> Path:
    made = {**flat(timeouts=None), "episode_terminals": ENDS, "discrete_action": False, "version": "1.1.0"}
    return hdf5(folder / "v1.h5", changed(made, changes))


def d3rlpy_v2(folder: Path, **changes: Any) -> Path:
    made: dict[str, Any] = {"num_episodes": 2, "version": "2.1"}
    for i, part in enumerate((slice(0, 3), slice(3, 6))):
        made |= {f"observations_{i}": SEEN[part], f"actions_{i}": ACTIONS[part]}
        made |= {f"rewards_{i}": REWARDS[part, None], f"terminated_{i}": False}
    return hdf5(folder / "v2.h5", changed(made, changes))


def minari(folder: Path, facts: dict[str, Any] | None = None, **changes: Any) -> Path:
    made: dict[str, Any] = {}
    for i in range(2):
        made |= {f"episode_{i}/observations": np.zeros((4, 3), np.float32)}
        made |= {f"episode_{i}/actions": ACTIONS[:3], f"episode_{i}/rewards": REWARDS[:3]}
        made |= {f"episode_{i}/terminations": ENDS[:3] > 0, f"episode_{i}/truncations": NOTHING[:3] > 0}
    data = minari_facts(folder, "hdf5", facts)
    hdf5(data / "main_data.hdf5", changed(made, {key.replace("__", "/"): v for key, v in changes.items()}))
    return data.parent


def minari_facts(folder: Path, layout: str, changes: dict[str, Any] | None) -> Path:
    stated = {"observation_space": json.dumps(BOX), "action_space": json.dumps(ACT), "total_episodes": 2}
    facts = {**stated, "total_steps": N, "dataset_id": "ward/day-v0", "data_format": layout}
    data = folder / "ward" / "data"
    data.mkdir(parents=True)
    (data / "metadata.json").write_text(json.dumps(changed(facts, changes or {})))
    return data


def minari_arrow(folder: Path, attributes: str = "{}", **changes: Any) -> Path:
    import pyarrow
    from pyarrow import parquet

    def vectors(array: Any) -> Any:
        return pyarrow.FixedSizeListArray.from_arrays(array.ravel(), array.shape[1])

    flags = {"terminations": ENDS[:4] > 0, "truncations": NOTHING[:4] > 0, "rewards": REWARDS[:4]}
    made = {"observations": vectors(SEEN[:4]), "actions": vectors(ACTIONS[:4]), **flags}
    data = minari_facts(folder, "arrow", None)
    for i in range(2):
        (data / str(i)).mkdir()
        (data / str(i) / "metadata.json").write_text(attributes)
        parquet.write_table(pyarrow.table(changed(made, changes)), data / str(i) / "data.parquet")
    return data.parent


def npz(folder: Path, **changes: Any) -> Path:
    return npz_file(folder / "x.npz", flat(**changes))


def csv(folder: Path, text: str = "x,dose,gain\n1,0,0.5\n2,1,0.5\n") -> Path:
    (folder / "ward.csv").write_text(text)
    return folder / "ward.csv"


def parquet(folder: Path, **changes: Any) -> Path:
    import pyarrow
    from pyarrow import parquet as files

    table = pyarrow.table(changed({"x": [1.0, 2.0], "dose": [0, 1], "gain": [0.5, 0.5]}, changes))
    files.write_table(table, folder / "ward.parquet")
    return folder / "ward.parquet"


def rllib(folder: Path, **changes: Any) -> Path:
    batch = {"type": "SampleBatch", "obs": SEEN.tolist(), "actions": [0, 1] * 3, "rewards": REWARDS.tolist()}
    path = folder / "out.json"
    path.write_text(json.dumps(changed({**batch, "dones": ENDS.tolist()}, changes)) + "\n")
    return path


def rllib_zip(folder: Path, **changes: Any) -> Path:
    path = folder / "out.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(rllib(folder, **changes), "out.json")
    return path


def ogbench(folder: Path, **changes: Any) -> Path:
    return npz_file(folder / "x.npz", flat(rewards=None, timeouts=None, **{"terminals": ENDS, **changes}))


def neorl(folder: Path, **changes: Any) -> Path:
    made = {"obs": SEEN, "next_obs": SEEN + 1, "action": ACTIONS, "reward": REWARDS[:, None]}
    made |= {"done": NOTHING[:, None], "index": np.array([0, 3])}
    return npz_file(folder / "x.npz", changed(made, changes))


def tianshou(folder: Path, attributes: dict[str, Any] | None = None, **changes: Any) -> Path:
    made = {"obs": SEEN, "act": ACTIONS, "rew": REWARDS, "terminated": ENDS > 0, "truncated": NOTHING > 0}
    stated = {"_size": N, "_index": 0, **(attributes or {})}
    return hdf5(folder / "x.hdf5", {f"_meta/{k}": v for k, v in changed(made, changes).items()}, **stated)


def rlds(folder: Path, **changes: Any) -> Path:
    first = np.array([1, 0, 0, 1, 0, 0])
    made = {"observation": SEEN, "action": ACTIONS, "reward": REWARDS}
    made |= {"is_first": first, "is_last": ENDS, "is_terminal": NOTHING}
    return npz_file(folder / "x.npz", changed(made, changes))


def gymnasium(folder: Path, **changes: Any) -> Path:
    made = {"observations": SEEN, "actions": ACTIONS, "rewards": REWARDS}
    return hdf5(folder / "x.h5", changed({**made, "terminations": NOTHING, "truncations": ENDS}, changes))


def lerobot(folder: Path, facts: dict[str, Any] | None = None, **changes: Any) -> Path:
    import pyarrow
    from pyarrow import parquet as files

    made = {"observation.state": SEEN.tolist(), "action": ACTIONS.tolist(), "next.reward": REWARDS}
    made |= {"episode_index": [0, 0, 0, 1, 1, 1], "frame_index": [0, 1, 2, 0, 1, 2]}
    columns = changed(made, {name.replace("__", "."): column for name, column in changes.items()})
    stated = {"codebase_version": "v3.0", "features": {name: {"dtype": "float32"} for name in columns}}
    (folder / "arm" / "meta").mkdir(parents=True)
    (folder / "arm" / "data" / "chunk-000").mkdir(parents=True)
    (folder / "arm" / "meta" / "info.json").write_text(json.dumps({**stated, **(facts or {})}))
    files.write_table(pyarrow.table(columns), folder / "arm" / "data" / "chunk-000" / "file-000.parquet")
    return folder / "arm"


def image(side: int = 84) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.zeros((side, side), np.uint8)).save(out, "png")
    return out.getvalue()


def examples(folder: Path, made: dict[str, Any], changes: dict[str, Any]) -> Path:
    features = changed(made, {name.replace("__", "/"): value for name, value in changes.items()})
    return write_records(folder / "x.tfrecord", [encode_example(features)] * 2)


def atari(folder: Path, **changes: Any) -> Path:
    made = {"o_t": [image()] * 4, "o_tp1": [image()] * 4, "a_t": np.array([0]), "episode_id": np.array([7])}
    return examples(folder, {**made, "r_t": np.ones(1), "d_t": np.ones(1)}, changes)


def atari_episodes(folder: Path, **changes: Any) -> Path:
    made = {"observations": [image()] * 3, "actions": np.array([0, 1, 2]), "discounts": np.ones(3)}
    rewards = {"clipped_rewards": np.ones(3), "unclipped_rewards": np.ones(3)}
    return examples(folder, {**made, **rewards}, changes)


def control(folder: Path, **changes: Any) -> Path:
    made = {"observation/position": np.arange(6.0), "action": np.zeros(2), "reward": np.ones(2)}
    return examples(folder, {**made, "discount": np.ones(2), "step_type": np.ones(2, np.int64)}, changes)


def rwrl(folder: Path, **changes: Any) -> Path:
    made = {"observation:position": np.arange(9.0), "action": np.zeros(3), "discount": np.ones(3)}
    return examples(folder, {**made, "reward": np.array([np.nan, 1.0, 2.0])}, changes)


def waymo(
    folder: Path, times: tuple[float, ...] = (0.0, 0.1, 0.2), x: float = 1.0, n_states: int = 3
) -> Path:
    states = [(3, encode((2, x * i), (3, 0.0), (8, np.float32(0.0)), (11, 1))) for i in range(n_states)]
    track = encode((1, 4), (2, 1), *states)
    record = encode(*((1, float(time)) for time in times), (2, track), (5, b"a1"))
    return write_records(folder / "x.tfrecord-00000-of-01000", [record], packed=False)


def packed(path: Path, array: Any) -> None:
    raw = io.BytesIO()
    np.save(raw, array)
    path.write_bytes(gzip.compress(raw.getvalue(), 1))


def dqn_replay(folder: Path, **changes: Any) -> Path:
    logs = folder / "Breakout" / "1" / "replay_logs"
    logs.mkdir(parents=True)
    made = {"action": np.array([0, 1, 2, 3, 0, 1], np.int32), "reward": REWARDS, "terminal": ENDS}
    frames = np.ones((N, 84, 84), np.uint8)
    for name, array in changed({**made, "observation": frames}, changes).items():
        packed(logs / f"$store$_{name}_ckpt.1.gz", array)
    return logs


OPTIONS: dict[str, dict[str, Any]] = {"csv": TABLE, "parquet": TABLE}
LAYOUTS = {
    make.__name__: make
    for group in (
        (native, d4rl, d3rlpy_v1, d3rlpy_v2, minari, minari_arrow, npz, csv, parquet, rllib, rllib_zip),
        (ogbench, neorl, tianshou, rlds, gymnasium, lerobot, dqn_replay),
        (atari, atari_episodes, control, rwrl, waymo),
    )
    for make in group
}
