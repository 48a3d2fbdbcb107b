"""Models that turn noise into actions as the data hold them."""

from __future__ import annotations

from torch import Tensor, nn

from offlinekit.errors import UnsupportedError
from offlinekit.nn.networks import Network
from offlinekit.nn.random import Random
from offlinekit.sampling.batch import TensorTree
from offlinekit.types import first_leaf


class Generator(nn.Module):
    """Noise -> actions; a subclass says how it is learned and how noise is carried.

    Args:
        network: Observations and what it sees of a point on the way, [..., B, X] -> [..., B, A].
        random: The agent's random numbers.
        action_size: A.
        noise_size: Z, random numbers that make one action.
    """

    def __init__(self, network: Network, random: Random, action_size: int, noise_size: int) -> None:
        super().__init__()
        self.network, self.random = network, random
        self.action_size, self.noise_size = action_size, noise_size

    def loss(self, observations: TensorTree, actions: Tensor, weights: Tensor | None = None) -> Tensor:
        """Returns the loss of the data's actions [B, A], each number weighted if weights [B, A] are given."""
        raise UnsupportedError(f"{type(self).__name__} must define loss()")

    def transport(self, observations: TensorTree, noise: Tensor) -> Tensor:
        """Returns the actions [..., B, A] in [-1, 1] that normal noise [..., B, Z] becomes."""
        raise UnsupportedError(f"{type(self).__name__} must define transport()")

    def sample(self, observations: TensorTree, *n: int) -> tuple[Tensor, None]:
        """Draws actions [*n, B, A]; they have no density."""
        noise = self.random.normal(*n, len(first_leaf(observations)), self.noise_size)
        return self.transport(observations, noise), None
