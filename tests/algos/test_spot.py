"""SPOT: the density term of the actor's loss and the two phases, by hand."""

from __future__ import annotations

import math

import numpy as np
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import STATES, TABLE, set_constant, set_table

from offlinekit.algos import SPOT
from offlinekit.algos.torch.spot_impl import SPOTImpl

BATCH = make_batch(STATES, [[0.9], [-0.2]], [1.0, 1.0])
STD = math.log(2.0)


def build(**options: object) -> SPOTImpl:
    """pi = (0.5, 0). The VAE puts a on the mean of its first latent and decodes to tanh of half of it."""
    options = {"warmup_steps": 0, "support_weight": 0.4, "kl_weight": 0.3, **options}
    algo = SPOT(encoder=TABLE, critic_encoder=None, vae_encoder=None, seed=0, device="cpu", **options)
    impl = algo.build(continuous_dataset()).impl
    set_table(impl.policy, [[math.atanh(0.5)], [0.0]])
    set_table(impl.vae.encoder, [[0.0, 0.0, STD, 0.0], [0.0, 0.0, STD, 0.0], [1.0, 0.0, 0.0, 0.0]])
    set_table(impl.vae.decoder, [[0.0], [0.0], [0.5], [0.0]])
    impl.random.normal = lambda *shape: torch.tensor([[0.1, 0.0], [-0.2, 0.0]])
    return impl


def losses_of_vae(actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the loss of each action, and its slope: z = a + 2 * (0.1, -0.2), u = tanh(z / 2)."""
    decoded = np.tanh((actions + np.array([0.2, -0.4])) / 2)
    # KL = ((a^2 + 4 - 1) / 2 - log 2 + 0) / 2 latents
    divergence = ((actions**2 + 3) / 2 - math.log(2)) / 2
    slope = 2 * (decoded - actions) * ((1 - decoded**2) / 2 - 1) + 0.3 * actions / 2
    return (decoded - actions) ** 2 + 0.3 * divergence, slope


def test_actor_loss_and_its_gradient():
    impl = build()
    # Q1(s, pi) = (-3 + 1, 1) = (-2, 1): mean -0.5, mean |Q| = 1.5. The second critic must not matter.
    set_table(impl.q, [[[-3.0], [1.0], [2.0]], [[-70.0], [-70.0], [5.0]]])
    returned = impl.compute_actor_loss(BATCH)
    loss, metrics = total(returned)
    strange, slope = losses_of_vae(np.array([0.5, 0.0]))
    close(loss, 0.4 * strange.mean() + 0.5 / 1.5)
    close(row_losses(returned), 0.4 * strange - np.array([-2.0, 1.0]) / 1.5)
    close(metrics["strangeness"], strange.mean())
    assert not metrics["strangeness"].requires_grad
    # d / d pi = (0.4 * slope - 2 / 1.5) / 2 rows, times 1 - pi^2 = (0.75, 1); no gradient through 1.5
    close(head_gradients(loss, impl.policy)[0], ((0.4 * slope - 2 / 1.5) / 2 * [0.75, 1.0])[None])


def test_values_of_zero_leave_the_density():
    impl = build()
    set_constant(impl.q, [[0.0], [0.0]])
    close(total(impl.compute_actor_loss(BATCH))[0], 0.4 * losses_of_vae(np.array([0.5, 0.0]))[0].mean())


def test_vae_loss_is_that_of_the_datas_actions():
    close(total(build().compute_vae_loss(BATCH)), losses_of_vae(np.array([0.9, -0.2]))[0].mean())


def test_actor_loss_leaves_vae_and_critics_alone():
    impl = build()
    others = [*impl.vae.parameters(), *impl.q.parameters(), *impl.target_q.parameters()]
    before = [p.clone() for p in others]
    next(o for o in impl.objectives if o.name == "actor").minimize(BATCH)
    assert all(torch.equal(a, b) for a, b in zip(before, others, strict=True))


def test_critics_are_those_of_td3():
    impl = build(target_noise=0.0)
    impl.random.normal = lambda *shape: torch.zeros(shape)
    set_constant(impl.target_q, [[3.0], [2.0]])
    # 1 + 0.5 * min(3, 2) = 2; 1 at the terminal row
    close(impl.compute_target(BATCH._replace(discounts=torch.tensor([0.5, 0.0]))), [2.0, 1.0])


def test_the_vae_learns_alone_and_is_fixed_afterwards():
    impl = build(warmup_steps=2, policy_delay=1)
    impl.random.normal = lambda *shape: torch.zeros(shape)
    vae = [p.clone() for p in impl.vae.parameters()]
    others = [p.clone() for p in [*impl.q.parameters(), *impl.policy.parameters()]]
    for _ in range(2):
        assert set(impl.update(BATCH)) == {"vae_loss"}
    assert not all(torch.equal(a, b) for a, b in zip(vae, impl.vae.parameters(), strict=True))
    now = [*impl.q.parameters(), *impl.policy.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(others, now, strict=True))
    vae = [p.clone() for p in impl.vae.parameters()]
    assert set(impl.update(BATCH)) == {"critic_loss", "actor_loss", "strangeness"}
    assert all(torch.equal(a, b) for a, b in zip(vae, impl.vae.parameters(), strict=True))


def test_the_policy_alone_drops_out():
    algo = SPOT()
    assert (algo.encoder.dropout, algo.critic_encoder.dropout, algo.vae_encoder.dropout) == (0.1, 0.0, 0.0)


def test_learns_a_bandit_better_than_cloning():
    algo = SPOT(critic_encoder=None, vae_encoder=None, warmup_steps=200, vae_learning_rate=3e-3, **BANDIT)
    assert bandit_error(algo, 700) < 0.12


def test_the_constraint_cools_online_and_not_before():
    impl = build(cooling_end=0.25, warmup_steps=0, policy_delay=1)
    set_constant(impl.q, [[0.0], [0.0]])  # The constraint alone.
    strange = 0.4 * losses_of_vae(np.array([0.5, 0.0]))[0].mean()
    close(total(impl.compute_actor_loss(BATCH))[0], strange)
    impl.enter_phase(online=True)
    impl.grad_step = impl.schedule_start = 100
    impl.horizon = 110
    # Before update k of 10 the share 1 - k / 10 is left, but at least a quarter.
    for share in (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.25, 0.25):
        impl.begin_update()
        close(total(impl.compute_actor_loss(BATCH))[0], share * strange)
    impl.enter_phase(online=False)
    impl.begin_update()
    close(total(impl.compute_actor_loss(BATCH))[0], strange)


def test_it_cools_to_a_fifth_and_explores_with_noise_by_default():
    assert SPOT(seed=0).cooling_end == 0.2
    assert SPOT.online_settings == {"noise": 0.1}
    assert "progress" not in build().state_dict()
