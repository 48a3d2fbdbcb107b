"""DiscreteBCQ, networks apart."""

from __future__ import annotations

from collections.abc import Iterator

from common import Compared, Pair, copy, gradient, loss_of
from d3rlpy.algos import DiscreteBCQConfig
from discrete_bc import NORMALISED, Normalised

from offlinekit.algos import DiscreteBCQ


def compare() -> Iterator[Compared]:
    """Yields target, losses and gradients; d3rlpy's loss is the sum of two, which are taken apart."""
    settings = {"logits_penalty": 0.5, "threshold": 0.9, "n_critics": 2}
    peers = {"beta": 0.5, "action_flexibility": 0.9, "n_critics": 2, "share_encoder": False}
    pair = Pair(DiscreteBCQ, DiscreteBCQConfig, settings, peers)
    network, imitator = pair.ours.imitator, pair.modules.imitator
    copy(network, imitator)
    joint = pair.peers.compute_loss
    pair.peers.compute_loss = lambda batch, values: joint(batch, values).td_loss
    yield from pair.critics()
    theirs = joint(pair.peers_batch, pair.peers_values(pair.batch.rewards)).imitator_loss
    yield Compared("imitator loss", loss_of(pair.ours.compute_imitator_loss(pair.batch)), theirs, NORMALISED)
    pair.ours.imitator = Normalised(network)
    mine = loss_of(pair.ours.compute_imitator_loss(pair.batch))
    yield Compared("imitator loss of log-probabilities", mine, theirs)
    gradients = gradient(mine, network), gradient(theirs, imitator)
    yield Compared("imitator gradient of log-probabilities", *gradients)
