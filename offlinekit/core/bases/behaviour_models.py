"""Models of the behaviour, as the front of an implementation configures them: VAE, flow, diffusion."""

from __future__ import annotations

from offlinekit.core.impl import Impl
from offlinekit.nn.diffusion import Diffusion, TimeFeatures
from offlinekit.nn.encoders import resolve_encoder
from offlinekit.nn.flows import Flow
from offlinekit.nn.vae import ConditionalVAE


def make_vae(impl: Impl) -> ConditionalVAE:
    """Makes the model of the behaviour that the front of an impl configures."""
    config, space = impl.config, impl.observation_space
    encoder = resolve_encoder(config.vae_encoder or config.encoder, space)
    return ConditionalVAE(encoder, space, impl.action_size, impl.random, config.decoder_tanh)


def make_flow(impl: Impl) -> Flow:
    """Makes the flow that the front of an impl configures."""
    size = impl.action_size
    return Flow(impl.make_network(size, action_size=size + 1), impl.random, size, impl.config.flow_steps)


def make_diffusion(impl: Impl, times: TimeFeatures, kind: type[Diffusion] = Diffusion) -> Diffusion:
    """Makes the diffusion that the front of an impl configures."""
    size = impl.action_size
    network = impl.make_network(size, action_size=size + times.size)
    return kind(network, times, impl.random, size, impl.config.diffusion_steps)
