"""WSRL by hand: Cal-QL with drawn critics offline, SAC on what needs no recorded row online."""

from __future__ import annotations

import math

import pytest
import torch
from loss_checks import close, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import STATES, TABLE, set_constant, set_table
from walk_env import Walk, recorded_walk

from offlinekit.algos import WSRL, CalQL, MLPEncoder

ACTION = math.tanh(0.3)
TABLES = [[[9.0], [7.0], [1.0]], [[8.0], [9.0], [-2.0]], [[4.0], [9.0], [0.5]], [[9.0], [9.0], [0.0]]]
AFTER = STATES.flip(0)
BATCH = make_batch(STATES, [[0.25], [0.5]], [1.0, 2.0], next_observations=AFTER, discounts=[0.9, 0.5])


def build(online=False, front=WSRL, **options):
    """Four critics, and a policy that is all but certain of tanh(0.3)."""
    options = {
        "n_critics": 4,
        "encoder": TABLE,
        "critic_encoder": None,
        "seed": 0,
        "device": "cpu",
        **options,
    }
    impl = front(**options).build(continuous_dataset()).impl
    set_constant(impl.policy, [0.3, -20.0])
    set_table(impl.q, TABLES)
    set_table(impl.target_q, TABLES)
    impl.enter_phase(online)
    return impl


@pytest.mark.parametrize("online", [False, True])
def test_target_is_the_lowest_of_the_drawn_critics_in_both_phases(online, monkeypatch):
    impl = build(online)
    monkeypatch.setattr(impl, "draw_members", lambda: torch.tensor([1, 2]))
    # Critics 1 and 2. State 1: min(9 - 2 a, 9 + a / 2) = 9 - 2 a; state 0: min(8 - 2 a, 4 + a / 2) = 4 + a / 2
    close(impl.compute_target(BATCH), [1 + 0.9 * (9 - 2 * ACTION), 2 + 0.5 * (4 + ACTION / 2)])


def test_target_may_take_the_entropy():
    impl = build(True, soft_backup=True, initial_temperature=0.2)
    set_constant(impl.target_q, [[5.0]] * 4)
    state = impl.random.state()
    found = impl.compute_target(BATCH)
    impl.random.set_state(state)
    impl.draw_members()
    log_probs = impl.policy.sample(AFTER)[1].detach()
    close(found, torch.tensor([1.0, 2.0]) + torch.tensor([0.9, 0.5]) * (5.0 - 0.2 * log_probs))


def test_target_may_take_the_best_action_in_two_orders(monkeypatch):
    actions = torch.tensor([[[1.0], [1.0]], [[-1.0], [-1.0]]])
    found = []
    for order in ("critic", "action"):
        impl = build(True, max_backup=True, max_backup_order=order, n_actions=2)
        monkeypatch.setattr(impl, "draw_members", lambda: torch.tensor([0, 1]))
        monkeypatch.setattr(impl.policy, "sample", lambda seen, n: (actions, torch.zeros(2, 2)))
        set_table(impl.target_q, [[[0.0], [0.0], [1.0]], [[0.0], [0.0], [-1.0]], [[9.0]] * 3, [[9.0]] * 3])
        found.append(impl.compute_target(BATCH))
    # Q = a and Q = -a at a = 1 and -1: the best of each critic is 1, the lowest of each action -1.
    close(found[0], [1 + 0.9, 2 + 0.5])
    close(found[1], [1 - 0.9, 2 - 0.5])


def test_the_gap_is_there_offline_and_gone_online():
    target = torch.tensor([8.0, 8.0])
    offline, parent, online = build(), build(front=CalQL), build(True)
    batch = BATCH.with_columns(returns=torch.tensor([0.5, -1.0]))
    parent.random.set_state(offline.random.state())
    close(
        total(offline.compute_critic_loss(batch, target))[0],
        total(parent.compute_critic_loss(batch, target))[0],
    )
    loss = online.compute_critic_loss(BATCH, target)
    # Q - 8 of the four critics at a = 0.25 in state 0 and a = 0.5 in state 1, squared.
    errors = [[1.25, -0.5], [-0.5, 0.0], [-3.875, 1.25], [1.0, 1.0]]
    close(row_losses(loss), [[error**2 for error in row] for row in errors])
    close(total(loss), sum(error**2 for row in errors for error in row) / 2)


def test_alpha_is_learned_offline_alone():
    impl = build(gap_threshold=1.0)
    batch = BATCH.with_columns(returns=torch.zeros(2))
    assert "alpha_loss" in impl.update(batch)
    impl.enter_phase(online=True)
    assert "alpha_loss" not in impl.update(batch)
    impl.enter_phase(online=False)
    assert "alpha_loss" in impl.update(batch)


def test_policy_and_temperature_wait_for_the_critics_online():
    impl = build(online_policy_delay=3)
    batch = BATCH.with_columns(returns=torch.zeros(2))
    assert all("actor_loss" in impl.update(batch) for _ in range(3))
    impl.enter_phase(online=True)
    updates = [impl.update(batch) for _ in range(6)]
    for name in ("actor_loss", "temperature_loss"):
        assert [name in metrics for metrics in updates] == [False, False, True] * 2


def test_rows_can_be_drawn_before_their_episode_is_over():
    algo = WSRL(encoder=MLPEncoder((8,)), critic_encoder=None, seed=0, device="cpu")
    algo.build(recorded_walk())
    waiting = algo.make_sampler(recorded_walk(), capacity=10, keep=False)
    algo.impl.enter_phase(online=True)
    at_once = algo.make_sampler(recorded_walk(), capacity=10, keep=False)
    for memory in (waiting, at_once):
        memory.add(0, torch.zeros(2).numpy(), torch.zeros(1).numpy(), 1.0, torch.ones(2).numpy(), False)
    assert (waiting.n_usable, at_once.n_usable) == (0, 1)


@pytest.mark.parametrize("failed_return", ["episode", "endless"])
def test_goes_from_data_to_new_rows_alone(failed_return):
    options = {"encoder": MLPEncoder((8,)), "critic_encoder": None, "failed_return": failed_return}
    algo = WSRL(seed=0, batch_size=8, n_critics=3, device="cpu", n_actions=2, **options)
    algo.fit(recorded_walk(), 5, out=None, progress=False, value_alarm="off")
    algo.fit_online(Walk(), 20, warmup_steps=10, dataset=recorded_walk(), out=None, progress=False)
    # Ten steps with four updates each.
    assert algo.grad_step == 45
    assert not algo.impl.is_online


def test_defaults_are_the_papers():
    front = WSRL(seed=0)
    assert (front.n_critics, front.subset_size, front.online_policy_delay) == (10, 2, 4)
    assert (front.actor_learning_rate, front.critic_learning_rate) == (1e-4, 3e-4)
    assert front.temperature_learning_rate == 1e-4
    assert front.encoder.layer_norm
    assert front.critic_layer_norm
    assert not front.soft_backup
    assert WSRL.online_settings == {"mixing": "none", "updates_per_step": 4.0, "warmup_steps": 5_000}


def test_no_more_critics_are_drawn_than_there_are():
    with pytest.raises(ValueError, match=r"subset_size must be at most n_critics \(4\), got 5; draw fewer"):
        WSRL(n_critics=4, subset_size=5)


def test_learns_a_bandit_better_than_cloning():
    options = {**BANDIT, "critic_encoder": None, "alpha": 0.1, "initial_temperature": 0.01, "n_critics": 4}
    assert bandit_error(WSRL(**options), 500) < 0.15
