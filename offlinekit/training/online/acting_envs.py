"""The environments of an online run, and what rows of them look like."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

import gymnasium
import numpy as np

from offlinekit.datasets.mdp_dataset import MDPDataset
from offlinekit.datasets.spaces import as_stored
from offlinekit.datasets.validation import as_observations
from offlinekit.envs.callable_policies import RandomPolicy
from offlinekit.envs.episode_loop import first_observation
from offlinekit.envs.given_env import GivenEnv
from offlinekit.ground.action_spaces import held_space
from offlinekit.types import rows

if TYPE_CHECKING:
    from offlinekit.interfaces import EnvLike, EnvSource

MakeEnv: TypeAlias = "Callable[[], EnvLike]"


def environments(
    env: EnvSource | GivenEnv, n_envs: int
) -> AbstractContextManager[list[gymnasium.Env[Any, Any]]]:
    """Returns what opens the environments to act in: the one given, or as many as are wanted of what makes one.

    Those that are made here are closed at its end.

    Raises:
        ValueError: If several are wanted of one that is given.
    """
    given = GivenEnv(env)
    if n_envs > 1 and given.factory is None:
        raise ValueError(
            f"n_envs={n_envs} environments need a function that makes one; give env=lambda: gymnasium.make(...)"
        )
    return given.opened(n_envs, n_envs)


def example_row(dataset: MDPDataset | None, env: gymnasium.Env[Any, Any], seed: int) -> MDPDataset:
    """Returns a dataset of one row, as those of the dataset or of the environment are."""
    if dataset is not None:
        whole = rows(dataset.observations, slice(0, 1)), dataset.actions[:1], dataset.rewards[:1]
        row = MDPDataset(
            *whole, [True], observation_space=dataset.observation_space, action_space=dataset.action_space
        )
        return row if dataset.masks is None else row.with_options(mask_size=dataset.masks.shape[1])
    space, first = held_space(env.action_space), as_observations(first_observation(env, seed))
    if isinstance(space, gymnasium.spaces.Box):
        actions = np.clip(np.zeros((1, *space.shape), np.float32), space.low, space.high)
    else:
        actions = RandomPolicy(space)(first)  # A legal one, if the observation says which are.
    return MDPDataset(
        first,
        actions,
        [0.0],
        [True],
        observation_space=as_stored(env.observation_space),
        action_space=space,
    )
