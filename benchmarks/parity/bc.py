"""BC: the deterministic policy; the loss of d3rlpy's stochastic one is another."""

from __future__ import annotations

from collections.abc import Iterator

from common import Compared, Pair, both, copy_policy, loss_of, policy_gradients
from d3rlpy.algos import BCConfig

from offlinekit.algos import BC


def compare() -> Iterator[Compared]:
    """Yields loss and gradient of the squared error, then the losses of the two kinds of Gaussian."""
    pair = Pair(BC, BCConfig)
    batch, policy, imitator = pair.batch, pair.ours.policy, pair.modules.imitator
    copy_policy(policy, imitator)
    losses = (
        loss_of(pair.ours.compute_actor_loss(batch)),
        loss_of(pair.peers.compute_loss(batch.observations, batch.actions)),
    )
    yield Compared("actor loss", *losses)
    yield Compared("actor gradient", *policy_gradients(losses, policy, imitator))
    pair = Pair(BC, BCConfig, {"policy": "gaussian"}, {"policy_type": "stochastic"})
    copy_policy(pair.ours.policy, pair.modules.imitator)
    sampled, peers = both(
        lambda: (pair.ours.policy.sample(batch.observations)[0] - batch.actions).square().mean(),
        lambda: loss_of(pair.peers.compute_loss(batch.observations, batch.actions)),
    )
    ours = loss_of(pair.ours.compute_actor_loss(batch))
    yield Compared("actor loss, gaussian", ours, peers, "d3rlpy takes the squared error of a drawn action")
    yield Compared("squared error of a drawn action", sampled, peers)
