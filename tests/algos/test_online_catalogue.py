"""Every algorithm that learns from transitions acts and learns online, after data and from nothing."""

from __future__ import annotations

import json
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from catalogue_variants import SMALL
from gymnasium import spaces
from walk_env import Walk, recorded_walk

from offlinekit.algos import ReBRAC, catalogue
from offlinekit.core.bases.chunking import Chunking
from offlinekit.datasets import MDPDataset
from offlinekit.errors import TrainingWarning, UnsupportedError
from offlinekit.training.engines.recorded_policy import RecordedPolicy
from offlinekit.training.engines.replay import RECORD_AT
from offlinekit.training.online.online_settings import OnlineSettings
from offlinekit.training.setup.settings import completed

QUICK = {"progress": False, "out": None, "warmup_steps": 6, "random_steps": 0, "updates_per_step": 2.0}


def recorded(front) -> MDPDataset:
    if front.action_kind == "continuous":
        return recorded_walk()
    rng, n = np.random.default_rng(0), 24
    ends = np.arange(n) % 4 == 3
    space = spaces.Discrete(3)
    return MDPDataset(
        rng.normal(size=(n, 2)), np.arange(n) % 3, rng.normal(size=n), np.zeros(n), ends, action_space=space
    )


def small(front):
    known = front.hyperparameters()
    sizes = {**SMALL, "n_actions": 2, "n_agents": 2}
    options = {name: value for name, value in sizes.items() if name in known}
    if issubclass(front, Chunking):
        options["n_step"] = 2  # Episodes are of four steps.
    return front(seed=0, batch_size=8, device="cpu", **options)


@pytest.mark.parametrize(("name", "front"), catalogue().items(), ids=list(catalogue()))
def test_acts_and_learns(name, front):
    algo, data, env = small(front), recorded(front), Walk(discrete=front.action_kind == "discrete")
    algo.fit(data, 4, out=None, progress=False, value_alarm="off")
    if front.family in ("SEQ", "TEXT"):
        with pytest.raises(UnsupportedError, match="learns from windows of trajectories"):
            algo.fit_online(env, 10, dataset=data, **QUICK)
        return
    before = {key: value.clone() for key, value in algo.impl.state_dict().items()}
    with warned_of_the_model(front):
        algo.fit_online(env, 16, dataset=data, **QUICK)
    # Ten steps after the warm-up, with two updates each.
    assert algo.grad_step == 4 + 20
    assert len(algo.experience) == 16
    assert all(env.action_space.contains(action) for action in algo.experience.actions)
    assert any(not torch.equal(before[key], value) for key, value in algo.impl.state_dict().items())
    assert algo.impl.is_online is False
    if not algo.is_stateful:
        assert_acts_the_same_recorded(algo, data)


def warned_of_the_model(front):
    """Expects a warning that no rollouts are made of those that learn inside a model, and none of the others."""
    if front.family != "MB":
        return nullcontext()
    return pytest.warns(TrainingWarning, match=f"{front.__name__} makes no rollouts online")


def assert_acts_the_same_recorded(algo, data):
    """Checks that actions are recorded, and that they are those of the policy as it is written."""
    policy = RecordedPolicy(algo.impl.sample_action, algo.impl)
    with torch.no_grad():
        for row in range(RECORD_AT + 3):
            seen = torch.as_tensor(data.observations[row : row + 1], dtype=torch.float32)
            state = algo.impl.random.state()
            acted = policy(seen)
            algo.impl.random.set_state(state)
            assert torch.equal(acted, algo.impl.sample_action(seen))
    assert policy.checked


@pytest.mark.parametrize("front", catalogue().values(), ids=list(catalogue()))
def test_its_own_settings_are_settings_of_an_online_run(front):
    completed(front.online_settings, OnlineSettings, "fit_online")


def test_given_settings_come_before_those_of_the_algorithm(tmp_path):
    seen = []
    for given in ({}, {"mixing": "append"}):
        algo = small(ReBRAC).fit(recorded_walk(), 2, out=None, progress=False, value_alarm="off")
        algo.fit_online(Walk(), 8, dataset=recorded_walk(), out=tmp_path, progress=False, **given)
        seen.append(json.loads((algo.run_dir / "config.json").read_text())["mixing"])
    assert seen == ["symmetric", "append"]
