"""DiscreteCQL, with the mean and with quantiles of the return, and with two critics."""

from __future__ import annotations

from collections.abc import Iterator

from common import Compared, Pair, loss_of
from d3rlpy.algos import DiscreteCQLConfig
from d3rlpy.models.q_functions import QRQFunctionFactory

from offlinekit.algos import DiscreteCQL

AVERAGED = "d3rlpy takes one gap of the mean over critics, ours adds up a gap of each, as the paper has a loss of each"


def compare() -> Iterator[Compared]:
    """Yields target, loss and gradient."""
    yield from Pair(DiscreteCQL, DiscreteCQLConfig, {"alpha": 2.0}, {"alpha": 2.0}).critics()
    ours = {"alpha": 2.0, "q_function": "qr", "n_quantiles": 5}
    peers = {"alpha": 2.0, "q_func_factory": QRQFunctionFactory(n_quantiles=5)}
    yield from Pair(DiscreteCQL, DiscreteCQLConfig, ours, peers).critics(name=", quantiles")
    yield from two_critics()


def two_critics() -> Iterator[Compared]:
    """Yields the loss of two critics, and that of ours with the gap that d3rlpy takes."""
    settings = {"alpha": 2.0, "n_critics": 2}
    pair = Pair(DiscreteCQL, DiscreteCQLConfig, settings, settings)
    target, _ = pair.targets()
    peers = pair.peers_critic_loss(pair.peers_values(target))
    ours, metrics = pair.ours.compute_critic_loss(pair.batch, target)
    yield Compared("critic loss, 2 critics", loss_of(ours), peers, AVERAGED)
    values = pair.ours.q.values(pair.batch.observations).mean(0)
    data = values.gather(1, pair.batch.actions[:, None]).squeeze(1)
    gap = (values.logsumexp(-1) - data).mean()
    yield Compared("critic loss, 2 critics, that gap", loss_of(metrics["td_loss"]) + 2.0 * gap, peers)
