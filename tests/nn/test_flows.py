"""Policies made of noise, by hand: flow matching, Euler steps, the one-step policy."""

from __future__ import annotations

import gymnasium
import pytest
import torch
from loss_checks import close, head_gradients, total
from table_networks import STATES, TABLE, one_hot, set_constant, set_table

from offlinekit.algos.torch.bfn_impl import BestOf
from offlinekit.nn.encoders import MLPEncoder
from offlinekit.nn.flows import Flow, OneStepPolicy
from offlinekit.nn.isolation import initialised
from offlinekit.nn.networks import Network
from offlinekit.nn.random import Random

SPACE = gymnasium.spaces.Box(-1.0, 1.0, (2,))


def make_flow(n_steps: int = 2, action_size: int = 1, encoder: MLPEncoder = TABLE) -> Flow:
    random = Random(0, torch.device("cpu"))
    with initialised(0):
        network = Network(encoder, SPACE, action_size, random, action_size=action_size + 1)
    return Flow(network, random, action_size, n_steps)


def linear_flow(n_steps: int = 2) -> Flow:
    """v(s, x, t) = (1, -1)_s + 2 x + 4 t."""
    flow = make_flow(n_steps)
    set_table(flow, [[1.0], [-1.0], [2.0], [4.0]])
    return flow


def fix_draws(monkeypatch, random: Random, noise=None, times=None) -> None:
    for name, values in (("normal", noise), ("uniform", times)):
        if values is not None:
            drawn = torch.tensor(values)
            monkeypatch.setattr(random, name, lambda *shape, drawn=drawn: drawn.reshape(shape))


def test_flow_matching_loss_and_its_gradient(monkeypatch):
    flow = linear_flow()
    fix_draws(monkeypatch, flow.random, [[1.0], [-0.5]], [[0.25], [0.5]])
    # a = (0.2, 0.6), noise (1, -0.5), t = (0.25, 0.5):
    # x = 0.75 * 1 + 0.25 * 0.2 = 0.8; 0.5 * -0.5 + 0.5 * 0.6 = 0.05
    # v = 1 + 1.6 + 1 = 3.6; -1 + 0.1 + 2 = 1.1; a - noise = (-0.8, 1.1): errors (4.4, 0)
    loss = total(flow.loss(STATES, torch.tensor([[0.2], [0.6]])))
    close(loss, 4.4**2 / 2)
    # d / d weight = mean(2 * error * input) = 4.4 * (1, 0, x, t)
    close(head_gradients(loss, flow)[0], [[4.4, 0.0, 4.4 * 0.8, 4.4 * 0.25]])


def test_flow_matching_loss_is_a_mean_over_action_dimensions(monkeypatch):
    flow = make_flow(action_size=2)
    set_constant(flow, [0.0, 0.0])
    fix_draws(monkeypatch, flow.random, [[0.0, 0.0]], [[0.5]])
    # a - noise = (0.2, 0.4): (0.04 + 0.16) / 2
    close(total(flow.loss(STATES[:1], torch.tensor([[0.2, 0.4]]))), 0.1)


def test_transport_takes_euler_steps_from_time_zero():
    flow = linear_flow(n_steps=2)
    noise = torch.tensor([[-0.6], [0.1]])
    # t = 0: x = -0.6 + (1 - 1.2) / 2 = -0.7;  0.1 + (-1 + 0.2) / 2 = -0.3
    # t = 1/2: x = -0.7 + (1 - 1.4 + 2) / 2 = 0.1;  -0.3 + (-1 - 0.6 + 2) / 2 = -0.1
    close(flow.transport(STATES, noise), [[0.1], [-0.1]])


def test_only_the_end_of_the_way_is_clipped():
    flow = linear_flow(n_steps=2)
    # 5 + (1 + 10) / 2 = 10.5, then 10.5 + (1 + 21 + 2) / 2 = 22.5 -> 1
    # -4 + (-1 - 8) / 2 = -8.5, then -8.5 + (-1 - 17 + 2) / 2 = -16.5 -> -1
    close(flow.transport(STATES, torch.tensor([[5.0], [-4.0]])), [[1.0], [-1.0]])
    set_table(flow, [[-1.0], [-1.0], [0.0], [0.0]])
    # 1.5 - 1 / 2 - 1 / 2 = 0.5: the start beyond the box is not pulled in.
    close(flow.transport(STATES, torch.tensor([[1.5], [1.5]])), [[0.5], [0.5]])


def test_samples_have_leading_axes_and_differ():
    flow = make_flow(action_size=2)
    with torch.no_grad():
        actions, density = flow.sample(STATES, 5)
    assert actions.shape == (5, 2, 2)
    assert density is None
    assert len(actions.flatten().unique()) > 10
    assert actions.abs().max() <= 1.0


def test_a_flow_learns_two_ways_of_acting():
    # Half of the actions are -0.8, half 0.4: a mean would be -0.2.
    flow = make_flow(n_steps=10, encoder=MLPEncoder((64, 64), "gelu"))
    optimizer = torch.optim.Adam(flow.parameters(), 3e-3)
    states = one_hot([0] * 256, 2)
    actions = torch.tensor([[-0.8], [0.4]]).repeat(128, 1)
    for _ in range(300):
        optimizer.zero_grad()
        total(flow.loss(states, actions)).backward()
        optimizer.step()
    with torch.no_grad():
        drawn = flow.sample(states)[0]
    near = [(drawn - action).abs().lt(0.15).float().mean().item() for action in (-0.8, 0.4)]
    assert near == pytest.approx([0.5, 0.5], abs=0.15)


def test_one_step_policy(monkeypatch):
    random = Random(0, torch.device("cpu"))
    policy = OneStepPolicy(Network(TABLE, SPACE, 1, random, action_size=1), random, 1)
    set_table(policy, [[0.5], [-0.7], [2.0]])
    close(policy(STATES, torch.tensor([[1.0], [0.1]])), [[2.5], [-0.5]])
    close(policy.mode(STATES), [[0.5], [-0.7]])
    fix_draws(monkeypatch, random, [[0.2], [-0.2]])
    actions, density = policy.sample(STATES)
    close(actions, [[0.9], [-1.0]])
    assert density is None
    set_table(policy, [[3.0], [-3.0], [0.0]])
    close(policy.mode(STATES), [[1.0], [-1.0]])


def by_height(observations, actions):
    """Values an action by itself in state 0, by its opposite in state 1: [N, B]."""
    return actions[..., 0] * (observations[:, 0] - observations[:, 1])


def test_best_of_a_flow_takes_the_highest_value_row_by_row(monkeypatch):
    flow = make_flow(n_steps=1)
    set_constant(flow, [0.1])
    policy = BestOf(flow, 3)
    fix_draws(monkeypatch, flow.random, [[[0.3], [0.4]], [[-0.5], [0.0]], [[0.2], [-0.6]]])
    # Actions (0.4, -0.4, 0.3) in state 0, (0.5, 0.1, -0.5) in state 1: highest 0.4, lowest -0.5
    close(policy.sample(STATES, by_height), [[0.4], [-0.5]])


def test_the_mode_of_the_best_of_a_flow_is_always_the_same():
    flow = make_flow(n_steps=1)
    set_constant(flow, [0.0])
    policy = BestOf(flow, 4)
    actions = policy.noise[:, 0].clamp(-1.0, 1.0)
    wanted = torch.stack([actions.amax(0), actions.amin(0)])
    state = flow.random.state()
    close(policy.mode(STATES, by_height), wanted.tolist())
    close(policy.mode(STATES[1:], by_height), wanted[1:].tolist())  # Whatever rows stand beside it.
    assert torch.equal(state, flow.random.state())
