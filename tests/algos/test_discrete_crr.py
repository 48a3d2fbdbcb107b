"""Discrete CRR by hand: filters of the advantage, target networks, the conservative term."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import discrete_dataset, two_steps
from small_tasks import choice_score
from table_networks import POLICY, TABLE, VALUES, set_constant, set_table

from offlinekit.algos import DiscreteCRR, MLPEncoder

LOG2, LOG3 = math.log(2.0), math.log(3.0)


def make(**options):
    return DiscreteCRR(encoder=TABLE, seed=0, device="cpu", **options).build(discrete_dataset()).impl


steps = functools.partial(two_steps, [0, 1])


def test_target_takes_the_target_policy_and_the_target_critics():
    impl = make()
    set_table(impl.target_q, VALUES)
    set_table(impl.target_policy, POLICY)
    set_constant(impl.q, [[99.0] * 3] * 2)
    set_constant(impl.policy, [0.0, 0.0, 99.0])
    # State 1: 4 / 4 + 3/4 * 2 = 2.5; state 0: 0.5
    close(impl.compute_target(steps()), [2.25, -1.0])
    close(impl.compute_target(steps(discounts=torch.tensor([0.5, 0.9]))), [2.25, -0.55])


def test_quantile_target_mixes_the_lowest_distributions_of_the_actions():
    impl = make(q_function="qr", n_quantiles=2)
    zeros = [[0.0, 0.0]] * 3
    first = [zeros, [[0.0, 6.0], [1.0, 1.0], [0.0, 0.0]]]
    second = [zeros, [[-9.0, 9.0], [2.0, 8.0], [0.0, 0.0]]]
    set_table(impl.target_q, torch.tensor([first, second]).flatten(-2))
    set_table(impl.target_policy, POLICY)
    # (1/4, 3/4) of (-9, 9) and (1, 1), the members with the lower means: (-1.5, 3)
    close(impl.compute_target(steps()), [[0.25, -1.0], [2.5, -1.0]])


@pytest.mark.parametrize("options", [{}, {"weight": "exp"}], ids=str)
def test_advantages_and_weights_are_one_a_row_without_gradient(options):
    impl = make(**options)
    set_table(impl.q, VALUES)
    set_constant(impl.target_q, [[-50.0] * 3] * 2)
    set_table(impl.policy, POLICY)
    # State 0: 1 - (1 + 0) / 2 = 0.5; state 1: 2 - (4 / 4 + 3/4 * 2) = -0.5
    advantages = impl.advantages(steps())
    close(advantages, [0.5, -0.5])
    weights = impl.weights(advantages)
    assert weights.shape == (2,)
    assert not weights.requires_grad
    loss, _ = total(impl.compute_actor_loss(steps()))
    assert head_gradients(loss, impl.q) == (None, None)


def test_binary_filter_clones_what_is_better_than_the_policy_and_nothing_else():
    impl = make()
    set_table(impl.q, VALUES)
    set_table(impl.policy, POLICY)
    loss, metrics = total(impl.compute_actor_loss(steps()))
    # Weights (1, 0), each on the log-likelihood of its own row: log 2 / 2. [2, 1] against [2] would give
    # the mean over all pairs, (log 2 + log 4/3) / 4.
    close(loss, LOG2 / 2)
    close(metrics["weight"], 0.5)
    close(metrics["advantage"], 0.0)
    # (pi - one-hot) / 2
    close(head_gradients(loss, impl.policy)[0].T, [[-0.25, 0.25, 0.0], [0.0, 0.0, 0.0]])


def test_no_advantage_is_no_reason_to_clone():
    impl = make()
    close(impl.weights(torch.tensor([0.0, 1e-6, -1e-6])), [0.0, 1.0, 0.0])


def test_exponential_filter_and_its_gradient():
    impl = make(weight="exp", temperature=0.5)
    set_table(impl.q, VALUES)
    set_table(impl.policy, POLICY)
    returned = impl.compute_actor_loss(steps())
    loss, metrics = total(returned)
    # weights exp(2 * (0.5, -0.5)); -log pi = log 2, log 4/3
    weights = [math.exp(1.0), math.exp(-1.0)]
    close(loss, (weights[0] * LOG2 + weights[1] * math.log(4 / 3)) / 2)
    close(row_losses(returned), [weights[0] * LOG2, weights[1] * math.log(4 / 3)])
    close(metrics["weight"], sum(weights) / 2)
    first, second = weights[0] / 4, weights[1] / 8
    close(head_gradients(loss, impl.policy)[0].T, [[-first, first, 0.0], [second, -second, 0.0]])


def test_exponential_weights_are_bounded_by_twenty():
    impl = make(weight="exp", temperature=1e-3)
    close(impl.weights(torch.tensor([0.5, -0.5])), [20.0, 0.0])


def test_critic_loss_with_and_without_the_conservative_gap():
    # Member 0 gives (0, log 3, -100) and (1, 1, -100): gaps log 4 - 0 and log 2; member 1 the same.
    table = [[0.0, LOG3, -100.0], [1.0, 1.0, -100.0]]
    targets = torch.tensor([1.0, 1.0])
    for alpha in (0.0, 2.0):
        impl = make(alpha=alpha)
        set_table(impl.q, [table, table])
        returned = impl.compute_critic_loss(steps(), targets)
        loss, metrics = total(returned)
        # Temporal difference (1 + 0) / 2, twice; gaps (log 4 + log 2) / 2, twice.
        close(metrics["td_loss"], 1.0)
        close(metrics["conservative_gap"], 3 * LOG2)
        close(loss, 1.0 + alpha * 3 * LOG2)
        close(row_losses(returned), [[1.0 + alpha * 2 * LOG2, alpha * LOG2]] * 2)
        # 2 * error / 2, and alpha (softmax - one-hot) / 2: softmax (1/4, 3/4) and (1/2, 1/2).
        rows = [[-1 - 0.375 * alpha, 0.375 * alpha, 0.0], [0.25 * alpha, -0.25 * alpha, 0.0]]
        close(head_gradients(loss, impl.q)[0], [rows, rows])


def test_masks_weigh_both_terms_of_the_critics():
    impl = make(alpha=1.0)
    set_constant(impl.q, [[0.0, LOG3, -100.0]] * 2)
    masked = steps(masks=torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    _, metrics = total(impl.compute_critic_loss(masked, torch.tensor([3.0, 0.0])))
    # Member 0 alone, row 0 alone.
    close(metrics["td_loss"], 9.0)
    close(metrics["conservative_gap"], 2 * LOG2)


def test_order_is_critics_actor_and_both_targets_follow():
    impl = make(tau=0.25)
    assert [o.name for o in impl.objectives] == ["critic", "actor"]
    set_constant(impl.target_q, [[4.0] * 3, [8.0] * 3])
    set_constant(impl.target_policy, [4.0] * 3)
    impl.update(steps())
    online = impl.q.network.mlp.layers[-1].bias
    moved = torch.tensor([[[3.0] * 3], [[6.0] * 3]]) + 0.25 * online
    close(impl.target_q.network.mlp.layers[-1].bias, moved)
    close(impl.target_policy.network.mlp.layers[-1].bias, 3 + 0.25 * impl.policy.network.mlp.layers[-1].bias)


@pytest.mark.parametrize("options", [{}, {"weight": "exp", "temperature": 0.1}, {"alpha": 0.1}], ids=str)
def test_learns_a_choice_that_cloning_misses(options):
    algo = DiscreteCRR(
        encoder=MLPEncoder((32,)),
        learning_rate=1e-2,
        actor_learning_rate=1e-2,
        batch_size=64,
        seed=0,
        device="cpu",
        **options,
    )
    assert choice_score(algo, 300) > 0.9
