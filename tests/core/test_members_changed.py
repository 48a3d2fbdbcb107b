"""Members that were changed or trained apart before a population takes them: each goes on as it would alone."""

from __future__ import annotations

import pytest
from populations import QUIET, TINY, same

from offlinekit.algos import BC, TD3, Population
from offlinekit.core.populations.program import NotStackable
from offlinekit.core.populations.stack import stack
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


def trained_apart(optimizer):
    """Returns what makes a TD3 whose actor has taken a number of steps of its own in 12 updates."""

    def make(delay):
        data = small_dataset("continuous")
        options = {"optimizer": optimizer, "actor_learning_rate": 1e-2, **TINY}
        algo = TD3(seed=delay, policy_delay=delay, **options).fit(data, 12, **QUIET)
        algo.policy_delay = 2
        return algo

    return make


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_members_whose_optimizers_took_other_numbers_of_steps_are_stacks_of_their_own(optimizer):
    make = trained_apart(optimizer)
    assert go_on(make, (1, 6, 1, 20)).stacks == [[0, 2], [1], [3]]  # Actors took 12, 2, 12 and 0 steps.


def test_optimizers_without_counts_are_stacked_whatever_they_took():
    assert go_on(trained_apart("sgd"), (1, 6)).stacks == [[0, 1]]


def test_a_kept_stack_is_not_taken_up_by_members_that_have_gone_apart():
    data = small_dataset("continuous")
    population = Population([TD3(seed=seed, **TINY) for seed in range(2)]).fit(data, 6, **QUIET)
    population[1].impl.objectives[0].optimizer.slots[0].counts += 5
    alone = population[1].__copy__().fit(data, 6, **QUIET)
    population.fit(data, 6, **QUIET)
    assert population.stacks == [[0], [1]]
    same(alone, population[1])


def test_a_stack_takes_no_members_whose_optimizers_took_other_numbers_of_steps():
    """Members that caught up online, or of a stack that was kept, come here without having been grouped anew."""
    make = trained_apart("adam")
    with pytest.raises(NotStackable, match="have taken different numbers of steps"):
        stack([make(1).impl, make(6).impl], {}, None)
