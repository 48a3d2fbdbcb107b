"""A member of a population is the member trained alone; groups, endings, files and inputs of populations."""

from __future__ import annotations

import importlib.util
import logging
import signal
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

import offlinekit
from offlinekit.algos import (
    BC,
    CQL,
    IQL,
    SAC,
    TD3,
    CNNEncoder,
    DiscreteBC,
    DiscreteCQL,
    DoubleDQN,
    MLPEncoder,
    Population,
    TD3PlusBC,
    catalogue,
)
from offlinekit.algos.torch.sac_impl import SACImpl
from offlinekit.algos.torch.td3_plus_bc_impl import TD3PlusBCImpl
from offlinekit.datasets import MDPDataset
from offlinekit.errors import TrainingError, UnsupportedError
from offlinekit.metrics.reporting import plots
from offlinekit.testing import small_dataset
from offlinekit.training import EarlyStopping
from offlinekit.training.run_folder import checkpoints

TINY = {"encoder": {"type": "mlp", "hidden_sizes": [8]}, "batch_size": 8}
SMALL = {
    "critic_encoder": None,
    "vae_encoder": None,
    "warmup_steps": 2,
    "context": 4,
    "width": 8,
    "n_layers": 1,
}
QUIET = {"out": None, "progress": False}
LOG_OFTEN = {**QUIET, "log_interval": 5}


def same(alone, member):
    """Asserts that two algorithms are in one state, up to rounding, with equal random states and history."""
    expected, found = alone.impl.state_tensors(), member.impl.state_tensors()
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        if name.startswith("random."):
            assert torch.equal(value, found[name]), name
        else:
            torch.testing.assert_close(
                found[name], value, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
            )
    assert torch.equal(alone.sampler.state(), member.sampler.state())
    assert alone.grad_step == member.grad_step
    assert [row.keys() for row in alone.history] == [row.keys() for row in member.history]
    for row, other in zip(alone.history, member.history, strict=True):
        for name in row.keys() - {"time"}:
            assert other[name] == pytest.approx(row[name], rel=1e-3, abs=1e-4), (row["step"], name)


def check_members(make, settings, data, n_steps=20, **fit):
    """Trains members stacked and alone and asserts that they end alike; returns the population."""
    fit = {**LOG_OFTEN, **fit}
    population = Population([make(**own) for own in settings]).fit(data, n_steps, **fit)
    numbers = list(range(len(settings)))
    assert population.stacks == ([numbers] if population[0].impl.stackable else [[n] for n in numbers])
    for member, own in zip(population, settings, strict=True):
        same(make(**own).fit(data, n_steps, **fit), member)
    return population


def variants():
    for name, front in catalogue().items():
        small = {k: v for k, v in SMALL.items() if k in front.hyperparameters()}
        for kind, options in {"mean": {}, "qr": {"q_function": "qr", "n_quantiles": 5}}.items():
            if set(options) <= set(front.hyperparameters()):
                yield pytest.param(front, {**options, **small}, id=f"{name}-{kind}")


# Members equal algorithms trained alone.


@pytest.mark.parametrize(("front", "options"), list(variants()))
def test_seeds(front, options):
    settings = [{"seed": seed} for seed in range(3)]
    check_members(lambda **own: front(**TINY, **options, **own), settings, small_dataset(front.action_kind))


SPREAD = {  # Two values of every number that an algorithm may have.
    "gamma": (0.9, 0.99),
    "tau": (0.5, 0.01),
    "weight_decay": (0.0, 0.1),
    "clip_grad_norm": (0.05, 1.0),
    "learning_rate": (1e-3, 1e-2),
    "actor_learning_rate": (1e-3, 1e-2),
    "critic_learning_rate": (1e-2, 1e-3),
    "value_learning_rate": (1e-2, 1e-3),
    "temperature_learning_rate": (1e-1, 1e-2),
    "alpha_learning_rate": (1e-1, 1e-2),
    "initial_temperature": (1.0, 0.2),
    "target_entropy": (-1.0, -3.0),
    "alpha": (0.5, 5.0),
    "gap_threshold": (0.1, 2.0),
    "temperature": (1.0, 0.3),
    "expectile": (0.7, 0.9),
    "beta": (3.0, 10.0),
    "max_weight": (100.0, 1.1),
    "target_noise": (0.2, 0.4),
    "target_noise_clip": (0.5, 0.1),
    "threshold": (0.3, 0.9),
    "logits_penalty": (0.0, 0.5),
    "eta": (1.0, 0.1),
    "pessimism": (4.0, 1.0),
    "variance_weight": (0.5, 0.1),
    "max_exponent": (7.0, 0.2),
    "behaviour_learning_rate": (1e-2, 1e-3),
    "fraction": (0.4, 1.0),
    "vae_learning_rate": (1e-2, 1e-3),
    "kl_weight": (0.5, 0.1),
    "perturbation": (0.05, 0.5),
    "min_weight": (0.75, 0.3),
    "max_latent": (2.0, 0.5),
    "support_weight": (0.1, 1.0),
    "actor_penalty": (0.01, 1.0),
    "critic_penalty": (0.5, 0.01),
    "actor_tau": (0.005, 0.2),
    "mmd_threshold": (0.05, 0.5),
    "kernel_width": (20.0, 1.0),
    "state_weight": (2.0, 0.1),
    "reference_weight": (0.5, 0.9),
    "td_lambda": (0.95, 0.5),
    "actor_clip_grad_norm": (0.01, 0.25),
    "dropout": (0.1, 0.4),
    "return_scale": (1.0, 10.0),
    "target_return": (3.0, 30.0),
}


@pytest.mark.parametrize(("front", "options"), list(variants()))
def test_every_number_is_a_members_own(front, options):
    numbers = {n: pair for n, pair in SPREAD.items() if n in front.hyperparameters()}
    settings = [{"seed": i, **{n: pair[i] for n, pair in numbers.items()}} for i in range(2)]
    check_members(lambda **own: front(**TINY, **options, **own), settings, small_dataset(front.action_kind))


def test_every_number_of_the_catalogue_is_tried():
    numbers = {
        name
        for front in catalogue().values()
        for name, parameter in front.hyperparameters().items()
        if parameter.kind.startswith("float")
    }
    assert numbers == set(SPREAD)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
@pytest.mark.parametrize("equal_rates", [True, False])
def test_optimizers_decay_and_schedules(optimizer, equal_rates):
    def make(seed):
        rate = 1e-2 if equal_rates else (1e-2, 1e-3, 3e-2)[seed]
        rates = {"actor_learning_rate": rate, "critic_learning_rate": rate, "weight_decay": 0.1 * rate}
        schedules = {"lr_schedule": "cosine", "actor_lr_schedule": "constant"}
        return TD3(seed=seed, optimizer=optimizer, clip_grad_norm=0.3, **rates, **schedules, **TINY)

    check_members(make, [{"seed": seed} for seed in range(3)], small_dataset("continuous"), 30)


def test_a_limit_of_the_norm_for_some_members_only():
    settings = [{"seed": 0, "clip_grad_norm": 0.01}, {"seed": 1, "clip_grad_norm": 0.5}]
    check_members(lambda **own: IQL(**TINY, **own), settings, small_dataset("continuous"))


@pytest.mark.parametrize(
    "options",
    [
        {"soft_backup": True},
        {"max_backup": True},
        {"gap_threshold": 1.0},
        {"gap_threshold": 1.0, "q_function": "qr", "n_quantiles": 3},
    ],
    ids=str,
)
def test_options_of_cql(options):
    settings = [{"seed": seed, "alpha": 1.0 + seed} for seed in range(2)]
    check_members(lambda **own: CQL(**TINY, **options, **own), settings, small_dataset("continuous"))


def test_gaussian_cloning_and_delay_and_n_step():
    data = small_dataset("continuous")
    check_members(lambda **own: BC(policy="gaussian", **TINY, **own), [{"seed": 0}, {"seed": 4}], data)
    ordered = MDPDataset(
        data.observations, data.actions, data.rewards, data.terminals, timeouts=data.timeouts
    )
    settings = [{"seed": 0, "gamma": 0.9}, {"seed": 1, "gamma": 0.99}, {"seed": 2, "gamma": 0.9}]
    check_members(lambda **own: TD3(policy_delay=3, n_step=3, **TINY, **own), settings, ordered)


def test_bootstrap_masks_and_scalers():
    data = small_dataset("discrete")
    masked = MDPDataset(
        data.observations,
        data.actions,
        data.rewards,
        data.terminals,
        timeouts=data.timeouts,
        create_mask=True,
        mask_size=3,
    )
    options = {"n_critics": 3, "observation_scaler": "standard", "reward_scaler": "standard"}
    settings = [{"seed": 0, "gamma": 0.5}, {"seed": 1}]
    check_members(lambda **own: DiscreteCQL(**options, **TINY, **own), settings, masked)


def test_layer_norm_and_dropout_draw_from_each_members_generator():
    encoder = MLPEncoder((8, 8), layer_norm=True, dropout=0.3, activation="tanh")
    make = lambda **own: SAC(encoder=encoder, batch_size=8, **own)  # noqa: E731
    check_members(make, [{"seed": 0}, {"seed": 1}], small_dataset("continuous"))


def test_images_in_a_dict_with_dropout_in_each_critics_own_convolutions():
    rng = np.random.default_rng(0)
    observations = {
        "image": rng.integers(0, 255, (24, 1, 10, 10), dtype=np.uint8),
        "vector": rng.normal(size=(24, 3)).astype(np.float32),
    }
    ends = np.arange(24) % 12 == 11
    data = MDPDataset(observations, rng.uniform(-1, 1, (24, 2)).astype(np.float32), rng.normal(size=24), ends)
    encoder = CNNEncoder((8,), filters=((4, 4, 2),), dropout=0.2)
    make = lambda **own: TD3(encoder=encoder, batch_size=6, **own)  # noqa: E731
    check_members(make, [{"seed": 0}, {"seed": 1}], data, 6)


class Transposed(torch.nn.Module):
    """Features whose gradient comes back transposed, normalised over the batch, with dropout inside."""

    def __init__(self, space):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(6, space.shape[0]).normal_())
        self.norm = torch.nn.BatchNorm1d(6)
        self.dropout = torch.nn.Dropout(0.2)

    def forward(self, observations):
        return self.dropout(self.norm((self.weight @ observations.T).T))


def test_a_users_module_with_buffers_and_random_numbers_of_its_own():
    make = lambda **own: TD3PlusBC(encoder=Transposed, batch_size=8, optimizer="sgd", **own)  # noqa: E731
    settings = [{"seed": 0, "tau": 0.1}, {"seed": 1, "tau": 0.2}]
    population = check_members(make, settings, small_dataset("continuous"))
    assert population[0].impl.q.network.trunk.module__norm__num_batches_tracked[0] > 0


def test_the_custom_algorithm_of_the_examples():
    path = Path(__file__).parents[2] / "examples" / "custom_algorithm.py"
    spec = importlib.util.spec_from_file_location("custom_algorithm", path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    make = lambda **own: SAC(impl_class=example.CautiousSACImpl, **TINY, **own)  # noqa: E731
    settings = [{"seed": 0}, {"seed": 1, "initial_temperature": 0.1}]
    population = check_members(make, settings, small_dataset("continuous"))
    assert "cloning" in population.history[0][0]


# What cannot be stacked trains as usual.


def test_members_of_other_structure_go_into_other_stacks():
    members = [
        {"seed": 0},
        {"seed": 1, "encoder": MLPEncoder((4,))},
        {"seed": 2, "gamma": 0.9},
        {"seed": 3, "n_critics": 2},
        {"seed": 4, "encoder": MLPEncoder((4,)), "tau": 0.5},
        {"seed": 5, "clip_grad_norm": 1.0},
    ]
    data = small_dataset("discrete")
    makes = [lambda own=own: DoubleDQN(**{**TINY, **own}) for own in members]
    makes.append(lambda: DiscreteCQL(seed=0, **TINY))
    population = Population([make() for make in makes]).fit(data, 12, **LOG_OFTEN)
    assert population.stacks == [[0, 2], [1, 4], [3], [5], [6]]
    for member, make in zip(population, makes, strict=True):
        same(make().fit(data, 12, **LOG_OFTEN), member)


class CountingImpl(TD3PlusBCImpl):
    def compute_actor_loss(self, batch):
        cloning = (self.policy(batch.observations) - batch.actions).square().mean()
        return cloning if self.grad_step < 5 else super().compute_actor_loss(batch)


class BranchingImpl(TD3PlusBCImpl):
    def compute_actor_loss(self, batch):
        return super().compute_actor_loss(batch)[0] * (2.0 if self.config.alpha > 1 else 1.0)


class DrawingImpl(TD3PlusBCImpl):
    def compute_actor_loss(self, batch):
        rows = torch.randperm(len(batch.rewards), generator=self.random.generator)
        return super().compute_actor_loss(batch)[0] + self.policy(batch.observations)[rows][0].mean()


@pytest.mark.parametrize("impl", [CountingImpl, BranchingImpl, DrawingImpl])
def test_losses_that_cannot_be_recorded_train_alone_and_the_log_says_why(impl, caplog):
    caplog.set_level(logging.INFO, "offlinekit")
    data = small_dataset("continuous")
    settings = [{"seed": 0, "alpha": 0.5}, {"seed": 1, "alpha": 4.0}]
    make = lambda **own: TD3PlusBC(impl_class=impl, **TINY, **own)  # noqa: E731
    population = Population([make(**own) for own in settings]).fit(data, 12, **QUIET)
    assert population.stacks == [[0], [1]]
    reason = {CountingImpl: "grad_step", BranchingImpl: "data-dependent", DrawingImpl: "randperm"}[impl]
    assert any("population not stacked" in text and reason in text for text in caplog.messages), (
        caplog.messages
    )
    for member, own in zip(population, settings, strict=True):
        same(make(**own).fit(data, 12, **QUIET), member)


def test_a_branch_on_a_number_that_members_share_is_stacked():
    make = lambda **own: TD3PlusBC(impl_class=BranchingImpl, alpha=4.0, **TINY, **own)  # noqa: E731
    check_members(make, [{"seed": 0}, {"seed": 1}], small_dataset("continuous"))


class BrokenImpl(SACImpl):
    def compute_actor_loss(self, batch):
        return self.config.no_such_number * batch.rewards.mean()


def test_an_error_of_the_losses_comes_out_as_it_is():
    population = Population([SAC(impl_class=BrokenImpl, seed=s, **TINY) for s in range(2)])
    with pytest.raises(AttributeError, match="no_such_number"):
        population.fit(small_dataset("continuous"), 3, **QUIET)


# The run.


def test_no_global_random_number_is_drawn_and_two_populations_are_equal():
    before = torch.random.get_rng_state()
    make = lambda: Population([SAC(seed=s, **TINY) for s in range(2)])  # noqa: E731
    first, second = (make().fit(small_dataset("continuous"), 10, **QUIET) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    for one, other in zip(first, second, strict=True):
        for name, value in one.impl.state_tensors().items():
            assert torch.equal(value, other.impl.state_tensors()[name]), name


def test_fit_goes_on_and_files_go_on(tmp_path):
    data = small_dataset("continuous")
    make = lambda seed: IQL(seed=seed, actor_lr_schedule="constant", **TINY)  # noqa: E731
    population = Population([make(seed) for seed in range(3)]).fit(data, 7, **QUIET)
    loaded = offlinekit.load(population[2].save(tmp_path / "member.okt")).fit(data, 8, **QUIET)
    population.fit(data, 8, **QUIET)
    for seed, member in enumerate(population):
        same(make(seed).fit(data, 7, **QUIET).fit(data, 8, **QUIET), member)
    same(loaded, population[2])
    np.testing.assert_allclose(
        loaded.predict(data.observations), population[2].predict(data.observations), rtol=1e-4, atol=1e-5
    )


def test_members_of_other_age_are_not_stacked():
    data = small_dataset("continuous")
    older = TD3(seed=0, **TINY).fit(data, 3, **QUIET)
    population = Population([older, TD3(seed=1, **TINY), TD3(seed=2, **TINY)]).fit(data, 6, **QUIET)
    assert population.stacks == [[0], [1, 2]]
    assert [algo.grad_step for algo in population] == [9, 6, 6]
    same(TD3(seed=0, **TINY).fit(data, 3, **QUIET).fit(data, 6, **QUIET), older)


def test_each_member_has_a_run_folder_with_its_own_metrics_and_policies(tmp_path):
    env = gymnasium.make("CartPole-v1")
    data = cartpole_data()
    settings = {"eval_env": env, "eval_interval": 6, "eval_episodes": 2, "log_interval": 4, "progress": False}
    make = lambda seed: DoubleDQN(seed=seed, learning_rate=1e-2, **TINY)  # noqa: E731
    population = Population([make(seed) for seed in range(3)]).fit(data, 12, out=tmp_path, **settings)
    assert len(set(population.run_dirs)) == 3
    for seed, member in enumerate(population):
        alone = make(seed).fit(data, 12, out=tmp_path / "alone", **settings)
        same(alone, member)
        assert [path.name for path in checkpoints(member.run_dir)] == [
            path.name for path in checkpoints(alone.run_dir)
        ]
        for name in ("config.json", "system.json", "metrics.csv", "policy.okt", "best.okt"):
            assert (member.run_dir / name).is_file(), name
        assert len((member.run_dir / "metrics.csv").read_text().splitlines()) == 5
        assert offlinekit.load(member.run_dir / "policy.okt").grad_step == 12
        assert offlinekit.load(member.run_dir / "policy.okt").seed == seed
    (curve,) = plots.read_curves(population.run_dirs)
    assert (curve.label, curve.y.shape) == ("DoubleDQN", (3, 2))


def cartpole_data():
    env = gymnasium.make("CartPole-v1")
    env.action_space.seed(0)
    columns = [], [], [], []
    observation, _ = env.reset(seed=0)
    for _ in range(60):
        action = env.action_space.sample()
        following, reward, terminal, _, _ = env.step(action)
        for column, value in zip(columns, (observation, action, reward, terminal), strict=True):
            column.append(value)
        observation = env.reset()[0] if terminal else following
    return MDPDataset(*map(np.array, columns), name="cartpole")


def test_the_generator_gives_rows_by_member():
    population = Population(
        [DoubleDQN(seed=0, **TINY), DoubleDQN(seed=1, **TINY), DiscreteBC(seed=0, **TINY)]
    )
    found = list(population.fitter(small_dataset("discrete"), 7, log_interval=4, **QUIET))
    assert [(step, sorted(rows)) for step, rows in found] == [
        (4, [0, 1]),
        (4, [2]),
        (7, [0, 1]),
        (7, [2]),
    ]
    assert set(found[0][1][1]) == {"time", "critic_loss", "value_estimate", "value_diverged"}
    assert found[0][1][1]["critic_loss"] == population.history[1][0]["critic_loss"]


def test_resume_goes_on_from_the_checkpoints(tmp_path):
    data = small_dataset("continuous")
    settings = {"out": tmp_path, "progress": False, "log_interval": 4, "checkpoint_interval": 5}
    make = lambda: Population([TD3PlusBC(seed=s, alpha=1.0 + s, **TINY) for s in range(2)])  # noqa: E731
    whole, broken = make().fit(data, 12, **settings), make()
    for step, _ in broken.fitter(data, 12, **settings):
        if step == 8:
            break
    resumed = make().fit(data, 12, resume=broken.run_dirs, **settings)
    assert resumed.stacks == [[0, 1]]
    assert resumed.run_dirs == broken.run_dirs
    for one, other in zip(whole, resumed, strict=True):
        same(one, other)
    alone = TD3PlusBC(seed=1, alpha=2.0, **TINY)
    same(alone.fit(data, 14, resume=whole.run_dirs[1], **settings), make().fit(data, 14, **settings)[1])


def test_ctrl_c_saves_every_member(tmp_path):
    data, calls = small_dataset("continuous"), []

    def interrupting(algo, _):
        calls.append(algo.seed)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return 0.0

    settings = {"out": tmp_path, "progress": False, "eval_interval": 5, "checkpoint_interval": 100}
    make = lambda: Population([*(TD3(seed=s, **TINY) for s in range(2)), BC(seed=0, **TINY)])  # noqa: E731
    population = make()
    with pytest.raises(KeyboardInterrupt, match="go on with resume="):
        population.fit(data, 10, evaluators={"zero": interrupting}, **settings)
    assert calls == [0, 1, 0]
    assert all(checkpoints(folder) for folder in population.run_dirs)
    whole = make().fit(data, 10, evaluators={"zero": lambda *_: 0.0}, **settings)
    resumed = make().fit(
        data, 10, evaluators={"zero": lambda *_: 0.0}, resume=population.run_dirs, **settings
    )
    for one, other in zip(whole, resumed, strict=True):
        same(one, other)


def test_members_stop_early_by_their_own_history():
    data, stopping = small_dataset("discrete"), EarlyStopping("score", patience=1, maximize=True)
    settings = {
        "evaluators": {"score": lambda algo, _: -algo.grad_step if algo.seed == 1 else algo.grad_step},
        "eval_interval": 3,
        "early_stopping": stopping,
    }
    settings |= QUIET
    make = lambda seed: DoubleDQN(seed=seed, **TINY)  # noqa: E731
    population = Population([make(seed) for seed in range(3)]).fit(data, 12, **settings)
    assert [algo.grad_step for algo in population] == [12, 6, 12]
    assert not population.errors
    for seed, member in enumerate(population):
        same(make(seed).fit(data, 12, **settings), member)


def test_a_member_that_diverges_leaves_the_others_alone(tmp_path):
    data = small_dataset("continuous")
    settings = {"log_interval": 50, "out": tmp_path, "progress": False}
    make = lambda seed, rate: BC(seed=seed, learning_rate=rate, optimizer="sgd", **TINY)  # noqa: E731
    population = Population([make(0, 1e-2), make(1, 1e30), make(2, 1e-2)])
    with pytest.warns(UserWarning, match="member 1 of the population ended: actor_loss is no longer finite"):
        population.fit(data, 120, **settings)
    assert list(population.errors) == [1]
    assert str(population.run_dirs[1]) in str(population.errors[1])
    assert not (population.run_dirs[1] / "policy.okt").exists()
    for member in (0, 2):
        same(make(member, 1e-2).fit(data, 120, **settings), population[member])
    assert population.best("actor_loss") in (population[0], population[2])


def test_a_population_without_survivors_raises():
    population = Population([BC(seed=s, learning_rate=1e30, optimizer="sgd", **TINY) for s in range(2)])
    with (
        pytest.warns(UserWarning, match="member . of the population ended"),
        pytest.raises(TrainingError, match="no longer finite"),
    ):
        population.fit(small_dataset("continuous"), 120, **QUIET)


def test_columns_are_shared_by_members_that_need_the_same():
    data = small_dataset("continuous")
    members = [TD3(seed=s, gamma=g, **TINY) for s, g in enumerate((0.9, 0.99, 0.9))]
    population = Population(members).fit(data, 2, **QUIET)
    first, second, third = (algo.sampler for algo in population)
    assert first.columns is third.columns
    assert first.columns is not second.columns


# Sugar and inputs.


def test_fit_with_seeds_is_a_population_of_them():
    data = small_dataset("continuous")
    algo = TD3PlusBC(seed=5, alpha=1.0, **TINY)
    population = algo.fit(data, 8, seeds=3, **QUIET)
    assert isinstance(population, Population)
    assert population[0] is algo
    assert [member.seed for member in population] == [5, 6, 7]
    assert population.stacks == [[0, 1, 2]]
    same(TD3PlusBC(seed=7, alpha=1.0, **TINY).fit(data, 8, **QUIET), population[2])


def test_best_by_the_last_value():
    population = Population([DoubleDQN(seed=s, **TINY) for s in range(3)])
    with pytest.raises(ValueError, match="no member has measured 'eval/return_mean'; they have: nothing yet"):
        population.best()
    scores = {0: [5.0, 1.0], 1: [0.0, 3.0], 2: [4.0, 2.0]}
    for seed, own in scores.items():
        population[seed].history = [{"step": i, "score": value} for i, value in enumerate(own)]
    population[2].history.append({"step": 3, "loss": 0.0})
    assert population.best("score", maximize=True) is population[1]
    population[1].history.append(
        {"step": 4, "score": float("nan")}
    )  # Not a number is never the best, or the worst.
    assert population.best("score", maximize=True) is population[2]
    del population[1].history[-1]
    with pytest.raises(ValueError, match="nothing says whether more of 'score' is better; give maximize="):
        population.best("score")
    assert population.best("score", maximize=False) is population[0]
    with pytest.raises(ValueError, match="no member has measured 'scores'; did you mean 'score'"):
        population.best("scores")


@pytest.mark.parametrize(
    ("members", "error", "message"),
    [
        (lambda: [], ValueError, "at least one algorithm, got none"),
        (lambda: [BC(seed=0), "IQL"], TypeError, r"member 1 of a population must be an algorithm.*got 'IQL'"),
        (lambda: [BC(seed=0)] * 2, ValueError, "member 1 is in the population twice"),
    ],
)
def test_wrong_members(members, error, message):
    with pytest.raises(error, match=message):
        Population(members())


def test_wrong_data_and_settings_are_found_before_anything_is_written(tmp_path):
    data = small_dataset("continuous")
    mixed = Population([BC(seed=0, **TINY), DiscreteBC(seed=0, **TINY)])
    with pytest.raises(UnsupportedError, match="DiscreteBC learns discrete actions"):
        mixed.fit(data, 2, out=tmp_path, progress=False)
    population = Population([BC(seed=s, **TINY) for s in range(2)])
    with pytest.raises(ValueError, match="resume must give a run folder for each of 2 members"):
        population.fit(data, 2, resume="runs/BC", out=tmp_path)
    with pytest.raises(ValueError, match="n_steps must be at least 1, got 0"):
        population.fit(data, 0, out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_wrong_seeds():
    data = small_dataset("continuous")
    with pytest.raises(ValueError, match="seeds must be at least 1, got 0"):
        BC(**TINY).fit(data, 2, seeds=0)
    with pytest.raises(TypeError, match=r"seeds must be a number of seeds, such as 8, got \[0, 1\]"):
        BC(**TINY).fit(data, 2, seeds=[0, 1])
    trained = BC(**TINY).fit(data, 2, **QUIET)
    with pytest.raises(ValueError, match="this BC has taken 2 updates"):
        trained.fit(data, 2, seeds=2)
