"""The model of the behaviour and the perturbation of what it generates, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_checks import close, head_gradients, total
from small_data import make_batch
from table_networks import STATES, TABLE, set_constant, set_table

from offlinekit.datasets import MDPDataset
from offlinekit.nn.networks import Network
from offlinekit.nn.random import Random
from offlinekit.nn.vae import ConditionalVAE, Perturbation

SPACE = MDPDataset(np.eye(2, dtype=np.float32), np.zeros((2, 1)), np.zeros(2), [0, 1]).observation_space
MEANS, LOG_STDS = np.array([0.5, -1.0]), np.array([math.log(2), 0.0])


def make_random() -> Random:
    return Random(0, torch.device("cpu"))


def make_vae(log_stds: np.ndarray = LOG_STDS) -> ConditionalVAE:
    """Latents around (0.5, -1) with deviations (2, 1); decoded to tanh(0.3 or -0.2 by state, + z1 - z2 / 2)."""
    vae = ConditionalVAE(TABLE, SPACE, 1, make_random())
    set_constant(vae.encoder, [*MEANS, *log_stds])
    set_table(vae.decoder, [[0.3], [-0.2], [1.0], [-0.5]])
    return vae


def with_noise(vae: ConditionalVAE, noise: np.ndarray) -> np.ndarray:
    """Makes the next draw be `noise` and returns what the decoder then makes of mean + std * noise."""
    vae.random.normal = lambda *shape: torch.tensor(noise, dtype=torch.float32).reshape(shape)
    latents = MEANS + np.exp(LOG_STDS) * noise
    return np.tanh(np.array([0.3, -0.2]) + latents[:, 0] - latents[:, 1] / 2)


def test_loss_and_its_gradients():
    vae, noise = make_vae(), np.array([[-0.5, 0.3], [0.1, -0.2]])
    decoded = with_noise(vae, noise)
    actions = np.array([0.2, -0.6])
    batch = make_batch(STATES, torch.tensor(actions, dtype=torch.float32)[:, None])
    # KL = (m^2 + s^2 - 1) / 2 - log s: (0.25 + 4 - 1) / 2 - log 2 and (1 + 1 - 1) / 2, their mean over latents
    divergence = (1.625 - math.log(2) + 0.5) / 2
    expected = np.square(decoded - actions) + 0.5 * divergence
    rows = vae.loss(batch.observations, batch.actions, 0.5)
    close(rows, expected)
    loss = total(rows)
    close(loss, expected.mean())
    # d / d output = 2 (u - a) (1 - u^2); to the latents times (1, -1/2); to log std times std * noise
    slope = 2 * (decoded - actions) * (1 - decoded**2)
    to_latents = slope[:, None] * np.array([1.0, -0.5])
    # KL: d / d m = m, d / d log s = s^2 - 1, each times 0.5 / 2 latents
    by_means = to_latents.mean(0) + 0.25 * MEANS
    by_stds = (to_latents * np.exp(LOG_STDS) * noise).mean(0) + 0.25 * (np.exp(2 * LOG_STDS) - 1)
    close(head_gradients(loss, vae.encoder)[1], [*by_means, *by_stds])
    close(head_gradients(loss, vae.decoder)[1], [slope.mean()])


def test_errors_are_means_over_action_dimensions():
    vae = ConditionalVAE(TABLE, SPACE, 2, make_random())
    set_constant(vae.encoder, [0.0] * 8)
    set_constant(vae.decoder, [0.0, 0.0])
    # (0.04 + 0.16) / 2, no divergence at mean 0 and deviation 1
    close(vae.loss(STATES[:1], torch.tensor([[0.2, 0.4]]), 0.5), [0.1])


@pytest.mark.parametrize(("log_std", "bound"), [(-9.0, -4.0), (20.0, 15.0)])
def test_log_standard_deviations_are_bounded(log_std, bound):
    vae = make_vae(np.array([log_std, log_std]))
    close(vae.encode(STATES, torch.zeros(2, 1))[1], [[bound, bound]] * 2)


def test_generates_from_clipped_standard_normal_latents():
    vae = make_vae()
    state = vae.random.state()
    found = vae.generate(STATES, 50)
    noise = torch.randn((50, 2, 2), generator=torch.Generator().set_state(state))
    latents = noise.clamp(-0.5, 0.5)
    assert (noise.abs() > 0.5).any()
    close(found, torch.tanh(torch.tensor([0.3, -0.2]) + latents[..., 0] - latents[..., 1] / 2)[..., None])
    assert not found.requires_grad


def test_decodes_with_gradients_to_the_latents():
    vae = make_vae()
    latents = torch.tensor([[0.1, 0.2], [0.0, 0.0]], requires_grad=True)
    actions = vae.decode(STATES, latents)
    # tanh(0.3 + 0.1 - 0.1), tanh(-0.2); d / d z = (1 - a^2) (1, -1/2)
    close(actions, [[math.tanh(0.3)], [math.tanh(-0.2)]])
    slopes = [1 - math.tanh(0.3) ** 2, 1 - math.tanh(-0.2) ** 2]
    close(torch.autograd.grad(actions.sum(), latents)[0], [[s, -0.5 * s] for s in slopes])


def test_perturbation_moves_by_at_most_its_scale_within_the_box():
    perturbation = Perturbation(Network(TABLE, SPACE, 1, make_random(), action_size=1))
    set_constant(perturbation, [math.atanh(0.5)])
    # 0.2 + 0.4 * 0.5; 0.9 + 0.2 clipped to 1
    close(perturbation(STATES, torch.tensor([[0.2], [0.9]]), 0.4), [[0.4], [1.0]])
    close(perturbation(STATES, torch.tensor([[[0.2], [-1.0]]] * 3), 0.0), [[[0.2], [-1.0]]] * 3)
    set_constant(perturbation, [-50.0])
    close(perturbation(STATES, torch.tensor([[0.2], [-0.9]]), 0.4), [[-0.2], [-1.0]])


def test_perturbation_sees_the_action():
    perturbation = Perturbation(Network(TABLE, SPACE, 1, make_random(), action_size=1))
    set_table(perturbation, [[0.0], [0.0], [1.0]])
    close(
        perturbation(STATES, torch.tensor([[0.5], [-0.5]]), 1.0),
        [[0.5 + math.tanh(0.5)], [-0.5 - math.tanh(0.5)]],
    )
