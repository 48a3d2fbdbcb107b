"""Dynamics by hand, under every engine, in populations, and rolled out in a system whose values are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from loss_checks import close, row_losses, total
from small_data import continuous_dataset, discrete_dataset, make_batch
from table_networks import TABLE, one_hot, set_constant

import offlinekit
from offlinekit.algos import DiscreteDynamics, Dynamics, Population
from offlinekit.algos.dynamics import fitted_dynamics
from offlinekit.algos.torch.dynamics_impl import LOG_STDS
from offlinekit.datasets import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.metrics.ope import estimate
from offlinekit.metrics.ope.simulation import Simulation, drawn_actions, simulated
from offlinekit.metrics.ope.target import TargetPolicy
from offlinekit.nn import losses
from offlinekit.testing import check_engines, check_resume, small_dataset

QUIET: dict[str, Any] = {"out": None, "progress": False}
PLAIN: dict[str, Any] = {
    "observation_scaler": None,
    "reward_scaler": None,
    "encoder": TABLE,
    "seed": 0,
    "device": "cpu",
}


def raw(log_std: float) -> float:
    """Returns what becomes a log standard deviation behind the bounds."""
    low, high = LOG_STDS
    below = low + math.log(math.expm1(log_std - low))
    return high - math.log(math.expm1(high - below))


def model(**options: Any) -> Dynamics:
    return Dynamics(**{"n_members": 2, **PLAIN, **options}).build(continuous_dataset(observation_size=1))


def test_loss_and_gradients():
    impl = model(resample=False).impl
    # Outputs: change, reward, their log deviations, logit of the end. Deviations: e^0 = 1 and e^(log 2) = 2.
    one, two = raw(0.0), raw(math.log(2.0))
    set_constant(impl, [[1.0, 2.0, one, two, 0.0], [3.0, 0.0, one, one, math.log(3.0)]])
    batch = make_batch(
        torch.tensor([[1.0], [5.0]]), torch.zeros(2, 1), [4.0, 2.0],
        next_observations=torch.tensor([[3.0], [99.0]]), discounts=[0.9, 0.0],
    )  # fmt: skip
    # Changes 2, and an end behind which nothing counts. c = log(2 pi) / 2.
    # Member 0, row 0: (2 - 1)^2 / 2 + c; reward (4 - 2)^2 / (2 * 4) + log 2 + c; end -log(1 - 1/2) = log 2
    # Member 0, row 1: reward 0 + log 2 + c; end log 2. Mean: (0.5 + 0.5 + 4 log 2 + 3 c) / 2
    # Member 1, row 0: 1/2 + c; 8 + c; -log(1 - 3/4) = log 4. Row 1: 2 + c; -log(3/4)
    c = 0.5 * math.log(2 * math.pi)
    first = (1.0 + 4 * math.log(2.0) + 3 * c) / 2
    second = (10.5 + 3 * c + math.log(4.0) + math.log(4 / 3)) / 2
    returned = impl.compute_model_loss(batch)
    loss, metrics = total(returned)
    close(loss, first + second, atol=1e-4)
    close(
        row_losses(returned),
        [
            [1 + 2 * math.log(2.0) + 2 * c, 2 * math.log(2.0) + c],
            [8.5 + math.log(4.0) + 2 * c, 2 + c + math.log(4 / 3)],
        ],
    )
    close(metrics["observation_error"], (1.0 + 0.0 + 1.0 + 0.0) / 4)
    _, bias = torch.autograd.grad(loss, [impl.mlp.layers[-1].weight, impl.mlp.layers[-1].bias])
    # By the mean of the change: (mean - change) / std^2 over 2 rows: (1 - 2) / 2 and (3 - 2) / 2, the end not counted.
    # By the reward: ((2 - 4) / 4 + 0) / 2 = -0.25; (-4 - 2) / 2 = -3. By the logit: (P - end) over 2 rows:
    # (0.5 + 0.5 - 1) / 2 = 0; (0.75 + 0.75 - 1) / 2 = 0.25
    close(bias[:, 0, [0, 1, 4]], [[-0.5, -0.25, 0.0], [0.5, -3.0, 0.25]], atol=1e-4)
    # By the log deviation, 1 - (error / std)^2 where it counts, times the slope of the bounds:
    slopes = []
    for value in (one, two):
        at = torch.tensor(value, requires_grad=True)
        slopes.append(float(torch.autograd.grad(losses.softly_bounded(at, *LOG_STDS), at)[0]))
    # Member 0: change (1 - 1) / 2 = 0; reward ((1 - 1) + (1 - 0)) / 2. Member 1: 0; ((1 - 16) + (1 - 4)) / 2
    close(bias[:, 0, [2, 3]], [[0.0, 0.5 * slopes[1]], [0.0, -9.0 * slopes[0]]], atol=1e-3)


def test_each_member_learns_from_its_own_rows():
    impl = model().impl
    set_constant(impl, [[0.0, 0.0, raw(0.0), raw(0.0), 0.0]] * 2)
    batch = make_batch(
        torch.zeros(3, 1),
        torch.zeros(3, 1),
        [1.0, 2.0, 4.0],
        discounts=[0.9] * 3,
        bootstrap_counts=torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 0.0]]),
    )
    # A row costs r^2 / 2 + 2 c + log 2; means (2 * 0.5 + 8) / 3 = 3 and 2.
    close(
        total(impl.compute_model_loss(batch))[0],
        5.0 + 2 * math.log(2 * math.pi) + 2 * math.log(2.0),
        atol=1e-4,
    )


def test_bounds_of_deviations():
    values = torch.tensor([-100.0, -2.0, 100.0])
    # low + softplus(high - softplus(high - x) - low): -5, nearly -2, and 1 + log(1 + e^-6)
    close(losses.softly_bounded(values, -5.0, 1.0), [-5.0, -2.0001, 1.0025], atol=2e-2)
    inside = losses.softly_bounded(torch.linspace(-50, 50, 101), -5.0, 1.0)
    assert bool((inside.diff() >= 0).all())
    assert float(inside.min()) >= -5.0


def test_discrete_actions_are_inputs_of_their_own():
    algo = DiscreteDynamics(n_members=1, **PLAIN).build(discrete_dataset())
    with torch.no_grad():
        head = algo.impl.mlp.layers[-1]
        head.weight.zero_()
        head.bias.zero_()
        head.weight[0, 2:, 2] = torch.tensor([1.0, 2.0, 3.0])  # The reward is 1, 2, 3 for actions 0, 1, 2.
    found = algo.impl.outcomes(one_hot([0, 1], 2), torch.tensor([2, 0]))
    close(found.means[0], [[0.0, 0.0, 3.0], [0.0, 0.0, 1.0]])


def test_counts_of_episodes_drawn_again():
    dataset = small_dataset("continuous")
    algo = Dynamics(n_members=4, **PLAIN).build(dataset)
    counts = algo.episode_counts(dataset)
    assert counts.sum(1).tolist() == [6] * 4
    assert len({tuple(row) for row in counts}) == 4
    batch = algo.make_sampler(dataset).gather(torch.arange(len(dataset)))
    close(batch.bootstrap_counts, np.repeat(counts, 20, axis=1).T)
    plain = Dynamics(resample=False, **PLAIN).build(dataset).make_sampler(dataset).sample()
    assert "bootstrap_counts" not in plain._fields
    assert not dataset.extras


def test_steps_in_the_units_of_the_data():
    # Observations 10 and 30 have mean 20, deviation 10; rewards 1 and 3 mean 2, deviation 1.
    data = MDPDataset(
        np.array([[10.0], [30.0]]), np.array([[-1.0], [1.0]]), np.array([1.0, 3.0]), np.array([0, 1]),
        action_space=Box(-2, 2, (1,)),
    )  # fmt: skip
    algo = Dynamics(n_members=2, encoder=TABLE, seed=0, device="cpu").build(data)
    algo.impl.learn_data(data, None)
    quiet = -50.0  # As small a deviation as the bounds allow, e^-5.
    set_constant(algo.impl, [[0.5, 0.5, quiet, quiet, -50.0], [9.0, -9.0, quiet, quiet, 50.0]])
    rng = np.random.default_rng(0)
    following, rewards, ends = algo.sample_steps(np.full((2, 3, 1), 20.0), np.zeros((2, 3, 1)), rng)
    # Member 0: 20 + 0.5 * 10 = 25 and 2 + 0.5 = 2.5; member 1 would leave the data: kept at 30 and 1.
    np.testing.assert_allclose(following[..., 0], [[25.0] * 3, [30.0] * 3], atol=0.3)
    np.testing.assert_allclose(rewards, [[2.5] * 3, [1.0] * 3], atol=0.03)
    assert ends.tolist() == [[False] * 3, [True] * 3]
    assert following[0].std() > 0.01  # Drawn, not the mean: the deviation is 10 e^-5 = 0.07.


@pytest.mark.parametrize("front", [Dynamics, DiscreteDynamics])
def test_engines_and_resume(front):
    def make(**options: Any) -> Any:
        return front(n_members=3, encoder={"type": "mlp", "hidden_sizes": [8]}, **options)

    check_engines(make)
    check_resume(make)


def test_several_are_one_stack_and_files_hold_them(tmp_path):
    dataset = small_dataset("continuous")
    small = {"encoder": TABLE, "batch_size": 16, "n_members": 2, "device": "cpu"}
    population = Population([Dynamics(seed=s, **small) for s in range(2)]).fit(dataset, 20, **QUIET)
    assert population.stacks == [[0, 1]]
    alone = Dynamics(seed=1, **small).fit(dataset, 20, **QUIET)
    loaded = offlinekit.load(alone.save(tmp_path / "dynamics.okt"), device="cpu")
    steps = np.tile(dataset.observations[:5], (2, 1, 1)), np.tile(dataset.actions[:5], (2, 1, 1))
    found = [a.sample_steps(*steps, np.random.default_rng(0)) for a in (alone, loaded, population.algos[1])]
    for wanted, same, stacked in zip(*found, strict=True):
        np.testing.assert_array_equal(wanted, same)
        np.testing.assert_allclose(wanted, stacked, rtol=1e-3, atol=1e-4)


def test_refusals():
    images = MDPDataset(np.zeros((4, 1, 8, 8), np.uint8), np.zeros(4, int), np.zeros(4), np.arange(4) == 3)
    with pytest.raises(UnsupportedError, match="dynamics are learned of vector observations"):
        DiscreteDynamics(seed=0).build(images)
    with pytest.raises(UnsupportedError, match="layers over a vector"):
        DiscreteDynamics(seed=0, encoder=lambda space: torch.nn.Flatten()).build(discrete_dataset())
    with pytest.raises(ValueError, match="single steps; n_step must be 1, got 3"):
        DiscreteDynamics(seed=0, n_step=3).build(discrete_dataset())
    algo = model()
    with pytest.raises(UnsupportedError, match="does not act"):
        algo.predict(np.zeros((1, 1)))
    target = TargetPolicy(lambda o: np.zeros((len(o), 1), np.float32), algo.impl.action_space)
    with pytest.raises(ValueError, match="at least 2 models, got n_members=1"):
        simulated(model(n_members=1), target, continuous_dataset(observation_size=1), 0.9)


class Counter:
    """Two models of a counter that pays what it shows: model 0 adds the action, model 1 ends at once."""

    n_members = 2

    def sample_steps(self, observations: Any, actions: Any, rng: Any) -> Any:
        ends = np.zeros(observations.shape[:2], bool)
        ends[1] = True
        return observations + actions, observations[..., 0], ends


def test_returns_by_hand():
    data = MDPDataset(
        np.array([[1.0], [0.0], [0.0], [3.0], [0.0]]), np.zeros((5, 1)), np.zeros(5), np.array([0, 0, 1, 0, 1]),
        action_space=Box(-9, 9, (1,)),
    )  # fmt: skip
    target = TargetPolicy(lambda o: np.full((len(o), 1), 2.0), data.action_space)
    found = simulated(Counter(), target, data, 0.5)
    # Episodes of 3 and 2 steps: 3 steps from 1: 1 + 3 / 2 + 5 / 4 = 3.75, from 3: 3 + 5 / 2 + 7 / 4 = 7.25.
    # Model 1 ends after its first reward: 1 and 3. Means: 2.375 and 5.125.
    np.testing.assert_allclose(found.returns, [2.375, 5.125])
    np.testing.assert_array_less(found.values[1], found.values[0])
    # t of 1 degree at 0.975: 12.7062; values 1 and 3 deviate by sqrt(2).
    low, high = Simulation(np.array([2.0]), np.array([1.0, 3.0])).interval(0.95)
    assert (low, high) == pytest.approx((2 - 12.7062 * 2**0.5, 2 + 12.7062 * 2**0.5), rel=1e-4)


def test_starts_are_drawn_again_for_each_model():
    data = MDPDataset(
        np.arange(1, 9.0)[:, None], np.zeros((8, 1)), np.zeros(8), np.ones(8), action_space=Box(-9, 9, (1,))
    )
    target = TargetPolicy(lambda o: np.zeros((len(o), 1)), data.action_space)
    found = simulated(Counter(), target, data, 0.5, seed=3)
    np.testing.assert_allclose(found.returns, np.arange(1, 9.0))  # One step: what the start pays.
    assert found.values[0] != found.values[1]
    counts = np.random.default_rng(3).multinomial(8, np.full(8, 1 / 8), size=2)
    np.testing.assert_allclose(found.values, counts @ np.arange(1, 9.0) / 8)


def test_discrete_actions_are_drawn_by_their_probabilities():
    target = TargetPolicy(
        lambda o: np.tile([0.0, 0.25, 0.75, 0.0], (len(o), 1)), discrete_dataset(2, 4).action_space
    )
    drawn = drawn_actions(target, np.zeros((4_000, 2)), np.random.default_rng(0))
    shares = np.bincount(drawn, minlength=4) / 4_000
    np.testing.assert_allclose(shares, [0.0, 0.25, 0.75, 0.0], atol=0.03)  # Standard error 0.007.
    assert shares[0] == shares[3] == 0.0


def linear_system(n_episodes: int, kind: str) -> MDPDataset:
    """x' = 0.5 x + 0.3 a + noise, reward x + a, an end of its own with probability 0.1; episodes of at most 8 steps."""
    rng = np.random.default_rng(0)
    columns: list[list[Any]] = [[] for _ in range(6)]
    for _ in range(n_episodes):
        x, length = rng.normal(), 8 if rng.random() < 0.5 else 5
        for step in range(length):
            a = rng.choice([-1.0, 0.0, 1.0])
            after, end = 0.5 * x + 0.3 * a + 0.3 * rng.normal(), rng.random() < 0.1
            cut = not end and step == length - 1
            for column, value in zip(columns, (x, a, x + a, end, cut, after), strict=True):
                column.append(value)
            x = after
            if end:
                break
    x, a, r, ends, cuts, after = (np.array(column, np.float32) for column in columns)
    discrete = kind == "discrete"
    return MDPDataset(
        x[:, None], (a + 1).astype(int) if discrete else a[:, None], r, ends, timeouts=cuts,
        next_observations=after[:, None], **({} if discrete else {"action_space": Box(-1, 1, (1,))}),
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["discrete", "continuous"])
def test_value_of_a_linear_system(kind):
    data = linear_system(1_000, kind)
    # The policy takes a = 1: E r_t = m_t + 1, m_t+1 = 0.5 m_t + 0.3, reached with probability 0.9^t; 8 steps.
    means = [float(data.observations[data.episode_starts].mean())]
    for _ in range(7):
        means.append(0.5 * means[-1] + 0.3)
    truth = sum((0.95 * 0.9) ** t * (m + 1) for t, m in enumerate(means))
    policy = (
        (lambda o: np.tile([0.0, 0.0, 1.0], (len(o), 1)))
        if kind == "discrete"
        else (lambda o: np.ones((len(o), 1)))
    )
    dynamics = fitted_dynamics(
        data,
        400,
        n_members=5,
        seed=0,
        device="cpu",
        encoder={"type": "mlp", "hidden_sizes": [16]},
        learning_rate=1e-2,
    )
    report = estimate(policy, data, ["model_based"], gamma=0.95, dynamics=dynamics)
    low, high = report["model_based"].interval
    assert low < truth < high
    assert high - low < 2.5
    assert report["model_based"].value == pytest.approx(truth, abs=0.35)
    assert report.contributions["model_based"].per_episode.shape == (1_000,)
    again = estimate(policy, data, ["model_based"], gamma=0.95, dynamics=dynamics)
    assert again["model_based"] == report["model_based"]
    other = estimate(policy, data, ["model_based"], gamma=0.95, dynamics=dynamics, seed=1)
    assert other["model_based"].value != report["model_based"].value


def test_named_but_without_dynamics():
    data = small_dataset("discrete")
    with pytest.raises(UnsupportedError, match="model_based needs learned dynamics; give dynamics="):
        estimate(lambda o: np.full((len(o), 3), 1 / 3), data, ["model_based"])
    assert "model_based" not in estimate(lambda o: np.full((len(o), 3), 1 / 3), data, n_folds=2).estimates
