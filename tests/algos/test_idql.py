"""IDQL: what differs from IQL: the diffusion that clones, its average, and the choice among its actions."""

from __future__ import annotations

import math

import pytest
import torch
from loss_checks import close, head_gradients, row_losses, total
from small_data import continuous_dataset, make_batch
from small_tasks import BANDIT, bandit_error
from table_networks import ONE_STEP, STATES, TABLE, set_one_step, set_table

from offlinekit.algos import IDQL, ResidualEncoder
from offlinekit.algos.torch.idql_impl import IDQLImpl
from offlinekit.nn.diffusion import ClippedDiffusion
from offlinekit.nn.networks import Residual


def build(**options: object) -> IDQLImpl:
    given = {"n_candidates": 2, "diffusion_steps": 1, "encoder": TABLE, "critic_encoder": TABLE, **options}
    return IDQL(seed=0, device="cpu", **given).build(continuous_dataset()).impl


def with_networks(monkeypatch, **options: object) -> IDQLImpl:
    """The average gives the noise itself, (0.5, -0.5) in both rows; the online diffusion says 0.9 everywhere.

    Q1' = (1, 3) + 2 a, Q2' = (2, 3) - 3 a; the online critics would prefer the other actions.
    """
    impl = build(**options)
    set_one_step(impl.policy.behaviour, [0.9, 0.9])
    set_one_step(impl.target_policy.behaviour, [0.0, 0.0], 1.0)
    set_table(impl.target_q, [[[1.0], [3.0], [2.0]], [[2.0], [3.0], [-3.0]]])
    set_table(impl.q, [[[0.0], [0.0], [-5.0]], [[5.0], [5.0], [-5.0]]])
    noise = torch.tensor([0.5, -0.5])[:, None, None]
    monkeypatch.setattr(impl.random, "normal", lambda *shape: noise.expand(shape))
    impl.target_policy.noise.copy_(noise)
    return impl


def test_predict_takes_the_averages_action_whose_lowest_target_value_is_highest(monkeypatch):
    impl = with_networks(monkeypatch)
    # Row 0: min(2, 0.5) at 0.5, min(0, 3.5) at -0.5: 0.5, though the mean prefers -0.5
    # Row 1: min(4, 1.5) at 0.5, min(2, 4.5) at -0.5: -0.5
    close(impl.predict_best_action(STATES), [[0.5], [-0.5]])
    impl.target_policy.noise.mul_(0.2)
    # Row 1: min(3.2, 2.7) at 0.1, min(2.8, 3.3) at -0.1
    close(impl.predict_best_action(STATES), [[0.1], [-0.1]])


def test_weights_are_those_of_the_expectile(monkeypatch):
    impl = with_networks(monkeypatch, expectile=0.8)
    set_table(impl.value, [[0.2], [1.8]])
    actions = torch.tensor([[[0.5], [0.5]], [[-0.5], [-0.5]]])
    # Q = (0.5, 1.5) and (0, 2), V = (0.2, 1.8): 0.8 above, 0.2 below
    close(impl.log_weight(STATES, actions).exp(), [[0.8, 0.2], [0.2, 0.8]])


def test_draws_follow_the_weights(monkeypatch):
    impl = with_networks(monkeypatch, expectile=0.8)
    set_table(impl.value, [[0.2], [1.8]])
    with torch.no_grad():
        above = impl.sample_action(STATES[:1].repeat(4_000, 1)) > 0
        below = impl.sample_action(STATES[1:].repeat(4_000, 1)) > 0
    assert above.float().mean().item() == pytest.approx(0.8, abs=0.02)
    assert below.float().mean().item() == pytest.approx(0.2, abs=0.02)


def test_actor_loss_is_that_of_the_diffusion_and_reaches_it_alone(monkeypatch):
    impl = build()
    set_one_step(impl.policy.behaviour, [0.5, -0.5])
    monkeypatch.setattr(impl.random, "normal", lambda *shape: torch.tensor([[0.4], [-0.2]]))
    # g / (1 - g) times the mean of (0.9 - 0.5)^2 and (-0.3 + 0.5)^2; no weight by advantage
    odds = ONE_STEP / (1.0 - ONE_STEP)
    returned = impl.compute_actor_loss(make_batch(STATES, [[0.9], [-0.3]], returns=[5.0, -5.0]))
    loss = total(returned)
    close(loss, odds * 0.1)
    close(row_losses(returned), [odds * 0.16, odds * 0.04])
    # d / d weight_s = 2 (e - z) / 2 rows, e - z = sqrt(odds) (0.4, 0.2)
    wanted = [math.sqrt(odds) * 0.4, math.sqrt(odds) * 0.2]
    close(head_gradients(loss, impl.policy.behaviour)[0][0, :2], wanted)
    assert head_gradients(loss, impl.q) == head_gradients(loss, impl.value) == (None, None)


def test_value_and_critics_are_those_of_iql(monkeypatch):
    impl = with_networks(monkeypatch, expectile=0.75)
    set_table(impl.value, [[-4.0], [0.0]])
    batch = make_batch(
        STATES, [[0.5], [-1.0]], [1.0, 2.0], next_observations=STATES.flip(0), discounts=[0.5, 0.9]
    )
    # min Q' = (0.5, 1): errors (4.5, 1): loss = 0.75 (20.25 + 1) / 2
    close(total(impl.compute_value_loss(batch))[0], 0.75 * 21.25 / 2)
    # V(s') = (0, -4): no action of the diffusion is asked for.
    close(impl.compute_target(batch), [1.0, 2.0 - 3.6])


def test_order_rates_and_averages():
    impl = build(value_learning_rate=0.5, actor_learning_rate=0.25)
    assert [objective.name for objective in impl.objectives] == ["value", "actor", "critic"]
    assert [objective.learning_rate for objective in impl.objectives] == [0.5, 0.25, 3e-4]
    assert [objective.schedule for objective in impl.objectives] == ["constant", "cosine", "constant"]
    owned = {id(p) for p in impl.objectives[1].parameters}
    assert owned == {id(p) for p in impl.policy.behaviour.parameters()}  # The frequencies of time, too.
    assert [(target.tau, target.every) for target in impl.targets] == [(0.005, 1), (0.001, 1)]


def test_networks_by_default():
    impl = IDQL(seed=0, device="cpu").build(continuous_dataset()).impl
    behaviour = impl.policy.behaviour
    assert type(behaviour) is ClippedDiffusion
    blocks = [part for part in behaviour.network.modules() if isinstance(part, Residual)]
    assert len(blocks) == 3
    assert not any(isinstance(part, Residual) for part in [*impl.q.modules(), *impl.value.modules()])
    # Frequencies are 2 pi times normal numbers of standard deviation 0.2, and learned.
    frequencies = behaviour.times.frequencies
    assert frequencies.requires_grad
    assert frequencies.shape == (32,)
    assert frequencies.std().item() == pytest.approx(2 * math.pi * 0.2, rel=0.3)


def test_dropout_is_off_when_acting_and_on_when_learning():
    impl = build(encoder=ResidualEncoder((8,), dropout=0.5))
    batch = make_batch(STATES, [[0.4], [-0.2]])
    state = impl.random.state()

    def losses():
        impl.random.set_state(state)
        first = total(impl.compute_actor_loss(batch))
        impl.random.set_state(state)
        return first, total(impl.compute_actor_loss(batch))

    quiet = losses()[0]
    impl.train()
    first, again = losses()
    assert torch.equal(first, again)
    assert not torch.equal(first, quiet)
    assert not impl.target_policy.training


@pytest.mark.parametrize(("n_candidates", "low", "high"), [(64, 0.0, 0.15), (1, 0.2, 0.9)])
def test_the_best_of_many_is_better_than_cloning(n_candidates, low, high):
    algo = IDQL(n_candidates=n_candidates, expectile=0.9, actor_tau=0.02, value_learning_rate=3e-3, **BANDIT)
    assert low <= bandit_error(algo, 300) < high
