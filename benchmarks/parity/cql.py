"""CQL: the gap, the loss of alpha and the three backups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from common import Compared, Pair, both, loss_of
from d3rlpy.algos import CQLConfig
from torch import Tensor

from offlinekit.algos import CQL

MODE = "d3rlpy takes the policy's mode, where the paper's code draws an action"
SWAPPED = "d3rlpy takes the lowest critic of each action before the best action, the paper's code after it"
MEAN = "d3rlpy and the paper's code take the mean over critics, ours adds up; Adam takes the same step"
OURS = {"n_actions": 3, "alpha": 2.0}
PEERS = {
    "n_action_samples": 3,
    "conservative_weight": 2.0,
    "alpha_threshold": 0.0,
    "alpha_learning_rate": 0.0,
}


def compare() -> Iterator[Compared]:
    """Yields targets, losses and gradients."""
    pair = make(CQL, CQLConfig, soft_backup=True)
    yield from pair.critics(arrange_uniform=rows_first)
    yield from pair.actor()
    yield from hard_targets(make(CQL, CQLConfig))
    yield from best_targets(make(CQL, CQLConfig, max_backup=True))
    yield from alpha_losses()


def make(front: Any, config: Any, **backup: bool) -> Pair:
    """Makes a pair with policies alike and one of the backups, as ours calls it."""
    theirs = {name.replace("_backup", "_q_backup"): on for name, on in backup.items()}
    pair = Pair(front, config, OURS | backup, PEERS | theirs)
    pair.copy_policies()
    pair.peers.update_temp = lambda _: torch.zeros(
        ()
    )  # It would move the temperature within the actor's loss.
    return pair


def rows_first(numbers: Tensor) -> Tensor:
    """Brings n draws [n, B, A] into d3rlpy's order [B * n, A]."""
    return numbers.transpose(0, 1).reshape(-1, numbers.shape[-1])


def hard_targets(pair: Pair) -> Iterator[Compared]:
    """Yields the target without entropy, and ours at the mode."""
    with torch.no_grad():
        ours, mode = pair.ours.compute_target(pair.batch), pair.ours.policy.mode
        peers = pair.bellman(pair.peers.compute_target(pair.peers_batch))
        pair.ours.policy.sample = lambda observations: (mode(observations), None)
        yield Compared("target, hard", ours, peers, MODE)
        yield Compared("target, hard, of the mode", pair.ours.compute_target(pair.batch), peers)


def best_targets(pair: Pair) -> Iterator[Compared]:
    """Yields the target of the best action, and ours with minimum and maximum swapped."""
    ours, peers = pair.targets()
    yield Compared("target, best action", ours, peers, SWAPPED)
    values = pair.ours.target_q.values
    pair.ours.target_q.values = lambda *inputs: values(*inputs).amin(0, keepdim=True)
    yield Compared("target, best action, swapped", *pair.targets())


def alpha_losses() -> Iterator[Compared]:
    """Yields d loss / d log alpha, with a gap threshold of 0.5."""
    ours = {"n_actions": 3, "alpha": 1.0, "gap_threshold": 0.5}
    peers = PEERS | {"conservative_weight": 1.0, "alpha_threshold": 0.5, "alpha_learning_rate": 1e-4}
    pair = Pair(CQL, CQLConfig, ours, peers)
    pair.copy_policies()
    b, parameter = pair.peers_batch, next(pair.modules.log_alpha.parameters())
    pair.modules.alpha_optim.step = lambda: None

    def peers_gradient() -> Any:
        gap = pair.peers._compute_conservative_loss(
            b.observations, b.actions, b.next_observations, b.returns_to_go
        )
        pair.peers.update_alpha(gap.detach())
        return parameter.grad

    def ours_gradient() -> Any:
        loss = loss_of(pair.ours.compute_alpha_loss(pair.batch))
        return torch.autograd.grad(loss, pair.ours.log_alpha)[0]

    mine, theirs = both(ours_gradient, peers_gradient, arrange_uniform=rows_first)
    yield Compared("alpha gradient", mine, theirs, MEAN)
    yield Compared("alpha gradient, over critics", mine / pair.ours.q.members, theirs)
