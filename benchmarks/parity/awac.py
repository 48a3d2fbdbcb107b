"""AWAC."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from common import Compared, Pair, both, loss_of, policy_gradients
from d3rlpy.algos import AWACConfig
from torch import Tensor

from offlinekit.algos import AWAC

TARGET = "d3rlpy keeps SAC's target: a squashed Gaussian, less the entropy"
LOSS = "d3rlpy divides the weights by their mean and sums over rows"


def compare() -> Iterator[Compared]:
    """Yields targets, losses and gradients; d3rlpy's actor loss is B times ours over the mean weight."""
    ours = {"n_actions": 3, "temperature": 0.5, "max_weight": 1e9}
    pair = Pair(AWAC, AWACConfig, ours, {"n_action_samples": 3, "lam": 0.5})
    pair.copy_policies()
    yield from pair.critics(reason=TARGET)
    yield Compared("target, squashed, no entropy", *squashed_targets(pair))
    (ours_loss, metrics), peers_loss = both(
        lambda: loss_of(pair.ours.compute_actor_loss(pair.batch)),
        lambda: (loss_of(pair.peers_actor_loss()), {}),
    )
    yield Compared("actor loss", ours_loss, peers_loss[0], LOSS)
    losses = ours_loss * len(pair.batch.rewards) / metrics["weight"], peers_loss[0]
    yield Compared("actor loss, rescaled", *losses)
    gradients = policy_gradients(losses, pair.ours.policy, pair.modules.policy)
    yield Compared("actor gradient, rescaled", *gradients)


def squashed_targets(pair: Pair) -> tuple[Tensor, Tensor]:
    """Returns our target at actions of a squashed Gaussian, and d3rlpy's at a temperature of about 0."""
    for parameter in pair.modules.log_temp.parameters():
        parameter.data.fill_(-80.0)
    policy, sample = pair.ours.policy, pair.ours.policy.sample

    def squashed(observations: Tensor) -> tuple[Tensor, None]:
        means = policy.network(observations)
        return torch.tanh(means + policy.log_stds.exp() * pair.ours.random.normal(*means.shape)), None

    policy.sample = squashed
    targets = pair.targets()
    policy.sample = sample
    return targets
