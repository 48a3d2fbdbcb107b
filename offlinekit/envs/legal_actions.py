"""Legal actions: which discrete actions are possible at an observation, as a leaf of the observations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, SupportsFloat, TypeVar, cast

import gymnasium
import numpy as np
from gymnasium import spaces

from offlinekit.deploy import LEGAL_ACTIONS as LEGAL_ACTIONS
from offlinekit.deploy import legal_flags, with_legal_actions
from offlinekit.errors import UnsupportedError
from offlinekit.ground.action_spaces import held_space, part_sizes
from offlinekit.types import Array, ArrayTree

T = TypeVar("T")
WRAPPER = "offlinekit.envs.legal_actions.LegalActions(env)"
"""What makes the leaf of the info of an environment."""
OBSERVATIONS = "observations"
"""Key of observations that are no dict."""


def joined(observations: T | Mapping[str, T], legal_actions: T) -> dict[str, T]:
    """Returns observations with their legal actions as a leaf, of arrays or of spaces."""
    rest: Mapping[str, T] = (
        observations if isinstance(observations, Mapping) else {OBSERVATIONS: observations}
    )
    return dict(sorted({**rest, LEGAL_ACTIONS: legal_actions}.items()))


def legal_space(n_actions: int) -> spaces.Box:
    """Returns the space of the leaf."""
    return spaces.Box(0, 1, (n_actions,), np.uint8)


def joined_space(space: spaces.Space[Any], n_actions: int) -> spaces.Dict:
    """Returns the space of observations with legal actions."""
    rest = space.spaces if isinstance(space, spaces.Dict) else space
    return spaces.Dict(joined(rest, legal_space(n_actions)))


def has_legal_actions(space: spaces.Space[Any]) -> bool:
    """Returns whether observations of a space say which actions are legal."""
    leaf = space.spaces.get(LEGAL_ACTIONS) if isinstance(space, spaces.Dict) else None
    return isinstance(leaf, spaces.Box) and leaf.dtype == np.uint8 and bool((leaf.high == 1).all())


def space_of_rest(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """Returns the space of what is observed beside the legal actions; the space itself if it has none."""
    if not has_legal_actions(space):
        return space
    assert isinstance(space, spaces.Dict)
    rest = {key: part for key, part in space.spaces.items() if key != LEGAL_ACTIONS}
    return rest[OBSERVATIONS] if rest.keys() == {OBSERVATIONS} else spaces.Dict(rest)


def rest_of(observations: Mapping[str, T]) -> T | dict[str, T]:
    """Returns what is observed beside the legal actions."""
    rest = {key: branch for key, branch in observations.items() if key != LEGAL_ACTIONS}
    return rest[OBSERVATIONS] if rest.keys() == {OBSERVATIONS} else rest


def legal_of(observations: object) -> Array | None:
    """Returns the legal actions [..., A] among observations; None if they have none."""
    legal: Array | None = observations.get(LEGAL_ACTIONS) if isinstance(observations, Mapping) else None
    return legal


def legal_choices(
    observation_space: spaces.Space[Any], action_space: spaces.Space[Any]
) -> tuple[int, ...] | None:
    """Returns how many choices each part of an action has, for a policy that keeps to legal ones; None for others."""
    is_kept = has_legal_actions(observation_space) and isinstance(action_space, spaces.Discrete)
    return part_sizes(cast("spaces.Discrete", action_space)) if is_kept else None


def draw_legal(legal: Array, rng: np.random.Generator) -> Array:
    """Draws one of the legal actions of each row uniformly, int64 [B].

    Raises:
        ValueError: For a row without one.
    """
    legal = with_legal_actions({}, legal, [np.shape(legal)[-1]])[LEGAL_ACTIONS]
    keys = np.where(legal > 0, rng.random(np.shape(legal)), -1.0)
    drawn: Array = keys.argmax(-1)
    return drawn


class LegalActions(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Moves the legal actions of an environment from its info into its observations.

    Policies of data with legal actions are evaluated in it, and rows recorded in it have legal actions.

    Args:
        env: With discrete actions, whose `reset` and `step` give info[key], [A] of 0 and 1, an entry for each action
            in their order; of more than 4,096 joint ones for each choice of each part.
        key: Of the info; "action_mask" by the custom of gymnasium.

    Raises:
        UnsupportedError: For actions that are not discrete; when acting, if the info lacks the key.
        ValueError: When acting, for other numbers than 0 and 1.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], key: str = "action_mask") -> None:
        super().__init__(env)
        actions = held_space(env.action_space)
        if not isinstance(actions, spaces.Discrete):
            raise UnsupportedError(f"legal actions are of discrete actions, got {actions}")
        self._key, self._n_actions = key, sum(part_sizes(actions))
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
        legal, name = np.asarray(info[self._key]), f"info[{self._key!r}]"
        if legal.shape != (self._n_actions,):
            raise UnsupportedError(f"{name} must have shape [{self._n_actions}], got {list(legal.shape)}")
        return joined(observation, legal_flags(legal, self._n_actions, name))
