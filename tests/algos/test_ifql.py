"""IFQL: what differs from IQL: the flow that clones and the best of its actions."""

from __future__ import annotations

import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import STATES, TABLE, set_constant, set_table

from offlinekit.algos import IFQL, MLPEncoder
from offlinekit.algos.torch.ifql_impl import IFQLImpl

NOISE = [[[0.4], [0.3]], [[-0.6], [-0.2]]]  # [N, B, A]


def build(**options: object) -> IFQLImpl:
    given = {"n_candidates": 2, "flow_steps": 1, **options}
    return IFQL(encoder=TABLE, seed=0, device="cpu", **given).build(continuous_dataset()).impl


def with_networks(monkeypatch, **options: object) -> IFQLImpl:
    """The flow adds 0.1 to the given noise; the target critics would prefer the other actions.

    Q1 = (1, 3) + 2 a, Q2 = (2, 3) - 3 a.
    """
    impl = build(**options)
    set_constant(impl.policy.behaviour, [0.1])
    set_table(impl.q, [[[1.0], [3.0], [2.0]], [[2.0], [3.0], [-3.0]]])
    set_table(impl.target_q, [[[0.0], [0.0], [-5.0]], [[0.0], [0.0], [5.0]]])
    noise = torch.tensor(NOISE)
    monkeypatch.setattr(impl.random, "normal", lambda *shape: noise.reshape(shape))
    return impl


def test_acting_takes_the_candidate_whose_lowest_value_is_highest(monkeypatch):
    impl = with_networks(monkeypatch)
    # Row 0: min(2, 0.5) at 0.5, min(0, 3.5) at -0.5: 0.5, though the mean prefers -0.5
    # Row 1: min(3.8, 1.8) at 0.4, min(2.8, 3.3) at -0.1: -0.1
    close(impl.sample_action(STATES), [[0.5], [-0.1]])
    impl.policy.noise.copy_(torch.tensor([[[-0.6]], [[-0.2]]]))
    # Fixed noise gives -0.5 and -0.1: row 0 min(0, 3.5), min(0.8, 2.3); row 1 min(2, 4.5), min(2.8, 3.3)
    close(impl.predict_best_action(STATES), [[-0.1], [-0.1]])
    impl.policy.noise.copy_(torch.tensor([[[-0.6]], [[0.4]]]))
    # -0.5 and 0.5: row 0 0 and 0.5; row 1 min(2, 4.5), min(4, 1.5)
    close(impl.predict_best_action(STATES), [[0.5], [-0.5]])


def test_actor_loss_is_that_of_the_flow_and_reaches_it_alone(monkeypatch):
    impl = with_networks(monkeypatch)
    monkeypatch.setattr(impl.random, "normal", lambda *shape: torch.tensor([[0.4], [-0.2]]))
    # a - noise = (0.5, -0.1): errors 0.1 - (0.5, -0.1) = (-0.4, 0.2), loss (0.16 + 0.04) / 2
    returned = impl.compute_actor_loss(make_batch(STATES, [[0.9], [-0.3]]))
    loss = total(returned)
    close(loss, 0.1)
    close(row_losses(returned), [0.16, 0.04])
    close(head_gradients(loss, impl.policy.behaviour)[1], [-0.2])
    assert head_gradients(loss, impl.q) == head_gradients(loss, impl.value) == (None, None)


def test_value_and_critics_are_those_of_iql(monkeypatch):
    impl = with_networks(monkeypatch, expectile=0.75)
    set_table(impl.value, [[-4.0], [0.0]])
    batch = make_batch(
        STATES, [[0.4], [-0.2]], [1.0, 2.0], next_observations=STATES.flip(0), discounts=[0.5, 0.9]
    )
    # min Q' = (-2, -1); errors (2, -1): loss = (0.75 * 4 + 0.25 * 1) / 2 = 1.625
    returned = impl.compute_value_loss(batch)
    loss, _ = total(returned)
    close(loss, 1.625)
    close(row_losses(returned), [3.0, 0.25])
    # d / d V = -2 * weight * error / 2 = (-1.5, 0.25)
    close(head_gradients(loss, impl.value)[0], [[-1.5, 0.25]])
    # V(s') = (0, -4): no action of the flow is asked for.
    close(impl.compute_target(batch), [1.0, 2.0 - 3.6])


def test_order_is_value_actor_critics():
    impl = build(value_learning_rate=0.5, actor_learning_rate=0.25)
    assert [objective.name for objective in impl.objectives] == ["value", "actor", "critic"]
    assert [objective.learning_rate for objective in impl.objectives] == [0.5, 0.25, 3e-4]
    owned = {id(p) for p in impl.objectives[1].parameters}
    assert owned == {id(p) for p in impl.policy.behaviour.parameters()}


def test_layer_norm_is_that_of_critics_and_value():
    data = continuous_dataset()
    for wanted in (True, False):
        impl = IFQL(encoder=MLPEncoder((4,)), critic_layer_norm=wanted, seed=0).build(data).impl
        for network in (impl.q, impl.target_q, impl.value):
            assert any("LayerNorm" in type(part).__name__ for part in network.modules()) is wanted
        assert not any("LayerNorm" in type(part).__name__ for part in impl.policy.modules())


@pytest.mark.parametrize(("n_candidates", "low", "high"), [(32, 0.0, 0.15), (1, 0.2, 0.9)])
def test_the_best_of_many_is_better_than_cloning(n_candidates, low, high):
    algo = IFQL(n_candidates=n_candidates, flow_steps=4, value_learning_rate=3e-3, **BANDIT)
    assert low <= bandit_error(algo, 300) < high
