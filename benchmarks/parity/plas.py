"""PLAS and PLAS+P, with d3rlpy's decoder as it is and with the tanh that it leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bcq
from common import Compared, Pair, copy, copy_vae, gradient, loss_of
from d3rlpy.algos import PLASConfig, PLASWithPerturbationConfig

from offlinekit.algos import PLAS


def compare() -> Iterator[Compared]:
    """Yields target, losses and gradients."""
    pair = make(PLASConfig, {}, {})
    yield from of(pair, "")
    with bcq.tanh_put_back():
        yield from bcq.vae(pair)
    pair = make(PLASWithPerturbationConfig, {"perturbation": 0.9}, {"action_flexibility": 0.9})
    copy(pair.ours.perturbation.network, pair.modules.perturbation)
    copy(pair.ours.target_perturbation.network, pair.modules.targ_perturbation)
    yield from of(pair, ", perturbed")
    with bcq.tanh_put_back():
        losses = loss_of(pair.ours.compute_actor_loss(pair.batch)), loss_of(pair.peers_actor_loss())
    ours = gradient(losses[0], pair.ours.perturbation.network)
    yield Compared("perturbation gradient, tanh", ours, gradient(losses[1], pair.modules.perturbation))


def make(config: Any, ours: dict[str, Any], peers: dict[str, Any]) -> Pair:
    """Makes a pair with policies and models of the behaviour alike."""
    pair = Pair(PLAS, config, ours, peers)
    pair.copy_policies()
    copy_vae(pair.ours.vae, pair.modules)
    return pair


def of(pair: Pair, name: str) -> Iterator[Compared]:
    """Yields what both compute."""
    yield Compared(f"target{name}", *pair.targets(), bcq.NO_TANH)
    with bcq.tanh_put_back():
        yield from pair.critics(name=f"{name}, tanh")
        yield from pair.actor(f"{name}, tanh")
