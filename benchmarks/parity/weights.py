"""Weights copied from ours into d3rlpy's modules, and gradients of both in one layout.

The layout is that of torch.nn.Linear: weight [outputs, inputs] and bias [outputs] of each layer in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from offlinekit.nn.networks import Network, StackedLinear
from offlinekit.nn.policies import GaussianPolicy, SquashedGaussianPolicy


def flat_layers(network: Network, tensors: Sequence[Tensor], heads: int = 1) -> list[Tensor]:
    """Returns tensors of our parameters (their values, or their gradients), member after member, in the peer's layout.

    Args:
        network: What they belong to.
        tensors: In the order of `linear_parameters`.
        heads: How many linear layers of the peer make our last one.
    """
    arranged: list[Tensor] = []
    for member in range(network.mlp.members or 1):
        own = [tensor[member].T.squeeze(-1) if network.mlp.members else tensor for tensor in tensors]
        split = zip(*(tensor.chunk(heads) for tensor in own[-2:]), strict=True)
        arranged += own[:-2] + [part for head in split for part in head]
    return arranged


def linear_parameters(module: nn.Module) -> list[Tensor]:
    """Returns the parameters of the linear layers of either library."""
    layers = [layer for layer in module.modules() if isinstance(layer, (nn.Linear, StackedLinear))]
    return [parameter for layer in layers for parameter in (layer.weight, layer.bias)]


@torch.no_grad()
def copy(network: Network, module: nn.Module, heads: int = 1) -> None:
    """Copies the weights of our linear layers into a module of the peer.

    Raises:
        ValueError: Where the layers are not of the same number.
    """
    tensors = flat_layers(network, linear_parameters(network), heads)
    for own, theirs in zip(tensors, linear_parameters(module), strict=True):
        theirs.copy_(own.reshape(theirs.shape))


def gradient(loss: Tensor, network: nn.Module, heads: int = 1) -> Tensor:
    """Returns d loss / d linear layers of a network of either library, flat, in the same order for both."""
    found = list(torch.autograd.grad(loss, linear_parameters(network), retain_graph=True))
    tensors = flat_layers(network, found, heads) if isinstance(network, Network) else found
    return torch.cat([tensor.flatten() for tensor in tensors])


def copy_gaussian(policy: Any, peers: Any, log_stds: tuple[float, ...] = (-0.7, -0.4)) -> None:
    """Copies a Gaussian policy whose log standard deviations do not depend on the observation, and sets them.

    d3rlpy's are low + sigmoid(parameter) * (high - low), or a linear layer whose weights are set to 0.
    """
    policy.log_stds.data = torch.tensor(log_stds)
    low, high = peers._min_logstd, peers._max_logstd
    if isinstance(peers._logstd, nn.Parameter):
        copy(policy.network, peers)
        peers._logstd.data = torch.logit((policy.log_stds.data[None] - low) / (high - low))
    else:
        copy(policy.network, nn.ModuleList([peers._encoder, peers._mu]))
        peers._logstd.weight.data.zero_()
        peers._logstd.bias.data = policy.log_stds.data.clone()


def copy_policy(policy: Any, peers: Any, log_stds: tuple[float, ...] = (-0.7, -0.4)) -> None:
    """Copies a policy of any kind; `log_stds` are set where they do not depend on the observation."""
    if isinstance(policy, GaussianPolicy):
        copy_gaussian(policy, peers, log_stds)
    else:
        copy(policy.network, peers, heads=2 if isinstance(policy, SquashedGaussianPolicy) else 1)


def policy_gradients(losses: tuple[Tensor, Tensor], policy: Any, peers: Any) -> tuple[Tensor, Tensor]:
    """Returns the gradient of a loss of ours by our policy, and of the peer's by the peer's."""
    if isinstance(policy, GaussianPolicy):
        return gaussian_gradient(losses[0], policy), gaussian_gradient(losses[1], peers)
    heads = 2 if isinstance(policy, SquashedGaussianPolicy) else 1
    return gradient(losses[0], policy.network, heads), gradient(losses[1], peers)


def gaussian_gradient(loss: Tensor, policy: Any) -> Tensor:
    """Returns d loss / d (network of the mean, log standard deviations) of such a policy of either library."""
    if isinstance(policy, GaussianPolicy):
        stds = torch.autograd.grad(loss, policy.log_stds, retain_graph=True)[0]
        return torch.cat([gradient(loss, policy.network), stds])
    mean = gradient(loss, nn.ModuleList([policy._encoder, policy._mu]))
    raw = policy._logstd if isinstance(policy._logstd, nn.Parameter) else policy._logstd.bias
    stds = torch.autograd.grad(loss, raw, retain_graph=True)[0].flatten()
    if isinstance(policy._logstd, nn.Parameter):
        share = torch.sigmoid(raw.detach()).flatten()
        stds = stds / (share * (1.0 - share) * (policy._max_logstd - policy._min_logstd))
    return torch.cat([mean, stds])


def copy_vae(vae: Any, modules: Any) -> None:
    """Copies our conditional VAE into d3rlpy's encoder and decoder."""
    copy(vae.encoder, modules.vae_encoder, heads=2)
    copy(vae.decoder, modules.vae_decoder)
