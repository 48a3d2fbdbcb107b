"""A second fit of a population takes up the program of the first, with the bits of a new one."""

from __future__ import annotations

import pytest
import torch

from offlinekit.algos import DiscreteCQL, Population, TD3PlusBC
from offlinekit.core.populations import kept_stacks
from offlinekit.datasets import get_dataset

SETTINGS = {"out": None, "progress": False}


@pytest.fixture(scope="module")
def cartpole():
    return get_dataset("cartpole-mixed")[0]


@pytest.fixture
def recorded(monkeypatch):
    """How many programs were recorded."""
    count = []
    stack = kept_stacks.stack

    def counted(*given):
        count.append(1)
        return stack(*given)

    monkeypatch.setattr(kept_stacks, "stack", counted)
    return count


def members(cls=DiscreteCQL, n=3, **given):
    return [
        cls(seed=i, batch_size=8, encoder={"type": "mlp", "hidden_sizes": [8]}, **given) for i in range(n)
    ]


def bits(population):
    return [tensor.clone() for algo in population for tensor in algo.impl.state_tensors().values()]


def changed(population, name):
    for number, algo in enumerate(population):
        setattr(algo, name, getattr(algo, name) * (1 - 0.2 * number))


@pytest.mark.parametrize(
    ("cls", "data", "name"),
    [
        (DiscreteCQL, "cartpole-mixed", "alpha"),
        (DiscreteCQL, "cartpole-mixed", "learning_rate"),
        (TD3PlusBC, "pendulum-mixed", "tau"),
        (TD3PlusBC, "pendulum-mixed", "gamma"),
    ],
)
def test_numbers_set_between_two_fits_act_in_the_kept_program(recorded, cls, data, name):
    dataset, ends = get_dataset(data)[0], []
    for keeps in (True, False):
        population = Population(members(cls), varying=[name])
        population.fit(dataset, 3, **SETTINGS)
        changed(population, name)
        if not keeps:
            population = Population(population.algos, varying=[name])
        ends.append(bits(population.fit(dataset, 4, **SETTINGS)))
        assert len(recorded) == (1 if keeps else 3)
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))


def test_members_may_take_up_the_state_of_others(recorded, cartpole):
    population = Population(members()).fit(cartpole, 3, **SETTINGS)
    first, second, _ = population
    noise = second.impl.random.state()
    second.impl.load_state_tensors({**first.impl.state_tensors(), "random.impl": noise})
    other = Population([algo.__copy__() for algo in population]).fit(cartpole, 3, **SETTINGS)
    population.fit(cartpole, 3, **SETTINGS)
    assert len(recorded) == 2  # One of each population.
    assert all(torch.equal(a, b) for a, b in zip(bits(population), bits(other), strict=True))


def test_what_a_program_holds_as_constants_records_another(recorded, cartpole):
    population = Population(members()).fit(cartpole, 2, **SETTINGS)
    for algo in population:
        algo.alpha = 3.0
    ended = bits(Population([algo.__copy__() for algo in population]).fit(cartpole, 2, **SETTINGS))
    before = len(recorded)
    population.fit(cartpole, 2, **SETTINGS)
    assert len(recorded) == before + 1
    assert all(torch.equal(a, b) for a, b in zip(bits(population), ended, strict=True))
    for algo in population:
        algo.batch_size = 4
    population.fit(cartpole, 2, **SETTINGS)
    assert len(recorded) == before + 2


def test_other_data_record_another_program(recorded, cartpole):
    population = Population(members()).fit(cartpole, 2, **SETTINGS)
    population.fit(cartpole[:20], 2, **SETTINGS)
    assert len(recorded) == 2
