"""MSG by hand: targets of each critic's own, the lower confidence bound, the support term and the phases."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import STATES, TABLE, set_constant, set_table

from offlinekit.algos import MSG, MLPEncoder
from offlinekit.testing import check_engines

ACTION = math.tanh(0.3)
TABLES = [[[9.0], [7.0], [1.0]], [[8.0], [9.0], [-2.0]], [[4.0], [9.0], [0.5]]]
TWO = [[[1.0], [1.0], [2.0]], [[3.0], [3.0], [-1.0]]]  # 1 + 2 a and 3 - a at both states.


def build(tables=TABLES, **options):
    """Critics that are tables, a policy that is all but certain of tanh(0.3), and next to no entropy."""
    options = {"n_critics": len(tables), "initial_temperature": 1e-12, "warmup_steps": 0, **options}
    impl = MSG(encoder=TABLE, seed=0, device="cpu", **options).build(continuous_dataset()).impl
    set_constant(impl.policy, [0.3, -20.0])
    if "q_function" not in options:
        set_table(impl.q, tables)
    return impl


def test_each_critic_has_the_target_of_its_own_target_network():
    impl = build(initial_temperature=5.0)
    set_constant(impl.q, [[100.0]] * 3)
    set_table(impl.target_q, TABLES)
    batch = make_batch(
        STATES, [[0.9], [0.9]], [1.0, 2.0], next_observations=STATES.flip(0), discounts=[0.9, 0.5]
    )
    with torch.no_grad():
        found = impl.compute_target(batch)
    # Row 0 at state 1: 7 + a, 9 - 2 a, 9 + a / 2; row 1 at state 0: 9 + a, 8 - 2 a, 4 + a / 2; no entropy
    expected = [
        [1 + 0.9 * (7 + ACTION), 2 + 0.5 * (9 + ACTION)],
        [1 + 0.9 * (9 - 2 * ACTION), 2 + 0.5 * (8 - 2 * ACTION)],
        [1 + 0.9 * (9 + ACTION / 2), 2 + 0.5 * (4 + ACTION / 2)],
    ]
    close(found, expected)
    close(impl.compute_target(batch._replace(discounts=torch.zeros(2))), [[1.0, 2.0]] * 3)


def test_each_critic_learns_from_its_own_target():
    impl = build(alpha=None)
    targets = torch.tensor([[8.0, 8.0], [8.0, 7.0], [4.0, 9.5]])
    returned = impl.compute_critic_loss(make_batch(STATES, [[0.0], [1.0]]), targets)
    loss = total(returned)
    # Values (9, 8), (8, 7), (4, 9.5): errors (1, 0), (0, 0), (0, 0)
    close(loss, 0.5)
    close(row_losses(returned), [[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    # d / d bias of each = mean(2 * error)
    close(head_gradients(loss, impl.q)[1].flatten(), [1.0, 0.0, 0.0])


def test_bootstrap_masks_choose_the_rows_of_each_critic():
    impl = build(alpha=2.0)
    masks = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    batch = make_batch(STATES, [[0.0], [1.0]], masks=masks)
    loss, metrics = total(impl.compute_critic_loss(batch, torch.full((3, 2), 8.0)))
    # Errors (1, .), (., -1), (-4, 1.5): 1 + 1 + (16 + 2.25) / 2
    close(metrics["td_loss"], 11.125)
    # Slopes times (p - 0) or (p - 1): p, -2 (p - 1), (0.5 p + 0.5 (p - 1)) / 2
    gap = ACTION - 2 * (ACTION - 1) + (ACTION - 0.5) / 2
    close(loss, 11.125 + 2.0 * gap)


def test_support_term_lowers_the_policys_actions_and_raises_the_datas():
    impl = build(alpha=0.5)
    targets = impl.q(STATES, torch.tensor([[0.9], [0.9]])).detach()
    loss, metrics = total(impl.compute_critic_loss(make_batch(STATES, [[0.9], [0.9]]), targets))
    # Temporal differences 0; slopes (1, -2, 0.5) times (p - 0.9), a sum over critics of means over rows
    close(metrics["td_loss"], 0.0)
    close(metrics["support_gap"], -0.5 * (ACTION - 0.9))
    close(loss, -0.25 * (ACTION - 0.9))
    weight, bias = head_gradients(loss, impl.q)
    # Of the row of the action: 0.5 (p - 0.9) in each critic
    close(weight[:, 2, 0], [0.5 * (ACTION - 0.9)] * 3)
    close(bias.flatten(), [0.0] * 3)
    assert head_gradients(loss, impl.policy) == (None, None)
    assert not any(metric.requires_grad for metric in metrics.values())


def test_actor_climbs_the_lower_confidence_bound():
    impl = build(TWO, pessimism=4.0)
    set_constant(impl.target_q, [[-100.0]] * 2)
    returned = impl.compute_actor_loss(make_batch(STATES, [[0.9], [0.9]]))
    loss = total(returned)
    # Mean 2 + a / 2, std |2 - 3 a| / 2 = 1 - 1.5 a: 2 + a / 2 - 4 + 6 a
    close(loss, 2.0 - 6.5 * ACTION)
    close(row_losses(returned), [2.0 - 6.5 * ACTION] * 2)
    # d / d mean = -6.5 (1 - a**2)
    close(head_gradients(loss, impl.policy)[1], [-6.5 * (1 - ACTION**2), 0.0])


def test_without_pessimism_the_actor_climbs_the_mean():
    loss = total(build(TWO, pessimism=0.0).compute_actor_loss(make_batch(STATES, [[0.9], [0.9]])))
    close(loss, -(2.0 + ACTION / 2))


def test_critics_that_agree_leave_a_finite_gradient():
    impl = build([TWO[0], TWO[0]])
    loss = total(impl.compute_actor_loss(make_batch(STATES, [[0.9], [0.9]])))
    close(loss, -(1.0 + 2 * ACTION))
    close(head_gradients(loss, impl.policy)[1], [-2 * (1 - ACTION**2), 0.0])


def test_actor_pays_for_the_log_density():
    impl = build(initial_temperature=0.2)
    set_constant(impl.policy, [0.3, 0.0])
    set_constant(impl.q, [[5.0]] * 3)
    batch = make_batch(STATES, [[0.0], [0.0]])
    state = impl.random.state()
    loss = total(impl.compute_actor_loss(batch))
    impl.random.set_state(state)
    _, log_probs = impl.policy.sample(STATES)
    close(loss, 0.2 * log_probs.mean().item() - 5.0)


def test_temperature_holds_an_entropy_of_zero():
    impl = build(initial_temperature=0.2)
    set_constant(impl.policy, [0.3, 0.0])
    loss, metrics = total(impl.compute_temperature_loss(make_batch(STATES, [[0.0], [0.0]])))
    # -0.2 (log pi + 0)
    close(loss, 0.2 * metrics["entropy"].item())


def test_cloning_is_the_likelihood_of_the_datas_actions():
    impl = build()
    set_constant(impl.policy, [0.3, 0.0])
    returned = impl.compute_cloning_loss(make_batch(STATES, [[0.5], [0.5]]))
    loss = total(returned)
    raw = math.atanh(0.5)
    density = -0.5 * (raw - 0.3) ** 2 - 0.5 * math.log(2 * math.pi) - math.log(1 - 0.25)
    close(loss, -density)
    close(row_losses(returned), [-density, -density])
    # d / d mean = -(raw - 0.3); d / d log std = 1 - (raw - 0.3)**2
    close(head_gradients(loss, impl.policy)[1], [0.3 - raw, 1 - (raw - 0.3) ** 2])


def test_the_policy_clones_first_and_critics_learn_of_it():
    impl = build(warmup_steps=2, initial_temperature=0.5)
    batch = make_batch(STATES, [[0.5], [-0.5]], [1.0, 1.0], discounts=[0.9, 0.9])
    late = sorted(["critic_loss", "actor_loss", "temperature_loss", "temperature", "entropy"])
    seen = [sorted(impl.update(batch)) for _ in range(4)]
    assert seen == [["cloning_loss", "critic_loss"]] * 2 + [late] * 2
    assert [o.name for o in impl.objectives] == ["critic", "cloning", "actor", "temperature"]
    rates = {o.name: o.learning_rate for o in impl.objectives}
    assert rates == {"critic": 3e-4, "cloning": 3e-5, "actor": 3e-5, "temperature": 3e-4}


def test_independent_targets_never_mix_the_critics():
    # One state that follows itself, no reward, discount 0.5, no slope: alone, each critic halves at every exact
    # step. With one target for all, critics would meet; here 8 : 4 : -2 stays 8 : 4 : -2.
    impl = build([[[8.0], [8.0], [0.0]], [[4.0], [4.0], [0.0]], [[-2.0], [-2.0], [0.0]]])
    batch = make_batch(STATES, [[0.0], [0.0]], discounts=[0.5, 0.5])
    values = impl.q.values(STATES, torch.zeros(2, 1)).detach()
    for _ in range(3):
        set_table(impl.target_q, [[[v.item()], [w.item()], [0.0]] for v, w in values])
        values = impl.compute_target(batch)
    close(values, [[1.0, 1.0], [0.5, 0.5], [-0.25, -0.25]])


def test_quantile_critics_have_targets_and_losses_of_their_own():
    impl = build([None] * 2, q_function="qr", n_quantiles=2)
    set_constant(impl.target_q, [[0.0, 10.0], [3.0, 5.0]])
    set_constant(impl.q, [[0.0, 10.0], [4.0, 4.0]])
    batch = make_batch(STATES, [[0.0], [0.0]], discounts=[1.0, 1.0])
    with torch.no_grad():
        target = impl.compute_target(batch)
    close(target, [[[0.0, 0.0], [10.0, 10.0]], [[3.0, 3.0], [5.0, 5.0]]])
    # Critic 0, levels 1/4 and 3/4: errors (0, 10) and (-10, 0), huber 9.5: 9.5 / 4 / 2 + 9.5 / 4 / 2 = 2.375
    # Critic 1: errors (-1, 1) twice, huber 0.5: (3 + 1) / 4 * 0.5 / 2 + (1 + 3) / 4 * 0.5 / 2 = 0.5
    close(total(impl.compute_critic_loss(batch, target)), 2.875)


@pytest.mark.parametrize("options", [{}, {"alpha": 0.5, "q_function": "qr", "n_quantiles": 3}])
def test_graphs_leave_the_bits_of_eager_updates(options):
    check_engines(partial(MSG, n_critics=5, warmup_steps=12, encoder=MLPEncoder((8,)), **options))


def test_defaults_are_those_of_the_authors():
    front = MSG(seed=0)
    assert (front.pessimism, front.alpha, front.n_critics, front.warmup_steps) == (4.0, None, 64, 50_000)
    assert (front.actor_learning_rate, front.critic_learning_rate, front.target_entropy) == (3e-5, 3e-4, 0.0)


@pytest.mark.parametrize("alpha", [None, 0.1])
def test_learns_a_bandit_better_than_cloning(alpha):
    algo = MSG(initial_temperature=0.01, n_critics=4, alpha=alpha, warmup_steps=100, **BANDIT)
    assert bandit_error(algo, 700) < 0.12
