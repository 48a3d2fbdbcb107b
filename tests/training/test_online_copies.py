"""Copies of algorithms that were online, are online, or came from files train on to the bits of the original."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from walk_env import Walk, recorded_walk

import offlinekit
from offlinekit.algos import SAC, TD3, DoubleDQN, MLPEncoder, Population

QUIET: dict[str, Any] = {"out": None, "progress": False, "log_interval": 5}
WAYS: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda algo: pickle.loads(pickle.dumps(algo)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


class Doubled(nn.Module):
    """An encoder of the user's."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.layer, self.size = nn.Linear(size, 5), 5

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.layer(2 * seen))


def doubled(space: Any) -> nn.Module:
    """Makes one, at the top of a module, where pickle finds it."""
    return Doubled(space.shape[0])


def learner(front: Any = SAC, **options: Any) -> Any:
    return front(**{"seed": 0, "batch_size": 4, "encoder": MLPEncoder((4,)), "device": "cpu", **options})


def online(algo: Any, n_steps: int = 14) -> Any:
    discrete = isinstance(algo, DoubleDQN)
    return algo.fit_online(Walk(discrete), n_steps, eval_env=Walk(discrete), eval_episodes=1, **QUIET)


def paused(algo: Any) -> Any:
    """Leaves a run within it: its memory holds rows, its sampler has drawn."""
    run = algo.fitter_online(Walk(), 14, dataset=recorded_walk(), eval_env=Walk(), eval_episodes=1, **QUIET)
    for step, _ in run:
        if step >= 5:
            break
    algo.paused = run
    return algo


def loaded(algo: Any, folder: Path) -> Any:
    return offlinekit.load(online(algo).save(folder / "x.okt"), device="cpu")


def exported(algo: Any, folder: Path) -> Any:
    online(algo).export(folder / "x.safetensors")
    return algo


STATES: dict[str, Callable[[Path], Any]] = {
    "online": lambda _: online(learner()),
    "online with discrete actions": lambda _: online(learner(DoubleDQN)),
    "online after offline": lambda _: online(learner(TD3).fit(recorded_walk(), 3, **QUIET)),
    "offline after online": lambda _: online(learner()).fit(recorded_walk(), 3, value_alarm="off", **QUIET),
    "with returns of several steps": lambda _: online(learner(TD3, n_step=3)),
    "with an encoder of the user's": lambda _: online(learner(encoder=doubled)),
    "loaded": lambda folder: loaded(learner(), folder),
    "exported": lambda folder: exported(learner(), folder),
}


def assert_same(first: Any, second: Any) -> None:
    ours, theirs = first.impl.state_tensors(), second.impl.state_tensors()
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


@pytest.mark.filterwarnings("ignore:this call begins a new memory")
@pytest.mark.parametrize("state", list(STATES))
def test_copies_go_on_online(state: str, tmp_path: Path) -> None:
    original = STATES[state](tmp_path)
    copies = [way(original) for way in WAYS.values()]
    before = [
        None if algo.experience is None else algo.experience.rewards.tolist() for algo in (original, *copies)
    ]
    assert before == before[:1] * 4
    for algo in (original, *copies):
        online(algo)
    for twin in copies:
        assert_same(original, twin)
        np.testing.assert_array_equal(original.experience.rewards, twin.experience.rewards)


def test_copies_of_a_run_under_way_stand_alone() -> None:
    original = paused(learner())
    run = vars(original).pop("paused")
    copies = [way(original) for way in WAYS.values()]
    held = {name: value.clone() for name, value in copies[0].impl.state_tensors().items()}
    list(run)
    for twin in copies:
        assert all(torch.equal(value, held[name]) for name, value in twin.impl.state_tensors().items())
        twin.batch_size = 8  # No run holds it.
        online(twin)
    assert_same(copies[0], copies[1])
    assert_same(copies[0], copies[2])


@pytest.mark.parametrize("way", list(WAYS))
def test_copies_of_a_population_that_was_online(way: str) -> None:
    original = Population([learner(seed=0), learner(seed=1)]).fit_online(Walk, 12, **QUIET)
    twin = WAYS[way](original)
    for population in (original, twin):
        population.fit(recorded_walk(), 4, value_alarm="off", **QUIET)
    for first, second in zip(original.algos, twin.algos, strict=True):
        assert_same(first, second)
