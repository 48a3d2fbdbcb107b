"""Bad input: each message says what was expected, what came and where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from offlinekit.datasets import MDPDataset
from offlinekit.errors import DatasetError, DatasetWarning, UnsupportedError


def columns(**options: Any) -> dict[str, Any]:
    """Five rows in episodes of 2 and 3, continuous actions."""
    return {
        "observations": np.zeros((5, 3), np.float32),
        "actions": np.zeros((5, 2), np.float32),
        "rewards": np.zeros(5),
        "terminals": np.array([0, 1, 0, 0, 1]),
        **options,
    }


def spoiled(shape: tuple[int, ...], row: int, value: float) -> np.ndarray[Any, Any]:
    array = np.zeros(shape)
    array[row] = value
    return array


CASES: dict[str, tuple[dict[str, Any], str]] = {
    "empty": (
        {"observations": np.zeros((0, 3)), "actions": np.zeros((0, 2)), "rewards": [], "terminals": []},
        "the dataset is empty, expected at least one row",
    ),
    "short observations": ({"observations": np.zeros((4, 3))}, "observations has 4 rows, expected 5"),
    "short actions": ({"actions": np.zeros((4, 2))}, "actions has 4 rows, expected 5"),
    "long terminals": ({"terminals": np.zeros(6)}, "terminals has 6 rows, expected 5"),
    "short timeouts": ({"timeouts": np.zeros(4)}, "timeouts has 4 rows, expected 5"),
    "short episode ends": ({"episode_terminals": [1]}, "episode_terminals has 1 rows, expected 5"),
    "short leaf": (
        {"observations": {"a": np.zeros((5, 1)), "b": np.zeros((4, 1))}},
        r"observations\['b'\] has 4 rows, expected 5",
    ),
    "scalar observations": (
        {"observations": np.zeros(5)},
        r"at least one feature axis, got \[5\]; a single feature is x\[:, None\]",
    ),
    "no features": ({"observations": np.zeros((5, 0))}, r"at least one feature axis, got \[5, 0\]"),
    "empty dict": ({"observations": {}}, "observations is a dict without entries"),
    "empty tuple": ({"observations": ()}, "observations is a tuple without entries"),
    "objects": (
        {"observations": np.full((5, 3), None)},
        "observations must hold numbers, got dtype object; make one array of numbers of it",
    ),
    "strings": ({"rewards": ["1"] * 5}, "rewards must hold numbers, got dtype <U1"),
    "complex": ({"rewards": np.zeros(5, complex)}, "rewards must hold numbers, got dtype complex128"),
    "ragged": ({"observations": [[1.0], [1.0, 2.0]]}, "observations must be one array of numbers"),
    "wide rewards": ({"rewards": np.zeros((5, 2))}, r"rewards must have shape \[N\].*got shape \[5, 2\]"),
    "NaN reward": (
        {"rewards": spoiled((5,), 3, np.nan)},
        r"rewards must be finite, got nan at row 3, in episode 1",
    ),
    "infinite observation": (
        {"observations": spoiled((5, 3), 1, -np.inf)},
        "observations must be finite, got -inf at row 1, in episode 0",
    ),
    "too large for float32": (
        {"observations": {"x": spoiled((5, 3), 4, 1e300)}},
        r"observations\['x'\] must be finite, got inf at row 4, in episode 1",
    ),
    "NaN action": (
        {"actions": spoiled((5, 2), 2, np.nan)},
        "actions must be finite, got nan at row 2, in episode 1",
    ),
    "NaN next observation": (
        {"next_observations": spoiled((5, 3), 0, np.nan)},
        "next_observations must be finite, got nan at row 0, in episode 0",
    ),
    "NaN final observation": (
        {"final_observations": spoiled((2, 3), 1, np.nan)},
        "final_observations must be finite, got nan at episode 1",
    ),
    "terminals not flags": (
        {"terminals": [0, 1, 0, 0.5, 1]},
        r"terminals must be 0 or 1, got 0.5 at row 3; convert with",
    ),
    "NaN terminals": ({"terminals": spoiled((5,), 2, np.nan)}, "terminals must be 0 or 1, got nan at row 2"),
    "outside a box": (
        {"actions": spoiled((5, 2), 4, 1.5), "action_space": spaces.Box(-1, 1, (2,))},
        r"actions must lie in Box\(-1.0, 1.0, \(2,\), float32\), got \[1.5, 1.5\] at row 4, in episode 1"
        r"; clip them",
    ),
    "outside a Discrete": (
        {"actions": [0, 1, 2, 3, 0], "action_space": spaces.Discrete(3)},
        r"actions must lie in Discrete\(3\), got 3 at row 3, in episode 1",
    ),
    "negative integers": ({"actions": [0, -1, 0, 0, 0]}, "got -1 at row 1, in episode 0"),
    "fractions in a Discrete": (
        {"actions": [0.0, 1.0, 0.25, 0, 0], "action_space": spaces.Discrete(2)},
        "actions must be whole numbers in a Discrete space, got 0.25 at row 2, in episode 1; declare a Box",
    ),
    "NaN in a Discrete": (
        {"actions": spoiled((5,), 1, np.nan), "action_space": spaces.Discrete(2)},
        "actions must be whole numbers in a Discrete space, got nan at row 1",
    ),
    "integer vectors": (
        {"actions": np.zeros((5, 2), int)},
        r"actions must have shape \[N\] if they are discrete, got int64",
    ),
    "wrong action width": (
        {"action_space": spaces.Box(-1, 1, (3,))},
        r"actions must have shape \[N, A\] with A of Box.*, got shape \[5, 2\]",
    ),
    "images as actions": (
        {"actions": np.zeros((5, 2, 2))},
        r"actions must have shape \[N, A\] if they are continuous",
    ),
    "Discrete from 1": (
        {"actions": np.zeros(5, int), "action_space": spaces.Discrete(2, start=1)},
        r"actions must lie in Discrete\(2, start=1\), got 0",
    ),
    "continuous beside discrete": (
        {"action_space": spaces.Tuple([spaces.Box(-1, 1, (1,)), spaces.Discrete(2)])},
        "action_space must be all discrete .* or all continuous",
    ),
    "wrong observation space": (
        {"observation_space": spaces.Box(-1, 1, (4,))},
        r"observations must fit Box\(-1.0, 1.0, \(4,\), float32\), got float32 rows of shape \[3\]",
    ),
    "float pixels": (
        {"observation_space": spaces.Box(0, 255, (3,), np.uint8)},
        "observations must fit .* got float32 rows",
    ),
    "missing key": (
        {
            "observations": {"a": np.zeros((5, 1))},
            "observation_space": spaces.Dict({"b": spaces.Box(-1, 1, (1,))}),
        },
        "observations must fit Dict.* got a dict with the keys 'a'",
    ),
    "next of another shape": (
        {"next_observations": np.zeros((5, 4))},
        r"next_observations must be float32 rows of shape \[3\] as in observations, got .* shape \[4\]",
    ),
    "next of another dtype": (
        {"next_observations": np.zeros((5, 3), np.uint8)},
        r"next_observations must be float32 .* got uint8",
    ),
    "next of another structure": (
        {"next_observations": {"a": np.zeros((5, 3))}},
        "next_observations must have the structure of observations",
    ),
    "two tellings": (
        {"next_observations": np.zeros((5, 3)), "final_observations": np.zeros((2, 3))},
        "say the same; give one of them",
    ),
    "final of another length": (
        {"final_observations": np.zeros((3, 3))},
        "final_observations has 3 episodes, expected 2",
    ),
    "known of another length": (
        {"final_observations": np.zeros((2, 3)), "final_known": [1]},
        "final_known has 1 episodes, expected 2",
    ),
    "known without finals": ({"final_known": [1, 0]}, "final_known is set, but neither"),
    "metadata with arrays": (
        {"metadata": {"a": np.zeros(2)}},
        "metadata must be plain data that JSON can hold",
    ),
}


@pytest.mark.parametrize("case", CASES, ids=list(CASES))
def test_bad_columns_are_named(case: str) -> None:
    options, message = CASES[case]
    with pytest.raises(DatasetError, match=message):
        MDPDataset(**columns(**options))


@pytest.mark.parametrize(
    ("field", "space"), [("action_space", spaces.Text(3)), ("observation_space", spaces.MultiBinary([3, 2]))]
)
def test_spaces_of_other_kinds(field: str, space: spaces.Space[Any]) -> None:
    with pytest.raises(UnsupportedError, match=f"{field} must be .*(MultiBinary|Text)"):
        MDPDataset(**columns(**{field: space}))


def test_integer_dtypes_are_discrete_and_floats_never_are() -> None:
    assert MDPDataset(**columns(actions=np.array([0, 3, 1, 2, 0], np.uint8))).action_space == spaces.Discrete(
        4
    )
    with pytest.warns(DatasetWarning, match="whole numbers from 0 to 1 of dtype float"):
        floats = MDPDataset(**columns(actions=np.array([0.0, 1, 0, 1, 0])))
    assert floats.action_space == spaces.Box(-np.inf, np.inf, (1,), np.float32)
    assert floats.actions.shape == (5, 1)


def test_declared_spaces_rule() -> None:
    discrete = MDPDataset(**columns(actions=[[0.0], [1.0], [0], [1], [0]], action_space=spaces.Discrete(3)))
    assert discrete.actions.dtype == np.int64
    assert discrete.actions.tolist() == [0, 1, 0, 1, 0]
    assert discrete.action_space == spaces.Discrete(3)
    box = MDPDataset(**columns(actions=[[-2], [2], [0], [1], [0]], action_space=spaces.Box(-2, 2, (1,))))
    assert box.actions.dtype == np.float32


def test_column_vectors_are_flattened() -> None:
    dataset = MDPDataset(**columns(rewards=np.ones((5, 1)), terminals=np.array([[0], [1], [0], [0], [1]])))
    assert dataset.rewards.shape == (5,)
    assert dataset.terminals.shape == (5,)


def test_trees_keep_uint8_and_sort_their_keys() -> None:
    tree = {
        "z": np.zeros((5, 2), np.int64),
        "a": (np.zeros((5, 4, 4), np.uint8), np.zeros((5, 1), np.float64)),
    }
    dataset = MDPDataset(**columns(observations=tree))
    assert list(dataset.observations) == ["a", "z"]
    assert [leaf.dtype for leaf in dataset.observations["a"]] == [np.uint8, np.float32]
    assert dataset.observations["z"].dtype == np.float32
    image, number = spaces.Box(0, 255, (4, 4), np.uint8), spaces.Box(-np.inf, np.inf, (1,), np.float32)
    pair: list[spaces.Space[Any]] = [image, number]
    pulse = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    assert dataset.observation_space == spaces.Dict({"a": spaces.Tuple(pair), "z": pulse})


def test_large_finite_values_pass() -> None:
    observations = np.full((5, 3), 3e38, np.float32)  # Whose float32 sum is infinite.
    assert MDPDataset(**columns(observations=observations)).observations is observations
