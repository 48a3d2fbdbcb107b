"""ISPI-S: the earlier policy, the two distances and when the snapshot moves, by hand."""

from __future__ import annotations

import math

import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import PENDULUM, bandit_error, pendulum_return
from table_networks import STATES, TABLE, set_constant, set_table

from offlinekit.algos import ISPIS, MLPEncoder
from offlinekit.algos.torch.ispis_impl import ISPISImpl

BATCH = make_batch(STATES, [[0.9], [-0.2]], [1.0, 1.0])


def build(**options: object) -> ISPISImpl:
    """Q1 = (-3, 1) + 2 a, pi = (0.5, 0), mu = (0.1, -0.4). The second critic and the newest must not matter."""
    impl = ISPIS(encoder=TABLE, seed=0, device="cpu", **options).build(continuous_dataset()).impl
    set_table(impl.q, [[[-3.0], [1.0], [2.0]], [[-70.0], [-70.0], [5.0]]])
    set_table(impl.policy, [[math.atanh(0.5)], [0.0]])
    set_constant(impl.newest, [7.0])
    set_table(impl.reference, [[math.atanh(0.1)], [math.atanh(-0.4)]])
    return impl


def test_actor_loss_and_its_gradient():
    impl = build(alpha=2.5, reference_weight=0.7)
    returned = impl.compute_actor_loss(BATCH)
    loss, metrics = total(returned)
    # To mu: (0.16 + 0.16) / 2 = 0.16; to the data: (0.16 + 0.04) / 2 = 0.1; 0.7 * 0.16 + 0.3 * 0.1 = 0.142
    # Q1(s, pi) = (-2, 1): mean -0.5, lambda = 2.5 / 1.5
    close(loss, 0.142 + 5 / 6)
    close(row_losses(returned), [0.16 + 10 / 3, 0.124 - 5 / 3])
    close(metrics["distance"], 0.142)
    assert not metrics["distance"].requires_grad
    # d / d pi = 0.7 * (0.4, 0.4) + 0.3 * (-0.4, 0.2) - lambda, times 1 - pi^2 = (0.75, 1)
    close(head_gradients(loss, impl.policy)[0], [[0.75 * (0.16 - 5 / 3), 0.34 - 5 / 3]])


@pytest.mark.parametrize(("weight", "expected"), [(0.0, 0.1), (1.0, 0.16)])
def test_the_weight_leaves_one_distance_or_the_other(weight, expected):
    impl = build(reference_weight=weight)
    set_constant(impl.q, [[0.0], [0.0]])
    close(total(impl.compute_actor_loss(BATCH))[0], expected)


def test_distances_are_means_over_action_dimensions():
    impl = ISPIS(encoder=TABLE, seed=0, device="cpu").build(continuous_dataset(action_size=2)).impl
    set_constant(impl.q, [[0.0], [0.0]])
    set_constant(impl.policy, [0.0, 0.0])
    set_constant(impl.reference, [math.atanh(0.2), math.atanh(0.4)])
    # (0.04 + 0.16) / 2 = 0.1 and (0.36 + 0.64) / 2 = 0.5, half each
    close(total(impl.compute_actor_loss(make_batch(STATES[:1], [[0.6, 0.8]])))[0], 0.3)


def test_the_reference_is_the_policy_before_its_last_step():
    impl = build(policy_delay=2, snapshot_interval=2)
    policies = [impl.policy.network.mlp.layers[-1].weight.clone()]
    for _ in range(4):
        impl.update(BATCH)
        impl.update(BATCH)
        policies.append(impl.policy.network.mlp.layers[-1].weight.clone())
        assert torch.equal(impl.newest.network.mlp.layers[-1].weight, policies[-1])
        if len(policies) > 2:
            assert torch.equal(impl.reference.network.mlp.layers[-1].weight, policies[-2])
    assert not torch.equal(policies[-1], policies[-2])


def test_snapshots_wait_for_their_interval():
    impl = build(policy_delay=1, snapshot_interval=3)
    before = impl.reference.network.mlp.layers[-1].weight.clone()
    for _ in range(2):
        impl.update(BATCH)
        assert torch.equal(impl.reference.network.mlp.layers[-1].weight, before)
        close(impl.newest.network.mlp.layers[-1].bias, [7.0])
    impl.update(BATCH)
    assert not torch.equal(impl.reference.network.mlp.layers[-1].weight, before)


def test_the_reference_is_no_part_of_what_is_learned():
    impl = build()
    assert not any(p.requires_grad for p in [*impl.newest.parameters(), *impl.reference.parameters()])
    others = [*impl.reference.parameters(), *impl.q.parameters()]
    before = [p.clone() for p in others]
    next(o for o in impl.objectives if o.name == "actor").minimize(BATCH)
    assert all(torch.equal(a, b) for a, b in zip(before, others, strict=True))


def test_critics_are_those_of_td3():
    impl = build(target_noise=0.0)
    set_constant(impl.target_q, [[3.0], [2.0]])
    close(impl.compute_target(BATCH._replace(discounts=torch.tensor([0.5, 0.0]))), [2.0, 1.0])


def test_learns_a_bandit_better_than_cloning():
    rates = {"actor_learning_rate": 3e-3, "critic_learning_rate": 3e-3}
    algo = ISPIS(encoder=MLPEncoder((32, 32)), batch_size=64, seed=0, device="cpu", **rates)
    assert bandit_error(algo, 500) < 0.12


@pytest.mark.slow
def test_beats_cloning_on_recorded_pendulum():
    assert pendulum_return(ISPIS(**PENDULUM), 4_000) > -1000
