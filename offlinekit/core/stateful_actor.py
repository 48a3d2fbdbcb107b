"""An algorithm in the episodes that it acts in, with a memory of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from offlinekit.core.units import Converter
from offlinekit.envs.stateful_policies import StatefulPolicy
from offlinekit.types import Array, ArrayTree

if TYPE_CHECKING:
    from offlinekit.core.algo import Algo
    from offlinekit.sampling.batch import TensorTree


class StatefulActor(StatefulPolicy):
    """Acts step by step as an algorithm does: `predict(observation, reward)`, and `reset()` before an episode.

    Args:
        algo: With networks.
        target_return: Return to reach, for an algorithm that takes one, in units of the data; None leaves it
            to the algorithm.
        sample: Whether actions are drawn from the policy, in place of the greedy ones.
    """

    def __init__(self, algo: Algo, target_return: float | None = None, sample: bool = False) -> None:
        super().__init__()
        self.impl, self.target_return, self.sample = algo.impl, target_return, sample
        self.impl.begin_episode(target_return)  # Raises now what the first step would.
        impl = self.impl
        self._converter = Converter(impl.observation_space, impl.action_space, algo.scaling, impl.device)
        self._reward_scaler = algo.scaling.reward

    def begin(self) -> object:
        """Returns the memory of an episode that has taken no step."""
        return self.impl.begin_episode(self.target_return)

    def choose(
        self, observations: ArrayTree, rewards: Array, memories: list[Any]
    ) -> tuple[Array, Sequence[Any]]:
        """Returns the actions [B, ...] in the units of the data and the memories that hold them."""
        if not np.isfinite(rewards).all():
            raise ValueError(
                f"rewards must be finite, got {rewards[~np.isfinite(rewards)][0]}; give the reward of the action before"
            )
        after: list[Any] = []
        scaler = self._reward_scaler
        scaled = rewards if scaler is None else scaler.transform(rewards)
        earned = torch.as_tensor(scaled, dtype=torch.float32).to(self.impl.device)

        def act(seen: TensorTree) -> torch.Tensor:
            actions: torch.Tensor
            actions, kept = self.impl.take_steps(seen, earned, memories, self.sample)
            after.extend(kept)
            return actions

        return self._converter.act(observations, act), after
