"""The action before each row as a part of its observation: in datasets, and in environments alike."""

from __future__ import annotations

import copy
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces

from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.errors import DatasetError, UnsupportedError
from offlinekit.ground.category_space import CategorySpace
from offlinekit.tables.table_schema import TABLE_SCHEMA
from offlinekit.types import Array


def with_last_actions(dataset: MDPDataset) -> MDPDataset:
    """Returns the dataset with the action before each row behind its observation, [N, D + A].

    Discrete actions are vectors of one 1; before an episode's first row stand zeros. With `history_length` a policy
    then sees its last rows with the actions between them. `LastActions` makes an environment that shows the same.
    Categories of a table are embedded as before; its schema says how rows of the table become observations, which they
    no longer do alone, so it is left out.

    Raises:
        UnsupportedError: For observations or actions that are no vectors of numbers.
        DatasetError: For unordered transitions, in which no action is known to come before another.
    """
    space = space_with_actions(dataset.observation_space, dataset.action_space)
    if dataset.next_observations is not None:
        raise DatasetError(
            "last actions need rows in temporal order, but this dataset holds unordered transitions "
            "(next_observations differ from the following rows); give episodes"
        )
    taken = encoded(dataset.actions, dataset.action_space)
    before = np.roll(taken, 1, 0)
    before[dataset.episode_starts] = 0.0
    changed = copy.copy(dataset)
    changed.observations = np.concatenate([dataset.observations, before], 1)
    changed.final_observations = np.concatenate(
        [dataset.final_observations, taken[dataset.episode_ends - 1]], 1
    )
    changed.observation_space = space
    edits = [*dataset.metadata.get("edits", []), "last actions"]
    changed.metadata = {key: value for key, value in dataset.metadata.items() if key != TABLE_SCHEMA}
    return changed.with_options(metadata={"edits": edits, "env_id": None})


class LastActions(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Shows the last action behind each observation, zeros after a reset, as `with_last_actions` records it.

    Args:
        env: Of observations and actions that are vectors of numbers, or of discrete actions.

    Raises:
        UnsupportedError: For others.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.observation_space = space_with_actions(env.observation_space, env.action_space)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Returns the first observation before zeros, and the info."""
        observation, info = self.env.reset(seed=seed, options=options)
        none = np.zeros(self.observation_space.shape[0] - len(observation), np.float32)  # type: ignore[index]  # A Box.
        return np.concatenate([observation, none], dtype=np.float32), info

    def step(self, action: Any) -> tuple[Array, SupportsFloat, bool, bool, dict[str, Any]]:
        """Returns what the step of the environment does, the action behind the observation."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        last = encoded(np.asarray(action)[None], self.env.action_space)[0]
        shown: Array = np.concatenate([observation, last], dtype=np.float32)
        return shown, reward, terminated, truncated, info


def space_with_actions(observations: spaces.Space[Any], actions: spaces.Space[Any]) -> spaces.Box:
    """Returns the space of observations [D] with the last action [A] behind them.

    Raises:
        UnsupportedError: For spaces of which there is none.
    """
    if not isinstance(observations, spaces.Box) or len(observations.shape) != 1:
        raise UnsupportedError(f"last actions go behind observations that are vectors, got {observations}")
    if type(actions) is spaces.Discrete:  # Not several that are one choice.
        low, high = np.zeros(actions.n, np.float32), np.ones(actions.n, np.float32)
    elif isinstance(actions, spaces.Box) and len(actions.shape) == 1:
        low, high = np.minimum(actions.low, 0.0), np.maximum(actions.high, 0.0)
    else:
        raise UnsupportedError(f"last actions are vectors or discrete, got {actions}")
    if isinstance(observations, CategorySpace):  # Which has no bounds.
        return CategorySpace(observations.shape[0] + len(low), observations.blocks)
    bounds = ((observations.low, low), (observations.high, high))
    lowest, highest = (np.concatenate(pair, dtype=np.float32) for pair in bounds)
    return spaces.Box(lowest, highest)


def encoded(actions: Array, space: spaces.Space[Any]) -> Array:
    """Returns actions [N, A] as float32; discrete ones as vectors of one 1."""
    if isinstance(space, spaces.Discrete):
        return np.eye(int(space.n), dtype=np.float32)[np.asarray(actions, np.int64) - int(space.start)]
    return np.array(actions, np.float32)
