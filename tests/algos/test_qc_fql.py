"""QC-FQL: what differs from FQL: chunks of actions in targets, losses and acting, by hand."""

from __future__ import annotations

import numpy as np
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from table_networks import STATES, TABLE, set_constant, set_table

from offlinekit.algos import FQL, QCFQL
from offlinekit.algos.torch.qc_fql_impl import QCFQLImpl

WHOLE = [[1, 1], [1, 1], [1, 1]]
"""Of two chunks of two steps which of these are valid, and which chunk is whole, [H + 1, B]."""


def with_networks(monkeypatch, noise, **options: object) -> QCFQLImpl:
    """mu(s, z) = (0.5, -0.5)_s + (0.25 z_1, 0.5 z_2), the flow ends at z + (0.1, 0.3); z is given.

    Q1 = (1, 3)_s + 2 a_1 + a_2, Q2 the same less 1; Q' = 10 Q.
    """
    given = {"n_step": 2, "flow_steps": 1, **options}
    impl = QCFQL(encoder=TABLE, seed=0, device="cpu", **given).build(continuous_dataset()).impl
    set_table(impl.policy, [[0.5, 0.5], [-0.5, -0.5], [0.25, 0.0], [0.0, 0.5]])
    set_constant(impl.flow, [0.1, 0.3])
    set_table(impl.q, [[[1.0], [3.0], [2.0], [1.0]], [[0.0], [2.0], [2.0], [1.0]]])
    set_table(impl.target_q, [[[10.0], [30.0], [20.0], [10.0]], [[0.0], [20.0], [20.0], [10.0]]])
    drawn = torch.tensor(noise)
    monkeypatch.setattr(impl.random, "normal", lambda *shape: drawn.reshape(shape))
    return impl


def chunk_batch(steps=WHOLE, **given):
    *valid, whole = torch.tensor(steps).bool()
    columns = {"valid": torch.stack(valid, 1), "whole": whole, **given}
    return make_batch(STATES, [[0.5, 0.1], [-0.4, 0.2]], [1.0, 2.0], discounts=[0.5, 0.9], **columns)


NOISE = [[0.4, -0.2], [-0.8, 0.6]]


def test_target_is_the_value_of_the_policys_chunk(monkeypatch):
    impl = with_networks(monkeypatch, NOISE)
    # s' = (1, 0): mu = (-0.5 + 0.1, -0.5 - 0.1), (0.5 - 0.2, 0.5 + 0.3): 2 a_1 + a_2 = -1.4 and 1.4
    # Means of Q': 25 - 14 = 11, 5 + 14 = 19
    batch = chunk_batch(next_observations=STATES.flip(0))
    close(impl.compute_target(batch), [1.0 + 5.5, 2.0 + 0.9 * 19.0])


def test_critics_learn_from_whole_chunks_alone(monkeypatch):
    impl = with_networks(monkeypatch, NOISE)
    # Q1 = (2.1, 2.4), Q2 = (1.1, 1.4); target (2, 2); row 1 alone is whole: 0.4^2 + 0.6^2
    returned = impl.compute_critic_loss(chunk_batch([[1, 1], [0, 1], [0, 1]]), torch.tensor([2.0, 2.0]))
    loss = total(returned)
    close(loss, 0.52)
    close(row_losses(returned), [[0.01, 0.16], [0.81, 0.36]])
    close(head_gradients(loss, impl.q)[0][1, :, 0], [0.0, -1.2, 0.48, -0.24])


def test_flow_learns_the_steps_inside_the_episode_alone(monkeypatch):
    impl = with_networks(monkeypatch, [[0.2, 0.2], [0.0, 0.0]])
    # a - z = (0.3, -0.1), (-0.4, 0.2); v = (0.1, 0.3): errors (-0.2, 0.4), (0.5, 0.1)
    close(total(impl.compute_flow_loss(chunk_batch())), 0.46 / 4)
    returned = impl.compute_flow_loss(chunk_batch([[1, 1], [0, 1], [0, 0]]))
    loss = total(returned)
    close(loss, (0.04 + 0.25 + 0.01) / 4)
    close(row_losses(returned), [0.02, 0.13])
    close(head_gradients(loss, impl.flow)[1], [0.15, 0.05])
    assert head_gradients(loss, impl.policy) == (None, None)


def test_actor_loss_is_that_of_fql_over_chunks_whether_whole_or_not(monkeypatch):
    impl = with_networks(monkeypatch, NOISE, alpha=3.0)
    # mu = (0.6, 0.4), (-0.7, -0.2); flow (0.5, 0.1), (-0.7, 0.9): errors (0.1, 0.3), (0, -1.1): mean 1.31 / 4
    # 2 a_1 + a_2 = 1.6, -1.6: Q = 0.5 + 1.6, 2.5 - 1.6: mean 1.5
    returned = impl.compute_actor_loss(chunk_batch([[1, 1], [0, 0], [0, 0]]))
    loss, _ = total(returned)
    close(loss, 3.0 * 1.31 / 4 - 1.5)
    close(row_losses(returned), [0.15 - 2.1, 1.815 - 0.9])
    # d / d mu_1 = 3 * 2 / 4 * (0.1, 0) - 2 / 2, d / d mu_2 = 3 * 2 / 4 * (0.3, -1.1) - 1 / 2; states are one-hot
    close(head_gradients(loss, impl.policy)[0][:, :2], [[0.15 - 1.0, -1.0], [0.45 - 0.5, -1.65 - 0.5]])


def test_acting_gives_the_first_action_and_keeps_the_rest(monkeypatch):
    impl = with_networks(monkeypatch, NOISE, n_candidates=None)
    set_table(impl.policy, [[0.5, 0.7], [-0.5, 0.3], [0.25, 0.0], [0.0, 0.5]])
    close(impl.predict_best_action(STATES), [[0.5], [-0.5]])
    close(impl.sample_action(STATES), [[0.6], [-0.7]])
    drawn, memories = impl.take_steps(STATES, torch.zeros(2), [None, None], sample=True)
    close(drawn, [[0.6], [-0.7]])
    close(torch.stack(list(memories)), [[[0.6]], [[0.6]]])
    drawn, memories = impl.take_steps(STATES, torch.zeros(2), memories, sample=True)
    close(drawn, [[0.6], [0.6]])
    assert memories == [None, None]
    close(impl.predict_value(STATES, torch.tensor([[0.1], [0.1]])), [0.5 + 0.9, 2.5 + 0.5])


def test_one_step_chunks_are_fql():
    data = continuous_dataset()
    given = {"encoder": TABLE, "alpha": 10.0, "n_step": 1, "batch_size": 4, "seed": 0, "device": "cpu"}
    fql, chunks = (front(**given).fit(data, 5, out=None, progress=False) for front in (FQL, QCFQL))
    for name, value in fql.impl.state_dict().items():
        close(chunks.impl.state_dict()[name], value.tolist())
    np.testing.assert_allclose(
        fql.predict(data.observations), chunks.predict(data.observations), rtol=1e-4, atol=1e-6
    )


def test_defaults_and_order():
    algo = QCFQL(seed=0, device="cpu").build(continuous_dataset())
    assert (algo.alpha, algo.n_step, algo.flow_steps, algo.gamma) == (100.0, 5, 10, 0.99)
    assert [objective.name for objective in algo.impl.objectives] == ["critic", "flow", "actor"]
    assert algo.impl.action_size == 5
