"""PBT, PB2, multi-frequency PBT and CMA-ES over one interface."""

from __future__ import annotations

import math

import numpy as np
import pytest

from offlinekit.algos import DiscreteCQL
from offlinekit.datasets import get_dataset
from offlinekit.errors import UnsupportedError
from offlinekit.metrics.reporting.lineage import Lineage, LineageRow
from offlinekit.nn.encoders import MLPEncoder
from offlinekit.sweeps import CMAES, PB2, PBT, MultiFrequencyPBT, Range
from offlinekit.sweeps.evolution import gaussian_process, population_based
from offlinekit.sweeps.evolution.breeding import Breeding
from offlinekit.sweeps.evolution.cma_es import _costs
from offlinekit.sweeps.evolution.fitness import Reported, Verdict
from offlinekit.sweeps.evolution.gaussian_process import Observed

SEARCH = {"learning_rate": Range(1e-4, 1e-2, log=True)}


@pytest.fixture(scope="module")
def dataset():
    return get_dataset("cartpole-mixed")[0]


class Rated:
    """A judge that knows the best learning rate: fitness falls with the distance to it, in decades."""

    best = 3e-3

    def prepare(self, dataset, seed):
        return dataset

    def judge(self, members, generation):
        return [Verdict(-abs(math.log10(member.learning_rate / self.best))) for member in members]

    def report(self, winner):
        return Reported(self.judge([winner], 0)[0].fitness, math.nan, math.nan, "known")

    def describe(self):
        return {}


def members(n):
    return [DiscreteCQL(seed=s, batch_size=4, learning_rate=1e-3, encoder=MLPEncoder((8,))) for s in range(n)]


def row(generation, member, fitness, parent=None, rate=1e-3):
    values = {"learning_rate": rate}
    return LineageRow(generation, member, parent, "", fitness, fitness, 0.0, "", 1, "relu 8", values)


def breeding(dataset, fitnesses, generation=1, rates=None, seed=0):
    built = [member.build(dataset) for member in members(len(fitnesses))]
    rows = [row(g, m, f, m) for g in range(1, generation + 1) for m, f in enumerate(fitnesses)]
    return Breeding(Lineage(rows), built, dataset, seed)


def test_the_worst_quarter_copies_the_best_quarter(dataset):
    given = breeding(dataset, [5.0, 1.0, 8.0, 3.0, 7.0, 2.0, 6.0, 4.0])  # Best 2 and 4, worst 1 and 5.
    for seed in range(5):
        offspring = PBT(search=SEARCH).next_generation(Breeding(given.lineage, given.members, dataset, seed))
        assert {place for place, o in enumerate(offspring) if o.parent != place} == {1, 5}
        assert {offspring[1].parent, offspring[5].parent} <= {2, 4}
        assert all(o.values is None for place, o in enumerate(offspring) if place not in (1, 5))


def test_copies_move_or_draw_each_setting(dataset):
    given = breeding(dataset, [1.0, 0.0])
    scheduler = PBT(search=SEARCH, quantile=0.5, resample=0.0)
    seeds = [Breeding(given.lineage, given.members, dataset, s) for s in range(20)]
    rates = {round(scheduler.next_generation(each)[1].values["learning_rate"], 9) for each in seeds}
    assert rates == {1.2e-3, round(1e-3 / 1.2, 9)}
    always = PBT(search=SEARCH, quantile=0.5, resample=1.0)
    drawn = [always.next_generation(each)[1].values["learning_rate"] for each in seeds]
    assert len(set(drawn)) == 20
    assert all(1e-4 <= rate <= 1e-2 for rate in drawn)


# The Gaussian process, by hand.


def test_covariances_fall_with_distance_and_time():
    # Distance 0.3 at length 0.3: exp(-1/2) = 0.60653; two generations apart at 0.19: (1 - 0.19)^(2/2) = 0.81.
    one, other = np.array([[0.0]]), np.array([[0.3]])
    same = gaussian_process.kernel(one, np.array([1.0]), other, np.array([1.0]), 0.3, 0.19)
    later = gaussian_process.kernel(one, np.array([1.0]), other, np.array([3.0]), 0.3, 0.19)
    assert same[0, 0] == pytest.approx(0.60653, abs=1e-5)
    assert later[0, 0] == pytest.approx(0.60653 * 0.81, abs=1e-5)


def test_the_posterior_of_two_points():
    # Gains 1 and -1 scaled to themselves; at the first place covariances (1, k) with k = exp(-1/0.18) = 0.00387.
    # (K + 0.1 I)^-1 (1, -1) = (1, -1) / (1.1 - k), so the mean is (1 - k) / (1.1 - k) = 0.90876.
    seen = Observed(np.array([[0.0], [1.0]]), np.array([1, 1]), np.array([1.0, -1.0]))
    means, deviations = gaussian_process.posterior(seen, np.array([[0.0], [50.0]]), 1, 0.3, 0.1)
    assert means[0] == pytest.approx(0.90876, abs=1e-4)
    assert means[1] == pytest.approx(0.0, abs=1e-9)
    assert deviations[1] == pytest.approx(1.0)
    assert deviations[0] == pytest.approx(math.sqrt(1 - 1 / 1.1), abs=1e-3)


def test_the_most_promising_place_is_near_what_improved_and_away_from_what_is_taken():
    places = np.linspace(0, 1, 11)[:, None]
    seen = Observed(places, np.full(11, 1), -((places[:, 0] - 0.7) ** 2))
    rng = np.random.default_rng(0)
    nowhere = np.zeros((0, 1))
    first = gaussian_process.most_promising(seen, nowhere, 1, rng, kappa=0.0)
    assert abs(first[0] - 0.7) < 0.1
    alone = Observed(np.array([[0.5]]), np.array([1]), np.array([0.0]))
    second = gaussian_process.most_promising(alone, np.array([[0.0]]), 1, rng, kappa=2.0, length=0.2)
    assert second[0] > 0.9


def test_pb2_counts_the_first_copy_of_a_generation_as_seen(dataset):
    fitnesses = [4.0, 3.0, 2.0, 1.0, 0.5, 0.4, 0.3, 0.2]
    given = breeding(dataset, fitnesses, generation=2)
    offspring = PB2(search=SEARCH, length=0.1).next_generation(given)
    first, second = offspring[6].values["learning_rate"], offspring[7].values["learning_rate"]
    assert abs(math.log10(first / second)) > 0.1


def test_pb2_chooses_for_the_generation_that_follows(dataset, monkeypatch):
    given, times = breeding(dataset, [4.0, 3.0, 2.0, 1.0], generation=3), []

    def noted(seen, taken, time, rng, **options):
        times.append((int(seen.times.max()), time))
        return np.full(1, 0.5)

    monkeypatch.setattr(population_based, "most_promising", noted)
    PB2(search=SEARCH).next_generation(given)
    assert times == [(3, 4)]  # Its copies train in generation 4, one behind the newest improvements.


# Groups.


def test_groups_evolve_at_their_own_frequency(dataset):
    scheduler = MultiFrequencyPBT(search=SEARCH, frequencies=(1, 2))
    for last, due in ((1, [True, False]), (2, [True, True])):
        given = breeding(dataset, [4.0, 3.0, 2.0, 1.0, 14.0, 13.0, 12.0, 11.0], generation=last)
        offspring = scheduler.next_generation(given)
        copies = [place for place, o in enumerate(offspring) if o.values]
        assert [3 in copies, 7 in copies] == due
        assert offspring[3].parent == 0
        # The open place of the fast group takes the best of the slow group, with its settings.
        assert (offspring[2].parent, offspring[2].keeps_values) == (4, False)
        assert offspring[6].parent == 6  # The best of the fast group is no better.


def test_networks_of_a_faster_group_come_without_their_settings(dataset):
    scheduler = MultiFrequencyPBT(search=SEARCH, frequencies=(1, 2))
    given = breeding(dataset, [14.0, 13.0, 12.0, 11.0, 4.0, 3.0, 2.0, 1.0], generation=2)
    offspring = scheduler.next_generation(given)
    assert (offspring[6].parent, offspring[6].keeps_values) == (0, True)


@pytest.mark.parametrize("n", [4, 6, 9])
def test_members_that_do_not_divide_into_groups_are_refused(dataset, n):
    with pytest.raises(UnsupportedError, match="do not divide"):
        MultiFrequencyPBT(search=SEARCH).fit(members(n), dataset, fitness=Rated(), out=None, progress=False)


# All of them.


@pytest.mark.parametrize(
    ("scheduler", "n"),
    [
        (PBT(search=SEARCH, quantile=0.5), 4),
        (PB2(search=SEARCH, quantile=0.5), 4),
        (MultiFrequencyPBT(search=SEARCH, frequencies=(1, 2)), 8),
        (CMAES(search=SEARCH), 4),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_finds_a_better_rate_than_it_began_with(dataset, scheduler, n):
    if isinstance(scheduler, CMAES):
        pytest.importorskip("cma")
    found = scheduler.fit(
        members(n), dataset, generations=10, steps=1, fitness=Rated(), out=None, progress=False
    )
    rates = [row.values["learning_rate"] for row in found.lineage.rows]
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)
    best = [max(row.fitness for row in found.lineage.generation(g)) for g in (1, 10)]
    assert best[1] > -0.3
    assert best[1] > best[0] or best[0] > -0.1
    again = type(scheduler)(**{n: v for n, v in scheduler.describe().items() if n != "name"})
    repeated = again.fit(
        members(n), dataset, generations=3, steps=1, fitness=Rated(), out=None, progress=False
    )
    assert repr(repeated.lineage.rows) == repr(found.lineage.until(3).rows)


def test_cma_es_goes_on_where_it_was_and_leaves_global_generators_alone(dataset, tmp_path):
    pytest.importorskip("cma")
    settings = {"steps": 1, "fitness": Rated(), "progress": False}
    before = np.random.get_state()[1].tolist()  # noqa: NPY002  # That it is left alone is what is tested.
    whole = CMAES(search=SEARCH).fit(members(4), dataset, generations=4, out=None, **settings)
    part = CMAES(search=SEARCH).fit(members(4), dataset, generations=2, out=tmp_path, **settings)
    rest = CMAES(search=SEARCH).fit(members(4), dataset, generations=4, resume=part.run_dir, **settings)
    assert repr(rest.lineage.rows) == repr(whole.lineage.rows)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002
    assert all(row.parent is None and row.updates == 1 for row in whole.lineage.rows)


def test_who_is_held_back_costs_more_than_all_others():
    rows = [row(1, 0, 3.0), row(1, 1, -math.inf), row(1, 2, 1.0)]
    # -3, -1, and the worst -1 plus 1 plus the spread 2.
    assert _costs(Lineage(rows), 1) == [-3.0, 2.0, -1.0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PBT(quantile=0.6), "quantile"),
        (lambda: PBT(factor=0.9), "factor"),
        (lambda: MultiFrequencyPBT(frequencies=(0, 1)), "frequencies"),
    ],
)
def test_settings_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_cma_es_searches_numbers_with_enough_members(dataset):
    for scheduler, n, message in (
        (CMAES(search={"td_loss": ["huber", "mse"]}), 4, "td_loss"),
        (CMAES(), 4, "needs a search"),
        (CMAES(search=SEARCH), 3, "at least 4"),
    ):
        with pytest.raises(ValueError, match=message):
            scheduler.fit(members(n), dataset, fitness=Rated(), out=None, progress=False)
