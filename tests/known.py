"""An algorithm whose policy and values are known in closed form, and data small enough for a hand."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from offlinekit.core.algo import Algo
from offlinekit.core.impl import Impl
from offlinekit.datasets import MDPDataset


class KnownPolicy(nn.Module):
    """Action 0 with probability 1/4, action 1 with 3/4."""

    def log_prob(self, observations: Any, actions: Tensor) -> Tensor:
        return torch.tensor([0.25, 0.75]).log()[actions]


class KnownImpl(Impl):
    """Q(s, a) = s + 10 a of the state's first number; the policy takes action 1."""

    def build(self) -> None:
        self.weight = nn.Parameter(torch.ones(()))
        self.policy = KnownPolicy()

    def build_objectives(self) -> list[Any]:
        return [
            self.objective("critic", self.compute_loss, [self.weight], 0.1),
            self.objective("noise", self.compute_noise, [self.weight], 0.1),
        ]

    def compute_loss(self, batch: Any) -> Any:
        return (self.weight * batch.rewards).mean(), {"extra": batch.rewards.mean()}

    def compute_noise(self, batch: Any) -> Tensor:
        return self.weight * self.random.normal(1).sum()

    def predict_best_action(self, observations: Any) -> Tensor:
        return torch.ones(len(state(observations)), dtype=torch.int64)

    def predict_value(self, observations: Any, actions: Tensor | None) -> Tensor:
        chosen = self.predict_best_action(observations) if actions is None else actions
        return state(observations) + 10.0 * chosen


def state(observations: Any) -> Tensor:
    """Returns the first number of vectors, of the vectors of a dict, or one pixel of the newest image."""
    if isinstance(observations, dict):
        return observations["x"][:, 0]
    if observations.ndim == 4:
        pixels = observations[:, :, 0, 0].float()
        return pixels[:, -1] + 100.0 * pixels[:, :-1].sum(1)
    return observations[:, 0]


class Known(Algo):
    """Known in closed form."""

    action_kind: ClassVar[str] = "discrete"
    gamma: float = 0.5
    impl_class = KnownImpl


def two_episodes(**given: Any) -> MDPDataset:
    """Makes states 1, 2, 3 until a terminal and 5, 6 until a timeout, behind which 7 is recorded."""
    columns: dict[str, Any] = {
        "observations": np.array([[1.0], [2.0], [3.0], [5.0], [6.0]], np.float32),
        "actions": np.array([0, 1, 0, 1, 0]),
        "rewards": np.array([1.0, 2.0, 4.0, 8.0, 16.0]),
        "terminals": np.array([0, 0, 1, 0, 0], bool),
        "timeouts": np.array([0, 0, 0, 0, 1], bool),
        "final_observations": np.array([[0.0], [7.0]], np.float32),
    }
    return MDPDataset(**{**columns, **given})


def unfinished(**given: Any) -> MDPDataset:
    """Makes the same without what is behind the timeout."""
    return two_episodes(final_observations=None, **given)
