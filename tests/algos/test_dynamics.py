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
from offlinekit.algos.dynamics import FOR_VALUES, fitted_dynamics
from offlinekit.algos.torch.dynamics_impl import LOG_STDS
from offlinekit.datasets import MDPDataset
from offlinekit.errors import UnsupportedError
from offlinekit.metrics.ope import estimate
from offlinekit.metrics.ope.simulation import Simulation, drawn_actions, simulated
from offlinekit.metrics.ope.target import TargetPolicy
from offlinekit.nn import losses
from offlinekit.testing import check_engines, check_resume, small_dataset
from offlinekit.training import policy_file

QUIET: dict[str, Any] = {"out": None, "progress": False}
PLAIN: dict[str, Any] = {
    "observation_scaler": None,
    "reward_scaler": None,
    "encoder": TABLE,
    "seed": 0,
    "device": "cpu",
}


def raw(log_std: float, low: float = LOG_STDS[0], high: float = LOG_STDS[1]) -> float:
    """Returns what becomes a number behind the bounds."""
    below = low + math.log(math.expm1(log_std - low))
    return high - math.log(math.expm1(high - below))


def model(**options: Any) -> Dynamics:
    return Dynamics(**{"n_members": 2, "layer_decay": 0.0, "bound_weight": 0.0, **PLAIN, **options}).build(
        continuous_dataset(observation_size=1)
    )


def test_loss_and_gradients():
    impl = model(learned_bounds=False).impl
    # Outputs: change, reward, their log deviations, logit of the end. Deviations: e^0 = 1 and e^(log 2) = 2.
    one, two = raw(0.0), raw(math.log(2.0))
    set_constant(impl, [[1.0, 2.0, one, two, 0.0], [3.0, 0.0, one, one, math.log(3.0)]])
    rows = make_batch(
        torch.tensor([[1.0], [5.0]] * 2), torch.zeros(4, 1), [4.0, 2.0] * 2, discounts=[0.9, 0.0] * 2,
        next_observations=torch.tensor([[3.0], [99.0]] * 2), next_known=torch.tensor([1.0, 0.0] * 2),
    )  # fmt: skip
    # Rows 0 and 1 are of member 0, rows 2 and 3 the same of member 1. Changes 2, and an end behind which nothing was
    # recorded. A dimension costs (error / std)^2 + 2 log std, a row the mean over 2 dimensions, plus the end.
    # Member 0, row 0: ((2 - 1)^2 + (4 - 2)^2 / 4 + 2 log 2) / 2 = 1 + log 2; end -log(1 - 1/2) = log 2
    # Member 0, row 1: (0 + 2 log 2) / 2 = log 2; end log 2
    # Member 1, row 0: (1 + 16) / 2 = 8.5; -log(1 - 3/4) = log 4. Row 1: 4 / 2 = 2; -log(3/4)
    each = [1 + 2 * math.log(2), 2 * math.log(2), 8.5 + math.log(4.0), 2 + math.log(4 / 3)]
    returned = impl.compute_model_loss(rows)
    loss, metrics = total(returned)
    close(
        row_losses(returned), [2 * one_row for one_row in each], atol=1e-4
    )  # The mean over 4 is the sum of 2 means.
    close(loss, (each[0] + each[1] + each[2] + each[3]) / 2, atol=1e-4)
    close(metrics["observation_error"], (1.0 + 0.0 + 1.0 + 0.0) / 4)
    _, bias = torch.autograd.grad(loss, [impl.mlp.layers[-1].weight, impl.mlp.layers[-1].bias])
    # By the mean of the change, over 2 dimensions and 2 rows: 2 (mean - change) / std^2 / 4 = -0.5 and 0.5, the end not
    # counted. By the reward: 2 (2 - 4) / 4 / 4 + 0 = -0.25; 2 (-4 - 2) / 4 = -3. By the logit: (P - end) over 2 rows:
    # (0.5 + 0.5 - 1) / 2 = 0; (0.75 + 0.75 - 1) / 2 = 0.25
    close(bias[:, 0, [0, 1, 4]], [[-0.5, -0.25, 0.0], [0.5, -3.0, 0.25]], atol=1e-4)
    # By the log deviation, 2 - 2 (error / std)^2 where it counts, over 4, times the slope of the bounds:
    slopes = []
    for value in (one, two):
        at = torch.tensor(value, requires_grad=True)
        slopes.append(float(torch.autograd.grad(losses.softly_bounded(at, *LOG_STDS), at)[0]))
    # Member 0: change (2 - 2) / 4 = 0; reward ((2 - 2) + (2 - 0)) / 4. Member 1: 0; ((2 - 32) + (2 - 8)) / 4
    close(bias[:, 0, [2, 3]], [[0.0, 0.5 * slopes[1]], [0.0, -9.0 * slopes[0]]], atol=1e-3)


def test_loss_of_planning_by_published_numbers():
    # means (1, 2), outcomes (0.5, 2.5), log variances (-1, 0.2): (0.25 e + 0.25 e^-0.2) / 2 + (-1 + 0.2) / 2
    impl = model(n_members=1, termination="never").impl
    low, high = -10.0, 0.5
    set_constant(impl, [[1.0, 2.0, raw(-1.0, low, high), raw(0.2, low, high)]])
    batch = make_batch(
        torch.zeros(1, 1),
        torch.zeros(1, 1),
        [2.5],
        next_observations=torch.tensor([[0.5]]),
        next_known=torch.ones(1),
    )
    close(total(impl.compute_model_loss(batch))[0], 0.042127, atol=1e-5)
    # The constant log variance of squared error 0.04 that costs least is log 0.04 = -3.218876.
    value = torch.tensor(-3.218876, requires_grad=True)
    cost = losses.gaussian_fit(torch.tensor(0.2), value, torch.tensor(0.0))
    close(torch.autograd.grad(cost, value)[0], 0.0, atol=1e-5)


def test_decays_and_bounds_are_part_of_the_loss():
    layers = {"encoder": {"type": "mlp", "hidden_sizes": [3, 3]}, "layer_decay": 1.0}
    impl = model(n_members=2, termination="never", **layers).impl
    layers = [layer for layer in impl.mlp.layers if hasattr(layer, "weight")]
    squares = [float(layer.weight.detach().square().sum()) for layer in layers]
    # Halves of 2.5e-5, 5e-5 and, of the last layer, 1e-4 times the squares of both members.
    decay = 0.5 * (2.5e-5 * squares[0] + 5e-5 * squares[1] + 1e-4 * squares[2])
    close(impl.regularisation(), decay, atol=1e-8)
    impl.config.bound_weight = 0.01
    # Bounds start at 0.5 and -10 in 2 dimensions: 0.01 * 2 * 10.5
    close(impl.regularisation(), decay + 0.21, atol=1e-6)
    batch = make_batch(torch.zeros(2, 1), torch.zeros(2, 1), next_known=torch.ones(2))
    high, low = torch.autograd.grad(impl.regularisation(), [impl.max_log_var, impl.min_log_var])
    close(high, [0.01, 0.01])
    close(low, [-0.01, -0.01])
    rows = float(row_losses(impl.compute_model_loss(batch)).mean())
    close(total(impl.compute_model_loss(batch))[0], rows + decay + 0.21, atol=1e-5)


def test_learned_bounds_by_published_numbers():
    impl = model(n_members=1, termination="never").impl
    values = [5.0, 0.5, 0.0, -3.0, -10.0, -20.0]
    expected = [0.488980, -0.193092, -0.474004, -3.028811, -9.306867, -9.999955]
    for value, bounded in zip(values, expected, strict=True):
        set_constant(impl, [[0.0, 0.0, value, value]])
        close(2 * impl.outcomes(torch.zeros(1, 1), torch.zeros(1, 1)).log_stds, [[[bounded] * 2]], atol=1e-5)


def test_each_member_learns_from_its_own_rows():
    dataset = small_dataset("continuous")
    algo = Dynamics(n_members=3, holdout=0.1, **PLAIN).build(dataset)
    sampler = algo.make_sampler(dataset)
    assert sampler.drawn.shape == (3, 108)  # 120 rows, 12 held out; 108 drawn again for each.
    assert len(sampler.held_out) == 12
    assert not {*sampler.held_out.tolist()} & {*sampler.drawn.flatten().tolist()}
    assert len({tuple(row) for row in sampler.drawn.tolist()}) == 3
    assert len(sampler.drawn[0].unique()) < 108  # With replacement.
    plain = Dynamics(bootstrap="none", holdout=0.0, **PLAIN).build(dataset).make_sampler(dataset)
    assert plain.drawn[0].tolist() == list(range(120))


def test_episodes_are_drawn_whole():
    dataset = small_dataset("continuous")  # 6 episodes of 20 rows.
    algo = Dynamics(n_members=4, bootstrap="episodes", holdout=0.0, **PLAIN).build(dataset)
    drawn = algo.make_sampler(dataset).drawn.numpy()
    for member in drawn:
        counts = np.bincount(member, minlength=120).reshape(6, 20)
        assert (counts == counts[:, :1]).all()
        assert counts[:, 0].sum() == 6
    assert len({tuple(row) for row in drawn.tolist()}) == 4


def test_an_epoch_shows_each_member_all_of_its_rows():
    dataset = small_dataset("continuous")
    algo = Dynamics(n_members=2, holdout=0.0, **{**PLAIN, "batch_size": 50}).build(dataset)
    sampler = algo.make_sampler(dataset, needs=("rows",))
    assert sampler.updates_per_epoch == 3
    epochs = [torch.cat([sampler.sample().rows.view(2, 50) for _ in range(3)], 1) for _ in range(2)]
    for epoch in epochs:
        for member in range(2):
            seen = epoch[member, :120].tolist()
            assert sorted(seen) == sorted(sampler.drawn[member].tolist())
            assert epoch[member, 120:].tolist() == seen[:30]  # The last minibatch is filled up.
    assert epochs[0].tolist() != epochs[1].tolist()
    state = sampler.state()
    ahead = [sampler.sample().rows.tolist() for _ in range(4)]
    sampler.set_state(state)
    assert [sampler.sample().rows.tolist() for _ in range(4)] == ahead


def test_members_stop_by_the_rule():
    impl = model(n_members=2).impl
    # 1% of the best so far: 1.0 -> 0.995 is too little, 0.98 enough; and of the best, not of the last.
    for errors, waited, kept in (
        ([1.0, 2.0], 0, [1.0, 2.0]),
        ([0.995, 2.5], 1, [1.0, 2.0]),
        ([0.98, 3.0], 0, [0.98, 2.0]),
        ([0.99, 1.99], 1, [0.98, 2.0]),
        ([0.975, 1.981], 2, [0.98, 2.0]),
        ([0.99, 1.9], 0, [0.98, 1.9]),
    ):
        with torch.no_grad():
            impl.mlp.layers[-1].bias.fill_(errors[0])
        impl.keep_best(torch.tensor(errors))
        assert int(impl.epochs_waited) == waited
        close(impl.best_errors, kept)
    # Member 0 was best at 0.98, member 1 when the bias was 0.99; the best comes first.
    close(impl.best.layers[-1].bias[:, 0, 0], [0.98, 0.99])
    impl.keep_best(torch.tensor([2.0, 0.5]))
    impl.take_best()
    close(impl.best_errors, [0.5, 0.98])
    close(impl.mlp.layers[-1].bias[:, 0, 0], [0.99, 0.98])


def test_a_run_stops_once_no_member_improves(tmp_path):
    data = small_dataset("continuous")
    small = {"encoder": TABLE, "batch_size": 32, "n_members": 2, "device": "cpu", "seed": 0}
    algo = Dynamics(patience=2, learning_rate=1e-12, **small).fit(data, 100, out=tmp_path, progress=False)
    # 96 rows, 3 updates an epoch. Nothing moves: the first epoch is the best, the two after it are waited for.
    assert algo.grad_step == 9
    assert [row["epoch"] for row in algo.history] == [1, 2, 3]
    assert (algo.run_dir / "policy.okt").is_file()
    assert Dynamics(patience=None, max_epochs=4, **small).fit(data, 100, **QUIET).grad_step == 12
    assert Dynamics(patience=None, **small).fit(data, 100, **QUIET).grad_step == 100
    errors = algo.impl.holdout_errors(algo.sampler.gather(algo.sampler.held_out))
    close(errors, algo.impl.best_errors)
    assert algo.history[-1]["holdout_error"] == pytest.approx(float(errors.mean()))


def test_inputs_are_scaled_by_the_rows_to_learn_from_and_the_scaler_is_in_the_file(tmp_path):
    data = small_dataset("continuous")
    algo = Dynamics(encoder=TABLE, n_members=2, batch_size=16, seed=0, device="cpu").fit(data, 3, **QUIET)
    rows = algo.sampler.train_rows.numpy()
    inputs = np.concatenate([data.observations[rows], data.actions[rows] / 2], 1)  # Actions of [-2, 2].
    close(algo.impl.input_shift, inputs.mean(0), atol=1e-5)
    close(algo.impl.input_scale, inputs.std(0), atol=1e-5)
    set_constant(algo.impl, [[0.0] * 11] * 2)
    with torch.no_grad():  # The reward is the first input, and each is scaled on its way in.
        algo.impl.mlp.layers[-1].weight[:, 0, 4] = 1.0
    seen, acted = torch.from_numpy(inputs[:3, :4]).float(), torch.from_numpy(inputs[:3, 4:]).float()
    standardised = (inputs[:3, 0] - inputs[:, 0].mean()) / inputs[:, 0].std()
    close(algo.impl.outcomes(seen, acted).means[0, :, 4], standardised, atol=1e-4)
    loaded = offlinekit.load(algo.save(tmp_path / "model.okt"), device="cpu")
    assert isinstance(loaded, Dynamics)
    close(loaded.impl.input_shift, algo.impl.input_shift)
    fixed = Dynamics(encoder=TABLE, n_members=2, learned_bounds=False, seed=0, device="cpu").build(data)
    for whole in (loaded.impl, fixed.impl):
        state = {k: v for k, v in whole.state_tensors().items() if k != "networks.input_shift"}
        with pytest.raises(RuntimeError, match="input_shift"):
            whole.load_state_tensors(state)


def test_files_of_before_load_as_they_were(tmp_path):
    data = small_dataset("continuous")
    old = Dynamics(
        n_elites=None, learned_bounds=False, layer_decay=0.0, scales_inputs=False, holdout=0.0,
        encoder=TABLE, n_members=3, seed=0, **FOR_VALUES,
    ).fit(data, 4, **QUIET)  # fmt: skip
    path = old.save(tmp_path / "old.okt")
    header, tensors = policy_file.read(path, torch.device("cpu"))
    for name in ("n_elites", "learned_bounds", "bound_weight", "layer_decay", "scales_inputs", "holdout", "patience",
                 "max_epochs", "termination", "bootstrap"):  # fmt: skip
        del header["config"][name]
    header["config"]["resample"] = True
    newer = ("networks.best", "networks.input", "networks.epochs")
    tensors = {name: value for name, value in tensors.items() if not name.startswith(newer)}
    policy_file.write(path, {name: value for name, value in header.items() if name != "sha256"}, tensors)
    loaded = Dynamics.load(path, device="cpu")
    assert loaded.bootstrap == "episodes"
    assert loaded.n_simulated == 3
    steps = np.tile(data.observations[:5], (3, 1, 1)), np.tile(data.actions[:5], (3, 1, 1))
    for wanted, found in zip(
        *(a.sample_steps(*steps, np.random.default_rng(0)) for a in (old, loaded)), strict=True
    ):
        np.testing.assert_array_equal(wanted, found)


@pytest.mark.parametrize("members", [0, 2])
def test_steps_are_drawn_from_the_elites(members):
    algo = model(n_members=3, n_elites=2, termination="never")
    quiet = -50.0
    set_constant(algo.impl, [[1.0, 10.0, quiet, quiet], [2.0, 20.0, quiet, quiet], [7.0, 70.0, quiet, quiet]])
    found = algo.impl.imagine(torch.full((2_001, 1), 5.0), torch.zeros(2_001, 1), algo.impl.random, members)
    # Member 0 goes to 6, member 1 to 7, each by a deviation of e^-5; member 2 is no elite.
    which = found.rewards.div(10).round()
    assert set(which.tolist()) == {1.0, 2.0}
    assert 850 < int((which == 1).sum()) < 1_150
    close(found.next_observations[:, 0], 5 + which, atol=0.05)
    assert not bool(found.ends.any())
    assert (found.outcomes is None) is (members == 0)
    few = algo.impl.imagine(torch.zeros(1, 1), torch.zeros(1, 1), algo.impl.random)
    assert few.rewards.shape == (1,)


def test_rows_keep_their_places_if_elites_share_them():
    algo = model(n_members=3, n_elites=3, termination="never")
    with torch.no_grad():
        head = algo.impl.mlp.layers[-1]
        head.weight.zero_()
        head.bias.zero_()
        head.bias[..., 2:] = -50.0
        head.weight[:, 0, 1] = 1.0  # The reward is the observation.
    seen = torch.arange(10.0)[:, None]
    found = algo.impl.imagine(seen, torch.zeros(10, 1), algo.impl.random)
    close(found.rewards, seen[:, 0], atol=0.05)
    close(found.next_observations, seen, atol=0.05)


def test_bounds_of_deviations():
    values = torch.tensor([-100.0, -2.0, 100.0])
    # low + softplus(high - softplus(high - x) - low): -5, nearly -2, and 1 + log(1 + e^-6)
    close(losses.softly_bounded(values, -5.0, 1.0), [-5.0, -2.0001, 1.0025], atol=2e-2)
    inside = losses.softly_bounded(torch.linspace(-50, 50, 101), -5.0, 1.0)
    assert bool((inside.diff() >= 0).all())
    assert float(inside.min()) >= -5.0


def test_discrete_actions_are_inputs_of_their_own():
    algo = DiscreteDynamics(n_members=1, scales_inputs=False, **PLAIN).build(discrete_dataset())
    with torch.no_grad():
        head = algo.impl.mlp.layers[-1]
        head.weight.zero_()
        head.bias.zero_()
        head.weight[0, 2:, 2] = torch.tensor([1.0, 2.0, 3.0])  # The reward is 1, 2, 3 for actions 0, 1, 2.
    found = algo.impl.outcomes(one_hot([0, 1], 2), torch.tensor([2, 0]))
    close(found.means[0], [[0.0, 0.0, 3.0], [0.0, 0.0, 1.0]])


def test_steps_in_the_units_of_the_data():
    # Observations 10 and 30 have mean 20, deviation 10; rewards 1 and 3 mean 2, deviation 1.
    data = MDPDataset(
        np.array([[10.0], [30.0]]), np.array([[-1.0], [1.0]]), np.array([1.0, 3.0]), np.array([0, 1]),
        action_space=Box(-2, 2, (1,)),
    )  # fmt: skip
    old: dict[str, Any] = {"learned_bounds": False, "scales_inputs": False, **FOR_VALUES}
    algo = Dynamics(n_members=2, encoder=TABLE, seed=0, device="cpu", **old).build(data)
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
    for at in (np.full((3, 1), 20.0), np.full((2, 3, 1), 20.0)):  # The same steps of all, or of each its own.
        means, stds = algo.predict_steps(at, np.zeros(at.shape))
        # Member 1 says 20 + 9 * 10 and 2 - 9: what it expects is not cut off.
        np.testing.assert_allclose(means, np.tile([[[25.0, 2.5]], [[110.0, -7.0]]], (1, 3, 1)), rtol=2e-3)
        np.testing.assert_allclose(stds, np.tile([10 * np.exp(-5.0), np.exp(-5.0)], (2, 3, 1)), rtol=1e-2)


def test_learned_deviations_are_the_true_ones_within_a_tenth():
    # s' = s + (0.4 + s / 4) * noise, s in (-1, 1).
    rng = np.random.default_rng(0)
    states = rng.uniform(-1, 1, (20_000, 1))
    data = MDPDataset(
        states, np.zeros_like(states), 0.1 * rng.normal(size=20_000), np.zeros(20_000), timeouts=np.ones(20_000),
        next_observations=states + (0.4 + 0.25 * states) * rng.normal(size=states.shape),
    )  # fmt: skip
    algo = Dynamics(
        encoder={"type": "mlp", "hidden_sizes": [32, 32], "activation": "silu"}, n_members=2, termination="never",
        patience=None, max_epochs=15, batch_size=512, learning_rate=5e-3, seed=0, device="cpu",
    )  # fmt: skip
    algo.fit(data, 10**9, **QUIET)
    at = np.linspace(-0.95, 0.95, 39)[:, None]
    _, stds = algo.predict_steps(at, np.zeros_like(at))
    np.testing.assert_allclose(stds[..., 0].mean(0), 0.4 + 0.25 * at[:, 0], rtol=0.1)
    np.testing.assert_allclose(stds[..., 1].mean(0), 0.1, rtol=0.1)  # Of the reward.


@pytest.mark.parametrize("front", [Dynamics, DiscreteDynamics])
def test_engines_and_resume(front):
    def make(**options: Any) -> Any:
        return front(n_members=3, encoder={"type": "mlp", "hidden_sizes": [8]}, **options)

    check_engines(make)
    check_resume(make)


def test_several_train_side_by_side_and_files_hold_them(tmp_path):
    dataset = small_dataset("continuous")
    small = {"encoder": TABLE, "batch_size": 16, "n_members": 2, "device": "cpu"}
    population = Population([Dynamics(seed=s, **small) for s in range(2)]).fit(dataset, 20, **QUIET)
    assert population.stacks == [[0], [1]]  # Each stops by errors of its own.
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
    """x' = 0.5 x + 0.3 a + noise, reward x + a, an end of its own with probability 0.1; cuts at step 5 or 8."""
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
    # The policy takes a = 1: E r_t = m_t + 1, m_t+1 = 0.5 m_t + 0.3, reached with probability 0.9^t; half of the
    # episodes have 5 steps, half 8.
    means = [float(data.observations[data.episode_starts].mean())]
    for _ in range(7):
        means.append(0.5 * means[-1] + 0.3)
    truth = sum((1.0 if t < 5 else 0.5) * (0.95 * 0.9) ** t * (m + 1) for t, m in enumerate(means))
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
