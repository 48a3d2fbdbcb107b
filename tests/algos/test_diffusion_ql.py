"""Diffusion-QL: targets of the averaged policy, cloning and normalised value through all steps, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import bandit_error
from table_networks import ONE_STEP, STATES, TABLE, set_constant, set_one_step, set_table

from offlinekit.algos import DiffusionQL, MLPEncoder
from offlinekit.algos.torch.diffusion_ql_impl import DiffusionQLImpl

ODDS = ONE_STEP / (1.0 - ONE_STEP)  # Of signal to noise.


def build(**options: object) -> DiffusionQLImpl:
    given = {"n_candidates": 2, "n_actions": 2, "diffusion_steps": 1, **options}
    return DiffusionQL(encoder=TABLE, seed=0, device="cpu", **given).build(continuous_dataset()).impl


def with_networks(monkeypatch, noise, **options: object) -> DiffusionQLImpl:
    """The policy acts by (0.5, -0.5) + 0.25 z, its average by (0.1, 0.3) + 0.5 z; z is given.

    Q1 = (1, 3) + 2 a, Q2 = (2, 0) + 6 a; Q1' = (1, 2) + a, Q2' = (3, 1) - a.
    """
    impl = build(**options)
    set_one_step(impl.policy.behaviour, [0.5, -0.5], 0.25)
    set_one_step(impl.target_policy.behaviour, [0.1, 0.3], 0.5)
    set_table(impl.q, [[[1.0], [3.0], [2.0]], [[2.0], [0.0], [6.0]]])
    set_table(impl.target_q, [[[1.0], [2.0], [1.0]], [[3.0], [1.0], [-1.0]]])
    drawn = torch.tensor(noise)
    monkeypatch.setattr(impl.random, "normal", lambda *shape: drawn.reshape(shape))
    return impl


def batch_of_two(**given):
    return make_batch(STATES, [[0.0], [0.0]], [1.0, 2.0], **{"discounts": [0.5, 0.9], **given})


def test_target_is_the_lowest_target_critic_at_the_averaged_policys_action(monkeypatch):
    impl = with_networks(monkeypatch, [[0.2], [-0.4]])
    # s' = (1, 0): a' = (0.3 + 0.1, 0.1 - 0.2) = (0.4, -0.1)
    # Q1' = (2.4, 0.9), Q2' = (0.6, 3.1): lowest (0.6, 0.9)
    batch = batch_of_two(next_observations=STATES.flip(0))
    close(impl.compute_target(batch), [1.0 + 0.5 * 0.6, 2.0 + 0.9 * 0.9])
    close(impl.compute_target(batch._replace(discounts=torch.zeros(2))), [1.0, 2.0])


def test_max_backup_takes_each_critics_best_action_and_then_the_lowest_critic(monkeypatch):
    impl = with_networks(monkeypatch, [[[0.2], [-0.4]], [[-1.0], [0.6]]], max_backup=True)
    # s' = s: a' = (0.2, 0.1) and (-0.4, 0.6)
    # Q1' = (1.2, 2.1), (0.6, 2.6): best (1.2, 2.6); Q2' = (2.8, 0.9), (3.4, 0.4): best (3.4, 0.9)
    # Lowest (1.2, 0.9); the best of the lowest would be (1.2, 0.9) too, so let row 1 differ:
    close(impl.compute_target(batch_of_two()), [1.0 + 0.5 * 1.2, 2.0 + 0.9 * 0.9])
    set_table(impl.target_q, [[[1.0], [2.0], [1.0]], [[2.0], [2.9], [-1.0]]])
    # Q1' = (1.2, 2.1), (0.6, 2.6); Q2' = (1.8, 2.8), (2.4, 2.3): best (1.2, 2.6) and (2.4, 2.8)
    # The best of the lowest: max(2.1, 2.3) = 2.3 in row 1, where it must be 2.6.
    close(impl.compute_target(batch_of_two()), [1.0 + 0.5 * 1.2, 2.0 + 0.9 * 2.6])


def test_quantile_critics_keep_the_quantiles_of_the_lowest(monkeypatch):
    impl = with_networks(monkeypatch, [[0.0], [0.0]], q_function="qr", n_quantiles=2)
    set_constant(impl.target_q, [[0.0, 6.0], [2.0, 10.0]])
    close(impl.compute_target(batch_of_two()), [[1.0, 2.0], [4.0, 7.4]])


def test_actor_loss_by_hand(monkeypatch):
    impl = with_networks(monkeypatch, [[0.4], [-0.8]], eta=0.5)
    # Noisy a = (0.9, 0.1): x = sqrt(g) a + sqrt(1 - g) z; cloning = odds mean (a - (mean + 0.25 x))^2
    near, far = math.sqrt(ONE_STEP), math.sqrt(1.0 - ONE_STEP)
    errors = [0.9 - 0.5 - 0.25 * (near * 0.9 + far * 0.4), 0.1 + 0.5 - 0.25 * (near * 0.1 - far * 0.8)]
    cloning = ODDS * (errors[0] ** 2 + errors[1] ** 2) / 2
    # Its actions (0.6, -0.7): Q1 = (2.2, 1.6), Q2 = (5.6, -4.2): means (1.9, 0.7), of |Q| (1.9, 4.9)
    gain = (1.9 / 4.9 + 0.7 / 1.9) / 2
    returned = impl.compute_actor_loss(make_batch(STATES, [[0.9], [0.1]]))
    loss, metrics = total(returned)
    close(loss, cloning - 0.5 * gain)
    close(
        row_losses(returned),
        [
            ODDS * errors[0] ** 2 - 0.25 * (2.2 / 4.9 + 5.6 / 1.9),
            ODDS * errors[1] ** 2 - 0.25 * (1.6 / 4.9 - 4.2 / 1.9),
        ],
    )
    close(metrics["bc_loss"], cloning)
    # d a / d weight_s = -sqrt(1 - g) / sqrt(g); d gain / d a = (2 / 4.9 + 6 / 1.9) / 2 / 2 rows, no part of |Q|
    # d cloning / d weight_s = 2 (e - z) / 2 rows, e - z = sqrt(odds) (a - ...)
    slope = 0.5 * (2 / 4.9 + 6 / 1.9) / 4 * far / near
    wanted = [math.sqrt(ODDS) * error + slope for error in errors]
    close(head_gradients(loss, impl.policy.behaviour)[0][0, :2], wanted, atol=1e-4)


def test_value_pulls_no_action_beyond_the_box(monkeypatch):
    impl = with_networks(monkeypatch, [[4.0], [0.0]])
    set_one_step(impl.policy.behaviour, [0.5, -0.5], 0.25)
    batch = make_batch(STATES, [[0.0], [0.0]])
    both = head_gradients(total(impl.compute_actor_loss(batch))[0], impl.policy.behaviour)[0][0, :2]
    cloning = head_gradients(total(impl.policy.behaviour.loss(STATES, batch.actions)), impl.policy.behaviour)
    # a = (1.5 -> 1, -0.5): in row 0 cloning alone.
    difference = both - cloning[0][0, :2]
    close(difference[0], 0.0)
    assert difference[1] > 1.0


def test_value_goes_through_every_step(monkeypatch):
    impl = build(diffusion_steps=2, eta=1.0)
    set_constant(impl.policy.behaviour, [0.0])
    set_table(impl.q, [[[1.0], [1.0], [2.0]]] * 2)
    calls = []
    behaviour = impl.policy.behaviour
    forward = behaviour.forward
    monkeypatch.setattr(behaviour, "forward", lambda *given: calls.append(forward(*given)) or calls[-1])
    noise = torch.tensor([[0.01, 0.02], [0.01, -0.01]])
    monkeypatch.setattr(impl.random, "normal", lambda *shape: noise[:, : shape[-1]].reshape(shape))
    monkeypatch.setattr(impl.random, "uniform", lambda *shape: torch.zeros(shape))
    loss, _ = total(impl.compute_actor_loss(make_batch(STATES, [[0.0], [0.0]])))
    found = torch.autograd.grad(loss, calls[1:])  # The first call is that of cloning.
    assert len(found) == 2
    assert all((gradient > 0.0).all() for gradient in found)


def test_losses_reach_their_own_networks_alone(monkeypatch):
    impl = with_networks(monkeypatch, [[0.4], [-0.8]])
    loss, metrics = total(impl.compute_actor_loss(make_batch(STATES, [[0.0], [0.0]])))
    assert not any(metric.requires_grad for metric in metrics.values())
    assert head_gradients(loss, impl.q)[0] is not None  # Q is climbed; its own objective alone moves it.
    owned = [{id(p) for p in objective.parameters} for objective in impl.objectives]
    assert [objective.name for objective in impl.objectives] == ["critic", "actor"]
    frequencies = impl.policy.behaviour.times.frequencies
    assert owned == [
        {id(p) for p in impl.q.parameters()},
        {id(p) for p in impl.policy.parameters() if p is not frequencies},
    ]
    close(frequencies, [10_000.0 ** (-i / 7) for i in range(8)])
    critic = total(impl.critic_loss(batch_of_two()))
    assert head_gradients(critic, impl.policy.behaviour) == (None, None)


def test_the_average_follows_every_fifth_update_by_its_own_share():
    impl = build()
    critics, policy = impl.targets
    assert (critics.online, critics.tau, critics.every) == (impl.q, 0.005, 1)
    assert (policy.online, policy.tau, policy.every) == (impl.policy, 0.005, 5)
    policy = build(actor_tau=0.1, actor_target_interval=2, tau=0.3).targets[1]
    assert (policy.tau, policy.every) == (0.1, 2)


def test_gradients_are_clipped_and_rates_fall_by_default():
    objectives = build().objectives
    assert [objective.clip_grad_norm for objective in objectives] == [9.0, 9.0]
    assert [objective.schedule for objective in objectives] == ["cosine", "cosine"]


def test_acting_is_judged_by_the_lowest_target_critic(monkeypatch):
    impl = with_networks(monkeypatch, [[[0.4], [0.4]], [[-0.4], [-0.4]]])
    impl.policy.noise.copy_(torch.tensor([[[0.4]], [[-0.4]]]))
    # Actions (0.6, 0.4) in state 0: min (1.6, 2.4), (1.4, 2.6): 0.6; (-0.4, -0.6) in state 1: (1.6, 1.4), (1.4, 1.6)
    # The online critics would take 0.6 and -0.4; the mean of the targets' is 2, 2 and 1.5, 1.5.
    close(
        impl.action_values(STATES, torch.tensor([[[0.6], [-0.4]], [[0.4], [-0.6]]])), [[1.6, 1.4], [1.4, 1.4]]
    )
    set_table(impl.target_q, [[[1.0], [2.0], [-1.0]], [[3.0], [9.0], [-1.0]]])
    close(impl.predict_best_action(STATES), [[0.4], [-0.6]])
    set_table(impl.target_q, [[[0.0], [0.0], [1_000.0]]] * 2)  # A softmax that is sure.
    close(impl.sample_action(STATES), [[0.6], [-0.4]])


def test_samples_are_drawn_by_the_softmax_of_values(monkeypatch):
    impl = build()
    set_one_step(impl.policy.behaviour, [0.0, 0.0], 1.0)
    set_table(impl.target_q, [[[0.0], [0.0], [2.0]]] * 2)
    noise = torch.tensor([0.5, -0.5])[:, None, None]
    monkeypatch.setattr(impl.random, "normal", lambda *shape: noise.expand(shape))
    actions = impl.sample_action(STATES[:1].repeat(4_000, 1))
    # Q = (1, -1): 0.5 with probability e / (e + 1 / e) = 0.881
    assert (actions > 0).float().mean().item() == pytest.approx(0.881, abs=0.02)


@pytest.mark.parametrize(("eta", "low", "high"), [(1.0, 0.0, 0.12), (0.0, 0.2, 0.9)])
def test_value_leads_from_cloning_to_the_best_action(eta, low, high):
    algo = DiffusionQL(
        encoder=MLPEncoder((32, 32), "mish"),
        eta=eta,
        n_candidates=10 if eta else 1,
        actor_learning_rate=3e-3,
        critic_learning_rate=3e-3,
        batch_size=64,
        seed=0,
        device="cpu",
    )
    assert low <= bandit_error(algo, 400) < high
