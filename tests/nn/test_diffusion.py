"""Diffusion by hand: the schedule, noise that is seen and taken away, both ways of clipping."""

from __future__ import annotations

import math

import gymnasium
import pytest
import torch
from loss_checks import close, head_gradients, total
from table_networks import ONE_STEP, STATES, TABLE, one_hot, set_constant, set_one_step, set_table
from torch import Tensor, nn

from offlinekit.algos.torch.bfn_impl import BestOf
from offlinekit.nn import losses
from offlinekit.nn.diffusion import ClippedDiffusion, Diffusion, TimeFeatures
from offlinekit.nn.isolation import initialised
from offlinekit.nn.networks import Network
from offlinekit.nn.random import Random

SPACE = gymnasium.spaces.Box(-1.0, 1.0, (2,))
G0, G1 = math.exp(-0.5 * (0.1 + 2.475)), math.exp(-5.05)  # Signal after the steps of T = 2.


class Raw(nn.Module):
    """The number of a step as its only feature."""

    size = 1

    def forward(self, times: Tensor) -> Tensor:
        return times


def make(kind=Diffusion, n_steps=2, action_size=1, encoder=TABLE, times=None):
    random, times = Random(0, torch.device("cpu")), times or Raw()
    with initialised(0):
        network = Network(encoder, SPACE, action_size, random, action_size=action_size + times.size)
    return kind(network, times, random, action_size, n_steps)


def fix_draws(monkeypatch, random, noise, times=None):
    for name, values in (("normal", noise), ("uniform", times)):
        drawn = torch.tensor(values)
        monkeypatch.setattr(random, name, lambda *shape, drawn=drawn: drawn.reshape(shape))


def test_signal_is_the_product_of_the_paper():
    # alpha_t = exp(-0.1 / T - 9.9 (2 t - 1) / (2 T^2)), T = 5
    alphas = [math.exp(-0.1 / 5 - 9.9 * (2 * t - 1) / 50) for t in range(1, 6)]
    diffusion = make(n_steps=5)
    for step in range(5):
        assert diffusion.signal(step) == pytest.approx(math.prod(alphas[: step + 1]))
    assert diffusion.signal(-1) == 1.0
    close(losses.log_signal(torch.tensor([0.5, 1.0])), [-1.2875, -5.05])


def test_loss_and_its_gradient(monkeypatch):
    diffusion = make()
    set_table(diffusion, [[1.0], [-1.0], [2.0], [4.0]])  # e = (1, -1)_s + 2 x + 4 t
    fix_draws(monkeypatch, diffusion.random, [[1.0], [-0.5]], [[0.49], [0.5]])  # Steps 0 and 1 of 2.
    x0 = math.sqrt(G0) * 0.2 + math.sqrt(1 - G0) * 1.0
    x1 = math.sqrt(G1) * 0.6 + math.sqrt(1 - G1) * -0.5
    # Errors: 1 + 2 x0 - 1, and -1 + 2 x1 + 4 + 0.5
    errors = 2 * x0, 3.5 + 2 * x1
    loss = total(diffusion.loss(STATES, torch.tensor([[0.2], [0.6]])))
    close(loss, (errors[0] ** 2 + errors[1] ** 2) / 2)
    # d / d weight = mean(2 * error * input), inputs (1, 0, x, 0) and (0, 1, x, 1)
    wanted = [errors[0], errors[1], errors[0] * x0 + errors[1] * x1, errors[1]]
    close(head_gradients(loss, diffusion)[0], [wanted])


def test_loss_is_a_mean_over_action_dimensions(monkeypatch):
    diffusion = make(action_size=2)
    set_constant(diffusion, [0.0, 0.0])
    fix_draws(monkeypatch, diffusion.random, [[0.2, 0.4]], [[0.5]])
    close(total(diffusion.loss(STATES[:1], torch.tensor([[0.2, 0.4]]))), 0.1)


@pytest.mark.parametrize(("drawn", "step"), [(0.0, 0.0), (0.199, 0.0), (0.2, 1.0), (0.999, 4.0), (1.0, 4.0)])
def test_steps_are_drawn_evenly_and_never_beyond_the_last(drawn, step, monkeypatch):
    diffusion = make(n_steps=5)
    set_table(diffusion, [[0.0], [0.0], [0.0], [1.0]])  # e = t
    fix_draws(monkeypatch, diffusion.random, [[0.0]], [[drawn]])
    close(total(diffusion.loss(STATES[:1], torch.tensor([[0.3]]))), step**2)


def test_transport_follows_the_posterior_given_the_action():
    diffusion = make()
    set_table(diffusion, [[0.5], [-0.4], [0.0], [0.1]])  # e = (0.5, -0.4)_s + 0.1 t
    # T = 2, start (0.6, -0.1), added (1, -2). Step 1: e = (0.6, -0.3), action = (x - sqrt(1 - g1) e) / sqrt(g1)
    kept, found = G1 / G0, []
    for start, fresh, late, early in ((0.6, 1.0, 0.6, 0.5), (-0.1, -2.0, -0.3, -0.4)):
        action = min(max((start - math.sqrt(1 - G1) * late) / math.sqrt(G1), -1.0), 1.0)
        # Mean ((1 - kept) sqrt(g0) action + (1 - g0) sqrt(kept) x) / (1 - g1), variance (1 - kept) (1 - g0) / (1 - g1)
        mean = ((1 - kept) * math.sqrt(G0) * action + (1 - G0) * math.sqrt(kept) * start) / (1 - G1)
        x = mean + math.sqrt((1 - kept) * (1 - G0) / (1 - G1)) * fresh
        # Step 0 has no signal lost before it: what is left is the action, clipped.
        found.append([min(max((x - math.sqrt(1 - G0) * early) / math.sqrt(G0), -1.0), 1.0)])
    assert abs(found[0][0]) < 1.0 or abs(found[1][0]) < 1.0
    close(diffusion.transport(STATES, torch.tensor([[0.6, 1.0], [-0.1, -2.0]])), found)


def test_clipped_transport_adds_the_steps_variance_and_clips_each_point():
    diffusion = make(ClippedDiffusion)
    set_table(diffusion, [[0.5], [-0.9], [0.0], [0.1]])
    kept, found, points = G1 / G0, [], []
    for start, fresh, late, early in ((0.6, 0.1, 0.6, 0.5), (-0.1, -6.0, -0.8, -0.9)):
        # (x - (1 - kept) / sqrt(1 - g1) e) / sqrt(kept) + sqrt(1 - kept) noise, clipped
        x = (start - (1 - kept) / math.sqrt(1 - G1) * late) / math.sqrt(kept) + math.sqrt(1 - kept) * fresh
        points.append(x)
        x = min(max(x, -1.0), 1.0)
        found.append([min(max((x - math.sqrt(1 - G0) * early) / math.sqrt(G0), -1.0), 1.0)])
    assert abs(points[0]) < 1.0 < abs(points[1])
    assert abs(found[1][0]) < 0.5  # Which it is only from a point that was pulled in.
    close(diffusion.transport(STATES, torch.tensor([[0.6, 0.1], [-0.1, -6.0]])), found)


def test_one_step_by_hand():
    diffusion = make(n_steps=1)
    set_one_step(diffusion, [0.3, -0.2], 0.1)
    close(diffusion.transport(STATES, torch.tensor([[1.0], [-1.0]])), [[0.4], [-0.3]])
    assert diffusion.signal(0) == pytest.approx(ONE_STEP)


def test_samples_have_leading_axes_and_take_a_number_a_step_and_dimension():
    diffusion = make(n_steps=3, action_size=2)
    assert diffusion.noise_size == 6
    with torch.no_grad():
        actions, density = diffusion.sample(STATES, 5)
    assert actions.shape == (5, 2, 2)
    assert density is None
    assert actions.abs().max() <= 1.0


def test_time_features():
    with initialised(0):
        times = TimeFeatures(torch.tensor([1.0, 0.5]), (3, 2))
    seen = []
    times.layers.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    assert times(torch.tensor([[2.0]])).shape == (1, 2)
    close(seen[0], [[math.sin(2), math.sin(1), math.cos(2), math.cos(1)]])
    assert not times.frequencies.requires_grad
    assert TimeFeatures(torch.ones(1), (3, 2), learned=True).frequencies.requires_grad


class Knowing(nn.Module):
    """The noise in a point expected by one who knows that actions are -0.8 or 0.4, equally often."""

    def __init__(self, n_steps: int) -> None:
        super().__init__()
        self.n_steps = n_steps

    def forward(self, observations: Tensor, given: Tensor) -> Tensor:
        points, steps = given.split(1, -1)
        signal = losses.log_signal((steps + 1) / self.n_steps).exp()
        actions = torch.tensor([-0.8, 0.4])
        odds = torch.softmax(-0.5 * (points - signal.sqrt() * actions).square() / (1 - signal), -1)
        expected = (odds * actions).sum(-1, keepdim=True)
        return (points - signal.sqrt() * expected) / (1 - signal).sqrt()


@pytest.mark.parametrize(("kind", "within"), [(Diffusion, 0.02), (ClippedDiffusion, 0.1)])
def test_many_small_steps_with_the_true_noise_end_at_the_data(kind, within):
    diffusion = make(kind, n_steps=100)
    diffusion.network = Knowing(100)
    drawn = diffusion.sample(one_hot([0] * 2_000, 2))[0]
    near = [(drawn - action).abs().lt(within).float().mean().item() for action in (-0.8, 0.4)]
    assert near == pytest.approx([0.5, 0.5], abs=0.05)


def test_draw_takes_each_action_as_often_as_the_softmax_says():
    diffusion = make(n_steps=1)
    set_one_step(diffusion, [0.0, 0.0], 0.1)
    policy = BestOf(diffusion, 3)
    logs = torch.tensor([0.6, 0.3, 0.1]).log()
    given = {}

    def action_values(observations, actions):
        given["actions"] = actions
        return logs[:, None].expand(-1, len(observations))

    drawn = policy.draw(STATES[:1].repeat(4_000, 1), action_values)
    shares = (drawn == given["actions"]).float().mean((1, 2))
    close(shares, [0.6, 0.3, 0.1], atol=0.03)
