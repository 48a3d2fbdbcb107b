"""The loop that runs one policy in several environments side by side."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from offlinekit.envs.answers import check_seed, checked_reset, checked_step, misfit, not_finite
from offlinekit.envs.made_env import MadeEnv
from offlinekit.ground.action_spaces import env_action
from offlinekit.types import Array, ArrayTree, map_tree, stack_trees

LONGEST = 27_000
"""Steps after which an episode without a time limit is cut: as long as the longest of Atari."""


class Slot:
    """One environment and the episode that runs in it.

    Attributes:
        episode, seed: Its number, and what it was reset with.
        total, length: The return and the number of steps so far.
        observation: The newest one, with arrays of its own.
        reward: Of the newest step, 0 before the first.
        terminated: Whether the MDP ended with it.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        self.env, self._acts, self._shows = env, env.action_space, env.observation_space

    def start(self, episode: int, seed: int) -> None:
        """Resets the environment for another episode."""
        self.episode, self.seed, self.total, self.length, self.reward = episode, seed, 0.0, 0, 0.0
        self.observation = self._checked(checked_reset(self.env.reset(seed=seed)), "reset")
        check_seed(self.env, seed, self.observation, stacklevel=6)

    def _checked(self, observation: ArrayTree, whence: str) -> ArrayTree:
        """Returns an observation with arrays of its own, once it is known to be of the space."""
        arrays = _arrays(observation)
        if wrong := misfit(arrays, self._shows):
            raise ValueError(
                f"the environment's {whence} gave an observation of {wrong}, in the episode of seed {self.seed}; let "
                f"it return what observation_space says, {self._shows}"
            )
        return arrays

    def check_observation(self, as_float32: bool = False) -> None:
        """Raises ValueError for an observation that is not finite.

        Args:
            as_float32: Whether a number that float32 does not hold counts as infinite.
        """
        wrong = not_finite(self.observation, as_float32)
        if wrong is not None:
            raise ValueError(
                f"observation of the environment after {self.length} steps holds {wrong}, in the episode of seed "
                f"{self.seed}; let the environment show finite numbers{' of float32' if as_float32 else ''}"
            )

    def step(self, action: Array, max_steps: int) -> bool:
        """Takes one step; returns whether the episode is over.

        Raises:
            ValueError: For an answer of the environment that is none of a step.
        """
        result = checked_step(self.env.step(env_action(action, self._acts)), self.length)
        self.observation = self._checked(result[0], f"step {self.length}")
        self.reward, self.terminated = result[1], result[2]
        self.total += self.reward
        self.length += 1
        return self.terminated or result[3] or self.length == max_steps


class EpisodeLoop:
    """Runs episodes over a list of environments, with one call of the policy for all active ones.

    A subclass chooses actions (`choose`), decides whether to go on (`another`), and may observe steps and episodes.

    Args:
        envs: Equal environments.
        seed: Episode i starts from seed + i.
        max_steps: Ends an episode after so many steps; None leaves it to the environment, but for one without a
            time limit, whose episodes end after `LONGEST` with a warning.

    Attributes:
        active: The episodes that run.
        as_float32: Whether observations must be finite as float32, in which networks see them.
    """

    as_float32 = False

    def __init__(self, envs: list[gymnasium.Env[Any, Any]], seed: int, max_steps: int | None = None) -> None:
        self.envs, self.seed = envs, seed
        self.is_limited = max_steps is not None or has_time_limit(envs[0])
        self.max_steps = max_steps or (0 if self.is_limited else LONGEST)
        self.n_started = 0
        self.active: list[Slot] = []

    def choose(self, observations: ArrayTree, slots: Sequence[Slot]) -> Array:
        """Returns the actions [n, ...] on the observations of n slots."""
        raise NotImplementedError

    def another(self) -> bool:
        """Returns whether episode `self.n_started` is wanted."""
        raise NotImplementedError

    def started(self, slot: Slot) -> None:
        """Is called at the start of an episode."""

    def stepped(self, slot: Slot, before: ArrayTree, index: int) -> None:
        """Is called after a step from the observation `before`, on the action that `choose` returned at an index."""

    def finished(self, slot: Slot) -> None:
        """Is called at the end of an episode."""

    def run(self) -> None:
        """Runs episodes until no other is wanted and all that were started are over."""
        self.begin()
        while self.active:
            self.step()

    def begin(self) -> None:
        """Starts an episode in each environment, as long as another is wanted."""
        self.active = [slot for slot in map(Slot, self.envs) if self._start(slot)]

    def step(self) -> None:
        """Takes one step in each episode that runs; in place of one that is over another starts, if it is wanted."""
        self.move(self.choose(self.seen(), self.active))

    def seen(self) -> ArrayTree:
        """Returns the observations [n, ...] of the n episodes that run.

        Raises:
            ValueError: For one that is not finite, which is the environment's fault and not the policy's.
        """
        observations: ArrayTree = stack_trees([slot.observation for slot in self.active])
        if not_finite(observations, self.as_float32) is not None:
            for slot in self.active:
                slot.check_observation(self.as_float32)
        return observations

    def move(self, actions: Array) -> None:
        """Takes the step of each episode that runs."""
        self.active = [slot for i, slot in enumerate(self.active) if self._goes_on(slot, actions[i], i)]

    def _start(self, slot: Slot) -> bool:
        if not self.another():
            return False
        slot.start(self.n_started, self.seed + self.n_started)
        self.n_started += 1
        self.started(slot)
        return True

    def _goes_on(self, slot: Slot, action: Array, index: int) -> bool:
        before = slot.observation
        over = slot.step(action, self.max_steps)
        self.stepped(slot, before, index)
        if not over:
            return True
        if not self.is_limited and slot.length == LONGEST:
            self.is_limited = True  # It is said once.
            warnings.warn(
                f"episode {slot.episode} had no end after {LONGEST:,} steps and was cut; give max_steps, "
                "or the environment a limit: gymnasium.wrappers.TimeLimit(env, max_episode_steps=1000)",
                stacklevel=5,
            )
        self.finished(slot)
        return self._start(slot)


def first_observation(env: gymnasium.Env[Any, Any], seed: int) -> ArrayTree:
    """Returns what an environment shows after a reset [1, ...].

    Raises:
        ValueError: For an answer of the environment that is none of a reset, or is not finite.
    """
    slot = Slot(env)
    slot.start(0, seed)
    slot.check_observation()
    return stack_trees([slot.observation])


def has_time_limit(env: gymnasium.Env[Any, Any]) -> bool:
    """Returns whether an environment ends episodes after some number of steps."""
    spec = env.spec
    return time_limit(env) is not None or (spec is not None and "max_num_frames_per_episode" in spec.kwargs)


def time_limit(env: gymnasium.Env[Any, Any]) -> int | None:
    """Returns the steps after which an environment ends episodes; None if it names no number of steps."""
    spec = env.spec
    if spec is not None and spec.max_episode_steps:
        return spec.max_episode_steps
    while isinstance(env, gymnasium.Wrapper) and not isinstance(env, MadeEnv):
        if isinstance(env, gymnasium.wrappers.TimeLimit):
            return int(env._max_episode_steps)
        env = env.env
    limit = getattr(env, "_max_steps", None)
    return int(limit) if isinstance(limit, int | np.integer) else None


def _arrays(observation: ArrayTree) -> ArrayTree:
    """Returns an observation with arrays of its own as leaves: an environment may reuse its buffer."""
    arrays: ArrayTree = map_tree(_array, observation)
    return arrays


def _array(leaf: object) -> Array:
    if np.ma.is_masked(leaf):
        raise ValueError(
            "observation of the environment has masked values; let it fill them, e.g. x.filled(0)"
        )
    return np.array(leaf)
