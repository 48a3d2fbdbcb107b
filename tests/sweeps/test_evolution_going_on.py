"""An evolution goes on with what it was begun with: data, members, environment, fitness; factories are given again."""

from __future__ import annotations

import json
import re
import shutil

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

from offlinekit.algos import DQN, FQE, IQL, DiscreteCQL
from offlinekit.datasets import MDPDataset
from offlinekit.directions import more_is_better
from offlinekit.errors import DatasetError
from offlinekit.nn.encoders import MLPEncoder
from offlinekit.sweeps import PBT, EnvironmentFitness, Evolution, OfflineFitness, Range
from offlinekit.testing import small_dataset

QUIET = {"progress": False, "steps": 3}
UNNAMED = "ignore:a policy file holds the name of its"  # Factories are given again.
SEARCH = {"learning_rate": Range(1e-4, 1e-2, log=True)}


@more_is_better
def start_value(algo, data):
    return float(algo.predict_value(data.observations[:1])[0])


@more_is_better
def end_value(algo, data):
    return float(algo.predict_value(data.observations[-1:])[0])


def make(**given):
    return DiscreteCQL(**{"seed": 0, "batch_size": 8, "encoder": MLPEncoder((16, 16)), **given})


def evolve(dataset, scheduler=None, fitness=start_value, members=None, generations=2, **given):
    scheduler = scheduler or PBT(search=SEARCH, seed=1)
    members = scheduler.population(make(), 3) if members is None else members
    how = {**QUIET, "fitness": fitness, "generations": generations, **given}
    return scheduler.fit(members, dataset, **how)


def bits(members):
    return [t.clone() for member in members for t in member.impl.state_tensors().values()]


def same(one, other):
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture(scope="module")
def dataset():
    return small_dataset("discrete")


@pytest.fixture(scope="module")
def first(dataset, tmp_path_factory):
    return evolve(dataset, generations=1, out=tmp_path_factory.mktemp("evolved")).run_dir


@pytest.fixture
def folder(first, tmp_path):
    return shutil.copytree(first, tmp_path / "run")


def columns(dataset, **other):
    names = ("observations", "actions", "rewards", "terminals")
    own = {name: getattr(dataset, name) for name in names}
    return MDPDataset(**{**own, "timeouts": dataset.timeouts, "action_space": dataset.action_space, **other})


def test_other_data_of_the_same_name_are_refused_by_their_hash(dataset, folder):
    other = columns(dataset, rewards=dataset.rewards * 100, name=dataset.name)
    with pytest.raises(DatasetError, match=r"other data than 'small.*' \(hashes data2:.* load a member"):
        evolve(other, resume=folder)


def test_the_same_data_go_on_by_another_name_with_the_same_bits(dataset, folder):
    renamed = columns(dataset, final_observations=dataset.final_observations, name="renamed")
    assert same(bits(evolve(renamed, resume=folder).population), bits(evolve(dataset, out=None).population))


def test_other_hyperparameters_of_members_are_refused_by_name(dataset, folder):
    members = PBT(search=SEARCH, seed=1).population(make(batch_size=16, gamma=0.5), 3)
    with pytest.raises(
        ValueError, match=r"^member 0 of .* was begun with other batch_size, gamma; go on with"
    ):
        evolve(dataset, members=members, resume=folder)
    others = [DQN(seed=n, batch_size=8, learning_rate=1e-3) for n in range(3)]
    with pytest.raises(ValueError, match="is of DiscreteCQL, not of DQN"):
        evolve(dataset, members=others, resume=folder)


def test_what_is_searched_and_what_members_have_become_may_be_given(dataset, folder):
    whole = evolve(dataset, out=None)
    members = [make(learning_rate=2e-3, seed=n) for n in range(3)]
    assert same(bits(evolve(dataset, members=members, resume=folder).population), bits(whole.population))


def test_members_whose_networks_have_grown_go_on_as_they_were_given_and_as_they_are(dataset, tmp_path):
    scheduler = Evolution(
        seed=0, architecture=1.0, no_mutation=0.0, parameters=0.0, hyperparameter=0.0, elitism=False
    )
    members = [make(seed=n) for n in range(3)]
    grown = evolve(dataset, scheduler=scheduler, members=members, out=tmp_path)
    encoders = [member.encoder for member in grown.population]
    assert any(encoder != MLPEncoder((16, 16)) for encoder in encoders)
    ends = []
    for number, given in enumerate(([MLPEncoder((16, 16))] * 3, encoders)):
        again = shutil.copytree(grown.run_dir, tmp_path / str(number))
        members = [make(seed=n, encoder=encoder) for n, encoder in enumerate(given)]
        ends.append(evolve(dataset, scheduler=scheduler, members=members, generations=3, resume=again))
    assert same(bits(ends[0].population), bits(ends[1].population))
    members = [make(seed=n, encoder=MLPEncoder((24,))) for n in range(3)]
    with pytest.raises(ValueError, match="begun with other encoder"):
        evolve(dataset, scheduler=scheduler, members=members, generations=4, resume=grown.run_dir)


@pytest.mark.parametrize("given", [{"seed": 2}, {"quantile": 0.5}])
def test_other_settings_of_the_scheduler_are_refused(dataset, folder, given):
    with pytest.raises(ValueError, match="ran with scheduler="):
        evolve(dataset, scheduler=PBT(**{"search": SEARCH, "seed": 1, **given}), resume=folder)


def test_another_function_as_fitness_is_refused(dataset, folder):
    with pytest.raises(ValueError, match=r"ran with fitness=.*start_value.* not .*end_value"):
        evolve(dataset, fitness=end_value, resume=folder)


def test_other_limits_are_noted(dataset, folder):
    evolve(dataset, resume=folder, generations=2, target=1e9)
    config = json.loads((folder / "evolution.json").read_text())
    assert config["earlier"] == [{"until": 1, "generations": 1, "target": None}]
    assert (config["generations"], config["target"]) == (2, 1e9)


def test_a_folder_that_knows_the_name_of_its_data_alone_goes_on(dataset, folder):
    config = json.loads((folder / "evolution.json").read_text())
    config["dataset"] = dataset.name
    del config["fitness"]["name"]
    (folder / "evolution.json").write_text(json.dumps(config))
    other = columns(dataset, name="another")
    with pytest.raises(ValueError, match=f"ran with dataset={re.escape(repr(dataset.name))}, not 'another'"):
        evolve(other, resume=folder)
    whole = evolve(dataset, out=None)
    assert same(bits(evolve(dataset, resume=folder).population), bits(whole.population))


class Cart(gymnasium.Env):
    """An environment of two steps with the spaces of the small data."""

    def __init__(self, size=4, n_actions=3):
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(n_actions)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(self.observation_space.shape, np.float32), {}

    def step(self, action):
        return np.zeros(self.observation_space.shape, np.float32), float(action), True, False, {}


class OtherCart(Cart):
    pass


def test_another_environment_is_refused(dataset, tmp_path):
    size, n_actions = dataset.observations.shape[1], int(dataset.action_space.n)

    def judge(kind):
        return EnvironmentFitness(env=kind(size, n_actions), n_episodes=1, n_reported=1)

    folder = evolve(dataset, fitness=judge(Cart), generations=1, out=tmp_path).run_dir
    with pytest.raises(DatasetError, match=r"another environment: env_note was Cart.*, is OtherCart"):
        evolve(dataset, fitness=judge(OtherCart), resume=folder)
    evolve(dataset, fitness=judge(Cart), resume=folder)


def iql(**given):
    return IQL(batch_size=8, actor_learning_rate=1e-3, actor_lr_schedule="constant", **given)


def own(width):
    def encoder(space):
        return nn.Sequential(nn.Linear(int(np.prod(space.shape)), width), nn.ReLU())

    return encoder


@pytest.mark.filterwarnings(UNNAMED)
def test_members_with_encoders_of_their_own_go_on(tmp_path):
    dataset = small_dataset("continuous")
    scheduler = PBT(search={"actor_learning_rate": SEARCH["learning_rate"]}, seed=1, quantile=0.5)

    def members():
        return [iql(seed=n, encoder=own(6), critic_encoder=own(8 + n)) for n in range(3)]

    def run(generations, **given):
        return evolve(
            dataset, scheduler=scheduler, members=members(), generations=generations, **given
        ).population

    folder = evolve(dataset, scheduler=scheduler, members=members(), generations=3, out=tmp_path).run_dir
    rows = (folder / "lineage.csv").read_text()
    assert "actor_learning_rate:" in rows  # A member has moved, with the encoder of its parent.
    assert same(bits(run(4, resume=folder)), bits(run(4, out=None)))


@pytest.mark.filterwarnings(UNNAMED)
def test_an_encoder_that_grew_beside_one_of_ones_own_goes_on(tmp_path):
    dataset = small_dataset("continuous")
    scheduler = Evolution(seed=0, architecture=1.0, no_mutation=0.0, parameters=0.0, hyperparameter=0.0)

    def members():
        return [iql(seed=n, encoder=MLPEncoder((16,)), critic_encoder=own(8)) for n in range(3)]

    def run(generations, **given):
        return evolve(dataset, scheduler=scheduler, members=members(), generations=generations, **given)

    grown = run(2, out=tmp_path)
    assert any(member.encoder != MLPEncoder((16,)) for member in grown.population)
    assert same(bits(run(3, resume=grown.run_dir).population), bits(run(3, out=None).population))


def test_all_judges_discount_as_the_first_member_did_when_the_run_began(dataset, tmp_path, monkeypatch):
    judged, start = [], FQE.start_value
    monkeypatch.setattr(FQE, "start_value", lambda fit, data: judged.append(fit.gamma) or start(fit, data))
    moves = {"no_mutation": 0.0, "architecture": 0.0, "parameters": 0.0, "hyperparameter": 1.0}
    scheduler = Evolution(search={"gamma": [0.5, 0.9]}, seed=0, elitism=False, **moves)

    def run(gammas, generations, fitness=None, **given):
        members = [make(seed=seed, gamma=gamma) for seed, gamma in enumerate(gammas)]
        fitness = fitness or OfflineFitness(n_steps=2, n_resamples=2)
        judged.clear()
        found = evolve(dataset, scheduler, fitness, members, generations, **given)
        return [member.gamma for member in found.population], {*judged}, found.run_dir

    # Members move from 0.5 to 0.9 and back in the second generation.
    gammas, discounts, folder = run([0.5, 0.5], 2, out=tmp_path)
    assert (gammas, discounts) == ([0.9, 0.9], {0.5})
    # A run goes on with members as they are by now, and a judge as it was.
    assert run(gammas, 3, resume=folder)[1] == {0.5}
    fitness = OfflineFitness(n_steps=2, n_resamples=2, gamma=0.7)
    assert run([0.5, 0.5], 2, fitness=fitness, out=None)[1] == {0.7}


def test_a_fitness_without_a_run_discounts_as_the_first_member_that_it_meets(dataset, monkeypatch):
    judged, start = [], FQE.start_value
    monkeypatch.setattr(FQE, "start_value", lambda fit, data: judged.append(fit.gamma) or start(fit, data))
    fitness = OfflineFitness(n_steps=2, n_resamples=2)
    for gammas in ([0.5, 0.9], [0.6, 0.8]):  # Prepared anew, it forgets what it met.
        fitness.prepare(dataset, 0)
        members = [make(gamma=gamma).build(dataset) for gamma in gammas]
        judged.clear()
        fitness.judge(members, 1)
        fitness.judge(members[::-1], 2)
        fitness.report(members[1])
        assert {*judged} == {gammas[0]}
