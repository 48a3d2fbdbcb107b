"""Members that were changed or trained apart before a population takes them: each goes on as it would alone."""

from __future__ import annotations

import pytest
from populations import QUIET, TINY, same

from offlinekit.algos import BC, Population
from offlinekit.testing import small_dataset


def go_on(make, settings, n_steps=9):
    """Trains prepared members stacked and alone and asserts that they end alike; returns the population."""
    data = small_dataset("continuous")
    population = Population([make(own) for own in settings]).fit(data, n_steps, **QUIET)
    for own, member in zip(settings, population, strict=True):
        same(make(own).fit(data, n_steps, **QUIET), member)
    return population


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "rmsprop"])
def test_weight_decays_set_later_are_each_members_own(optimizer):
    def make(number):
        algo = BC(seed=number, optimizer=optimizer, **TINY).fit(small_dataset("continuous"), 3, **QUIET)
        algo.weight_decay = (0.0, 20.0)[number]
        return algo

    assert go_on(make, (0, 1)).stacks == [[0, 1]]


def test_weight_decays_set_between_two_fits_of_a_population():
    data = small_dataset("continuous")
    population = Population([BC(seed=seed, **TINY) for seed in range(2)], varying=["weight_decay"])
    alone = [BC(seed=seed, **TINY) for seed in range(2)]
    for decays in ((0.0, 0.0), (0.0, 20.0), (5.0, 1.0)):
        for algos in (population, alone):
            for algo, decay in zip(algos, decays, strict=True):
                algo.weight_decay = decay
        population.fit(data, 4, **QUIET)
        for one, member in zip(alone, population, strict=True):
            same(one.fit(data, 4, **QUIET), member)
