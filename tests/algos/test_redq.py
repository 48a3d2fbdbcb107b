"""REDQ by hand: a random few of the target critics, the mean of all in the actor, and who moves when."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import STATES, TABLE, one_hot, set_constant, set_table

from offlinekit.algos import REDQ, MLPEncoder
from offlinekit.testing import check_engines

ACTION = math.tanh(0.3)
TABLES = [[[9.0], [7.0], [1.0]], [[8.0], [9.0], [-2.0]], [[4.0], [9.0], [0.5]], [[9.0], [9.0], [0.0]]]


def build(**options):
    """Four critics, a policy that is all but certain of tanh(0.3), and next to no entropy."""
    options = {"n_critics": 4, "initial_temperature": 1e-12, "encoder": TABLE, **options}
    impl = REDQ(seed=0, device="cpu", **options).build(continuous_dataset()).impl
    if options["encoder"] is TABLE and not options.get("q_function"):
        set_constant(impl.policy, [0.3, -20.0])
        set_constant(impl.q, [[100.0]] * 4)
        set_table(impl.target_q, TABLES)
    return impl


def test_target_is_the_lowest_of_the_drawn_target_critics(monkeypatch):
    impl = build()
    batch = make_batch(
        STATES, [[0.9], [0.9]], [1.0, 2.0], next_observations=STATES.flip(0), discounts=[0.9, 0.5]
    )
    monkeypatch.setattr(impl, "draw_members", lambda: torch.tensor([3, 0]))
    with torch.no_grad():
        found = impl.compute_target(batch)
    # Critics 3 and 0. State 1: min(9, 7 + a) = 7 + a; state 0: min(9, 9 + a) = 9
    close(found, [1 + 0.9 * (7 + ACTION), 2 + 0.5 * 9])
    monkeypatch.setattr(impl, "draw_members", lambda: torch.tensor([1, 2]))
    with torch.no_grad():
        found = impl.compute_target(batch)
    # Critics 1 and 2. State 1: min(9 - 2 a, 9 + a / 2) = 9 - 2 a; state 0: min(8 - 2 a, 4 + a / 2) = 4 + a / 2
    close(found, [1 + 0.9 * (9 - 2 * ACTION), 2 + 0.5 * (4 + ACTION / 2)])
    close(impl.compute_target(batch._replace(discounts=torch.zeros(2))), [1.0, 2.0])


def test_target_takes_the_entropy():
    impl = build(initial_temperature=0.2)
    set_constant(impl.policy, [0.3, 0.0])
    set_constant(impl.target_q, [[5.0]] * 4)
    state = impl.random.state()
    with torch.no_grad():
        found = impl.compute_target(make_batch(STATES, [[0.0], [0.0]], discounts=[1.0, 1.0]))
    impl.random.set_state(state)
    impl.draw_members()
    _, log_probs = impl.policy.sample(STATES)
    close(found, (5.0 - 0.2 * log_probs).tolist())


def test_drawn_critics_differ_and_every_subset_is_as_likely():
    impl = build()
    drawn = [tuple(sorted(impl.draw_members().tolist())) for _ in range(3_000)]
    assert {len(set(subset)) for subset in drawn} == {2}
    counts = [drawn.count(subset) for subset in set(drawn)]
    # 6 subsets of 4 critics, 500 each, with a standard deviation of 20
    assert len(counts) == 6
    assert all(400 < count < 600 for count in counts)


def test_draws_come_from_the_agents_own_numbers():
    impl = build()
    batch = make_batch(STATES, [[0.0], [0.0]], discounts=[1.0, 1.0])
    state, before = impl.random.state(), torch.random.get_rng_state()
    first, second = impl.compute_target(batch), impl.compute_target(batch)
    impl.random.set_state(state)
    assert torch.equal(impl.compute_target(batch), first)
    assert torch.equal(impl.compute_target(batch), second)
    assert torch.equal(before, torch.random.get_rng_state())


def test_one_subset_serves_all_rows():
    impl = build(subset_size=1)
    set_constant(impl.target_q, [[0.0], [1.0], [2.0], [3.0]])
    batch = make_batch(one_hot([0] * 64, 2), torch.zeros(64, 1), discounts=torch.ones(64))
    found = {tuple(set(impl.compute_target(batch).round().tolist())) for _ in range(40)}
    assert found == {(0.0,), (1.0,), (2.0,), (3.0,)}


def test_every_critic_learns_from_the_target():
    impl = build()
    set_table(impl.q, TABLES)
    returned = impl.compute_critic_loss(make_batch(STATES, [[0.0], [1.0]]), torch.tensor([8.0, 8.0]))
    loss = total(returned)
    # Errors (1, 0), (0, -1), (-4, 1.5), (1, 1): 1 / 2 + 1 / 2 + (16 + 2.25) / 2 + 2 / 2
    close(loss, 11.125)
    close(row_losses(returned), [[1.0, 0.0], [0.0, 1.0], [16.0, 2.25], [1.0, 1.0]])
    # d / d bias of each = mean(2 * error)
    close(head_gradients(loss, impl.q)[1].flatten(), [1.0, -1.0, -2.5, 2.0])


def test_actor_climbs_the_mean_of_all_critics():
    impl = build()
    set_table(impl.q, TABLES)
    returned = impl.compute_actor_loss(make_batch(STATES, [[0.9], [0.9]]))
    loss = total(returned)
    # Slopes 1, -2, 0.5, 0: mean -0.125. State 0: 30 / 4 - 0.125 a, state 1: 34 / 4 - 0.125 a
    close(loss, -(8.0 - 0.125 * ACTION))
    close(row_losses(returned), [-(7.5 - 0.125 * ACTION), -(8.5 - 0.125 * ACTION)])
    # d / d mean = 0.125 (1 - a**2)
    close(head_gradients(loss, impl.policy)[1], [0.125 * (1 - ACTION**2), 0.0])
    assert head_gradients(loss, impl.q)[1] is not None  # A path, which the objective does not own.


def test_actor_pays_for_the_log_density():
    impl = build(initial_temperature=0.2)
    set_constant(impl.policy, [0.3, 0.0])
    set_constant(impl.q, [[5.0]] * 4)
    batch = make_batch(STATES, [[0.0], [0.0]])
    state = impl.random.state()
    loss = total(impl.compute_actor_loss(batch))
    impl.random.set_state(state)
    _, log_probs = impl.policy.sample(STATES)
    close(loss, 0.2 * log_probs.mean().item() - 5.0)


def test_policy_and_temperature_move_once_for_many_updates_of_critics_and_targets():
    impl = build(policy_delay=3, tau=0.25, initial_temperature=0.5)
    assert [o.name for o in impl.objectives] == ["critic", "actor", "temperature"]
    batch = make_batch(STATES, [[0.5], [-0.5]], [1.0, 1.0], discounts=[0.9, 0.9])
    seen = []
    for _ in range(6):
        before = impl.target_q.network.mlp.layers[-1].bias.clone()
        seen.append(sorted(impl.update(batch)))
        online = impl.q.network.mlp.layers[-1].bias
        close(impl.target_q.network.mlp.layers[-1].bias, (before + 0.25 * (online - before)).tolist())
    late = sorted(["critic_loss", "actor_loss", "temperature_loss", "temperature", "entropy"])
    assert seen == [["critic_loss"], ["critic_loss"], late] * 2


def test_quantile_critics_give_the_quantiles_of_the_lowest_mean(monkeypatch):
    impl = build(q_function="qr", n_quantiles=2)
    set_constant(impl.policy, [0.3, -20.0])
    set_constant(impl.target_q, [[0.0, 10.0], [3.0, 5.0], [-9.0, -9.0], [1.0, 11.0]])
    monkeypatch.setattr(impl, "draw_members", lambda: torch.tensor([1, 3]))
    with torch.no_grad():
        found = impl.compute_target(make_batch(STATES, [[0.0], [0.0]], discounts=[1.0, 0.5]))
    # Of means 4 and 6 the first
    close(found, [[3.0, 1.5], [5.0, 2.5]])


@pytest.mark.parametrize("options", [{}, {"q_function": "qr", "n_quantiles": 3}])
def test_graphs_leave_the_bits_of_eager_updates(options):
    check_engines(partial(REDQ, policy_delay=2, n_critics=5, encoder=MLPEncoder((8,)), **options))


def test_no_more_critics_are_drawn_than_there_are():
    with pytest.raises(ValueError, match=r"subset_size must be at most n_critics \(4\), got 5; draw fewer"):
        build(subset_size=5)


def test_defaults_are_the_papers():
    front = REDQ(seed=0)
    assert (front.n_critics, front.subset_size, front.policy_delay) == (10, 2, 20)
    assert front.target_update_interval == 1


def test_learns_a_bandit_better_than_cloning():
    algo = REDQ(initial_temperature=0.01, policy_delay=2, **BANDIT)
    assert bandit_error(algo, 600) < 0.12
