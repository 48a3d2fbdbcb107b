"""Policies: deterministic, squashed Gaussian, Gaussian around a squashed mean, and categorical."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from offlinekit.nn import losses
from offlinekit.nn.isolation import chosen_by
from offlinekit.nn.random import Random
from offlinekit.sampling.batch import TensorTree

EDGE = 1e-6
"""Distance from a bound within which an action lies on it: scaled back from the units of the data, it is rounded."""


class DeterministicPolicy(nn.Module):
    """Observations -> tanh of the network: actions [B, A] in [-1, 1]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, observations: TensorTree) -> Tensor:
        """Returns the action [B, A]."""
        return torch.tanh(self.network(observations))

    def mode(self, observations: TensorTree) -> Tensor:
        """Returns the action [B, A]."""
        return self.forward(observations)

    def sample(self, observations: TensorTree) -> tuple[Tensor, None]:
        """Returns the action [B, A]; it has no density."""
        return self.forward(observations), None


def squashed_draws(means: Tensor, log_stds: Tensor, normals: Tensor) -> tuple[Tensor, Tensor]:
    """Returns tanh of Gaussian draws [..., A] and their log-densities [...].

    Args:
        means: Before squashing.
        log_stds: Likewise.
        normals: Standard normal numbers of the draws' shape.
    """
    raw = means + log_stds.exp() * normals
    log_probs = losses.normal_log_prob(raw, means, log_stds) - losses.tanh_log_volume(raw)
    return torch.tanh(raw), log_probs


class SquashedGaussianPolicy(nn.Module):
    """A Gaussian squashed by tanh, with mean and log standard deviation from the network.

    Source: Haarnoja et al. 2018, arXiv:1812.05905, appendix C.

    Args:
        network: Observations -> [B, 2A].
        random: The agent's random numbers.
        log_std_range: Bounds of the log standard deviation before squashing.
    """

    def __init__(
        self, network: nn.Module, random: Random, log_std_range: tuple[float, float] = (-20.0, 2.0)
    ) -> None:
        super().__init__()
        self.network, self.random, self.log_std_range = network, random, log_std_range

    def forward(self, observations: TensorTree) -> tuple[Tensor, Tensor]:
        """Returns the mean and log standard deviation before squashing, [B, A] each."""
        means, log_stds = self.network(observations).chunk(2, -1)
        return means, log_stds.clamp(*self.log_std_range)

    def mode(self, observations: TensorTree) -> Tensor:
        """Returns tanh of the mean, [B, A]."""
        return torch.tanh(self(observations)[0])

    def sample(self, observations: TensorTree, *n: int) -> tuple[Tensor, Tensor]:
        """Draws reparametrised actions [*n, B, A] with log-densities [*n, B]; one pass of the network."""
        means, log_stds = self(observations)
        return squashed_draws(means, log_stds, self.random.normal(*n, *means.shape))

    def log_prob(self, observations: TensorTree, actions: Tensor) -> Tensor:
        """Returns the log-density [B] of given actions [B, A] in (-1, 1); the edges are pulled in by 1e-6."""
        means, log_stds = self(observations)
        raw = torch.atanh(actions.clamp(-1.0 + 1e-6, 1.0 - 1e-6))
        return losses.normal_log_prob(raw, means, log_stds) - losses.tanh_log_volume(raw)


def matched_moments(means: Float[Tensor, "K ..."], log_stds: Float[Tensor, "K ..."]) -> tuple[Tensor, Tensor]:
    """Returns mean and log standard deviation of the equal mixture of K Gaussians.

    Its variance is mean_k(mean_k^2 + std_k^2) - (mean_k mean_k)^2.
    Source: Lee et al. 2021, arXiv:2107.00591.

    Args:
        means: Of the Gaussians.
        log_stds: Likewise.
    """
    mean = means.mean(0)
    variance = ((means - mean).square() + (2.0 * log_stds).exp()).mean(0)
    return mean, 0.5 * torch.log(variance)


class PolicyEnsemble(SquashedGaussianPolicy):
    """Squashed Gaussians of M members, and the one whose Gaussian has the moments of their equal mixture.

    Args:
        network: Observations -> [M, B, 2A].
        random: The agent's random numbers.
        log_std_range: Bounds of log standard deviations before squashing, of members and of the whole.
    """

    def each(self, observations: TensorTree) -> tuple[Tensor, Tensor]:
        """Returns means and log standard deviations of the members before squashing, [M, B, A] each."""
        return super().forward(observations)

    def forward(self, observations: TensorTree) -> tuple[Tensor, Tensor]:
        """Returns the mean and log standard deviation of the whole before squashing, [B, A] each."""
        mean, log_std = matched_moments(*self.each(observations))
        return mean, log_std.clamp(*self.log_std_range)

    def sample_each(self, observations: TensorTree, *n: int) -> tuple[Tensor, Tensor]:
        """Draws actions of every member, [M, *n, B, A], with their log-densities [M, *n, B]."""
        means, log_stds = (
            part.reshape(len(part), *(1,) * len(n), *part.shape[1:]) for part in self.each(observations)
        )
        shape = (len(means), *n, *means.shape[-2:])
        return squashed_draws(means, log_stds, self.random.normal(*shape))


class GaussianPolicy(nn.Module):
    """A Gaussian around tanh of the network, with one log standard deviation an action dimension.

    Source: the policy of Kostrikov et al. 2021, arXiv:2110.06169 (its code; standard deviation in e^[-5, 2]).

    Args:
        network: Observations -> [B, A].
        random: The agent's random numbers.
        action_size: A.
        log_std_range: Bounds of the log standard deviation.
        squash: Whether the mean is tanh of the network, or the network itself.
        clip: Whether drawn actions are clipped to [-1, 1].
        sigmoid: Whether the range is kept by a sigmoid, from its middle at the start, in place of clipping from 0.
    """

    def __init__(
        self,
        network: nn.Module,
        random: Random,
        action_size: int,
        log_std_range: tuple[float, float] = (-5.0, 2.0),
        *,
        squash: bool = True,
        clip: bool = True,
        sigmoid: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.random, self.log_std_range = network, random, log_std_range
        self.squash, self.clip, self.sigmoid = squash, clip, sigmoid
        self.log_stds = nn.Parameter(torch.zeros(action_size))

    def forward(self, observations: TensorTree) -> tuple[Tensor, Tensor]:
        """Returns the mean [B, A] and the log standard deviation [A]."""
        means: Tensor = self.network(observations)
        low, high = self.log_std_range
        means = means.tanh() if self.squash else means
        if self.sigmoid:
            return means, low + (high - low) * self.log_stds.sigmoid()
        return means, self.log_stds.clamp(low, high)

    def mode(self, observations: TensorTree) -> Tensor:
        """Returns the mean, [B, A], clipped to [-1, 1]."""
        means: Tensor = self(observations)[0]
        return means if self.squash else means.clamp(-1.0, 1.0)

    def sample(self, observations: TensorTree, *n: int) -> tuple[Tensor, Tensor]:
        """Draws actions [*n, B, A] with log-densities [*n, B], which are those before clipping."""
        means, log_stds = self(observations)
        raw = means + log_stds.exp() * self.random.normal(*n, *means.shape)
        return raw.clamp(-1.0, 1.0) if self.clip else raw, losses.normal_log_prob(raw, means, log_stds)

    def log_prob(self, observations: TensorTree, actions: Tensor) -> Tensor:
        """Returns the log-density [B] of given actions [B, A]."""
        return losses.normal_log_prob(actions, *self(observations))

    def clipped_log_prob(self, observations: TensorTree, actions: Tensor, log_scale: Tensor) -> Tensor:
        """Returns the log-probability [B] of actions that were clipped to [-1, 1].

        Inside it is a density; a dimension at a bound has the mass of all that lies beyond, which has no unit.
        """
        means, log_stds = self(observations)
        deviations = log_stds.exp()
        scores = (actions - means) / deviations
        inside = -0.5 * scores.square() - log_stds - 0.5 * math.log(2 * math.pi) - log_scale
        beyond = torch.special.log_ndtr(torch.where(actions > 0, means - 1.0, -1.0 - means) / deviations)
        return torch.where(actions.abs() >= 1.0 - EDGE, beyond, inside).sum(-1)


def drawn_log_prob(policy: Any, observations: TensorTree, actions: Tensor, log_scale: Tensor) -> Tensor:
    """Returns the log-probabilities [B] of actions as a policy draws them, where clipping gives bounds a mass.

    Args:
        policy: With `log_prob` and, if it clips what it draws, `clipped_log_prob`.
        observations: B rows.
        actions: [B, A] in [-1, 1], or [B].
        log_scale: Of continuous actions, the logarithm of one unit of each dimension [A] in the units of the density.
    """
    if getattr(policy, "clip", False):
        clipped: Tensor = policy.clipped_log_prob(observations, actions, log_scale)
        return clipped
    plain: Tensor = policy.log_prob(observations, actions)
    return plain - log_scale.sum()


class PerAction(nn.Module):
    """A network of one output an action, [B, A], those of illegal actions at a floor."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, observations: TensorTree) -> Tensor:
        """Returns the outputs."""
        return losses.floored(self.network(observations), observations)


@dataclass(frozen=True)
class ActionParts:
    """Outputs [..., A] of the parts of a discrete action, side by side; a whole action is one part.

    Of several parts, Q(s, a) = sum_d q_d(s, a_d) and pi(a|s) = prod_d pi_d(a_d|s): greedy actions, log-sum-exps over
    all joint actions and expectations over the policy are then exact, part by part.
    Source: Tang et al. 2022, arXiv:2305.01738, eq. (1); of offline algorithms, Beeson et al. 2024, arXiv:2411.11088.

    Attributes:
        sizes: Choices of each part; an action is their joint number, the last part running fastest.
    """

    sizes: tuple[int, ...]

    def split(self, outputs: Tensor) -> tuple[Tensor, ...]:
        """Returns the outputs of each part."""
        return (outputs,) if len(self.sizes) == 1 else torch.split(outputs, list(self.sizes), -1)

    def each(self, outputs: Tensor, actions: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields the outputs of each part [..., B, A_d] and which of them actions [B] take, [B]."""
        return zip(self.split(outputs), self.choices(actions), strict=True)

    def choices(self, actions: Tensor) -> list[Tensor]:
        """Returns the choice [...] in each part of actions [...]."""
        if len(self.sizes) == 1:
            return [actions]
        parts, left = [], actions
        for size in reversed(self.sizes):
            above = torch.floor_divide(left, size)
            parts.append(left - above * size)
            left = above
        return parts[::-1]

    def joined(self, choices: list[Tensor]) -> Tensor:
        """Returns the actions [...] of choices [...] in each part."""
        number = choices[0]
        for size, choice in zip(self.sizes[1:], choices[1:], strict=True):
            number = number * size + choice
        return number

    def select(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """Returns the sum over parts of the outputs of actions: [..., B] of [..., B, A] and [B]."""
        return reduce(add, (losses.select_actions(*part) for part in self.each(outputs, actions)))

    def total(
        self, function: Callable[..., Tensor], outputs: Tensor, actions: Tensor | None = None
    ) -> Tensor:
        """Returns the sum over parts of a function of the outputs, and of the choices of actions, of each."""
        parts = zip(self.split(outputs)) if actions is None else self.each(outputs, actions)
        return reduce(add, (function(*part) for part in parts))

    def map(self, function: Callable[[Tensor], Tensor], outputs: Tensor) -> Tensor:
        """Returns what a function makes of the outputs of each part, side by side."""
        return (
            function(outputs)
            if len(self.sizes) == 1
            else torch.cat([*map(function, self.split(outputs))], -1)
        )

    def best(self, outputs: Tensor) -> Tensor:
        """Returns the actions [...] of the highest outputs [..., A]."""
        parts = self.split(outputs)
        best = self.joined([part.argmax(-1) for part in parts])
        for part in parts:
            best = chosen_by(part, best)
        return best

    def log_softmax(self, logits: Tensor) -> Tensor:
        """Returns the log-probabilities of the choices of each part, [..., A]."""
        return self.map(_log_softmax, logits)

    def draw(self, log_probs: Tensor, random: Random) -> Tensor:
        """Draws actions [...], each part by its log-probabilities [..., A]."""
        return self.joined([random.categorical(part) for part in self.split(log_probs)])


def _log_softmax(logits: Tensor) -> Tensor:
    return torch.log_softmax(logits, -1)


class CategoricalPolicy(nn.Module):
    """Discrete actions, drawn from the softmax of a network: observations -> log-probabilities [B, A].

    Args:
        network: Observations -> logits [B, A].
        random: The agent's random numbers.
        parts: Of the actions, each of which is drawn by its own logits.
    """

    def __init__(self, network: nn.Module, random: Random, parts: ActionParts) -> None:
        super().__init__()
        self.network, self.random, self.parts = network, random, parts

    def forward(self, observations: TensorTree) -> Tensor:
        """Returns the log-probabilities of all actions, of the choices of each part, [B, A]."""
        return self.parts.log_softmax(self.network(observations))

    def mode(self, observations: TensorTree) -> Tensor:
        """Returns the likeliest actions [B]."""
        return self.parts.best(self.network(observations))

    def sample(self, observations: TensorTree) -> tuple[Tensor, Tensor]:
        """Draws actions [B] and returns their log-probabilities [B]."""
        log_probs = self(observations)
        actions = self.parts.draw(log_probs, self.random)
        return actions, self.parts.select(log_probs, actions)

    def log_prob(self, observations: TensorTree, actions: Tensor) -> Tensor:
        """Returns the log-probabilities [B] of given actions [B]."""
        return self.parts.select(self(observations), actions)
