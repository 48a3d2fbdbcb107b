"""TACR: critics of single steps, an actor of windows, and what its critics may bootstrap from."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_tasks import bandit_error
from table_networks import set_constant, set_table
from windows import SMALL, random_windows, reach, set_head, walk_dataset

from offlinekit.algos import TACR, MLPEncoder
from offlinekit.algos.torch.tacr_impl import TACRImpl
from offlinekit.datasets import MDPDataset
from offlinekit.errors import UnsupportedError

TABLE = MLPEncoder(hidden_sizes=())


def front(**options: object) -> TACR:
    return TACR(**{**SMALL, "critic_encoder": TABLE, **options}).build(walk_dataset())


def build(**options: object) -> TACRImpl:
    return front(**options).impl


def batch_of_two(ended: bool = True):
    """Windows of 3 and 2 steps, rewards 1, 2, 3 and 4, 5; the first is ended by the MDP where asked."""
    batch = random_windows(2, [3, 2])
    rewards = torch.tensor([[1.0, 2.0, 3.0], [70.0, 4.0, 5.0]])
    terminals = torch.zeros(2, 3, dtype=torch.bool)
    terminals[0, 2] = ended
    states = torch.tensor([[1.0, 2.0, 3.0], [80.0, 5.0, 6.0]])
    observations = torch.stack([states, torch.zeros(2, 3)], -1)
    return batch._replace(rewards=rewards, terminals=terminals, observations=observations)


def with_critics(**options: object) -> TACRImpl:
    """Of observation (s, _) and action (a, _): Q1 = s + 2 a, Q2 = 0; targets Q1' = 10 s + a, Q2' = 20 s."""
    impl = build(**{"target_noise": 0.0, "gamma": 0.5, **options})
    set_table(impl.q, [[[1.0], [0.0], [2.0], [0.0]], [[0.0]] * 4])
    set_table(impl.target_q, [[[10.0], [0.0], [1.0], [0.0]], [[20.0], [0.0], [0.0], [0.0]]])
    return impl


def set_target_actor(impl: TACRImpl, bias: list[float]) -> None:
    with torch.no_grad():
        impl.target_policy.head.weight.zero_()
        impl.target_policy.head.bias.copy_(torch.tensor(bias))


def test_target_by_hand():
    impl = with_critics()
    set_target_actor(impl, [math.atanh(0.5), 0.0])
    found = impl.compute_target(batch_of_two())
    # Lowest of the targets at the next step: 10 s' + 0.5. Row 0: 1 + 0.5 * 20.5, 2 + 0.5 * 30.5, 3.
    # Row 1, from its second step on: 4 + 0.5 * 60.5, 5.
    close(found[0], [11.25, 17.25, 3.0])
    close(found[1, 1:], [34.25, 5.0])
    assert not found.requires_grad or not torch.is_grad_enabled()


def test_the_target_is_at_the_next_steps_own_action():
    impl = build(target_noise=0.0, gamma=1.0, n_critics=1)
    set_table(impl.target_q, [[[0.0], [0.0], [1.0], [0.0]]])
    batch = batch_of_two()
    actions = torch.tanh(impl.outputs(batch, impl.target_policy))[..., 0]
    found = impl.compute_target(batch)
    close(found[:, :2], batch.rewards[:, :2] + actions[:, 1:])


def test_target_actions_are_smoothed_by_clipped_noise(monkeypatch):
    impl = with_critics(target_noise=0.2, target_noise_clip=0.3, n_critics=2)
    set_target_actor(impl, [math.atanh(0.9), 0.0])
    noise = torch.tensor([1.0, 5.0, -5.0])[None, :, None].expand(2, 3, 2)
    monkeypatch.setattr(impl.random, "normal", lambda *shape: noise)
    # Noise of steps 1 and 2: 0.2 * 5 clipped to 0.3, -0.3: actions min(1.2, 1) = 1, then 0.6.
    close(impl.compute_target(batch_of_two())[0], [1 + 0.5 * 21.0, 2 + 0.5 * 30.6, 3.0])


def test_critics_loss_by_hand():
    impl = with_critics()
    batch = batch_of_two()._replace(actions=torch.zeros(2, 3, 2))
    target = torch.tensor([[2.0, 4.0, 6.0], [1e6, 7.0, 1e6]])
    # Q1 = s: errors 1, 2, 3 in row 0, which the MDP ended; 2 in row 1, whose last step has no next one.
    # Q1: (1 + 4 + 9 + 4) / 4 = 4.5; Q2 = 0: (4 + 16 + 36 + 49) / 4 = 26.25
    returned = impl.compute_critic_loss(batch, target)
    loss = total(returned)
    close(loss, 4.5 + 26.25)
    close(row_losses(returned), [[14 / 3, 4.0], [56 / 3, 49.0]])
    # d / d bias of Q1: 2 * mean of (Q - y) = 2 * -(1 + 2 + 3 + 2) / 4; of Q2: 2 * -(2 + 4 + 6 + 7) / 4
    close(head_gradients(loss, impl.q)[1].flatten(), [-4.0, -9.5])


def test_a_last_step_that_the_mdp_did_not_end_teaches_nothing():
    impl = with_critics()
    batch = batch_of_two(ended=False)._replace(actions=torch.zeros(2, 3, 2))
    target = torch.tensor([[2.0, 4.0, 1e6], [1e6, 7.0, 1e6]])
    close(total(impl.compute_critic_loss(batch, target)), (1 + 4 + 4) / 3 + (4 + 16 + 49) / 3)


def test_the_target_carries_no_gradient():
    impl = with_critics()
    loss = total(impl.critic_loss(batch_of_two()))
    assert not any(p.requires_grad for t in impl.targets for p in t.target.parameters())
    assert torch.autograd.grad(loss, [impl.policy.head.bias], allow_unused=True) == (None,)


def test_actor_loss_by_hand():
    impl = with_critics(alpha=2.0)
    # The second critic, of large values of the other sign, does not matter.
    set_table(impl.q, [[[1.0], [0.0], [2.0], [0.0]], [[-30.0], [0.0], [7.0], [0.0]]])
    set_head(impl, [math.atanh(0.5), 0.0])
    actions = torch.full((2, 3, 2), 99.0)
    actions[batch_of_two().valid] = torch.tensor([0.5, 0.2])
    returned = impl.compute_actor_loss(batch_of_two()._replace(actions=actions))
    loss, metrics = total(returned)
    # Q1 = s + 1 in the real steps: 2, 3, 4, 6, 7, mean 4.4 = mean |Q|; lambda Q = 2 whatever their size
    # cloning = (0 + 0.04) / 2 = 0.02
    close(loss, 0.02 - 2.0)
    close(row_losses(returned), [0.02 - 2 / 4.4 * 3, 0.02 - 2 / 4.4 * 6.5])
    close(metrics["bc_loss"], 0.02)
    (gradient,) = torch.autograd.grad(loss, [impl.policy.head.bias])
    # First dimension: -lambda * 2 * 0.75 with lambda = 2 / 4.4; second: 2 * (0 - 0.2) / 2 = -0.2
    close(gradient, [-2.0 / 4.4 * 2 * 0.75, -0.2])


def test_lambda_is_of_the_mean_size_and_a_number():
    impl = with_critics(alpha=1.0)
    set_head(impl, [0.0, 0.0])
    batch = batch_of_two()
    batch.observations[0, 0, 0] = -9.0
    loss, _ = total(impl.compute_actor_loss(batch._replace(actions=torch.zeros(2, 3, 2))))
    # Q1 = s: -9, 2, 3, 5, 6: mean 1.4, mean |Q| 5
    close(loss, -1.4 / 5)
    set_constant(impl.q, [[0.0], [0.0]])
    close(total(impl.compute_actor_loss(batch._replace(actions=torch.zeros(2, 3, 2))))[0], 0.0)


def test_the_actors_loss_moves_the_actor_alone_and_targets_follow():
    impl = build(tau=0.25)
    batch = batch_of_two()
    actor = next(objective for objective in impl.objectives if objective.name == "actor")
    before = [p.clone() for p in impl.q.parameters()]
    actor.minimize(batch)
    assert all(torch.equal(a, b) for a, b in zip(before, impl.q.parameters(), strict=True))
    old = impl.target_policy.head.bias.clone(), impl.target_q.network.mlp.layers[-1].bias.clone()
    impl.update(batch)
    close(impl.target_policy.head.bias, 0.75 * old[0] + 0.25 * impl.policy.head.bias.detach())
    online = impl.q.network.mlp.layers[-1].bias.detach()
    close(impl.target_q.network.mlp.layers[-1].bias, 0.75 * old[1] + 0.25 * online)


def test_the_actor_is_told_the_reward_of_the_step_before():
    impl = build()
    close(impl.conditions(batch_of_two()), [[0.0, 1.0, 2.0], [0.0, 70.0, 4.0]])
    batch = batch_of_two()
    changed = batch.rewards.clone()
    changed[:, 2] += 10.0
    assert torch.equal(impl.outputs(batch), impl.outputs(batch._replace(rewards=changed)))
    changed[:, 1] += 10.0
    assert not torch.equal(impl.outputs(batch), impl.outputs(batch._replace(rewards=changed)))


def test_or_a_return():
    impl = build(condition="return", return_scale=10.0)
    batch = batch_of_two()
    close(impl.conditions(batch), batch.returns_to_go / 10)
    algo = front(condition="return")
    observation = np.ones(2, np.float32)
    one, other = (algo.as_stateful(target).predict(observation) for target in (None, 11.0))
    assert np.array_equal(one, other)
    # The best return of the data: that of the second episode, 5 + 6, which `gamma` does not discount.
    assert float(front(condition="return", gamma=0.5).impl.best_return) == 11.0
    assert not np.array_equal(one, algo.as_stateful(5_000.0).predict(observation))
    with pytest.raises(ValueError, match="return_scale"):
        front(condition="return", reward_scaler="standard")


def test_acting_with_rewards():
    algo = front(reward_scaler={"type": "multiply", "multiplier": 2.0})
    memory = algo.impl.begin_episode(None)
    first = algo.impl.extended(memory, torch.zeros(1, 2), torch.tensor([9.0]))
    second = algo.impl.extended(first, torch.zeros(1, 2), torch.tensor([6.0]))
    close(algo.impl.conditions(second), [[0.0, 0.0, 6.0]])
    actor = algo.as_stateful()
    actor.predict(np.zeros(2, np.float32), 0.0)
    actor.predict(np.zeros(2, np.float32), 3.0)
    close(actor._memories[None].rewards, [[0.0, 6.0, 0.0]])
    with pytest.raises(UnsupportedError, match="leave out target_return"):
        algo.as_stateful(3.0)


def test_nothing_looks_ahead_and_padding_is_not_seen():
    impl = build()
    assert reach(impl, random_windows(2, [3, 2]), 0, 1)["actions"] == [True, False, False]
    assert reach(impl, random_windows(2, [3, 2]), 1, 2)["observations"] == [False, True, True]


def test_values_are_the_critics_mean():
    algo = front()
    set_constant(algo.impl.q, [[3.0], [5.0]])
    close(algo.predict_value(np.zeros((2, 2), np.float32)), [4.0, 4.0])
    close(algo.predict_value(np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32)), [4.0, 4.0])


def test_the_actors_gradient_alone_is_clipped():
    critic, actor = build().objectives
    assert (critic.clip_grad_norm, actor.clip_grad_norm) == (None, 0.25)
    assert (critic.warmup_steps, actor.warmup_steps) == (0, 10_000)


def test_a_window_needs_a_next_step():
    with pytest.raises(ValueError, match="context must be at least 2"):
        TACR(context=1)


@pytest.mark.slow
@pytest.mark.parametrize(("alpha", "low", "high"), [(20.0, 0.0, 0.12), (0.01, 0.15, 0.3)])
def test_alpha_leads_from_cloning_to_the_best_action(alpha, low, high):
    algo = TACR(
        width=32,
        n_layers=1,
        context=2,
        dropout=0.0,
        warmup_steps=20,
        critic_encoder=MLPEncoder((32, 32)),
        alpha=alpha,
        actor_learning_rate=1e-3,
        critic_learning_rate=3e-3,
        seed=0,
        device="cpu",
    )
    assert low <= bandit_error(algo, 800) < high


def test_rows_without_a_next_one_are_refused():
    numbers = np.arange(8)
    data = MDPDataset(np.ones((8, 2)), np.sin(numbers)[:, None], np.ones(8), np.zeros(8), timeouts=np.ones(8))
    with pytest.raises(UnsupportedError, match="critics of TACR would learn from none of the 8 rows"):
        TACR(**SMALL, critic_encoder=TABLE).fit(data, n_steps=1, out=None, progress=False)
