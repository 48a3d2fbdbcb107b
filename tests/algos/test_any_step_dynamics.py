"""Any-step dynamics: windows, the recurrent network against torch's own, the loss by hand, and histories by loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from loss_checks import close, row_losses, total
from small_data import continuous_dataset, make_batch
from table_networks import set_constant

import offlinekit
from offlinekit.algos import AnyStepDynamics, Dynamics, MLPEncoder
from offlinekit.algos.torch.any_step_dynamics_impl import Histories
from offlinekit.datasets import MDPDataset
from offlinekit.errors import DatasetError, UnsupportedError
from offlinekit.metrics.ope import estimate
from offlinekit.nn.losses import mean_variance_root
from offlinekit.nn.networks import StackedGRU
from offlinekit.testing import small_dataset

QUIET: dict[str, Any] = {"out": None, "progress": False}
SMALL: dict[str, Any] = {
    "encoder": MLPEncoder((6, 6), "silu", layer_norm=True, dropout=0.1),
    "n_recurrent_layers": 2,
    "max_steps_back": 3,
    "termination": "never",
    "learned_bounds": False,
    "seed": 0,
    "device": "cpu",
}


def model(size: int = 1, **options: Any) -> Any:
    front = AnyStepDynamics(**{**SMALL, "scales_inputs": False, **options})
    return front.build(continuous_dataset(observation_size=size)).impl


def raw(log_std: float, low: float = -5.0, high: float = 1.0) -> float:
    """Returns what becomes a number behind the bounds."""
    below = low + math.log(math.expm1(log_std - low))
    return high - math.log(math.expm1(high - below))


def test_recurrent_units_are_those_of_torch():
    torch.manual_seed(0)
    stacked, inputs = StackedGRU(2, 3, 4, 2), torch.randn(2, 5, 6, 3)
    for member in range(2):
        own = torch.nn.GRU(3, 4, 2, batch_first=True)
        with torch.no_grad():
            for layer in range(2):
                for kind, part in (("ih", stacked.inputs[layer]), ("hh", stacked.states[layer])):
                    getattr(own, f"weight_{kind}_l{layer}").copy_(part.weight[member].T)
                    getattr(own, f"bias_{kind}_l{layer}").copy_(part.bias[member, 0])
        expected, _ = own(inputs[member])
        states = stacked.begin(inputs[:, :, 0])
        for step in range(6):
            states = stacked(inputs[:, :, step], states)
            close(states[-1, member].detach(), expected[:, step].detach())


def test_loss_and_gradients():
    impl = model(max_steps_back=2)
    # Change and reward have means 2 and 10, deviations 1 and 2, whatever the input.
    set_constant(impl, [[2.0, 10.0, raw(0.0), raw(math.log(2.0))]])
    batch = make_batch(
        torch.tensor([[1.0], [3.0], [5.0], [5.0]]), torch.zeros(4, 1), [10.0, 20.0, 30.0, 30.0],
        next_observations=torch.tensor([[3.0], [4.0], [5.0], [5.0]]), discounts=[0.9, 0.9, 0.0, 0.0],
        next_known=torch.ones(4), rows=torch.tensor([0, 1, 7, 7]),
    )  # fmt: skip
    # Window 0: after one step 3 - 1 = 2 and 10, after two 4 - 1 = 3 and 20. Window 1: 5 - 5 = 0 and 30; its episode
    # ends there, so that its second row is the first again and does not count.
    # Fits, means over 2 numbers: 2 log 2 / 2; (1 + (10 / 2)^2 + 2 log 2) / 2; (4 + (20 / 2)^2 + 2 log 2) / 2
    two = math.log(2.0)
    returned = impl.compute_model_loss(batch)
    close(row_losses(returned)[:3], [two, 13.0 + two, 52.0 + two], atol=1e-4)
    loss, metrics = total(returned)
    close(loss, 65.0 / 3 + two, atol=1e-4)
    close(metrics["observation_error"], (0.0 + 1.0 + 4.0) / 3)
    (bias,) = torch.autograd.grad(loss, [impl.mlp.layers[-1].bias])
    # By the means, 2 (mu - y) / std^2 / 2 numbers / 3 rows: (-1 + 2) / 3 and (-10 - 20) / 4 / 3
    close(bias[0, 0, :2], [1 / 3, -2.5], atol=1e-4)
    close(impl.holdout_errors(batch), [(0.0 + (1 + 100) / 2 + (4 + 400) / 2) / 3], atol=1e-3)


def test_learned_ends_and_what_was_not_recorded():
    impl = model(max_steps_back=1, termination="learned")
    set_constant(impl, [[2.0, 0.0, raw(0.0), raw(0.0), math.log(3.0)]])
    batch = make_batch(
        torch.zeros(2, 1), torch.zeros(2, 1), next_observations=torch.full((2, 1), 99.0), discounts=[0.9, 0.0],
        next_known=torch.zeros(2), rows=torch.arange(2),
    )  # fmt: skip
    # The changes are not known, the rewards fit. Ends at probability 3/4: -log(1/4) and -log(3/4).
    close(row_losses(impl.compute_model_loss(batch)), [math.log(4.0), math.log(4 / 3)], atol=1e-4)
    close(impl.holdout_errors(batch), [(0.75**2 + 0.25**2) / 2], atol=1e-5)


def test_windows_stay_in_their_episode():
    rng = np.random.default_rng(0)
    data = MDPDataset(
        rng.normal(size=(9, 2)), rng.normal(size=(9, 1)), np.arange(9.0), np.isin(np.arange(9), (3, 8))
    )
    algo = AnyStepDynamics(**SMALL, n_members=2, batch_size=4, holdout=0.3).build(data)
    sampler = algo.make_sampler(data, needs=("next_observations", "next_known", "rows"))
    batch = sampler.gather(torch.tensor([1, 2, 7]))
    assert batch.rows.view(3, 3).tolist() == [[1, 2, 3], [2, 3, 3], [7, 8, 8]]
    assert sampler.sample().rewards.shape == (2 * 4 * 3,)
    held = sampler.gather(sampler.held_out).rows.view(-1, 3)[:, 0]
    assert sorted([*held.tolist(), *sampler.train_rows.tolist()]) == list(range(9))
    # Inputs are scaled by the moments of rows, of each once.
    algo.impl.config.scales_inputs = True
    algo.impl.learn_data(data, sampler)
    close(algo.impl.input_shift[0], data.observations[sampler.train_rows.numpy(), 0].mean())


def test_windows_end_before_a_time_out_behind_which_nothing_was_recorded():
    rng = np.random.default_rng(0)
    data = MDPDataset(
        rng.normal(size=(6, 1)),
        rng.normal(size=(6, 1)),
        np.arange(6.0),
        np.arange(6) == 5,
        timeouts=np.arange(6) == 2,
    )
    algo = AnyStepDynamics(**SMALL, batch_size=4, holdout=0.0).build(data)
    sampler = algo.make_sampler(data, needs=algo.impl.needs)
    assert sampler.train_rows.tolist() == [0, 1, 3, 4, 5]
    batch = sampler.gather(torch.tensor([0, 1, 4]))
    assert batch.rows.view(3, 3).tolist() == [[0, 1, 1], [1, 1, 1], [4, 5, 5]]
    assert batch.rewards.view(3, 3)[:, 0].tolist() == [0.0, 1.0, 4.0]
    _, _, _, _, counted = algo.impl.of_windows(batch)
    assert counted[0].tolist() == [[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0]]


def test_predictions_of_one_step_are_those_of_the_one_step_model():
    impl = model(2, n_members=2)
    observations, actions = torch.randn(5, 2), torch.randn(5, 1)
    one = impl.outcomes(observations, actions)
    histories = Histories(impl, observations, impl.random)
    histories.take(observations, actions)
    for single, several in zip(one, histories.outcomes(observations), strict=True):
        close(several.view(2, 3, *single.shape[1:])[:, 0].detach(), single.detach())
    windows = impl.predicted(
        impl.mlp.unrolled(impl.scaled(observations, actions)[None, :, None].expand(2, 5, 1, 3))
    )
    close(windows.means[:, :, 0].detach(), one.means.detach())


def test_histories_are_unrolled_step_by_step():
    impl = model(2, n_members=2)
    states, actions = torch.randn(6, 4, 2), torch.randn(6, 4, 1)  # 6 steps of 4 rows.
    histories = Histories(impl, states[0], impl.random)
    for t in range(6):
        histories.take(states[t], actions[t])
        found = histories.outcomes(states[t])
        for k in range(1, min(t + 1, 3) + 1):
            begun = states[t + 1 - k]
            inputs = torch.stack([impl.scaled(begun, actions[j]) for j in range(t + 1 - k, t + 1)], 1)
            expected = impl.predicted(impl.mlp.unrolled(inputs.expand(2, *inputs.shape)))
            means, log_stds = expected.means[:, :, -1], expected.log_stds[:, :, -1]
            own = found.means.view(2, 3, 4, 3)[:, k - 1]
            close((own[..., :2] + states[t]).detach(), (means[..., :2] + begun).detach())
            close(own[..., 2].detach(), means[..., 2].detach())
            close(found.log_stds.view(2, 3, 4, 3)[:, k - 1].detach(), log_stds.detach())
    assert histories.n_known.tolist() == [3] * 4


def test_steps_are_drawn_from_the_predictions_that_have_begun():
    impl = model(learned_bounds=True)
    set_constant(impl, [[1.0, 5.0, -60.0, -60.0]])
    with torch.no_grad():
        impl.min_log_var.fill_(-60.0)
    states = torch.tensor([-3.0, -1.0, 0.0]).view(3, 1, 1).expand(3, 3_000, 1)
    histories = Histories(impl, states[0], impl.random)
    for before in states[:2]:
        histories.take(before, torch.zeros(3_000, 1))
    histories.n_known[:1_500] = 0  # Of the first half nothing was recorded before.
    step = histories.imagined_step(states[2], torch.zeros(3_000, 1))
    # 1 is added to the state that a prediction begins with: 0, -1 or -3.
    close(step.next_observations[:1_500], torch.ones(1_500, 1), atol=1e-3)
    drawn = step.next_observations[1_500:, 0].round()
    for value in (1.0, 0.0, -2.0):
        assert abs(float((drawn == value).float().mean()) - 1 / 3) < 0.05
    close(step.rewards, torch.full((3_000,), 5.0), atol=1e-3)
    assert step.counted[:, 0].tolist() == [True, False, False]
    assert step.counted[:, -1].tolist() == [True] * 3
    # (1, 0, -2) has the mean -1/3 and squared deviations 16/9, 1/9, 25/9: the root of 42 / 27.
    unsure = mean_variance_root(step.outcomes.means[..., :-1], step.counted)
    close(unsure[0], 0.0)
    close(unsure[-1], math.sqrt(42 / 27))


def test_the_root_of_variances_of_those_that_count():
    means = torch.tensor([[[0.0, 0.0]], [[4.0, 2.0]], [[9.0, 9.0]]])
    # (0, 4) and (0, 2): variances 4 and 1, mean 2.5.
    close(mean_variance_root(means, torch.tensor([[True], [True], [False]])), [math.sqrt(2.5)])
    every = torch.ones(3, 1, dtype=torch.bool)
    close(mean_variance_root(means, every), mean_variance_root(means))


def test_it_learns_a_system_and_is_what_a_model_is(tmp_path):
    rng = np.random.default_rng(0)
    n = 400
    states, actions = np.zeros((n, 1)), rng.uniform(-1, 1, (n, 1))
    for t in range(1, n):
        states[t] = 0.9 * states[t - 1] + actions[t - 1]
    data = MDPDataset(states, actions, states[:, 0], np.zeros(n), timeouts=np.arange(n) % 50 == 49)
    algo = AnyStepDynamics(**{**SMALL, "learned_bounds": True, "learning_rate": 3e-3, "batch_size": 64})
    algo.fit(data, 60, log_interval=60, **QUIET)
    first, last = algo.history[0]["holdout_error"], algo.history[-1]["holdout_error"]
    assert last < 0.5 * first
    assert isinstance(algo, Dynamics)
    loaded = offlinekit.load(algo.save(tmp_path / "model.okt"), device="cpu")
    given = data.observations[None, :5], data.actions[None, :5]
    for one, other in zip(
        *(a.sample_steps(*given, np.random.default_rng(0)) for a in (algo, loaded)), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    means, stds = algo.predict_steps(data.observations[:5], data.actions[:5])
    assert means.shape == stds.shape == (1, 5, 2)


def test_the_rule_keeps_any_improvement():
    impl = model(n_members=1)
    impl.keep_best(torch.tensor([1.0]))
    impl.keep_best(torch.tensor([0.999]))  # Less than the 1% of other dynamics.
    close(impl.best_errors, [0.999])


def test_refusals():
    rng = np.random.default_rng(0)
    unordered = MDPDataset(
        rng.normal(size=(6, 2)), rng.normal(size=(6, 1)), np.zeros(6), np.zeros(6),
        next_observations=rng.normal(size=(6, 2)),
    )  # fmt: skip
    with pytest.raises(DatasetError, match=r"temporal order.*such as MOPO or MOBILE"):
        AnyStepDynamics(**SMALL).fit(unordered, 2, **QUIET)
    for encoder in (MLPEncoder((8, 6)), MLPEncoder(()), MLPEncoder((8,), norm_after=True)):
        with pytest.raises(UnsupportedError, match="residual blocks of one size"):
            AnyStepDynamics(**{**SMALL, "encoder": encoder}).build(small_dataset("continuous"))


def test_it_estimates_values():
    data = small_dataset("continuous")
    policy = offlinekit.algos.BC(seed=0, device="cpu").fit(data, 2, **QUIET)
    options = {**SMALL, "n_members": 2, "bootstrap": "episodes", "max_epochs": 1, "learned_bounds": True}
    fitted = AnyStepDynamics(**options).fit(data, 50, **QUIET)
    found = estimate(policy, data, ["model_based"], dynamics=fitted)
    assert np.isfinite(found["model_based"].value)
