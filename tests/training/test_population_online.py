"""A population online: members as they would be alone, one that fails, and going on with all."""

from __future__ import annotations

import ast
import itertools
import signal

import pytest
import torch
from walk_env import Walk

from offlinekit.algos import SAC, MLPEncoder, Population
from offlinekit.errors import TrainingError

QUICK = {"eval_env": Walk, "eval_episodes": 1, "progress": False, "log_interval": 20, "eval_interval": 40}


def small(seed=1):
    return SAC(seed=seed, batch_size=8, device="cpu", encoder=MLPEncoder((8,)))


def same(first, second):
    for name, value in first.impl.state_tensors().items():
        assert torch.equal(value, second.impl.state_tensors()[name]), name


def faulty(member, fault, what="raise"):
    """Returns a function that makes environments; that of one member does something at a step."""
    made = itertools.count()
    return lambda: Walk(fault=fault if next(made) == member else None, what=what)


def test_members_are_as_they_would_be_alone():
    population = Population.of_seeds(small(), 2).fit_online(Walk, 30, out=None, **QUICK)
    for seed, member in enumerate(population, 1):
        same(member, small(seed).fit_online(Walk(), 30, out=None, **QUICK))
    assert population.history[0][-1]["step"] == 30
    assert population.best() in list(population)


def test_a_member_whose_environment_fails_leaves_the_others_and_can_go_on(tmp_path):
    population = Population.of_seeds(small(), 3)
    with pytest.warns(
        UserWarning, match="member 1 of the population ended: the environment failed after step 20"
    ):
        population.fit_online(faulty(1, 21), 30, out=tmp_path, **QUICK)
    assert list(population.errors) == [1]
    assert [rows[-1]["step"] == 30 for rows in population.history] == [True, False, True]
    again = Population([small(1), small(2), small(3)])
    again.fit_online(Walk, 30, resume=population.run_dirs, **QUICK)
    assert again[1].history[-1]["step"] == 30
    assert again[0].grad_step == 0  # It had come to its end.
    with pytest.raises(ValueError, match="each member has taken 30"):
        Population([small(1), small(2), small(3)]).fit_online(Walk, 30, resume=population.run_dirs, **QUICK)


def test_an_interrupt_names_the_folders_to_go_on_with(tmp_path):
    population = Population([small(1), small(2), small(3)])
    env = faulty(1, 5, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt, match=r"in member 1; all go on with resume=\[") as caught:
        population.fit_online(env, 30, out=tmp_path, **QUICK)
    folders = ast.literal_eval(str(caught.value).split("all go on with resume=")[1])
    assert folders[2] is None
    whole = Population([small(1), small(2), small(3)])
    whole.fit_online(Walk, 30, out=None, **QUICK)
    again = Population([small(1), small(2), small(3)]).fit_online(
        Walk, 30, out=tmp_path, resume=folders, **QUICK
    )
    same(whole[1], again[1])
    same(whole[2], again[2])


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
