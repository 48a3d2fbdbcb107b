"""DDPG: target, losses and what follows them, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import PENDULUM, bandit_error, pendulum_return
from table_networks import FIRST, STATES, TABLE, set_constant, set_table

from offlinekit.algos import DDPG, MLPEncoder
from offlinekit.algos.torch.ddpg_impl import DDPGImpl


def build(**options: object) -> DDPGImpl:
    return DDPG(encoder=TABLE, seed=0, device="cpu", **options).build(continuous_dataset()).impl


def with_targets(**options: object) -> DDPGImpl:
    """The target networks are those of the comments; the online ones would give numbers far off."""
    impl = build(**options)
    set_constant(impl.q, [[100.0]] * impl.config.n_critics)
    set_constant(impl.policy, [9.0])
    set_table(impl.target_policy, [[math.atanh(0.5)], [math.atanh(-0.25)]])
    return impl


def test_target_is_the_target_critic_at_the_target_policy():
    impl = with_targets()
    set_table(impl.target_q, [FIRST])
    after = STATES.flip(0)
    batch = make_batch(STATES, [[0.0], [0.0]], [1.0, 2.0], next_observations=after, discounts=[0.9, 0.5])
    # Row 0 goes to state 1, a' = -0.25, Q' = 1.75; row 1 to state 0, a' = 0.5, Q' = 1.5
    close(impl.compute_target(batch), [1 + 0.9 * 1.75, 2 + 0.5 * 1.5])
    close(impl.compute_target(batch._replace(discounts=torch.zeros(2))), [1.0, 2.0])


def test_of_several_critics_the_lowest_makes_the_target():
    impl = with_targets(n_critics=2)
    set_constant(impl.target_q, [[4.0], [3.0]])
    close(impl.compute_target(make_batch(STATES[:1], [[0.0]], [1.0], discounts=[0.5])), [2.5])


def test_quantile_target_is_the_whole_distribution():
    impl = with_targets(q_function="qr", n_quantiles=3)
    set_constant(impl.target_q, [[-9.0, 1.0, 9.0]])
    close(
        impl.compute_target(make_batch(STATES[:1], [[0.0]], [1.0], discounts=[0.5])), [[-3.5], [1.5], [5.5]]
    )


def test_critic_loss_and_its_gradient():
    impl = build()
    set_table(impl.q, [FIRST])
    # Q = (2, 1.5), target (1, 1): errors (1, 0.5); loss = (1 + 0.25) / 2
    returned = impl.compute_critic_loss(make_batch(STATES, [[1.0], [-0.5]]), torch.ones(2))
    loss = total(returned)
    close(loss, 0.625)
    close(row_losses(returned), [[1.0, 0.25]])
    # d / d bias = mean(2 * error) = 1.5; d / d weight of a = mean(2 * error * a) = (2 - 0.5) / 2
    weight, bias = head_gradients(loss, impl.q)
    close(bias, [[[1.5]]])
    close(weight[0, 2], [0.75])


def test_the_target_carries_no_gradient():
    impl = with_targets()
    loss = total(impl.critic_loss(make_batch(STATES, [[0.0], [0.0]], discounts=[1.0, 1.0])))
    assert head_gradients(loss, impl.policy) == (None, None)
    assert not any(p.requires_grad for p in [*impl.target_q.parameters(), *impl.target_policy.parameters()])


def test_actor_loss_is_minus_the_value_and_moves_the_policy_alone():
    impl = build()
    set_table(impl.q, [[[1.0], [2.0], [3.0]]])
    set_table(impl.policy, [[math.atanh(0.5)], [0.0]])
    batch = make_batch(STATES, [[0.9], [0.9]])
    # Q(s, pi(s)) = (1 + 1.5, 2 + 0); d / d table = -3 * (1 - tanh^2) / 2
    returned = impl.compute_actor_loss(batch)
    loss = total(returned)
    close(loss, -2.25)
    close(row_losses(returned), [-2.5, -2.0])
    close(head_gradients(loss, impl.policy)[0], [[-1.125, -1.5]])
    critics = [p.clone() for p in impl.q.parameters()]
    next(o for o in impl.objectives if o.name == "actor").minimize(batch)
    assert all(torch.equal(a, b) for a, b in zip(critics, impl.q.parameters(), strict=True))


def test_critic_and_actor_learn_and_targets_follow_at_every_update():
    impl = build(tau=0.25)
    set_constant(impl.target_q, [[4.0]])
    set_constant(impl.target_policy, [1.0])
    assert list(impl.update(make_batch(STATES, [[0.5], [-0.5]], [1.0, 1.0]))) == ["critic_loss", "actor_loss"]
    for target, online, before in (
        (impl.target_q, impl.q, torch.tensor([[[4.0]]])),
        (impl.target_policy, impl.policy, torch.tensor([1.0])),
    ):
        bias = online.network.mlp.layers[-1].bias
        close(target.network.mlp.layers[-1].bias, 0.75 * before + 0.25 * bias)


def test_defaults_are_those_of_the_paper():
    algo = DDPG()
    assert (algo.n_critics, algo.tau, algo.batch_size, algo.encoder.hidden_sizes) == (
        1,
        0.001,
        64,
        (400, 300),
    )


def test_learns_a_bandit_better_than_cloning():
    rates = {"actor_learning_rate": 3e-3, "critic_learning_rate": 3e-3}
    assert bandit_error(DDPG(encoder=MLPEncoder((32, 32)), seed=0, device="cpu", **rates), 500) < 0.12


@pytest.mark.slow
def test_beats_cloning_on_recorded_pendulum():
    assert pendulum_return(DDPG(tau=0.005, **PENDULUM), 3_000) > -900
