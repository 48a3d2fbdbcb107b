"""BCQ, with d3rlpy's decoder as it is and with the tanh that it leaves out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import torch
from common import Compared, Pair, both, copy_vae, gradient, loss_of
from d3rlpy.algos import BCQConfig
from d3rlpy.models.torch.imitators import VAEDecoder, compute_vae_error
from torch import Tensor

from offlinekit.algos import BCQ

NO_TANH = "d3rlpy's decoder leaves out the tanh: the flag that asks for it is read the other way round"


def compare() -> Iterator[Compared]:
    """Yields target, losses and gradients, at two mixtures of the critics."""
    pair = make(0.75)
    yield Compared("vae loss", *vae_losses(pair), NO_TANH)
    yield Compared("target", *pair.targets(rows_first), NO_TANH)
    with tanh_put_back():
        yield from vae(pair)
        yield from pair.critics(pair.targets(rows_first), name=", tanh")
        yield from pair.actor(", tanh", peers_loss=lambda: peers_actor_loss(pair))
        yield Compared("target, tanh, lowest critic", *make(1.0).targets(rows_first))


def make(min_weight: float) -> Pair:
    """Makes a pair with perturbations and models of the behaviour alike."""
    ours = {"n_actions": 5, "perturbation": 0.9, "min_weight": min_weight}
    peers = {"n_action_samples": 5, "action_flexibility": 0.9, "lam": min_weight}
    pair = Pair(BCQ, BCQConfig, ours, peers)
    pair.copy_policies()
    copy_vae(pair.ours.vae, pair.modules)
    return pair


def rows_first(numbers: Tensor) -> Tensor:
    """Brings M latents [M, B, L] into d3rlpy's order [B * M, L]."""
    return numbers.transpose(0, 1).reshape(-1, numbers.shape[-1])


def tanh_put_back() -> AbstractContextManager[Any]:
    """Makes d3rlpy's decoder return tanh of its last layer."""
    forward = VAEDecoder.forward
    return mock.patch.object(
        VAEDecoder,
        "forward",
        lambda self, x, latent, with_squash=True: forward(self, x, latent, not with_squash),
    )


def vae_losses(pair: Pair) -> tuple[Tensor, Tensor]:
    """Returns the loss of the model of the behaviour of both."""
    modules, batch = pair.modules, pair.batch
    return both(
        lambda: loss_of(pair.ours.compute_vae_loss(batch)),
        lambda: compute_vae_error(
            modules.vae_encoder, modules.vae_decoder, batch.observations, batch.actions, 0.5
        ),
    )


def vae(pair: Pair) -> Iterator[Compared]:
    """Yields loss and gradients of the model of the behaviour, the tanh put back."""
    ours, peers = vae_losses(pair)
    yield Compared("vae loss, tanh", ours, peers)
    for part, heads in (("encoder", 2), ("decoder", 1)):
        mine = gradient(ours, getattr(pair.ours.vae, part), heads)
        theirs = gradient(peers, getattr(pair.modules, f"vae_{part}"))
        yield Compared(f"vae {part} gradient, tanh", mine, theirs)


def peers_actor_loss(pair: Pair) -> Tensor:
    """Returns d3rlpy's loss of the perturbation, with the latents that its `compute_actor_grad` draws."""
    observations = pair.batch.observations
    latents = torch.randn(len(observations), 4).clamp(-0.5, 0.5)
    action = pair.modules.policy(observations, pair.modules.vae_decoder(observations, latents))
    loss: Tensor = pair.peers.compute_actor_loss(pair.peers_batch, action).actor_loss
    return loss
