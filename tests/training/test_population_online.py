"""A population online: members as they would be alone, one that fails, and going on with all."""

from __future__ import annotations

import ast
import itertools
import signal

import pytest
import torch
from populations import same
from walk_env import Walk, recorded_walk

from offlinekit.algos import SAC, TD3, DoubleDQN, MLPEncoder, Population
from offlinekit.errors import TrainingError
from offlinekit.training.online.experience import load_experience

QUICK = {"eval_env": Walk, "eval_episodes": 1, "progress": False, "log_interval": 20, "eval_interval": 40}


def small(seed=1, front=SAC, **options):
    return front(seed=seed, batch_size=8, device="cpu", encoder=MLPEncoder((8,)), **options)


def faulty(member, fault, what="raise"):
    """Returns a function that makes environments; that of one member does something at a step."""
    made = itertools.count()
    return lambda: Walk(fault=fault if next(made) == member else None, what=what)


def still(observations):
    return 0.0 * observations[:, :1]


@pytest.mark.parametrize(
    ("front", "settings"),
    [
        (SAC, {"warmup_steps": 7}),
        (TD3, {"noise": 0.1, "n_envs": 2, "updates_per_step": 0.5, "update_every": 3}),
        (DoubleDQN, {"epsilon": 0.1, "updates_per_step": 2.0}),
        (SAC, {"mixing": (0.75, 0.25), "dataset": recorded_walk(), "guide": still, "guide_steps": 2}),
    ],
)
def test_members_learn_as_one_program_what_they_would_learn_alone(front, settings):
    env = lambda: Walk(discrete=front is DoubleDQN)  # noqa: E731
    how = {**QUICK, "eval_env": env, "out": None, **settings}
    population = Population([small(seed, front) for seed in range(3)]).fit_online(env, 45, **how)
    assert population.stacks == [[0, 1, 2]]
    for seed, member in enumerate(population):
        alone = small(seed, front).fit_online(env, 45, **how)
        assert alone.grad_step > 20
        same(alone, member)
        assert alone.experience.actions == pytest.approx(member.experience.actions, abs=1e-4)
    assert population.history[0][-1]["step"] == 45
    assert population.best() in list(population)


def test_members_differ_in_numbers_and_no_two_share_memory_afterwards():
    members = [small(1, gamma=0.9), small(2, gamma=0.95, actor_learning_rate=1e-2), small(3, front=TD3)]
    population = Population(members).fit_online(Walk, 30, out=None, **QUICK)
    assert population.stacks == [[0, 1], [2]]
    same(small(2, gamma=0.95, actor_learning_rate=1e-2).fit_online(Walk(), 30, out=None, **QUICK), members[1])
    places = [p.untyped_storage().data_ptr() for member in members for p in member.impl.parameters()]
    assert len(set(places)) == len(places)


def test_members_draw_from_one_copy_of_recorded_rows():
    held = []
    look = lambda algo, row: held.append(algo.sampler.recorded.columns)  # noqa: E731
    members = Population([small(1), small(2)])
    given = {**QUICK, "dataset": recorded_walk(), "mixing": "symmetric", "callbacks": [look]}
    members.fit_online(Walk, 6, out=None, **given)
    assert len(held) >= 4
    assert all(columns is held[0] for columns in held)


def test_rows_drawn_by_losses_are_no_stack_and_the_members_learn_alone(caplog):
    caplog.set_level("INFO", logger="offlinekit")
    population = Population([small(1), small(2)]).fit_online(Walk, 30, out=None, priorities="critic", **QUICK)
    assert population.stacks == [[0], [1]]
    assert "each member draws rows by its own losses" in caplog.text
    alone = small(2).fit_online(Walk(), 30, out=None, priorities="critic", **QUICK)
    for name, value in alone.impl.state_tensors().items():
        assert torch.equal(value, population[1].impl.state_tensors()[name]), name


def test_a_member_whose_environment_fails_leaves_the_others_and_can_go_on(tmp_path):
    population = Population.of_seeds(small(), 3)
    with pytest.warns(
        UserWarning, match="member 1 of the population ended: the environment failed after step 20"
    ):
        population.fit_online(faulty(1, 21), 30, out=tmp_path, **QUICK)
    assert list(population.errors) == [1]
    assert [rows[-1]["step"] == 30 for rows in population.history] == [True, False, True]
    assert len(load_experience(population.run_dirs[1])) == 20
    whole = Population.of_seeds(small(), 3).fit_online(Walk, 30, out=None, **QUICK)
    same(whole[2], population[2])
    again = Population([small(1), small(2), small(3)])
    again.fit_online(Walk, 30, resume=population.run_dirs, **QUICK)
    assert [rows[-1]["step"] for rows in again.history] == [30] * 3
    same(whole[0], again[0])  # It had come to its end.
    same(resumed_alone(tmp_path / "alone"), again[1])
    with pytest.raises(ValueError, match="each member has taken 30"):
        Population([small(1), small(2), small(3)]).fit_online(Walk, 30, resume=population.run_dirs, **QUICK)


def resumed_alone(out):
    alone = small(2)
    with pytest.raises(TrainingError, match="the environment failed after step 20"):
        alone.fit_online(Walk(fault=21), 30, out=out, **QUICK)
    return small(2).fit_online(Walk(), 30, resume=alone.run_dir, **QUICK)


@pytest.mark.parametrize("step", [5, 27])
def test_an_interrupt_saves_all_members_which_go_on_together(step, tmp_path):
    population = Population([small(1), small(2), small(3)])
    env = faulty(1, step, lambda: signal.raise_signal(signal.SIGINT))
    settings = {**QUICK, "warmup_steps": 4, "out": tmp_path}
    with pytest.raises(KeyboardInterrupt, match=r"saved; go on with resume=\[") as caught:
        population.fit_online(env, 60, **settings)
    folders = ast.literal_eval(str(caught.value).split("go on with resume=")[1])
    assert [str(folder) for folder in population.run_dirs] == folders
    counts = [len(load_experience(folder)) for folder in folders]
    assert all(step <= count <= step + 5 for count in counts)
    assert len(set(counts)) > 1  # So that one has to catch up.
    whole = Population([small(1), small(2), small(3)]).fit_online(Walk, 60, **settings)
    again = Population([small(1), small(2), small(3)]).fit_online(Walk, 60, **settings, resume=folders)
    assert again.stacks == [[0, 1, 2]]
    for one, other in zip(whole, again, strict=True):
        same(one, other)


def test_members_that_are_out_of_time_end_with_their_episodes_and_go_on(tmp_path):
    population = Population([small(1), small(2)])
    population.fit_online(Walk, 30, out=tmp_path, max_seconds=1e-9, **QUICK)
    assert all(0 < len(member.experience) <= 6 for member in population)
    whole = Population([small(1), small(2)]).fit_online(Walk, 30, out=None, **QUICK)
    again = Population([small(1), small(2)]).fit_online(Walk, 30, resume=population.run_dirs, **QUICK)
    for one, other in zip(whole, again, strict=True):
        same(one, other)


def test_what_members_cannot_share_is_refused():
    members = Population([small(1), small(2)])
    with pytest.raises(ValueError, match="2 members need 2 environments; give env=lambda"):
        members.fit_online(Walk(), 10, out=None)
    with pytest.raises(
        ValueError, match="resume must give the folder of an online run, or None, for each of 2"
    ):
        members.fit_online(Walk, 10, out=None, resume="auto")
    with (
        pytest.warns(UserWarning, match="member . of the population ended"),
        pytest.raises(TrainingError, match="the environment failed after step 0"),
    ):
        members.fit_online(lambda: Walk(fault=1), 10, out=None, **QUICK)
