"""NFQ: one step of a regression."""

from __future__ import annotations

from collections.abc import Iterator

from common import Compared, Pair, loss_of
from d3rlpy.algos import NFQConfig

from offlinekit.algos import NFQ

HUBER = "d3rlpy takes the Huber loss, though its docs and the paper have the square"


def compare() -> Iterator[Compared]:
    """Yields target, loss and gradient: ours as the paper has it, then with the Huber loss."""
    pair = Pair(NFQ, NFQConfig)
    target, _ = pair.targets()
    ours = loss_of(pair.ours.compute_critic_loss(pair.batch, target))
    yield Compared("critic loss", ours, pair.peers_critic_loss(pair.peers_values(target)), HUBER)
    yield from Pair(NFQ, NFQConfig, {"td_loss": "huber"}).critics(name=", huber")
