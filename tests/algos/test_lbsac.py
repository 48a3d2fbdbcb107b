"""LB-SAC by hand: the losses of SAC-N, large batches and rates, and a layer norm of each critic's own."""

from __future__ import annotations

import math

import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import bandit_error
from table_networks import STATES, TABLE, set_constant, set_table
from torch import nn

from offlinekit.algos import LBSAC, SACN, MLPEncoder
from offlinekit.nn.networks import StackedLayerNorm

ACTION = math.tanh(0.3)
TABLES = [[[9.0], [7.0], [1.0]], [[8.0], [9.0], [-2.0]], [[4.0], [9.0], [0.5]]]


def build(encoder=TABLE, **options):
    """Three critics, a policy that is all but certain of tanh(0.3), and next to no entropy."""
    options = {"n_critics": 3, "initial_temperature": 1e-12, **options}
    impl = LBSAC(encoder=encoder, seed=0, device="cpu", **options).build(continuous_dataset()).impl
    set_constant(impl.policy, [0.3, -20.0])
    return impl


def test_rates_follow_the_root_of_the_batch():
    front = LBSAC(seed=0)
    assert front.batch_size == 10_000
    # 3e-4 sqrt(10,000 / 256) = 1.875e-3, which the paper rounds down
    for rate in (front.actor_learning_rate, front.critic_learning_rate, front.temperature_learning_rate):
        assert rate == 1.8e-3
        assert rate == pytest.approx(3e-4 * math.sqrt(front.batch_size / 256), rel=0.05)
    assert (front.n_critics, front.critic_layer_norm) == (10, True)
    assert front.encoder.hidden_sizes == (256, 256, 256)


def test_rates_reach_the_optimizers():
    rates = {"actor_learning_rate": 1e-2, "critic_learning_rate": 2e-2, "temperature_learning_rate": 3e-2}
    found = {o.name: o.optimizer.learning_rate for o in build(**rates).objectives}
    assert found == {"temperature": 3e-2, "actor": 1e-2, "critic": 2e-2}


def test_target_is_the_lowest_of_all_target_critics():
    impl = build()
    set_constant(impl.q, [[100.0]] * 3)
    set_table(impl.target_q, TABLES)
    batch = make_batch(
        STATES, [[0.9], [0.9]], [1.0, 2.0], next_observations=STATES.flip(0), discounts=[0.9, 0.5]
    )
    with torch.no_grad():
        found = impl.compute_target(batch)
    # State 1: min(7 + a, 9 - 2 a, 9 + a / 2) = 7 + a; state 0: min(9 + a, 8 - 2 a, 4 + a / 2) = 4 + a / 2
    close(found, [1 + 0.9 * (7 + ACTION), 2 + 0.5 * (4 + ACTION / 2)])


def test_critics_losses_add_up():
    impl = build()
    set_table(impl.q, TABLES)
    returned = impl.compute_critic_loss(make_batch(STATES, [[0.0], [1.0]]), torch.tensor([8.0, 8.0]))
    loss = total(returned)
    # Errors (1, 0), (0, -1), (-4, 1.5): 1 / 2 + 1 / 2 + (16 + 2.25) / 2
    close(loss, 10.125)
    close(row_losses(returned), [[1.0, 0.0], [0.0, 1.0], [16.0, 2.25]])
    # d / d bias of each = mean(2 * error)
    close(head_gradients(loss, impl.q)[1].flatten(), [1.0, -1.0, -2.5])


def test_actor_climbs_the_lowest_critic():
    impl = build()
    set_table(impl.q, TABLES)
    returned = impl.compute_actor_loss(make_batch(STATES, [[0.9], [0.9]]))
    loss = total(returned)
    # Lowest 4 + a / 2 and 7 + a
    close(loss, -(11 + 1.5 * ACTION) / 2)
    close(row_losses(returned), [-(4 + ACTION / 2), -(7 + ACTION)])
    # d / d mean = -(0.5 + 1) / 2 * (1 - a**2)
    close(head_gradients(loss, impl.policy)[1], [-0.75 * (1 - ACTION**2), 0.0])


def test_each_critic_has_a_layer_norm_of_its_own_and_the_policy_none():
    impl = build(MLPEncoder((4, 5)))
    norms = [layer for layer in impl.q.modules() if isinstance(layer, StackedLayerNorm)]
    assert [tuple(norm.weight.shape) for norm in norms] == [(3, 1, 4), (3, 1, 5)]
    assert not any(isinstance(layer, (nn.LayerNorm, StackedLayerNorm)) for layer in impl.policy.modules())
    assert not any(isinstance(m, StackedLayerNorm) for m in build(critic_layer_norm=False).q.modules())


def test_layer_norm_by_hand():
    impl = build(MLPEncoder((2,)))
    linear, norm, _, head = impl.q.network.mlp.layers
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.copy_(torch.tensor([[1.0, 3.0], [5.0, 1.0], [1.0, 3.0]])[:, None])
        norm.weight.copy_(torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 5.0]])[:, None])
        norm.bias.copy_(torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, -2.0]])[:, None])
        head.weight.fill_(1.0)
        head.bias.zero_()
    values = impl.q(STATES, torch.zeros(2, 1))
    # Normalised (-1, 1), (1, -1), (-1, 1); after scale, shift and ReLU (0, 1), (1.5, 0), (0, 3)
    close(values.detach(), [[1.0, 1.0], [1.5, 1.5], [3.0, 3.0]], atol=1e-4)


def test_without_norm_and_with_the_batch_and_rates_of_sac_n_it_is_sac_n():
    common = {"batch_size": 8, "encoder": MLPEncoder((8,)), "n_critics": 3, "seed": 3, "device": "cpu"}
    rates = dict.fromkeys(("actor_learning_rate", "critic_learning_rate", "temperature_learning_rate"), 3e-4)
    states = []
    for front, own in ((LBSAC, {**rates, "critic_layer_norm": False}), (SACN, {})):
        algo = front(**common, **own)
        algo.fit(continuous_dataset(64), 5, out=None, progress=False)
        states.append(algo.impl.state_tensors())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_order_and_targets_are_those_of_sac():
    impl = build(tau=0.25)
    assert [o.name for o in impl.objectives] == ["temperature", "actor", "critic"]
    set_constant(impl.target_q, [[4.0], [8.0], [0.0]])
    impl.update(make_batch(STATES, [[0.5], [-0.5]], [1.0, 1.0]))
    online = impl.q.network.mlp.layers[-1].bias
    before = torch.tensor([[[3.0]], [[6.0]], [[0.0]]])
    close(impl.target_q.network.mlp.layers[-1].bias, (before + 0.25 * online).tolist())


@pytest.mark.slow
def test_learns_a_bandit_better_than_cloning():
    algo = LBSAC(
        encoder=MLPEncoder((32, 32)),
        batch_size=1_000,
        initial_temperature=0.01,
        n_critics=4,
        seed=0,
        device="cpu",
    )
    assert bandit_error(algo, 500) < 0.12
