"""E2O by hand: pairs of critics in the target, optimistic actions, and a factor that falls with disagreement."""

from __future__ import annotations

import itertools

import pytest
import torch
from loss_checks import close, row_losses
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import STATES, TABLE, one_hot, set_constant, set_table
from walk_env import Walk, recorded_walk

from offlinekit.algos import CQL, E2O, MLPEncoder
from offlinekit.nn.losses import mean_of_pairs

AFTER = STATES.flip(0)
BATCH = make_batch(STATES, [[0.25], [0.5]], [1.0, 2.0], next_observations=AFTER, discounts=[0.9, 0.5])
TABLES = [[[1.0], [5.0], [0.0]], [[2.0], [3.0], [0.0]], [[4.0], [9.0], [0.0]]]


def build(online=True, front=E2O, **options):
    options = {"n_critics": 3, "encoder": TABLE, "seed": 0, "device": "cpu", **options}
    impl = front(**options).build(continuous_dataset()).impl
    set_constant(impl.policy, [0.3, -20.0])
    set_table(impl.target_q, TABLES)
    impl.enter_phase(online)
    return impl


def test_mean_over_pairs_of_ten_members():
    values = torch.arange(10.0)[[3, 1, 9, 0, 2, 7, 8, 4, 6, 5], None]
    # Sum of i (9 - i) over i = 0..9 is 120, over 45 pairs.
    close(mean_of_pairs(values, values), [120 / 45])


def test_mean_over_pairs_is_that_of_brute_force():
    values = torch.randn(10, 50, generator=torch.Generator().manual_seed(0))
    pairs = [torch.minimum(values[i], values[j]) for i, j in itertools.combinations(range(10), 2)]
    close(mean_of_pairs(values, values), torch.stack(pairs).mean(0))


def test_pairs_of_quantiles_give_those_of_the_lower_mean():
    quantiles = torch.randn(4, 3, 20, generator=torch.Generator().manual_seed(0))  # [K, N, B]
    means = quantiles.mean(1)
    pairs = [
        torch.where(means[i] <= means[j], quantiles[i], quantiles[j])
        for i, j in itertools.combinations(range(4), 2)
    ]
    close(mean_of_pairs(quantiles, means), torch.stack(pairs).mean(0))


def test_target_online_is_the_mean_over_pairs_less_the_entropy():
    impl = build(initial_temperature=0.2)
    state = impl.random.state()
    found = impl.compute_target(BATCH)
    impl.random.set_state(state)
    log_probs = impl.policy.sample(AFTER)[1].detach()
    # State 1: pairs of (5, 3, 9): 3, 5, 3, mean 11/3; state 0: of (1, 2, 4): 1, 1, 2, mean 4/3.
    values = torch.tensor([11 / 3, 4 / 3]) - 0.2 * log_probs
    close(found, torch.tensor([1.0, 2.0]) + torch.tensor([0.9, 0.5]) * values)


def test_target_offline_is_the_lowest_without_the_entropy():
    close(build(online=False).compute_target(BATCH), [1 + 0.9 * 3.0, 2 + 0.5 * 1.0])


def test_the_gap_is_there_offline_and_gone_online():
    target = torch.tensor([4.0, 4.0])
    offline, parent, online = build(False), build(False, CQL), build()
    for impl in (offline, parent, online):
        set_table(impl.q, TABLES)
    parent.random.set_state(offline.random.state())
    close(
        offline.compute_critic_loss(BATCH, target)[0].extra,
        parent.compute_critic_loss(BATCH, target)[0].extra,
    )
    # (1, 2, 4) - 4 in state 0 and (5, 3, 9) - 4 in state 1.
    close(row_losses(online.compute_critic_loss(BATCH, target)), [[9.0, 1.0], [4.0, 1.0], [0.0, 25.0]])


@pytest.mark.parametrize(("deviation", "factor"), [(0.0, 1.0), (0.1, 0.768941), (1.0, 0.500045)])
def test_disagreement_makes_the_loss_smaller(deviation, factor):
    impl = E2O(n_critics=2, disagreement_weight=10.0, encoder=TABLE, seed=0, device="cpu")
    impl = impl.build(continuous_dataset()).impl
    impl.enter_phase(online=True)
    # Means 5 + d and 5 - d have a deviation of d over two critics.
    set_constant(impl.target_q, [[5.0 + deviation], [5.0 - deviation]])
    set_constant(impl.q, [[3.0], [1.0]])
    close(impl.agreement(BATCH), factor)
    loss = impl.compute_critic_loss(BATCH, torch.tensor([0.0, 2.0]))
    close(row_losses(loss), [[9.0 * factor, 1.0 * factor], [1.0 * factor, 1.0 * factor]])


@pytest.mark.parametrize(("optimism", "expected"), [(0.0, [0.5, 0.0]), (1.0, [-0.5, 0.0])])
def test_actions_online_are_the_most_promising_of_some(optimism, expected, monkeypatch):
    impl, asked = build(optimism=optimism, n_proposals=3), []
    drawn = torch.tensor([[[0.5], [0.5]], [[-0.5], [-0.5]], [[0.0], [0.0]]])  # [n, B, A]
    # Of two critics: at 1/2 values (1, 1), at -1/2 (-2, 2), at 0 (0, 0) in state 0 and (3, 3) in state 1.
    first, second = (
        torch.tensor([[1.0, 1.0], [-2.0, -2.0], [0.0, 3.0]]),
        torch.tensor([[1.0, 1.0], [2.0, 2.0], [0.0, 3.0]]),
    )
    monkeypatch.setattr(impl.policy, "sample", lambda seen, n: (asked.append(n), (drawn, None))[1])
    monkeypatch.setattr(impl.q, "values", lambda seen, actions: torch.stack([first, second]))
    # Deviations with n - 1: 0, 2 sqrt(2) = 2.83, 0. By the mean 1/2 and 0 are best; with one deviation -1/2 in
    # state 0 (2.83 > 1), and in state 1 it has 2.83 < 3, so 0 stays.
    close(impl.sample_action(STATES), [[expected[0]], [expected[1]]])
    assert asked == [3]


def test_actions_offline_are_those_of_the_policy():
    impl = build(online=False)
    set_constant(impl.policy, [0.3, 0.0])
    state, seen = impl.random.state(), one_hot([0] * 5, 2)
    found = impl.sample_action(seen)
    impl.random.set_state(state)
    close(found, impl.policy.sample(seen)[0].detach())


def test_goes_from_data_to_new_rows_alone():
    algo = E2O(encoder=MLPEncoder((8,)), n_critics=3, n_actions=2, batch_size=8, seed=0, device="cpu")
    algo.fit(recorded_walk(), 5, out=None, progress=False, value_alarm="off")
    algo.fit_online(Walk(), 20, warmup_steps=10, out=None, progress=False)
    assert algo.grad_step == 15


def test_defaults_are_the_authors():
    front = E2O(seed=0)
    assert (front.n_critics, front.alpha, front.n_proposals, front.optimism) == (10, 5.0, 10, 10.0)
    rates = (front.actor_learning_rate, front.critic_learning_rate, front.temperature_learning_rate)
    assert rates == (3e-5, 3e-4, 1e-4)
    assert E2O.online_settings == {"mixing": "none", "warmup_steps": 1_000}


def test_one_critic_makes_no_pair():
    with pytest.raises(ValueError, match="n_critics must be at least 2, so that critics make pairs, got 1"):
        E2O(n_critics=1)


def test_learns_a_bandit_better_than_cloning():
    options = {**BANDIT, "alpha": 0.1, "initial_temperature": 0.01, "n_critics": 4}
    assert bandit_error(E2O(**options), 500) < 0.15
