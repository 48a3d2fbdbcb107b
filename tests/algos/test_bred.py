"""BRED by hand: agents that learn apart offline, and one policy with their moments online."""

from __future__ import annotations

import math

import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import STATES, TABLE, set_constant, set_table
from walk_env import Walk, recorded_walk

from offlinekit.algos import BRED, CQL, MLPEncoder
from offlinekit.nn.policies import matched_moments

AFTER = STATES.flip(0)
BATCH = make_batch(STATES, [[0.25], [0.5]], [1.0, 2.0], next_observations=AFTER, discounts=[0.9, 0.5])
FIRST, SECOND = math.tanh(0.3), math.tanh(-0.4)
TABLES = [[[9.0], [7.0], [1.0]], [[8.0], [9.0], [-2.0]], [[4.0], [9.0], [0.5]], [[9.0], [3.0], [2.0]]]


def build(online=False, **options):
    """Two agents, all but certain of tanh(0.3) and tanh(-0.4), with two critics each."""
    options = {"n_agents": 2, "encoder": TABLE, "seed": 0, "device": "cpu", **options}
    impl = BRED(**options).build(continuous_dataset()).impl
    set_constant(impl.policy, [[0.3, -20.0], [-0.4, -20.0]][: options["n_agents"]])
    set_table(impl.q, TABLES[: impl.n_members])
    set_table(impl.target_q, TABLES[: impl.n_members])
    impl.enter_phase(online)
    return impl


def test_moments_of_two_gaussians():
    # N(0, 1) and N(1, 2^2): mean 1/2, variance (0 + 1 + 1 + 4) / 2 - 1/4 = 2.75.
    mean, log_std = matched_moments(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [math.log(2.0)]]))
    close(mean, [0.5])
    close((2 * log_std).exp(), [2.75])


def test_moments_are_those_of_draws_from_the_mixture():
    generator = torch.Generator().manual_seed(0)
    means, log_stds = torch.tensor([-1.0, 0.5, 2.0])[:, None], torch.tensor([-0.5, 0.0, 0.7])[:, None]
    which = torch.randint(3, (400_000,), generator=generator)
    draws = means[which, 0] + log_stds[which, 0].exp() * torch.randn(400_000, generator=generator)
    mean, log_std = matched_moments(means, log_stds)
    # Standard errors are about 0.003 and 0.006.
    assert abs(mean.item() - draws.mean().item()) < 0.012
    assert abs((2 * log_std).exp().item() - draws.var().item()) < 0.03


def test_the_policy_has_the_moments_of_the_agents():
    impl = build()
    set_constant(impl.policy, [[0.0, 0.0], [1.0, math.log(2.0)]])
    mean, log_std = impl.policy(STATES)
    close(mean, [[0.5], [0.5]])
    close((2 * log_std).exp(), [[2.75], [2.75]])
    close(impl.predict_best_action(STATES), [[math.tanh(0.5)]] * 2)
    close(impl.policy.each(STATES)[0], [[[0.0], [0.0]], [[1.0], [1.0]]])


def test_agents_draw_apart_with_their_densities():
    impl = build()
    set_constant(impl.policy, [[0.3, 0.0], [-0.4, -1.0]])
    state = impl.random.state()
    actions, log_probs = impl.policy.sample_each(STATES, 3)
    impl.random.set_state(state)
    noise = impl.random.normal(2, 3, 2, 1)
    assert actions.shape == (2, 3, 2, 1)
    for agent, (mean, std) in enumerate(((0.3, 1.0), (-0.4, math.exp(-1.0)))):
        raw = mean + std * noise[agent]
        close(actions[agent], torch.tanh(raw))
        normal = -0.5 * noise[agent] ** 2 - math.log(std) - 0.5 * math.log(2 * math.pi)
        close(log_probs[agent], (normal - torch.log(1 - torch.tanh(raw) ** 2))[..., 0], atol=1e-4)


def test_target_offline_is_each_agents_own():
    # Agent 1, a = tanh(0.3). State 1: min(7 + a, 9 - 2 a) = 7 + a; state 0: min(9 + a, 8 - 2 a) = 8 - 2 a.
    # Agent 2, a = tanh(-0.4). State 1: min(9 + a / 2, 3 + 2 a) = 3 + 2 a; state 0: min(4 + a / 2, 9 + 2 a) = 4 + a / 2.
    first = [1 + 0.9 * (7 + FIRST), 2 + 0.5 * (8 - 2 * FIRST)]
    second = [1 + 0.9 * (3 + 2 * SECOND), 2 + 0.5 * (4 + SECOND / 2)]
    close(build().compute_target(BATCH), [first, first, second, second])


def test_target_online_has_the_action_and_the_entropy_of_the_one_policy():
    impl = build(True, initial_temperature=0.5)
    state = impl.random.state()
    found = impl.compute_target(BATCH)
    impl.random.set_state(state)
    actions, log_probs = (part.detach() for part in impl.policy.sample(AFTER))
    a, entropy = actions[:, 0], 0.5 * log_probs
    first = torch.stack([torch.minimum(7 + a[0], 9 - 2 * a[0]), torch.minimum(9 + a[1], 8 - 2 * a[1])])
    second = torch.stack(
        [torch.minimum(9 + a[0] / 2, 3 + 2 * a[0]), torch.minimum(4 + a[1] / 2, 9 + 2 * a[1])]
    )
    rewards, discounts = torch.tensor([1.0, 2.0]), torch.tensor([0.9, 0.5])
    expected = [rewards + discounts * (values - entropy) for values in (first, second)]
    close(found, torch.stack([expected[0], expected[0], expected[1], expected[1]]))


def test_one_agent_is_cql():
    impl = build(n_agents=1, n_actions=3, alpha=2.0)
    parent = CQL(encoder=TABLE, seed=0, device="cpu", n_actions=3, alpha=2.0).build(continuous_dataset()).impl
    set_table(impl.policy, [[[0.3, -0.5], [-0.6, 0.1]]])
    set_table(parent.policy, [[0.3, -0.5], [-0.6, 0.1]])
    for module in (parent.q, parent.target_q):
        set_table(module, TABLES[:2])
    parent.random.set_state(impl.random.state())
    close(
        total(impl.compute_temperature_loss(BATCH))[0],
        total(parent.compute_temperature_loss(BATCH))[0].item(),
    )
    close(total(impl.compute_actor_loss(BATCH)), total(parent.compute_actor_loss(BATCH)).item())
    parent.random.set_state(impl.random.state())
    targets = impl.compute_target(BATCH), parent.compute_target(BATCH)
    close(targets[0], torch.stack([targets[1].detach()] * 2))
    loss, metrics = total(impl.compute_critic_loss(BATCH, targets[0].detach()))
    expected, wanted = total(parent.compute_critic_loss(BATCH, targets[1].detach()))
    close(loss, expected.item(), atol=1e-4)
    close(metrics["conservative_gap"], wanted["conservative_gap"].item(), atol=1e-4)
    for own, other in zip(head_gradients(loss, impl.q), head_gradients(expected, parent.q), strict=True):
        close(own, other, atol=1e-4)


def test_the_gap_of_agents_is_the_sum_of_theirs(monkeypatch):
    whole = build(n_actions=2, alpha=1.0)
    gaps = []
    draws = torch.rand(2, 6, 2, 1, generator=torch.Generator().manual_seed(0)) * 2 - 1
    densities = torch.rand(2, 6, 2, generator=torch.Generator().manual_seed(1))
    data = whole.q.values(BATCH.observations, BATCH.actions)
    first, second = (build(n_agents=1, n_actions=2) for _ in range(2))
    set_table(second.q, TABLES[2:])
    for impl, agents in ((whole, slice(0, 2)), (first, slice(0, 1)), (second, slice(1, 2))):
        later = iter(
            [(draws[agents, 2:4], densities[agents, 2:4]), (draws[agents, 4:], densities[agents, 4:])]
        )
        monkeypatch.setattr(impl.policy, "sample_each", lambda seen, n, later=later: next(later))
        monkeypatch.setattr(
            impl.random, "uniform", lambda *shape, low, high, agents=agents: draws[agents, :2]
        )
        critics = slice(2 * agents.start, 2 * agents.stop)
        gaps.append(impl.conservative_gap(BATCH, data[critics]))
    close(gaps[0], (gaps[1] + gaps[2]).item())


def test_each_policy_climbs_its_own_critics():
    impl = build(initial_temperature=1e-12)
    returned = impl.compute_actor_loss(BATCH)
    # Agent 1: min(9 + a, 8 - 2 a) and min(7 + a, 9 - 2 a).
    # Agent 2: min(4 + a / 2, 9 + 2 a) and min(9 + a / 2, 3 + 2 a).
    close(row_losses(returned), [[-(8 - 2 * FIRST), -(7 + FIRST)], [-(4 + SECOND / 2), -(3 + 2 * SECOND)]])
    bias = head_gradients(total(returned), impl.policy)[1]
    # Slopes -2 and 1 of agent 1, mean -1/2; 1/2 and 2 of agent 2, mean 5/4.
    close(bias[:, 0, 0], [0.5 * (1 - FIRST**2), -1.25 * (1 - SECOND**2)])


def test_online_the_one_policy_climbs_the_mean_of_the_agents():
    impl = build(True, initial_temperature=1e-12)
    set_constant(impl.policy, [[0.3, -20.0], [0.3, -20.0]])
    returned = impl.compute_actor_loss(BATCH)
    a = FIRST
    # State 0: (8 - 2 a + 4 + a / 2) / 2; state 1: (7 + a + 3 + 2 a) / 2.
    close(row_losses(returned), [-(12 - 1.5 * a) / 2, -(10 + 3 * a) / 2], atol=1e-3)
    bias = head_gradients(total(returned), impl.policy)[1]
    # Mean slope (-0.75 + 1.5) / 2 = 0.375; each agent moves half of the mean.
    close(bias[:, 0, 0], [-0.375 / 2 * (1 - a**2)] * 2, atol=1e-3)


def test_critics_online_have_no_gap():
    impl = build(True)
    targets = torch.tensor([[8.0, 8.0], [8.0, 8.0], [5.0, 5.0], [5.0, 5.0]])
    loss = impl.compute_critic_loss(BATCH, targets)
    # At a = 0.25 in state 0 and a = 0.5 in state 1: 9.25, 7.5; 7.5, 8; 4.125, 9.25; 9.5, 4.
    errors = [[1.25, -0.5], [-0.5, 0.0], [-0.875, 4.25], [4.5, -1.0]]
    close(row_losses(loss), [[error**2 for error in row] for row in errors])
    close(total(loss), sum(error**2 for row in errors for error in row) / 2)


def test_temperature_sees_the_agents_offline_and_the_one_policy_online():
    for online in (False, True):
        impl = build(online, initial_temperature=1.0)
        set_constant(impl.policy, [[0.3, 0.0], [-0.4, -1.0]])
        state = impl.random.state()
        loss = total(impl.compute_temperature_loss(BATCH))[0]
        impl.random.set_state(state)
        log_probs = impl.policy.sample(STATES)[1] if online else impl.policy.sample_each(STATES)[1].mean(0)
        close(loss, -(log_probs.mean().item() - 1.0))


def test_goes_from_data_to_balanced_replay():
    algo = BRED(encoder=MLPEncoder((8,)), n_agents=2, n_actions=2, batch_size=8, seed=0, device="cpu")
    algo.fit(recorded_walk(), 5, out=None, progress=False, value_alarm="off")
    algo.fit_online(Walk(), 20, warmup_steps=10, dataset=recorded_walk(), out=None, progress=False)
    assert algo.grad_step == 15


def test_defaults_are_the_authors():
    front = BRED(seed=0)
    assert (front.n_agents, front.n_critics, front.initial_temperature) == (5, 2, 1.0)
    rates = {front.actor_learning_rate, front.critic_learning_rate, front.temperature_learning_rate}
    assert rates == {3e-4}
    assert BRED.online_settings["mixing"] == "balanced"
    assert BRED.online_settings["reset"] == ("moments", "temperature")


@pytest.mark.parametrize("n_agents", [1, 3])
def test_learns_a_bandit_better_than_cloning(n_agents):
    options = {**BANDIT, "alpha": 0.1, "initial_temperature": 0.01, "n_agents": n_agents, "n_actions": 4}
    assert bandit_error(BRED(**options), 400) < 0.15
