"""Diffusion: noise that is taken away from actions step by step, by a network that was taught to see it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from offlinekit.nn import losses
from offlinekit.nn.generator import Generator
from offlinekit.nn.networks import Network
from offlinekit.nn.random import Random
from offlinekit.sampling.batch import TensorTree

if TYPE_CHECKING:
    pass


class TimeFeatures(nn.Module):
    """Numbers [..., 1] -> features [..., size]: sines and cosines of multiples, then two layers.

    Args:
        frequencies: The multiples, [F].
        sizes: Units of the layer between, and of the features.
        learned: Whether the frequencies are.
    """

    def __init__(self, frequencies: Tensor, sizes: tuple[int, int], learned: bool = False) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(frequencies, requires_grad=learned)
        hidden, self.size = sizes
        self.layers = nn.Sequential(
            nn.Linear(2 * len(frequencies), hidden), nn.Mish(), nn.Linear(hidden, self.size)
        )

    def forward(self, times: Tensor) -> Tensor:
        """Returns the features."""
        angles = times * self.frequencies
        features: Tensor = self.layers(torch.cat([angles.sin(), angles.cos()], -1))
        return features


class Diffusion(Generator):
    """The noise e(s, x, t) in x = sqrt(g_t) a + sqrt(1 - g_t) noise, g_t the share of signal after step t < T.

    Source: Wang et al. 2023, arXiv:2208.06193, eq. (1) to (4), and its code's clipping of what each step takes for
    the action; the schedule of variances is theirs, appendix B.

    Args:
        network: Observations and [..., B, A + F], points beside features of the time -> noise [..., B, A].
        times: Makes the features of a step's number.
        random: The agent's random numbers.
        action_size: A; an action is made of T * A random numbers.
        n_steps: T.
    """

    def __init__(
        self, network: Network, times: TimeFeatures, random: Random, action_size: int, n_steps: int
    ) -> None:
        super().__init__(network, random, action_size, n_steps * action_size)
        self.times, self.n_steps = times, n_steps

    def forward(self, observations: TensorTree, points: Tensor, steps: Tensor) -> Tensor:
        """Returns the noise [..., B, A] that points [..., B, A] hold after steps, [B, 1] or [1, 1]."""
        features = self.times(steps).expand(*points.shape[:-1], -1)
        noise: Tensor = self.network(observations, torch.cat([points, features], -1))
        return noise

    def loss(self, observations: TensorTree, actions: Tensor, weights: Tensor | None = None) -> Tensor:
        """Returns the squared error [B] of the noise in the data's actions [B, A] after a random step."""
        noise = self.random.normal(*actions.shape)
        steps = (self.random.uniform(*actions.shape[:-1], 1) * self.n_steps).floor()
        steps = steps.clamp(max=self.n_steps - 1)  # For a product that is rounded up.
        signal = losses.log_signal((steps + 1) / self.n_steps).exp()
        points = signal.sqrt() * actions + (1.0 - signal).sqrt() * noise
        return losses.squared_error(self(observations, points, steps), noise, weights)

    def transport(self, observations: TensorTree, noise: Tensor) -> Tensor:
        """Returns the actions [..., B, A], clipped to [-1, 1], that are left of noise [..., B, T * A].

        The first A numbers are the start, the next ones what the steps add, the last step nothing.
        """
        points, *added = noise.tensor_split(self.n_steps, -1)
        added.append(torch.zeros_like(points))
        for step, fresh in zip(range(self.n_steps - 1, -1, -1), added, strict=True):
            predicted = self(
                observations,
                points,
                torch.full((1, 1), float(step), dtype=torch.float32, device=noise.device),
            )
            points = self.step_back(points, predicted, fresh, step)
        return points.clamp(-1.0, 1.0)

    def step_back(self, points: Tensor, predicted: Tensor, fresh: Tensor, step: int) -> Tensor:
        """Returns points before a step, drawn given the action that the predicted noise leaves, clipped."""
        signal, before = self.signal(step), self.signal(step - 1)
        kept = signal / before
        action = ((points - math.sqrt(1.0 - signal) * predicted) / math.sqrt(signal)).clamp(-1.0, 1.0)
        mean = (1.0 - kept) * math.sqrt(before) * action + (1.0 - before) * math.sqrt(kept) * points
        variance = (1.0 - kept) * (1.0 - before) / (1.0 - signal)
        return mean / (1.0 - signal) + math.sqrt(variance) * fresh

    def signal(self, step: int) -> float:
        """Returns g_t, the share of signal after a step; 1 before the first, which is step 0."""
        return math.exp(losses.log_signal((step + 1) / self.n_steps))


class ClippedDiffusion(Diffusion):
    """A diffusion whose points are clipped to [-1, 1] after each step, with all of the step's variance added.

    Source: the code of Hansen-Estruch et al. 2023, arXiv:2304.10573; Ho et al. 2020, arXiv:2006.11239, algorithm 2.
    """

    def step_back(self, points: Tensor, predicted: Tensor, fresh: Tensor, step: int) -> Tensor:
        """Returns points before a step, clipped."""
        signal = self.signal(step)
        kept = signal / self.signal(step - 1)
        mean = (points - (1.0 - kept) / math.sqrt(1.0 - signal) * predicted) / math.sqrt(kept)
        return (mean + math.sqrt(1.0 - kept) * fresh).clamp(-1.0, 1.0)
