"""What a format cannot hold is said: every format that is written, against every kind of content."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from offlinekit.datasets import MDPDataset, get_dataset
from offlinekit.datasets.editing.converting import convert, writers
from offlinekit.errors import DatasetWarning, OfflineKitError
from offlinekit.types import leaves, map_tree

N = 9
ENDS = np.arange(N)


def dataset(**content: Any) -> MDPDataset:
    """Three steps that end by themselves, and six that do too."""
    rng = np.random.default_rng(0)
    plain = {
        "observations": rng.normal(size=(N, 2)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (N, 1)).astype(np.float32),
        "rewards": np.arange(N, dtype=np.float32),
        "terminals": np.isin(ENDS, [2, 8]),
    }
    columns = {**plain, **content}
    if not {"final_observations", "next_observations"} & {*content}:
        n_episodes = int((columns["terminals"] | columns.get("timeouts", False)).sum())
        columns["final_observations"] = map_tree(lambda leaf: leaf[:n_episodes], columns["observations"])
    return MDPDataset(**columns)


def box(low: Any, high: Any, shape: tuple[int, ...]) -> spaces.Box:
    return spaces.Box(low, high, shape, np.float32)


Facts = Callable[[MDPDataset], Any]
CONTENT: dict[str, tuple[dict[str, Any], Facts]] = {
    "nothing else": ({}, lambda d: d.rewards),
    "range of actions": ({"action_space": box(-2, 2, (1,))}, lambda d: str(d.action_space)),
    "discrete actions": ({"actions": ENDS % 3}, lambda d: (d.actions, str(d.action_space))),
    "actions nobody took": (
        {"actions": ENDS % 2, "action_space": spaces.Discrete(5)},
        lambda d: str(d.action_space),
    ),
    "range of observations": ({"observation_space": box(-9, 9, (2,))}, lambda d: str(d.observation_space)),
    "images": ({"observations": np.full((N, 1, 8, 8), 7, np.uint8)}, lambda d: d.observations),
    "grey images without channels": (
        {"observations": np.full((N, 8, 8), 7, np.uint8)},
        lambda d: d.observations,
    ),
    "dict": (
        {"observations": {"a": np.ones((N, 1)), "b": np.ones((N, 2))}},
        lambda d: leaves(d.observations),
    ),
    "tuple": ({"observations": (np.ones((N, 1)), np.ones((N, 2)))}, lambda d: leaves(d.observations)),
    "nested": ({"observations": {"a": {"b": np.ones((N, 1))}}}, lambda d: leaves(d.observations)),
    "propensities": ({"behavior_log_probs": -np.ones(N)}, lambda d: d.behavior_log_probs),
    "extras": ({"extras": {"cost": ENDS * 2.0}}, lambda d: extra(d, "cost")),
    "whole extras": ({"extras": {"skill": ENDS % 2}}, lambda d: extra(d, "skill")),
    "wide extras": ({"extras": {"goal": np.ones((N, 3))}}, lambda d: extra(d, "goal")),
    "texts": ({"extras": {"task": np.array([b"up", b"down", b"up"] * 3)}}, lambda d: extra(d, "task")),
    "extras of episodes": (
        {"episode_extras": {"ward": np.arange(2)}},
        lambda d: d.episode_extras.get("ward"),
    ),
    "texts of episodes": (
        {"episode_extras": {"ward": np.array([b"a", b"b"])}},
        lambda d: d.episode_extras.get("ward"),
    ),
    "scores": (
        {"metadata": {"reference_min_score": 1.0, "reference_max_score": 2.0}},
        lambda d: d.reference_scores,
    ),
    "metadata": ({"metadata": {"ward": "7"}}, lambda d: d.metadata.get("ward")),
    "environment": (
        {"metadata": {"env_id": "CartPole-v1"}, "actions": ENDS % 2, "observations": np.ones((N, 4))},
        lambda d: d.metadata.get("env_id"),
    ),
    "note of the environment": (
        {"metadata": {"env_id": None, "env_note": "a"}},
        lambda d: d.metadata.get("env_note"),
    ),
    "timeouts": (
        {"terminals": ENDS == 8, "timeouts": ENDS == 2},
        lambda d: (d.terminals, d.timeouts),
    ),
    "a last episode without an end": (
        {"terminals": ENDS == 2, "timeouts": ENDS == 8},
        lambda d: (d.terminals, d.timeouts),
    ),
    "final observations": (
        {"terminals": ENDS == 8, "timeouts": ENDS == 2, "final_observations": np.full((2, 2), 5.0)},
        lambda d: (d.final_observations, d.final_known),
    ),
    "some final observations": (
        {
            "terminals": ENDS == 8,
            "timeouts": ENDS == 2,
            "final_observations": np.full((2, 2), 5.0),
            "final_known": [True, False],
        },
        lambda d: (d.final_observations[d.final_known], d.final_known),
    ),
    "transitions": ({"next_observations": np.full((N, 2), 5.0)}, lambda d: d.next_observations),
    "masks": ({"create_mask": True, "mask_size": 2}, lambda d: d.masks),
    "one step": ({"terminals": np.ones(N, bool)}, lambda d: d.terminals),
}


def extra(dataset: MDPDataset, name: str) -> Any:
    """Returns one of the extras; Minari names them as entries of infos."""
    return dataset.extras.get(name, dataset.extras.get(f"infos/{name}"))


def finals(dataset: MDPDataset) -> Any:
    return [leaf[dataset.final_known] for leaf in leaves(dataset.final_observations)]


def same(left: Any, right: Any) -> bool:
    """Returns whether facts are equal, to the dtype."""
    if isinstance(left, (tuple, list)):
        pairs = zip(left, right, strict=True) if isinstance(right, (tuple, list)) else []
        return (
            isinstance(right, (tuple, list))
            and len(left) == len(right)
            and all(same(*pair) for pair in pairs)
        )
    if isinstance(left, np.ndarray):
        return isinstance(right, np.ndarray) and left.dtype == right.dtype and np.array_equal(left, right)
    return bool(left == right)


OUT = {"native": "out.h5", "npz": "out.npz", "d3rlpy": "out_d3rlpy.h5", "minari": "folder"}


@pytest.mark.parametrize("content", CONTENT)
@pytest.mark.parametrize("format", writers())
def test_it_is_kept_or_said(format: str, content: str, tmp_path: Path) -> None:
    columns, facts = CONTENT[content]
    source = dataset(**columns)
    source.save(tmp_path / "source.h5")
    out = tmp_path / OUT[format]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            convert(tmp_path / "source.h5", out, format=format)
        except OfflineKitError as error:
            is_refused = "; " in str(error)  # With a remedy.
        else:
            is_refused = None
    if is_refused is not None:
        assert is_refused
        assert not out.exists()
        return
    losses = [str(each.message) for each in said if issubclass(each.category, DatasetWarning)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, _ = get_dataset(out)
    is_kept = same((facts(source), finals(source)), (facts(found), finals(found)))
    assert is_kept == (not losses), f"{facts(source)} became {facts(found)}, said: {losses}"
