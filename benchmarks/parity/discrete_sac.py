"""DiscreteSAC, with the mean and with quantiles of the return."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from common import Compared, Pair, loss_of
from d3rlpy.algos import DiscreteSACConfig
from d3rlpy.models.q_functions import QRQFunctionFactory
from torch import Tensor

from offlinekit.algos import DiscreteSAC

HUBER = "d3rlpy's discrete critics take the Huber loss, the paper the square"


def compare() -> Iterator[Compared]:
    """Yields target, losses and gradients; critics with the Huber loss after the paper's."""
    pair = make({}, {})
    target, _ = pair.targets()
    ours = loss_of(pair.ours.compute_critic_loss(pair.batch, target))
    yield Compared("critic loss", ours, pair.peers_critic_loss(pair.peers_values(target)), HUBER)
    yield from of(make({"td_loss": "huber"}, {}), ", huber")
    factory = QRQFunctionFactory(n_quantiles=5)
    yield from of(make({"q_function": "qr", "n_quantiles": 5}, {"q_func_factory": factory}), ", quantiles")


def make(ours: dict[str, Any], peers: dict[str, Any]) -> Pair:
    """Makes a pair with policies alike."""
    settings = {"initial_temperature": 0.3}
    pair = Pair(DiscreteSAC, DiscreteSACConfig, settings | ours, settings | peers)
    pair.copy_policies()
    return pair


def of(pair: Pair, name: str) -> Iterator[Compared]:
    """Yields what both compute; d3rlpy's actor loss would move the temperature before it takes it."""
    yield from pair.critics(name=name)
    update, pair.peers.update_temp = pair.peers.update_temp, lambda _: {}
    yield from pair.actor(name, peers_loss=lambda: pair.peers.compute_actor_loss(pair.peers_batch))
    pair.peers.update_temp = update
    temperature = loss_of(pair.ours.compute_temperature_loss(pair.batch))
    with torch.enable_grad():
        peers: Tensor = pair.peers.compute_actor_loss(pair.peers_batch)["temp_loss"]
    yield Compared(f"temperature loss{name}", temperature, peers)
