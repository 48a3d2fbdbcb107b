"""BCQ: targets over generated and perturbed actions, losses and the choice of the best, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import FIRST, SECOND, STATES, TABLE, set_constant, set_table

from offlinekit.algos import BCQ, MLPEncoder
from offlinekit.algos.torch.bcq_impl import BCQImpl


def build(**options: object) -> BCQImpl:
    """A VAE that decodes to tanh of the first latent; xi moves by +0.2, its target by -0.1."""
    data = continuous_dataset()
    options = {"n_actions": 2, "perturbation": 0.4, **options}
    impl = BCQ(encoder=TABLE, vae_encoder=None, seed=0, device="cpu", **options).build(data).impl
    set_table(impl.vae.decoder, [[0.0], [0.0], [1.0], [0.0]])
    set_constant(impl.policy, [math.atanh(0.5)])
    set_constant(impl.target_policy, [math.atanh(-0.25)])
    return impl


def draw(impl: BCQImpl, *latents: object) -> None:
    """Makes the next draw be the given first latents, [B] or [M, B]; the second latent is 0."""
    first = torch.tensor(latents)
    both = torch.stack([first, torch.zeros_like(first)], -1)

    def normal(*shape: int) -> torch.Tensor:
        assert shape == both.shape
        return both

    impl.random.normal = normal


def test_target_mixes_critics_at_actions_moved_by_the_target_perturbation():
    impl = build(min_weight=0.75)
    set_constant(impl.q, [[100.0], [100.0]])
    set_table(impl.target_q, [FIRST, SECOND])
    after = STATES.flip(0)
    batch = make_batch(STATES, [[0.0], [0.0]], [1.0, 2.0], next_observations=after, discounts=[0.9, 0.5])
    draw(impl, [0.4, -0.3], [0.1, 7.0])  # Two actions for each row; 7 is clipped to 0.5.
    found = impl.compute_target(batch)
    actions = np.tanh([[0.4, -0.3], [0.1, 0.5]]) - 0.1  # 0.4 * -0.25, of the TARGET network.
    first, second = np.array([2.0, 1.0]) + actions, np.array([0.0, 2.0]) + 4 * actions
    # Q = 0.75 min + 0.25 max of each action, then the best action of each row.
    values = (0.75 * np.minimum(first, second) + 0.25 * np.maximum(first, second)).max(0)
    close(found, np.array([1.0, 2.0]) + np.array([0.9, 0.5]) * values)


def test_the_best_action_is_that_of_the_mixture():
    # a = 0 or tanh(1/2): Q1 = (3, 0), Q2 = (0, 2). Mixtures 0.75 and 0.5: the first, though mean and max of
    # the lowest alone are tied or differ.
    impl = build(perturbation=0.0, min_weight=0.75)
    slope = math.tanh(0.5)
    set_table(impl.target_q, [[[3.0], [0.0], [-3.0 / slope]], [[0.0], [0.0], [2.0 / slope]]])
    draw(impl, [0.0], [0.5])
    batch = make_batch(STATES[:1], [[0.0]], [1.0], discounts=[1.0])
    close(impl.compute_target(batch), [1.75])


def test_terminal_rows_do_not_bootstrap():
    impl = build()
    set_constant(impl.target_q, [[5.0], [6.0]])
    # 0.75 * 5 + 0.25 * 6 = 5.25
    batch = make_batch(STATES, [[0.0]] * 2, [1.0, 2.0], discounts=[0.0, 0.5])
    close(impl.compute_target(batch), [1.0, 4.625])


def test_quantile_critics_learn_from_one_sample():
    impl = build(q_function="qr", n_quantiles=2)
    set_constant(impl.target_q, [[0.0, 6.0], [1.0, 3.0]])
    # Means 3 and 2: 0.75 * 2 + 0.25 * 3 = 2.25
    batch = make_batch(STATES, [[0.0]] * 2, [1.0, 2.0], discounts=[1.0, 0.0])
    close(impl.compute_target(batch), [[3.25, 2.0]])
    assert torch.isfinite(total(impl.critic_loss(batch)))


def test_actor_loss_and_its_gradient():
    impl = build()
    set_table(impl.q, [[[1.0], [2.0], [3.0]], [[-50.0], [-50.0], [-50.0]]])
    draw(impl, 0.4, -0.3)
    returned = impl.compute_actor_loss(make_batch(STATES, [[0.9], [0.9]]))
    loss = total(returned)
    # a = tanh(z) + 0.4 * 0.5; Q1 = (1, 2) + 3 a
    actions = np.tanh([0.4, -0.3]) + 0.2
    close(loss, -(np.array([1.0, 2.0]) + 3 * actions).mean())
    close(row_losses(returned), -(np.array([1.0, 2.0]) + 3 * actions))
    # d / d bias = -3 * 0.4 * (1 - 0.5^2)
    close(head_gradients(loss, impl.policy)[1], [-0.9])


def test_actor_loss_reaches_the_perturbation_alone():
    impl = build()
    loss = total(impl.compute_actor_loss(make_batch(STATES, [[0.9], [0.9]])))
    assert head_gradients(loss, impl.vae.decoder) == (None, None)
    actor = next(o for o in impl.objectives if o.name == "actor")
    assert {id(p) for p in actor.parameters} == {id(p) for p in impl.policy.parameters()}


def test_vae_loss_is_that_of_the_datas_actions():
    impl = build(kl_weight=0.3)
    set_constant(impl.vae.encoder, [0.5, 0.0, 0.0, 0.0])
    draw(impl, 0.0, 0.0)
    # Decoded tanh(0.5); KL = (0.5^2 / 2 + 0) / 2 = 0.0625
    errors = (math.tanh(0.5) - np.array([0.1, -0.2])) ** 2
    close(total(impl.compute_vae_loss(make_batch(STATES, [[0.1], [-0.2]]))), errors.mean() + 0.3 * 0.0625)


def test_order_is_vae_critics_perturbation_and_both_targets_follow():
    impl = build(tau=0.25)
    assert [o.name for o in impl.objectives] == ["vae", "critic", "actor"]
    set_constant(impl.target_q, [[4.0], [8.0]])
    set_constant(impl.target_policy, [2.0])
    impl.update(make_batch(STATES, [[0.5], [-0.5]], [1.0, 1.0]))
    online = impl.q.network.mlp.layers[-1].bias
    close(impl.target_q.network.mlp.layers[-1].bias, torch.tensor([[[3.0]], [[6.0]]]) + 0.25 * online)
    close(
        impl.target_policy.network.mlp.layers[-1].bias, 1.5 + 0.25 * impl.policy.network.mlp.layers[-1].bias
    )


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_acts_by_the_best_candidate_of_the_first_critic(sign):
    impl = build(n_candidates=4)
    set_table(impl.q, [[[0.0], [0.0], [sign]], [[0.0], [0.0], [-sign]]])
    impl.latents = torch.tensor([[0.3, 0.0], [-0.5, 0.0], [0.5, 0.0], [0.0, 0.0]])[:, None]
    # Candidates tanh(z) + 0.2; the highest for sign 1, the lowest for -1.
    best = math.tanh(0.5 * sign) + 0.2
    close(impl.predict_best_action(STATES), [[best], [best]])
    draw(impl, [0.1, 0.2], [0.3, -0.1], [0.0, 0.0], [-0.2, 0.4])
    chosen = [[0.3], [0.4]] if sign > 0 else [[-0.2], [-0.1]]
    close(impl.sample_action(STATES), np.tanh(chosen) + 0.2)


def test_predicting_moves_no_random_number():
    impl = build()
    before = impl.random.state()
    first = impl.predict_best_action(STATES)
    assert torch.equal(first, impl.predict_best_action(STATES))
    assert torch.equal(before, impl.random.state())
    assert impl.latents.abs().max() == 0.5
    assert impl.latents.shape == (100, 1, 2)


def test_learns_a_bandit_better_than_cloning():
    algo = BCQ(vae_encoder=MLPEncoder((32, 32)), perturbation=0.5, n_critics=1, **BANDIT)
    assert bandit_error(algo, 500) < 0.12
