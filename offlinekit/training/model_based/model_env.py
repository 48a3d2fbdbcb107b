"""An environment in which learned dynamics say what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import gymnasium
import numpy as np
from gymnasium import spaces

from offlinekit.types import Array

if TYPE_CHECKING:
    from offlinekit.datasets import MDPDataset


class StepModel(Protocol):
    """Learned dynamics, such as `algo.model` of an algorithm that learns inside one, or a `Dynamics`."""

    @property
    def n_simulated(self) -> int:
        """K, the members that steps are drawn from."""

    def sample_steps(
        self, observations: Array, actions: Array, rng: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        """Draws next observations [K, B, D], rewards [K, B] and ends, bool [K, B], of steps [K, B, ...]."""


class ModelEnv(gymnasium.Env[Array, Any]):
    """Episodes in a model, each from a first state of the data, each step by a member that is drawn for it.

    What happens here is made up: a policy that exploits the model's errors scores well.

    Args:
        model: What says what follows.
        dataset: Whose first states episodes begin with; its spaces are the environment's.
        max_steps: Steps after which an episode is cut; None takes the longest of the data.
    """

    def __init__(self, model: StepModel, dataset: MDPDataset, max_steps: int | None = None) -> None:
        self.model = model
        self.starts = np.asarray(dataset.observations)[dataset.episode_starts].astype(np.float32)
        self.max_steps = int(dataset.episode_lengths().max()) if max_steps is None else max_steps
        self.observation_space = spaces.Box(-np.inf, np.inf, self.starts.shape[1:], np.float32)
        self.action_space = dataset.action_space
        self.observation, self.n_steps = self.starts[0], 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begins an episode with a first state that is drawn."""
        super().reset(seed=seed)
        self.observation, self.n_steps = self.starts[self.np_random.integers(len(self.starts))], 0
        return self.observation, {}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Takes a step in the model."""
        k = int(self.model.n_simulated)
        seen = np.tile(self.observation, (k, 1, 1))
        acted = np.tile(np.asarray(action), (k, 1, *[1] * np.ndim(action)))
        after, rewards, ends = self.model.sample_steps(seen, acted, self.np_random)
        member = int(self.np_random.integers(k))
        self.observation, self.n_steps = after[member, 0].astype(np.float32), self.n_steps + 1
        ended = bool(ends[member, 0])
        cut = self.n_steps >= self.max_steps and not ended
        return self.observation, float(rewards[member, 0]), ended, cut, {}
