"""Environments that say which actions are legal, with these as a leaf of their observations."""

from __future__ import annotations

from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces

from offlinekit.errors import UnsupportedError
from offlinekit.legal_actions import joined, joined_space
from offlinekit.types import ArrayTree


class LegalActions(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Moves the legal actions of an environment from its info into its observations.

    Policies of data with legal actions are evaluated in it, and rows recorded in it have legal actions.

    Args:
        env: With discrete actions, whose `reset` and `step` give info[key], [A] of 0 and 1.
        key: Of the info; "action_mask" by the custom of gymnasium.

    Raises:
        UnsupportedError: For actions that are not Discrete from 0; when acting, if the info lacks the key.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], key: str = "action_mask") -> None:
        super().__init__(env)
        actions = env.action_space
        if not isinstance(actions, spaces.Discrete) or actions.start != 0:
            raise UnsupportedError(f"legal actions are of a Discrete from 0, got {actions}")
        self._key, self._n_actions = key, int(actions.n)
        self.observation_space = joined_space(env.observation_space, self._n_actions)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, ArrayTree], dict[str, Any]]:
        """Returns the first observation with its legal actions, and the info."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._joined(observation, info), info

    def step(self, action: object) -> tuple[dict[str, ArrayTree], SupportsFloat, bool, bool, dict[str, Any]]:
        """Returns what the step of the environment does, the observation with its legal actions."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._joined(observation, info), reward, terminated, truncated, info

    def _joined(self, observation: ArrayTree, info: dict[str, Any]) -> dict[str, ArrayTree]:
        if self._key not in info:
            raise UnsupportedError(
                f"the info of {self.env} has no {self._key!r}, but {sorted(info)}; name the key of its legal actions: "
                "LegalActions(env, key=...)"
            )
        legal = np.asarray(info[self._key])
        if legal.shape != (self._n_actions,):
            raise UnsupportedError(
                f"info[{self._key!r}] must have shape [{self._n_actions}], got {list(legal.shape)}"
            )
        return joined(observation, legal.astype(np.uint8))
