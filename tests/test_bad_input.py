"""Mistakes of users, end to end: the class of the error, and a message that says what to do.

python -m pytest tests/test_bad_input.py -s     # prints each message
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces

import offlinekit
from offlinekit.algos import CQL, IQL, DiscreteCQL, TD3PlusBC, get_algo
from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.errors import DatasetError, FileFormatError, NotFittedError, UnsupportedError
from offlinekit.metrics import evaluate
from offlinekit.testing import small_dataset


def columns(**changed):
    good = {
        "observations": np.zeros((6, 3), np.float32),
        "actions": np.array([0, 1, 0, 1, 0, 1]),
        "rewards": np.ones(6),
        "terminals": np.array([0, 0, 1, 0, 0, 1]),
    }
    return {**good, **changed}


def with_value(shape, index, value):
    array = np.zeros(shape, np.float32)
    array[index] = value
    return array


def written(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def truncated_dataset(folder: Path) -> Path:
    path = small_dataset("discrete").save(folder / "data.h5")
    return written(folder, "cut.h5", path.read_bytes()[:3000])


def truncated_policy(folder: Path) -> Path:
    path = DiscreteCQL(seed=0).build(small_dataset("discrete")).save(folder / "policy.okt")
    return written(folder, "cut.okt", path.read_bytes()[:5000])


CASES = {
    "one action for all rows": (
        lambda _: MDPDataset(**columns(actions=np.float32(1.0))),
        DatasetError,
        "actions is a single number, expected one entry for each row",
    ),
    "99 actions for 100 rows": (
        lambda _: MDPDataset(**columns(actions=np.array([0, 1, 0, 1, 0]))),
        DatasetError,
        "actions",
    ),
    "NaN reward": (
        lambda _: MDPDataset(**columns(rewards=with_value(6, 4, np.nan))),
        DatasetError,
        r"rewards must be finite, got nan at row 4, in episode 1",
    ),
    "infinite observation": (
        lambda _: MDPDataset(**columns(observations=with_value((6, 3), (2, 1), np.inf))),
        DatasetError,
        "observations.*row 2, in episode 0",
    ),
    "objects for numbers": (
        lambda _: MDPDataset(**columns(rewards=np.array([1, 2, 3, 4, 5, None], object))),
        DatasetError,
        "rewards",
    ),
    "action outside the declared box": (
        lambda _: MDPDataset(
            **columns(actions=with_value((6, 2), (3, 0), 1.5), action_space=spaces.Box(-1.0, 1.0, (2,)))
        ),
        DatasetError,
        r"actions must lie in Box.*row 3.*clip",
    ),
    "negative discrete action": (
        lambda _: MDPDataset(**columns(actions=np.array([0, 1, 0, -1, 0, 1]))),
        DatasetError,
        "row 3",
    ),
    "terminals that are no flags": (
        lambda _: MDPDataset(**columns(terminals=np.array([0, 0, 2, 0, 0, 1]))),
        DatasetError,
        "terminals",
    ),
    "no rows": (
        lambda _: MDPDataset(np.zeros((0, 3)), np.zeros(0, int), np.zeros(0), np.zeros(0)),
        DatasetError,
        "at least one row|empty|no rows",
    ),
    "unknown dataset": (
        lambda _: get_dataset("hoper-medium-v2"),
        ValueError,
        "Unrecognized dataset name: 'hoper-medium-v2'; did you mean 'hopper-medium-v2'",
    ),
    "unknown option of a dataset": (
        lambda _: get_dataset("cartpole-mixed", shuffle=True),
        TypeError,
        "shuffle",
    ),
    "file that is not there": (
        lambda f: get_dataset(str(f / "none.h5")),
        FileNotFoundError,
        "there is no file",
    ),
    "truncated dataset file": (
        lambda f: get_dataset(str(truncated_dataset(f))),
        FileFormatError,
        "damaged or truncated",
    ),
    "text with the suffix of HDF5": (
        lambda f: get_dataset(str(written(f, "web.hdf5", b"<html>404</html>"))),
        FileFormatError,
        "web.hdf5",
    ),
    "pickle in an npz": (
        lambda f: get_dataset(str(written(f, "evil.npz", pickle.dumps([1])))),
        FileFormatError,
        "evil.npz",
    ),
    "pickle masquerading as a policy": (
        lambda f: offlinekit.load(written(f, "evil.okt", pickle.dumps([1]))),
        FileFormatError,
        "it is a pickle, which can run code and is never read",
    ),
    "truncated policy": (
        lambda f: offlinekit.load(truncated_policy(f)),
        FileFormatError,
        "truncated, damaged",
    ),
    "unknown algorithm": (lambda _: get_algo("cqll"), ValueError, "did you mean 'cql'"),
    "unknown hyperparameter": (
        lambda _: TD3PlusBC(alfa=1.0),
        TypeError,
        "no hyperparameter 'alfa'; did you mean 'alpha'",
    ),
    "hyperparameter out of range": (
        lambda _: IQL(expectile=1.2),
        ValueError,
        r"expectile must be in \(0, 1\), got 1.2",
    ),
    "discrete data for a continuous algorithm": (
        lambda _: CQL().fit(small_dataset("discrete"), out=None),
        UnsupportedError,
        "CQL learns continuous actions, but 'small' has Discrete.*DiscreteCQL",
    ),
    "the pair of get_dataset for its dataset": (
        lambda _: DiscreteCQL().fit(get_dataset("cartpole-random")),
        TypeError,
        "dataset, env = get_dataset",
    ),
    "acting before training": (lambda _: IQL().predict(np.zeros(3)), NotFittedError, "call fit"),
    "observation of another shape": (
        lambda _: DiscreteCQL(seed=0).build(small_dataset("discrete")).predict(np.zeros(7)),
        ValueError,
        r"observations must have shape \[4\] for one or \['batch', 4\] for several, got \[7\]",
    ),
    "environment of other spaces": (
        lambda _: DiscreteCQL(seed=0).fit(
            small_dataset("discrete"), 1, out=None, eval_env=get_dataset("cartpole-random")[1]
        ),
        DatasetError,
        "environment",
    ),
    "policy that gives actions of another shape": (
        lambda _: evaluate(lambda o: np.zeros((len(o), 3)), get_dataset("cartpole-random")[1], 1),
        ValueError,
        "expected",
    ),
    "no updates": (
        lambda _: IQL().fit(small_dataset("continuous"), 0, out=None),
        ValueError,
        r"n_steps must be in \[1, inf\), got 0",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_message(case, tmp_path):
    call, kind, message = CASES[case]
    with pytest.raises(kind, match=message) as caught:
        call(tmp_path)
    text = str(caught.value).replace(str(tmp_path), "...")
    print(f"\n{case}\n    {type(caught.value).__name__}: {text}")
    assert len(text) < 400, "a message is a line or two"
