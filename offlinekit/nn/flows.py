"""Policies made of noise: a flow that carries it to actions in many steps, and a network that does so in one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from offlinekit.nn import losses
from offlinekit.nn.generator import Generator
from offlinekit.nn.networks import Network
from offlinekit.nn.random import Random
from offlinekit.sampling.batch import TensorTree
from offlinekit.types import first_leaf

if TYPE_CHECKING:
    pass


class Flow(Generator):
    """A velocity v(s, x, t) along which noise x at t = 0 becomes an action of the data at t = 1.

    Source: the behaviour policy of Park et al. 2025, arXiv:2502.02538, algorithm 1.

    Args:
        network: Observations and [..., B, A + 1], points beside their times -> velocities [..., B, A].
        random: The agent's random numbers.
        action_size: A.
        n_steps: Euler steps from noise to action.
    """

    def __init__(self, network: Network, random: Random, action_size: int, n_steps: int) -> None:
        super().__init__(network, random, action_size, action_size)
        self.n_steps = n_steps

    def forward(self, observations: TensorTree, points: Tensor, times: Tensor) -> Tensor:
        """Returns the velocities [..., B, A] at points [..., B, A] and times [..., B, 1] in [0, 1]."""
        velocities: Tensor = self.network(observations, torch.cat([points, times], -1))
        return velocities

    def loss(self, observations: TensorTree, actions: Tensor, weights: Tensor | None = None) -> Tensor:
        """Returns the squared error [B] of the velocity on straight paths from noise to actions [B, A]."""
        noise = self.random.normal(*actions.shape)
        times = self.random.uniform(*actions.shape[:-1], 1)
        points = (1.0 - times) * noise + times * actions
        return losses.squared_error(self(observations, points, times), actions - noise, weights)

    def transport(self, observations: TensorTree, noise: Tensor) -> Tensor:
        """Returns the actions [..., B, A], clipped to [-1, 1], that noise [..., B, A] flows to."""
        points = noise
        for step in range(self.n_steps):
            times = torch.full_like(points[..., :1], step / self.n_steps)
            points = points + self(observations, points, times) / self.n_steps
        return points.clamp(-1.0, 1.0)


class OneStepPolicy(nn.Module):
    """Observations and noise -> actions in one pass of the network.

    Args:
        network: Observations and noise [B, A] -> [B, A].
        random: The agent's random numbers.
        action_size: A.
    """

    def __init__(self, network: Network, random: Random, action_size: int) -> None:
        super().__init__()
        self.network, self.random, self.action_size = network, random, action_size

    def forward(self, observations: TensorTree, noise: Tensor) -> Tensor:
        """Returns the actions [B, A] of noise [B, A], not clipped."""
        actions: Tensor = self.network(observations, noise)
        return actions

    def mode(self, observations: TensorTree) -> Tensor:
        """Returns the actions [B, A] of noise 0, the likeliest, clipped to [-1, 1]."""
        first = first_leaf(observations)
        noise = torch.zeros(first.shape[0], self.action_size, device=first.device, dtype=torch.float32)
        return self.forward(observations, noise).clamp(-1.0, 1.0)

    def sample(self, observations: TensorTree) -> tuple[Tensor, None]:
        """Draws actions [B, A], clipped to [-1, 1]; they have no density."""
        noise = self.random.normal(len(first_leaf(observations)), self.action_size)
        return self(observations, noise).clamp(-1.0, 1.0), None
