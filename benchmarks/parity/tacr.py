"""TACR told returns, as d3rlpy has it; full windows, for d3rlpy counts padding too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from common import STRETCH, Compared, both, loss_of
from d3rlpy.algos import TACRConfig
from d3rlpy.models import VectorEncoderFactory
from decision_transformer import as_peers, copy_transformer, gradients, make, make_windows
from torch import Tensor
from weights import copy, gradient, linear_parameters

from offlinekit.algos import TACR, MLPEncoder

ALIGNED = "d3rlpy values the next state at the action of the step before it"
LOWEST = "d3rlpy takes the lowest critic of each action, TD3+BC and the paper's code the first"
ENDED = "d3rlpy never learns from a step that ends the MDP"


def compare() -> Iterator[Compared]:
    """Yields targets, losses and gradients; d3rlpy's cloning term adds up over two action dimensions."""
    for n_critics in (2, 1):
        ours, peers = make(
            TACR,
            TACRConfig,
            {
                "condition": "return",
                "critic_encoder": MLPEncoder((32, 32)),
                "n_critics": n_critics,
                "alpha": 2.0,
            },
            {"critic_encoder_factory": VectorEncoderFactory([32, 32]), "n_critics": n_critics, "alpha": 4.0},
        )
        copy_transformer(ours.policy, peers._modules.transformer)
        ours.target_policy.load_state_dict(ours.policy.state_dict())
        for own, target in zip(linear_parameters(ours.q), linear_parameters(ours.target_q), strict=True):
            own.data *= STRETCH
            target.data += 0.05
        copy(ours.q.network, peers._modules.q_funcs)
        copy(ours.target_q.network, peers._modules.targ_q_funcs)
        batch = make_windows(padded=False)
        losses = loss_of(ours.compute_actor_loss(batch)), peers.compute_actor_loss(as_peers(batch)) / 2
        if n_critics == 2:
            yield Compared("actor loss", *losses, LOWEST)
            yield from critics(ours, peers)
            continue
        yield Compared("actor loss, one critic", *losses)
        yield Compared("actor gradient, one critic", *gradients(ours, peers, *losses))


def critics(ours: Any, peers: Any) -> Iterator[Compared]:
    """Yields the target as it is and one step on, the critics' loss, and that of windows that the MDP ended."""
    batch = make_windows(padded=False)

    def target() -> Tensor:
        with torch.no_grad():
            found: Tensor = ours.compute_target(batch)[:, :-1]
            return found.flatten()

    def theirs() -> Tensor:
        given = as_peers(batch)
        values = peers.compute_target(given, given.to_transition_batch()[0])
        return batch.rewards[:, :-1].flatten() + 0.99 * values.flatten()

    def arrange(noise: Tensor) -> Tensor:
        return noise[:, 1:].reshape(-1, noise.shape[-1])

    yield Compared("target", *both(target, theirs, arrange), ALIGNED)
    forward = peers._modules.transformer.forward
    later = mock.patch.object(
        peers._modules.transformer, "forward", lambda *given: forward(*given).roll(-1, 1)
    )
    with later:
        targets = both(target, theirs, arrange)
    yield Compared("target, one step on", *targets)
    for ended in (False, True):
        batch = make_windows(padded=False, ended=ended)
        given = as_peers(batch)
        transitions, masks = given.to_transition_batch()
        values = (targets[0] - batch.rewards[:, :-1].flatten()) / 0.99
        full = torch.nn.functional.pad(targets[0].view(len(batch.valid), -1), (0, 1))
        losses = (
            loss_of(ours.compute_critic_loss(batch, full)),
            peers.compute_critic_loss(transitions, values.unsqueeze(-1), masks),
        )
        if ended:
            yield Compared("critic loss, ended windows", *losses, ENDED)
            continue
        yield Compared("critic loss", *losses)
        found = (gradient(losses[0], ours.q.network), gradient(losses[1], peers._modules.q_funcs))
        yield Compared("critic gradient", *found)
