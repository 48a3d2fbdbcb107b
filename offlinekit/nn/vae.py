"""Models of the behaviour: a conditional VAE of actions, and the network that perturbs its samples."""

from __future__ import annotations

import torch
from gymnasium import spaces
from torch import Tensor, nn

from offlinekit.nn import losses
from offlinekit.nn.encoders import MLPEncoder
from offlinekit.nn.losses import Scalar
from offlinekit.nn.networks import Network
from offlinekit.nn.random import Random
from offlinekit.sampling.batch import TensorTree
from offlinekit.types import first_leaf


class ConditionalVAE(nn.Module):
    """Actions given observations, through a latent variable of twice the action's size.

    Source: Fujimoto et al. 2019, arXiv:1812.02900, section 5 and its code: log standard deviations in [-4, 15],
    latents that are drawn to generate are clipped to [-0.5, 0.5].

    Args:
        encoder: What sees the observation, of both halves.
        space: The observation space.
        action_size: A; the latents have L = 2 A dimensions.
        random: The agent's random numbers.
        ends_in_tanh: Whether decoded actions pass through a tanh, into [-1, 1].
    """

    def __init__(
        self,
        encoder: MLPEncoder,
        space: spaces.Space[object],
        action_size: int,
        random: Random,
        ends_in_tanh: bool = True,
    ) -> None:
        super().__init__()
        self.ends_in_tanh = ends_in_tanh
        self.random, self.latent_size = random, 2 * action_size
        self.encoder = Network(encoder, space, 2 * self.latent_size, random, action_size=action_size)
        self.decoder = Network(encoder, space, action_size, random, action_size=self.latent_size)

    def encode(self, observations: TensorTree, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and log standard deviation of the latents, [B, L] each."""
        means, log_stds = self.encoder(observations, actions).chunk(2, -1)
        return means, log_stds.clamp(-4.0, 15.0)

    def decode(self, observations: TensorTree, latents: Tensor) -> Tensor:
        """Returns the actions of latents, [..., B, L] -> [..., B, A], in [-1, 1] if a tanh ends them."""
        actions: Tensor = self.decoder(observations, latents)
        return torch.tanh(actions) if self.ends_in_tanh else actions

    def draw_latents(self, observations: TensorTree, *n: int) -> Tensor:
        """Draws clipped latents [*n, B, L]."""
        shape = (*n, len(first_leaf(observations)), self.latent_size)
        return self.random.normal(*shape).clamp(-0.5, 0.5)

    @torch.no_grad()
    def generate(self, observations: TensorTree, *n: int) -> Tensor:
        """Generates actions [*n, B, A] as the data hold them, without gradient."""
        return self.decode(observations, self.draw_latents(observations, *n))

    def loss(self, observations: TensorTree, actions: Tensor, kl_weight: Scalar) -> Tensor:
        """Returns squared error + kl_weight * KL of each row [B], means over their dimensions; one draw."""
        means, log_stds = self.encode(observations, actions)
        latents = means + log_stds.exp() * self.random.normal(*means.shape)
        errors = (self.decode(observations, latents) - actions).square()
        divergence = losses.standard_normal_kl(means, log_stds)
        return errors.mean(-1) + kl_weight * divergence.mean(-1)


class Perturbation(nn.Module):
    """(s, a) -> clip(a + scale tanh(network(s, a))): actions [..., B, A] moved by at most `scale`.

    Source: Fujimoto et al. 2019, arXiv:1812.02900, section 5.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, observations: TensorTree, actions: Tensor, scale: Scalar) -> Tensor:
        """Returns the moved actions."""
        moved = actions + scale * torch.tanh(self.network(observations, actions))
        return moved.clamp(-1.0, 1.0)
