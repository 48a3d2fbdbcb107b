"""XQL by hand: Gumbel regression of the value; critics and policy as in IQL."""

from __future__ import annotations

import math

import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import STATES, TABLE, one_hot, set_constant, set_table

from offlinekit.algos import XQL
from offlinekit.nn import losses

BATCH = make_batch(STATES, [[0.0], [0.0]])


def with_networks(**options):
    """min Q_target = (5, 1) at a = 0; V = (4, 4); the online critics would give numbers far off."""
    impl = XQL(encoder=TABLE, seed=0, device="cpu", **options).build(continuous_dataset()).impl
    set_constant(impl.q, [[100.0], [100.0]])
    set_table(impl.target_q, [[[5.0], [9.0], [1.0]], [[6.0], [1.0], [1.0]]])
    set_table(impl.value, [[4.0], [4.0]])
    return impl


def test_value_loss_and_its_gradient():
    impl = with_networks(temperature=2.0)
    # z = (1, -3) / 2 = (0.5, -1.5); (exp(z) - z - 1) / exp(0.5), whose mean is the loss
    returned = impl.compute_value_loss(BATCH)
    loss, metrics = total(returned)
    scale = math.exp(-0.5)
    rows = [(math.exp(z) - z - 1) * scale for z in (0.5, -1.5)]
    close(loss, sum(rows) / 2)
    close(row_losses(returned), rows)
    close(metrics["value"], 4.0)
    # d / d V = -(exp(z) - 1) / 2 * scale / 2 rows
    expected = [-(math.exp(z) - 1) / 2 * scale / 2 for z in (0.5, -1.5)]
    close(head_gradients(loss, impl.value)[0], [expected])
    assert head_gradients(loss, impl.q) == (None, None)


def test_exponent_is_bounded_and_carries_no_gradient_beyond():
    impl = with_networks(temperature=0.5, max_exponent=1.5)
    # z = (2, -6) -> (1.5, -6)
    loss, _ = total(impl.compute_value_loss(BATCH))
    scale = math.exp(-1.5)
    close(loss, ((math.exp(1.5) - 2.5) + (math.exp(-6) + 5)) * scale / 2)
    close(head_gradients(loss, impl.value)[0], [[0.0, -(math.exp(-6) - 1) / 0.5 * scale / 2]])


def test_scale_is_the_largest_row_but_not_below_exp_minus_one():
    # z = (-2, -3): divided by exp(-1), not by exp(-2).
    found = losses.gumbel_loss(torch.tensor([-4.0, -6.0]), 2.0)
    close(found, [(math.exp(-2) + 1) * math.e, (math.exp(-3) + 2) * math.e])
    # A row of exp(100) does not overflow: 1 - 101 / exp(100).
    close(losses.gumbel_loss(torch.tensor([100.0, 0.0]), 1.0), [1.0, 0.0])


@pytest.mark.parametrize("temperature", [0.5, 2.0, 50.0])
def test_value_tends_to_the_soft_maximum(temperature):
    # Values 1 and 5 at one state: V = T log((exp(1 / T) + exp(5 / T)) / 2), from near 5 down to 3.
    solution = temperature * math.log((math.exp(1 / temperature) + math.exp(5 / temperature)) / 2)
    impl = with_networks(temperature=temperature, max_exponent=50.0)
    set_table(impl.target_q, [[[1.0], [0.0], [4.0]]] * 2)
    set_table(impl.value, [[solution], [0.0]])
    loss, _ = total(impl.compute_value_loss(make_batch(one_hot([0, 0], 2), [[0.0], [1.0]])))
    close(head_gradients(loss, impl.value)[0], [[0.0, 0.0]])


def test_critics_and_actor_are_iqls():
    impl = with_networks(beta=0.5, max_weight=1.5)
    set_table(impl.value, [[4.0], [-2.0]])
    batch = make_batch(
        STATES, [[0.0], [0.0]], [1.0, 2.0], next_observations=STATES.flip(0), discounts=[0.9, 0.5]
    )
    # 1 + 0.9 * -2 = -0.8; 2 + 0.5 * 4 = 4
    close(impl.compute_target(batch), [-0.8, 4.0])
    set_constant(impl.policy, [0.0])
    loss, metrics = total(impl.compute_actor_loss(batch))
    # advantages (1, 3): weights exp(0.5) and exp(1.5), both above 1.5; -log pi = log(2 pi) / 2
    close(metrics["weight"], 1.5)
    close(loss, 1.5 * 0.5 * math.log(2 * math.pi))


def test_order_and_defaults():
    impl = with_networks()
    assert [o.name for o in impl.objectives] == ["value", "actor", "critic"]
    front = XQL(seed=0)
    assert (front.temperature, front.max_exponent, front.beta, front.max_weight) == (2.0, 7.0, 3.0, 100.0)
    assert front.actor_lr_schedule == "cosine"


def test_learns_a_bandit_better_than_cloning():
    algo = XQL(temperature=0.1, beta=30.0, tau=0.05, value_learning_rate=3e-3, **BANDIT)
    assert bandit_error(algo, 500) < 0.12
