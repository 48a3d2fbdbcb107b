"""SAC."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from common import Compared, Pair, both, loss_of
from d3rlpy.algos import SACConfig

from offlinekit.algos import SAC


def compare() -> Iterator[Compared]:
    """Yields target, losses and gradients of critics, actor and temperature."""
    settings = {"initial_temperature": 0.3}
    pair = Pair(SAC, SACConfig, settings, settings)
    pair.copy_policies()
    yield from pair.critics()
    with_temperature = pair.peers.update_temp
    pair.peers.update_temp = lambda _: torch.zeros(
        ()
    )  # It would move the temperature before the loss takes it.
    yield from pair.actor()
    pair.peers.update_temp = with_temperature
    losses = both(
        lambda: loss_of(pair.ours.compute_temperature_loss(pair.batch)),
        lambda: pair.peers_actor_loss().temp_loss,
    )
    yield Compared("temperature loss", *losses)
