"""SAC-N by hand: the lowest of many critics in target and actor."""

from __future__ import annotations

import math

import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import STATES, TABLE, set_constant, set_table

from offlinekit.algos import SACN, MLPEncoder

ACTION = math.tanh(0.3)


def build(**options):
    """Four critics, a policy that is all but certain of tanh(0.3), and next to no entropy."""
    options = {"n_critics": 4, "initial_temperature": 1e-12, **options}
    impl = SACN(encoder=TABLE, seed=0, device="cpu", **options).build(continuous_dataset()).impl
    set_constant(impl.policy, [0.3, -20.0])
    return impl


TABLES = [[[9.0], [7.0], [1.0]], [[8.0], [9.0], [-2.0]], [[4.0], [9.0], [0.5]], [[9.0], [9.0], [0.0]]]


def test_target_is_the_lowest_of_all_target_critics():
    impl = build()
    set_constant(impl.q, [[100.0]] * 4)
    set_table(impl.target_q, TABLES)
    batch = make_batch(
        STATES, [[0.9], [0.9]], [1.0, 2.0], next_observations=STATES.flip(0), discounts=[0.9, 0.5]
    )
    with torch.no_grad():
        found = impl.compute_target(batch)
    # State 1: min(7 + a, 9 - 2 a, 9 + a / 2, 9) = 7 + a; state 0: min(9 + a, 8 - 2 a, 4 + a / 2, 9) = 4 + a / 2
    close(found, [1 + 0.9 * (7 + ACTION), 2 + 0.5 * (4 + ACTION / 2)])
    close(impl.compute_target(batch._replace(discounts=torch.zeros(2))), [1.0, 2.0])


def test_target_takes_the_entropy():
    impl = build(initial_temperature=0.2)
    set_constant(impl.policy, [0.3, 0.0])
    set_constant(impl.target_q, [[9.0], [5.0], [6.0], [7.0]])
    batch = make_batch(STATES, [[0.0], [0.0]], discounts=[1.0, 1.0])
    state = impl.random.state()
    with torch.no_grad():
        found = impl.compute_target(batch)
    impl.random.set_state(state)
    _, log_probs = impl.policy.sample(STATES)
    close(found, (5.0 - 0.2 * log_probs).tolist())


def test_critics_losses_add_up():
    impl = build()
    set_table(impl.q, TABLES)
    returned = impl.compute_critic_loss(make_batch(STATES, [[0.0], [1.0]]), torch.tensor([8.0, 8.0]))
    loss = total(returned)
    # Errors (1, 0), (0, -1), (-4, 1.5), (1, 1): 1 / 2 + 1 / 2 + (16 + 2.25) / 2 + 2 / 2
    close(loss, 11.125)
    close(row_losses(returned), [[1.0, 0.0], [0.0, 1.0], [16.0, 2.25], [1.0, 1.0]])
    # d / d bias of each = mean(2 * error)
    close(head_gradients(loss, impl.q)[1].flatten(), [1.0, -1.0, -2.5, 2.0])


def test_actor_climbs_the_lowest_critic():
    impl = build()
    set_table(impl.q, TABLES)
    set_constant(impl.target_q, [[-100.0]] * 4)
    returned = impl.compute_actor_loss(make_batch(STATES, [[0.9], [0.9]]))
    loss = total(returned)
    # Lowest 4 + a / 2 and 7 + a
    close(loss, -(11 + 1.5 * ACTION) / 2)
    close(row_losses(returned), [-(4 + ACTION / 2), -(7 + ACTION)])
    # d / d mean = -(0.5 + 1) / 2 * (1 - a**2); the noise is too small to matter
    close(head_gradients(loss, impl.policy)[1], [-0.75 * (1 - ACTION**2), 0.0])
    assert (
        head_gradients(total(impl.compute_actor_loss(make_batch(STATES, [[0.9], [0.9]]))), impl.policy)[0]
        is not None
    )


def test_temperature_loss():
    impl = build(initial_temperature=0.2)
    set_constant(impl.policy, [0.3, 0.0])
    loss, metrics = total(impl.compute_temperature_loss(make_batch(STATES, [[0.0], [0.0]])))
    # -0.2 (log pi - 1) = 0.2 (entropy + 1)
    close(loss, 0.2 * (metrics["entropy"] + 1.0))
    close(torch.autograd.grad(loss, impl.log_temperature)[0], loss.item())


def test_order_and_targets_are_those_of_sac():
    impl = build(tau=0.25)
    assert [o.name for o in impl.objectives] == ["temperature", "actor", "critic"]
    set_constant(impl.target_q, [[4.0], [8.0], [0.0], [2.0]])
    impl.update(make_batch(STATES, [[0.5], [-0.5]], [1.0, 1.0]))
    online = impl.q.network.mlp.layers[-1].bias
    before = torch.tensor([[[3.0]], [[6.0]], [[0.0]], [[1.5]]])
    close(impl.target_q.network.mlp.layers[-1].bias, before + 0.25 * online)


def test_more_critics_are_more_pessimistic():
    few, many = (
        SACN(seed=0, n_critics=n, encoder=MLPEncoder((32,)), device="cpu").build(continuous_dataset(64)).impl
        for n in (2, 50)
    )
    states, actions = torch.randn(256, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(256, 1)
    values = [impl.q.lowest(impl.q(states, actions)).mean().item() for impl in (few, many)]
    assert values[1] < values[0] - 0.1
    assert SACN(seed=0).n_critics == 10


def test_learns_a_bandit_better_than_cloning():
    algo = SACN(initial_temperature=0.01, n_critics=5, **BANDIT)
    assert bandit_error(algo, 400) < 0.12
