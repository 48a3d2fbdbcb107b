"""Decision Transformer for discrete actions; places in a window and padding are not what d3rlpy takes them for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from common import Compared, loss_of
from d3rlpy.algos import DiscreteDecisionTransformerConfig
from decision_transformer import (
    CONTEXT,
    TIMES,
    as_peers,
    copy_transformer,
    gradients,
    make,
    make_windows,
    peers_outputs,
)

from offlinekit.algos import DiscreteDecisionTransformer

PLACES = (
    "d3rlpy gives the three tokens of a step one place and takes the newest timestep; the Atari code has a place "
    "for each token and takes the first timestep"
)
PADDING = "d3rlpy's loss takes padding for steps whose action is 0, and counts places from there"


def compare() -> Iterator[Compared]:
    """Yields the loss as it is, with places alike, and with padding."""
    ours, peers = make(DiscreteDecisionTransformer, DiscreteDecisionTransformerConfig)
    copy_transformer(ours.policy, peers._modules.transformer)
    full = make_windows(padded=False, discrete=True)
    copy_places(ours.policy, peers._modules.transformer, shift=0)
    yield Compared(
        "actor loss", loss_of(ours.compute_actor_loss(full)), peers.compute_loss(as_peers(full)), PLACES
    )
    with torch.no_grad():
        ours.policy.place.copy_(ours.policy.place[::3].repeat_interleave(3, 0))
    copy_places(ours.policy, peers._modules.transformer, shift=CONTEXT - 1)
    yield Compared("logits, places alike", ours.outputs(full), peers_outputs(peers, full)[1])
    losses = loss_of(ours.compute_actor_loss(full)), peers.compute_loss(as_peers(full))
    yield Compared("actor loss, places alike", *losses)
    yield Compared("actor gradient, places alike", *gradients(ours, peers, *losses))
    padded = make_windows(padded=True, discrete=True)
    losses = loss_of(ours.compute_actor_loss(padded)), peers.compute_loss(as_peers(padded))
    yield Compared("actor loss, padded", *losses, PADDING)


@torch.no_grad()
def copy_places(policy: Any, transformer: Any, shift: int) -> None:
    """Copies both tables; d3rlpy's timestep of a window is `shift` later than ours, and counts from 1."""
    encoding = transformer._position_encoding
    places = next(parameter for name, parameter in encoding.named_parameters() if "block" in name)
    places[0, :CONTEXT].copy_(policy.place[::3])
    table = encoding._global_position_embedding.weight.zero_()
    rows = min(len(table) - 1 - shift, TIMES)
    table[1 + shift :][:rows].copy_(policy.time[:rows])
