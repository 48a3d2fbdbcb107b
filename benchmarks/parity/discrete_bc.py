"""DiscreteBC, without and with the penalty on logits."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from common import Compared, Pair, copy, gradient, loss_of
from d3rlpy.algos import DiscreteBCConfig
from torch import Tensor, nn

from offlinekit.algos import DiscreteBC

NORMALISED = "d3rlpy penalises log-probabilities: torch's Categorical has normalised the logits before"


def compare() -> Iterator[Compared]:
    """Yields loss and gradient."""
    for penalty, name in ((0.0, ""), (0.5, ", penalty")):
        pair = Pair(DiscreteBC, DiscreteBCConfig, {"logits_penalty": penalty}, {"beta": penalty})
        batch, network, imitator = pair.batch, pair.ours.policy, pair.modules.imitator
        copy(network, imitator)
        peers = loss_of(pair.peers.compute_loss(batch.observations, batch.actions))
        if penalty:
            yield Compared(
                f"actor loss{name}", loss_of(pair.ours.compute_actor_loss(batch)), peers, NORMALISED
            )
            pair.ours.policy = Normalised(network)
            name += " of log-probabilities"
        ours = loss_of(pair.ours.compute_actor_loss(batch))
        yield Compared(f"actor loss{name}", ours, peers)
        yield Compared(f"actor gradient{name}", gradient(ours, network), gradient(peers, imitator))


class Normalised(nn.Module):
    """A classifier whose logits are log-probabilities."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, observations: Tensor) -> Tensor:
        """Returns log-probabilities [B, A]."""
        return torch.log_softmax(self.network(observations), -1)
