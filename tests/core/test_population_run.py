"""Runs of populations: folders, resuming, endings of one member, seeds, and inputs."""

from __future__ import annotations

import signal

import gymnasium
import numpy as np
import pytest
import torch
from populations import QUIET, TINY, same

import offlinekit
from offlinekit.algos import BC, IQL, SAC, TD3, DiscreteBC, DoubleDQN, Population, TD3PlusBC
from offlinekit.datasets import MDPDataset
from offlinekit.errors import TrainingError, UnsupportedError
from offlinekit.metrics.reporting import plots
from offlinekit.testing import small_dataset
from offlinekit.training import EarlyStopping
from offlinekit.training.run_folder import checkpoints


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
        if algo.grad_step:  # Not when it is tried.
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
    with pytest.raises(ValueError, match=r"nothing says whether more of 'score' is better.*give maximize="):
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
    with pytest.raises(ValueError, match=r"n_steps must be in \[1, inf\), got 0"):
        population.fit(data, 0, out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_wrong_seeds():
    data = small_dataset("continuous")
    for wrong in (0, 10**9):
        with pytest.raises(ValueError, match=f"seeds must be 1 to 10,000, got {wrong}"):
            BC(**TINY).fit(data, 2, seeds=wrong)
    with pytest.raises(TypeError, match=r"seeds must be a number of seeds, such as 8, got \[0, 1\]"):
        BC(**TINY).fit(data, 2, seeds=[0, 1])
    trained = BC(**TINY).fit(data, 2, **QUIET)
    with pytest.raises(ValueError, match="this BC has taken 2 updates"):
        trained.fit(data, 2, seeds=2)
