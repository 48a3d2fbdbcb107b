"""LEQ: lambda-returns, the critics' loss and the derivative by each action, by hand and against loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from loss_checks import close, row_losses
from small_data import continuous_dataset, make_batch
from table_networks import TABLE, set_constant

from offlinekit.algos import LEQ, MLPEncoder
from offlinekit.algos.torch.leq_impl import lambda_returns

SMALL: dict[str, Any] = {"encoder": TABLE, "critic_encoder": TABLE, "seed": 0, "device": "cpu"}
MODEL: dict[str, Any] = {
    "encoder": TABLE, "n_members": 2, "n_elites": 2, "termination": "never", "scales_inputs": False,
}  # fmt: skip


def build(size: int = 1, **options: Any) -> Any:
    given = {**SMALL, "dynamics": MODEL, "gamma": 0.5, "horizon": 2, "td_lambda": 0.999999, **options}
    impl = LEQ(**given).build(continuous_dataset(observation_size=size)).impl
    with torch.no_grad():
        impl.model.min_log_var.fill_(-60.0)
    return impl


@pytest.mark.parametrize("td_lambda", [0.3, 0.95])
def test_lambda_returns_against_a_loop(td_lambda):
    rng = np.random.default_rng(0)
    values, rewards = rng.normal(size=(4, 3)), rng.normal(size=(3, 3))
    alive = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 0, 0]], float)
    tensors = [torch.tensor(part, dtype=torch.float32) for part in (values, rewards, alive)]
    found, shares = lambda_returns(*tensors, 0.9, td_lambda)
    expected = np.zeros((4, 3))
    for t in range(4):
        total, weights = np.zeros(3), 0.0
        for n in range(4 - t):
            steps = sum(0.9**k * alive[t + k] * rewards[t + k] for k in range(n)) if n else np.zeros(3)
            end = alive[t + n] if n else 1.0  # The value of where one stands counts in any case.
            total += td_lambda**n * (steps + 0.9**n * end * values[t + n])
            weights += td_lambda**n
        expected[t] = total / weights
    living = alive > 0
    np.testing.assert_allclose(found.numpy()[living], expected[living], rtol=1e-5)
    # dG_0 / dG_t, by nudging the value of step t, of which G_t has 1 / sum_n lambda^n.
    for t in range(4):
        nudged = values.copy()
        nudged[t] += 1.0
        other, _ = lambda_returns(torch.tensor(nudged, dtype=torch.float32), *tensors[1:], 0.9, td_lambda)
        own = 1.0 / sum(td_lambda**n for n in range(4 - t))
        close((other[0] - found[0]) / own, shares[t], atol=1e-5)


def test_the_critics_loss_by_hand():
    impl = build(expectile=0.1, imagined_weight=0.25, real_share=0.5)
    set_constant(impl.model, [[1.0, 4.0, -60.0, -60.0]] * 2)  # The state grows by 1, the reward is 4.
    set_constant(impl.q, [[2.0]])
    set_constant(impl.target_q, [[3.0]])
    set_constant(impl.policy, [0.0])
    batch = make_batch(
        torch.zeros(2, 1),
        torch.zeros(2, 1),
        [0.0, 77.0],
        discounts=[0.5, 0.5],
        imagined=torch.tensor([0.0, 1.0]),
    )
    # Recorded: y = 0 + 0.5 * 2 = 1, (1 - 2)^2 / 2 and (3 - 2)^2 of the copy: 1.5, weighed 0.75, a mean over 1 row of 2.
    # Ahead, lambda 1: 4 + 0.5 * 2 = 5, G_1 = (2 + 5) / 2 = 3.5; G_0 = (2 + 2 (4 + 0.5 * 3.5)) / 3 = 4.5. They are above
    # the value: 0.1 * 2.5^2 + 1 = 1.625 and 0.1 * 1.5^2 + 1 = 1.225, this with discount 0.5: a mean of 1.11875.
    target = impl.compute_target(batch)
    close(target[0], 1.0)
    close(
        row_losses(impl.compute_critic_loss(batch, target)), [[2 * 0.75 * 1.5, 2 * 0.25 * 1.11875]], atol=1e-3
    )
    set_constant(
        impl.q, [[9.0]]
    )  # Now the returns are below: G_1 = (9 + 8.5) / 2, G_0 = (9 + 2 (4 + 4.375)) / 3.
    errors = [9 - (9 + 8.5) / 2, 9 - (9 + 2 * 8.375) / 3]
    ahead = (0.9 * errors[1] ** 2 + 36 + 0.5 * (0.9 * errors[0] ** 2 + 36)) / 2
    rows = row_losses(impl.compute_critic_loss(batch, impl.compute_target(batch)))
    close(rows[0, 1], 2 * 0.25 * ahead, atol=1e-2)


def test_behind_an_end_nothing_counts():
    impl = build(dynamics={**MODEL, "termination": "beyond-100"}, imagined_weight=1.0, real_share=0.0)
    set_constant(impl.model, [[60.0, 4.0, -60.0, -60.0]] * 2)
    set_constant(impl.q, [[2.0]])
    set_constant(impl.target_q, [[2.0]])
    set_constant(impl.policy, [0.0])
    made = impl.imagine(torch.tensor([[0.0], [50.0]]))
    # From 0 to 60, to 120, an end; from 50 to 110, an end after which the state stays.
    close(made.alive, [[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    close(made.states[:, 1, 0], [50.0, 50.0, 50.0], atol=1e-3)
    # Row 1: G_0 = (2 + 2 * 4) / 3: the reward of the last step, and no value behind it.
    close(made.returns[0, 1], 10 / 3, atol=1e-3)
    batch = make_batch(torch.tensor([[0.0], [50.0]]), torch.zeros(2, 1), imagined=torch.ones(2))
    _, second = row_losses(impl.compute_critic_loss(batch, impl.compute_target(batch)))[0]
    close(second, impl.config.expectile * (10 / 3 - 2) ** 2 / 2, atol=1e-3)  # One of two steps.


def test_the_derivative_is_that_of_each_return_by_its_own_action():
    layers = {"encoder": MLPEncoder((8,), "tanh"), "critic_encoder": MLPEncoder((8,), "tanh")}
    model = {**MODEL, "encoder": MLPEncoder((8,), "tanh")}
    impl = build(
        2, gamma=0.9, horizon=3, td_lambda=0.8, expectile=0.3, real_share=0.0, dynamics=model, **layers
    )
    starts = torch.randn(4, 2, generator=torch.Generator().manual_seed(1))
    state, slopes = impl.random.state(), []
    for t in range(4):
        impl.random.set_state(state)
        nudges = torch.zeros(4, 4, 1, requires_grad=True)
        made = impl.imagine(starts, nudges)
        slopes.append(torch.autograd.grad(made.returns[t].sum(), nudges)[0][t])
    impl.random.set_state(state)
    batch = make_batch(starts, torch.zeros(4, 1), imagined=torch.ones(4))
    rows, _ = impl.compute_actor_loss(batch)
    sides = torch.where(made.returns > made.values, 0.3, 0.7)
    sides[-1] = 0.5
    expected = -(sides * torch.stack(slopes)[..., 0] * made.actions[..., 0]).sum(0)
    close(rows, expected.detach(), atol=1e-5)
    # It changes the policy alone, by the actions of states that stay as they are.
    (found,) = torch.autograd.grad(rows.sum(), [next(impl.policy.parameters())])
    actions = impl.policy(made.states.detach().flatten(0, 1)).view(4, 4)
    fixed = -((sides * torch.stack(slopes)[..., 0]).detach() * actions).sum()
    (wanted,) = torch.autograd.grad(fixed, [next(impl.policy.parameters())])
    close(found, wanted, atol=1e-5)


def test_imagination_begins_at_rows_of_the_model():
    impl = build(real_share=0.25, batch_size=8)
    set_constant(impl.policy, [0.0])
    batch = make_batch(
        torch.arange(8.0)[:, None], torch.zeros(8, 1), imagined=torch.tensor([0.0] * 2 + [1.0] * 6)
    )
    assert impl.starts(batch) == 2
    rows, _ = impl.compute_actor_loss(batch)
    assert rows.shape == (8,)
    assert rows[:2].tolist() == [0.0, 0.0]
    alone = build(real_share=1.0)
    assert alone.starts(batch) == 0  # Without such rows it begins at all.
    losses_of = row_losses(alone.compute_critic_loss(batch, alone.compute_target(batch)))
    assert losses_of.shape == (1, 8)
    assert math.isfinite(float(losses_of.sum()))


def test_rollouts_are_noisy_before_squashing():
    impl = build(rollout_noise=0.5)
    set_constant(impl.policy, [0.3])
    state = impl.random.state()
    found = impl.rollout_actions(torch.zeros(5, 1))
    impl.random.set_state(state)
    close(found, torch.tanh(0.3 + 0.5 * impl.random.normal(5, 1)))
    close(
        impl.sample_action(torch.zeros(5, 1)), torch.full((5, 1), math.tanh(0.3))
    )  # The policy itself has none.
    (rows, _), *_ = impl.rollouts(torch.zeros(40, 1), 1)
    assert float(rows.actions.std()) > 0.2
