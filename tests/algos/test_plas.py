"""PLAS: decoded latents, their perturbation, targets, losses and the two phases, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import FIRST, SECOND, STATES, TABLE, set_constant, set_table

from offlinekit.algos import PLAS, MLPEncoder
from offlinekit.algos.torch.plas_impl import PLASImpl

LATENTS = np.array([0.25, -0.1])  # tanh of the policy, of its first latent; max_latent 2 makes 0.5, -0.2
TARGET_LATENTS = np.array([0.4, 0.15])


def build(**options: object) -> PLASImpl:
    """A VAE that decodes to tanh of the first latent less half of the second, which is 0.1 of max_latent."""
    options = {"warmup_steps": 0, **options}
    algo = PLAS(encoder=TABLE, vae_encoder=None, seed=0, device="cpu", **options)
    impl = algo.build(continuous_dataset()).impl
    set_table(impl.vae.decoder, [[0.0], [0.0], [1.0], [-0.5]])
    second = math.atanh(0.1)
    set_table(impl.policy, [[math.atanh(z), second] for z in LATENTS])
    set_table(impl.target_policy, [[math.atanh(z), second] for z in TARGET_LATENTS])
    if impl.perturbation is not None:
        set_constant(impl.perturbation, [math.atanh(0.5)])
        set_constant(impl.target_perturbation, [math.atanh(-0.25)])
    return impl


def decoded(latents: np.ndarray, bound: float = 2.0) -> np.ndarray:
    return np.tanh(bound * (latents - 0.05))


@pytest.mark.parametrize(
    ("options", "moved", "target_moved"), [({}, 0.0, 0.0), ({"perturbation": 0.4}, 0.2, -0.1)]
)
def test_acts_by_the_decoded_and_perturbed_latent_of_the_policy(options, moved, target_moved):
    impl = build(**options)
    expected = (decoded(LATENTS) + moved)[:, None]
    close(impl.predict_best_action(STATES), expected)
    close(impl.sample_action(STATES), expected)
    target = impl.act(STATES, impl.target_policy, impl.target_perturbation)
    close(target, (decoded(TARGET_LATENTS) + target_moved)[:, None])


def test_latents_are_bounded():
    impl = build(max_latent=0.5)
    close(impl.predict_best_action(STATES), decoded(LATENTS, 0.5)[:, None])


@pytest.mark.parametrize(("options", "moved"), [({}, 0.0), ({"perturbation": 0.4}, -0.1)])
def test_target_mixes_target_critics_at_the_action_of_the_target_networks(options, moved):
    impl = build(min_weight=0.75, **options)
    set_constant(impl.q, [[100.0], [100.0]])
    set_table(impl.target_q, [FIRST, SECOND])
    after = STATES.flip(0)
    batch = make_batch(STATES, [[0.0], [0.0]], [1.0, 2.0], next_observations=after, discounts=[0.9, 0.5])
    actions = decoded(TARGET_LATENTS[::-1]) + moved
    first, second = np.array([2.0, 1.0]) + actions, np.array([0.0, 2.0]) + 4 * actions
    mixed = 0.75 * np.minimum(first, second) + 0.25 * np.maximum(first, second)
    close(impl.compute_target(batch), np.array([1.0, 2.0]) + np.array([0.9, 0.5]) * mixed)


def test_quantile_critics_learn_from_one_sample():
    impl = build(q_function="qr", n_quantiles=2)
    set_constant(impl.target_q, [[0.0, 6.0], [1.0, 3.0]])
    # Means 3 and 2: 0.75 * 2 + 0.25 * 3 = 2.25; nothing at the terminal row
    batch = make_batch(STATES, [[0.0]] * 2, [1.0, 2.0], discounts=[1.0, 0.0])
    close(impl.compute_target(batch), [[3.25, 2.0]])
    assert torch.isfinite(total(impl.critic_loss(batch)))


def test_actor_loss_and_its_gradient_through_the_decoder():
    impl = build()
    set_table(impl.q, [[[1.0], [2.0], [3.0]], [[-50.0], [-50.0], [-50.0]]])
    returned = impl.compute_actor_loss(make_batch(STATES, [[0.9], [0.9]]))
    loss = total(returned)
    actions = decoded(LATENTS)
    close(loss, -(np.array([1.0, 2.0]) + 3 * actions).mean())
    close(row_losses(returned), -(np.array([1.0, 2.0]) + 3 * actions))
    # d / d table = -3 / 2 rows * (1 - a^2) * (1, -1/2) * 2 * (1 - z^2)
    slope = -1.5 * (1 - actions**2) * 2
    by_first, by_second = slope * (1 - LATENTS**2), slope * -0.5 * (1 - 0.1**2)
    close(head_gradients(loss, impl.policy)[0], np.stack([by_first, by_second]))


def test_perturbed_actor_loss_moves_the_perturbation_too():
    impl = build(perturbation=0.4)
    set_table(impl.q, [[[1.0], [2.0], [3.0]], [[-50.0], [-50.0], [-50.0]]])
    loss = total(impl.compute_actor_loss(make_batch(STATES, [[0.9], [0.9]])))
    close(loss, -(np.array([1.0, 2.0]) + 3 * (decoded(LATENTS) + 0.2)).mean())
    # d / d bias = -3 * 0.4 * (1 - 0.5^2)
    close(head_gradients(loss, impl.perturbation)[1], [-0.9])
    actor = next(o for o in impl.objectives if o.name == "actor")
    owned = {id(p) for module in (impl.policy, impl.perturbation) for p in module.parameters()}
    assert {id(p) for p in actor.parameters} == owned


def test_vae_loss_is_that_of_the_datas_actions():
    impl = build(kl_weight=0.3)
    set_constant(impl.vae.encoder, [0.5, 0.0, 0.0, 0.0])
    impl.random.normal = lambda *shape: torch.zeros(shape)
    # Decoded tanh(0.5); KL = (0.5^2 / 2 + 0) / 2 = 0.0625
    errors = (math.tanh(0.5) - np.array([0.1, -0.2])) ** 2
    close(total(impl.compute_vae_loss(make_batch(STATES, [[0.1], [-0.2]]))), errors.mean() + 0.3 * 0.0625)


def test_the_vae_learns_alone_and_is_fixed_afterwards():
    impl = build(warmup_steps=2, perturbation=0.4)
    batch = make_batch(STATES, [[0.5], [-0.5]], [1.0, 1.0])
    vae = [p.clone() for p in impl.vae.parameters()]
    others = [p.clone() for m in (impl.q, impl.policy, impl.perturbation) for p in m.parameters()]
    for _ in range(2):
        assert set(impl.update(batch)) == {"vae_loss"}
    assert not all(torch.equal(a, b) for a, b in zip(vae, impl.vae.parameters(), strict=True))
    now = [p for m in (impl.q, impl.policy, impl.perturbation) for p in m.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(others, now, strict=True))
    vae = [p.clone() for p in impl.vae.parameters()]
    assert set(impl.update(batch)) == {"critic_loss", "actor_loss"}
    assert all(torch.equal(a, b) for a, b in zip(vae, impl.vae.parameters(), strict=True))


def test_all_targets_follow():
    impl = build(tau=0.25, perturbation=0.4)
    set_constant(impl.target_q, [[4.0], [8.0]])
    impl.update(make_batch(STATES, [[0.5], [-0.5]], [1.0, 1.0]))
    online = impl.q.network.mlp.layers[-1].bias
    close(impl.target_q.network.mlp.layers[-1].bias, torch.tensor([[[3.0]], [[6.0]]]) + 0.25 * online)
    before = math.atanh(-0.25)
    online = impl.perturbation.network.mlp.layers[-1].bias
    close(impl.target_perturbation.network.mlp.layers[-1].bias, 0.75 * before + 0.25 * online)
    online, target = (m.network.mlp.layers[-1].weight[0].detach() for m in (impl.policy, impl.target_policy))
    close(target, 0.75 * np.arctanh(TARGET_LATENTS) + 0.25 * online.numpy())


def test_learns_a_bandit_better_than_cloning():
    algo = PLAS(
        vae_encoder=MLPEncoder((32, 32)), warmup_steps=300, kl_weight=0.05, vae_learning_rate=3e-3, **BANDIT
    )
    assert bandit_error(algo, 800) < 0.12
