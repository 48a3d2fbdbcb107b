"""Evolution: an untouched elite, a reproducible run, resumes with the same bits, fitness without an environment."""

from __future__ import annotations

import json
import math
import signal

import numpy as np
import pytest
import torch
from small_text import TINY as TINY_TEXT

from offlinekit.algos import FQE, ILQL, DiscreteBC, DiscreteCQL
from offlinekit.datasets import get_dataset, text_dataset
from offlinekit.directions import more_is_better
from offlinekit.errors import DatasetError, Preempted, UnsupportedError
from offlinekit.metrics.reporting.lineage import Lineage, LineageRow
from offlinekit.nn.encoders import MLPEncoder
from offlinekit.sweeps import Range
from offlinekit.sweeps.evolution import EnvironmentFitness, EvaluatorFitness, Evolution, OfflineFitness
from offlinekit.sweeps.evolution.breeding import Breeding, bred
from offlinekit.sweeps.evolution.fitness import Verdict, as_fitness

SEARCH = {"learning_rate": Range(1e-4, 1e-2, log=True), "batch_size": Range(4, 16, integer=True)}
QUIET = {"progress": False, "steps": 3}


@pytest.fixture(scope="module")
def dataset():
    return get_dataset("cartpole-mixed")[0]


@more_is_better
def start_value(algo, data):
    """A deterministic judge: the value of the first observation."""
    return float(algo.predict_value(data.observations[:1])[0])


def algo(**given):
    return DiscreteCQL(
        **{"seed": 0, "batch_size": 8, "learning_rate": 1e-3, "encoder": MLPEncoder((16, 16)), **given}
    )


def evolution(**given):
    return Evolution(**{"search": SEARCH, "seed": 5, "no_mutation": 0.1, **given})


def bits(members):
    return [t.clone() for member in members for t in member.impl.state_tensors().values()]


def same(one, other):
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def row(generation, member, fitness, parent=None, held_back="", **values):
    return LineageRow(
        generation, member, parent, "", fitness, fitness, 0.0, held_back, 1, "relu 16-16", values
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory, dataset):
    """A run of four generations: its folder, what it yielded, and the bits of its end."""
    out, scheduler = tmp_path_factory.mktemp("evolution"), evolution()
    generations = list(
        scheduler.fitter(
            scheduler.population(algo(), 4), dataset, generations=4, fitness=start_value, out=out, **QUIET
        )
    )
    return generations[-1].evolved, generations, bits(generations[-1].population)


def test_one_seed_reproduces_the_run(run, dataset):
    _, generations, ended = run
    scheduler = evolution()
    population = scheduler.population(algo(), 4)
    again = scheduler.fit(population, dataset, generations=4, fitness=start_value, out=None, **QUIET)
    assert repr(again.lineage.rows) == repr([row for each in generations for row in each.rows])
    assert same(bits(again.population), ended)
    other = evolution(seed=6)
    differs = other.fit(
        other.population(algo(), 4), dataset, generations=4, fitness=start_value, out=None, **QUIET
    )
    assert repr(differs.lineage.rows) != repr(again.lineage.rows)


@pytest.mark.parametrize("number", [1, 3])
def test_a_run_that_goes_on_from_a_generation_has_the_same_bits(run, dataset, tmp_path, number):
    import shutil

    evolved, _, ended = run
    folder = tmp_path / "run"
    shutil.copytree(evolved.run_dir, folder)
    scheduler = evolution()
    population = scheduler.population(algo(), 4)
    again = scheduler.fit(
        population,
        dataset,
        generations=4,
        fitness=start_value,
        resume=folder,
        from_generation=number,
        **QUIET,
    )
    assert repr(again.lineage.rows) == repr(evolved.lineage.rows)  # As text: NaN differs from itself.
    assert same(bits(again.population), ended)
    assert again.reported == evolved.reported


def test_the_folder_holds_the_lineage_its_picture_and_the_winner(run, dataset):
    evolved, _, _ = run
    folder = evolved.run_dir
    assert repr(Lineage.read(folder).rows) == repr(evolved.lineage.rows)
    assert (folder / "lineage.svg").read_text().startswith("<?xml")
    winner = DiscreteCQL.load(folder / "winner.okt")
    observations = dataset.observations[:20]
    assert winner.predict(observations).tolist() == evolved.winner.predict(observations).tolist()
    assert {path.name for path in folder.iterdir()} >= {"evolution.json", "result.json", "generations"}
    assert len(list((folder / "generations").glob("*/member_*.okt"))) == 16


def test_a_report_shows_generations_and_the_lineage(run, tmp_path):
    from offlinekit.metrics.reporting.page import write_report

    evolved, generations, _ = run
    written = write_report([evolved.run_dir], tmp_path)
    assert [path.name for path in written] == ["report.md", "report.html"]
    text = (tmp_path / "report.md").read_text()
    assert "start_value on 64 episodes that chose nothing" in text
    lines = [line.split("|") for line in text.splitlines() if line.startswith("| ")]
    assert [line[1].strip() for line in lines[2:]] == ["1", "2", "3", "4"]
    best = [max(generation.rows, key=lambda row: row.fitness) for generation in generations]
    assert [line[2].strip() for line in lines[2:]] == [str(row.member) for row in best]
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 1
    assert "Lineage of" in page


def test_a_run_at_its_end_and_generations_that_there_are_not_are_refused(run, dataset):
    evolved, _, _ = run
    scheduler = evolution()
    for given, message in (
        ({"generations": 4}, "generations=5"),
        ({"generations": 9, "from_generation": 7}, "1 to 4"),
        ({"generations": 9, "steps": 4}, "ran with steps=3, not 4"),
    ):
        with pytest.raises(ValueError, match=message):
            scheduler.fit(
                scheduler.population(algo(), 4),
                dataset,
                resume=evolved.run_dir,
                fitness=start_value,
                **{**QUIET, **given},
            )


def test_the_elite_judged_again_before_it_trains_never_falls(dataset):
    scheduler, judge = evolution(no_mutation=0.0), as_fitness(start_value)
    judge.prepare(dataset, 0)
    members = [algo(seed=s).build(dataset) for s in range(4)]
    rows, moves = [], []
    for number in range(1, 13):
        verdicts = judge.judge(members, number)
        rows += [row(number, place, verdict.fitness, place) for place, verdict in enumerate(verdicts)]
        lineage = Lineage(rows)
        best = lineage.ranking(1)[0]
        before = bits([members[best]])
        breeding = Breeding(lineage, members, dataset, number)
        offspring = evolution(no_mutation=0.0, average=1, search=scheduler.search).next_generation(breeding)
        filled = bred(members, offspring, list(scheduler.search))
        assert filled[best][0] is members[best]
        members = [member for member, _ in filled]
        moves += [move for _, move in filled if move]
        assert same(bits([members[best]]), before)
        again = judge.judge(members, number)
        assert again[best].fitness == verdicts[best].fitness
        assert max(v.fitness for v in again) >= max(v.fitness for v in verdicts)
    assert {move.split(":")[0].split(" ")[0] for move in moves} >= {"wider", "noise", "learning_rate"}


def test_members_of_one_architecture_are_one_stack_and_members_trained_alone_agree(dataset):
    scheduler = evolution(architecture=0.0, search={"learning_rate": SEARCH["learning_rate"]})
    stacked = scheduler.population(algo(), 3)
    (last,) = scheduler.fitter(stacked, dataset, generations=1, fitness=start_value, out=None, **QUIET)
    assert last.population.stacks == [[0, 1, 2]]
    learned = as_fitness(start_value).prepare(dataset, scheduler.seed)
    for member, twin in zip(last.population, scheduler.population(algo(), 3), strict=True):
        twin.fit(learned, 3, out=None, progress=False, engine="eager")
        for one, other in zip(member.impl.parameters(), twin.impl.parameters(), strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_children_keep_the_seed_of_their_place_and_take_all_else(dataset):
    members = [
        algo(seed=s, learning_rate=1e-3 * (s + 1)).fit(dataset, 2, out=None, progress=False) for s in range(2)
    ]
    from offlinekit.sweeps.evolution.breeding import Offspring

    noise = members[0].impl.random.state()
    ((child, _), (parent, _)) = bred(members, [Offspring(1), Offspring(1)], ["learning_rate"])
    assert child is members[0]
    assert (child.seed, child.learning_rate) == (0, 2e-3)
    assert all(
        torch.equal(a, b) for a, b in zip(child.impl.parameters(), parent.impl.parameters(), strict=True)
    )
    assert torch.equal(child.impl.random.state(), noise)


def test_two_places_may_swap(dataset):
    from offlinekit.sweeps.evolution.breeding import Offspring

    members = [algo(seed=s).build(dataset) for s in range(2)]
    first, second = ([p.detach().clone() for p in member.impl.parameters()] for member in members)
    swapped = [member for member, _ in bred(members, [Offspring(1), Offspring(0)], [])]
    assert all(torch.equal(a, b) for a, b in zip(swapped[0].impl.parameters(), second, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(swapped[1].impl.parameters(), first, strict=True))


# Ranking.


def test_members_rank_by_the_mean_of_the_last_values_of_their_line():
    # Member 0: 1, then child of 0 with 5: mean (1 + 5) / 2 = 3. Member 1, child of 1: (4 + 4) / 2 = 4.
    lineage = Lineage([row(1, 0, 1.0), row(1, 1, 4.0), row(2, 0, 5.0, 0), row(2, 1, 4.0, 1)])
    assert lineage.ranking(2) == [1, 0]
    assert lineage.average(0, 2) == 3.0
    assert lineage.ranking(1) == [0, 1]


def test_who_is_held_back_ranks_last_whatever_the_value():
    lineage = Lineage([row(1, 0, 100.0, held_back="far"), row(1, 1, -5.0), row(1, 2, math.nan)])
    assert lineage.ranking(3)[0] == 1
    assert lineage.average(0, 3) == -math.inf


def test_a_lineage_survives_its_file(tmp_path):
    rows = [row(1, 0, 0.1 + 0.2, learning_rate=1e-3), row(2, 0, -math.inf, 0, 'a, "b"', learning_rate=2e-3)]
    Lineage(rows).write(tmp_path)
    assert Lineage.read(tmp_path).rows == rows


def test_tournaments_of_all_choose_the_best(dataset):
    members = [algo(seed=s).build(dataset) for s in range(3)]
    lineage = Lineage([row(1, 0, 1.0), row(1, 1, 3.0), row(1, 2, 2.0)])
    scheduler = evolution(tournament_size=64)
    offspring = scheduler.next_generation(Breeding(lineage, members, dataset, 0))
    assert [o.parent for o in offspring] == [1, 1, 1]
    assert offspring[1].change is None


def test_whole_numbers_move_the_same_way_for_all_members(dataset):
    only = {"architecture": 0, "parameters": 0, "no_mutation": 0, "hyperparameter": 1}
    scheduler = evolution(search={"batch_size": Range(4, 64, integer=True)}, elitism=False, **only)
    members = [algo(seed=s).build(dataset) for s in range(4)]
    lineage = Lineage([row(1, place, float(place)) for place in range(4)])
    offspring = scheduler.next_generation(Breeding(lineage, members, dataset, 1))
    sizes = {member.batch_size for member, _ in bred(members, offspring, ["batch_size"])}
    assert len(sizes) == 1
    assert sizes != {8}


def test_a_member_that_diverged_is_replaced(dataset):
    scheduler = evolution(architecture=0.0, parameters=0.0)
    population = scheduler.population(algo(), 3)
    population[2].build(dataset)
    with torch.no_grad():
        for parameter in population[2].impl.parameters():
            parameter.fill_(math.nan)
    first, second = scheduler.fitter(
        population, dataset, generations=2, fitness=start_value, out=None, **QUIET
    )
    assert first.rows[2].held_back.startswith("diverged")
    assert second.rows[2].parent != 2
    assert math.isfinite(second.rows[2].fitness)


# Fitness.


class Known:
    """A judge whose verdicts are given."""

    def prepare(self, dataset, seed):
        return dataset

    def judge(self, members, generation):
        return [Verdict(float(generation))] * len(members)

    def report(self, winner):
        from offlinekit.sweeps.evolution.fitness import Reported

        return Reported(1.0, 0.0, 2.0, "known")

    def describe(self):
        return {}


@pytest.mark.parametrize(
    ("settings", "last"), [({"target": 2.0}, 2), ({"budget": 18}, 3), ({"budget": 17}, 3), ({}, 5)]
)
def test_it_stops_at_the_target_or_when_the_budget_is_spent(dataset, settings, last):
    scheduler = evolution(architecture=0)
    population = scheduler.population(algo(), 2)  # 2 members x 3 updates a generation.
    found = list(
        scheduler.fitter(population, dataset, generations=5, fitness=Known(), out=None, **settings, **QUIET)
    )
    assert [generation.number for generation in found] == list(range(1, last + 1))
    assert found[-1].evolved.reported.value == 1.0
    with pytest.raises(ValueError, match="not the last"):
        _ = found[0].evolved


@pytest.mark.parametrize(
    ("fitness", "message"),
    [
        ("fqe", "ILQL acts by what came before; give fitness='perplexity', an environment, or"),
        ("td_error", "td_error"),
        ("validation_losses", "a fitness is one number"),
        (EnvironmentFitness(env="CartPole-v1"), "observes .*name another environment by env="),
    ],
)
def test_what_cannot_judge_members_is_refused_before_they_train(fitness, message):
    data = text_dataset([{"prompt": "a", "response": "b", "reward": n} for n in range(20)])
    scheduler = Evolution(search={"learning_rate": SEARCH["learning_rate"]}, architecture=0, seed=0)
    population = scheduler.population(ILQL(**TINY_TEXT, learning_rate=1e-3), 2)
    with pytest.raises((UnsupportedError, ValueError, DatasetError), match=message):
        scheduler.fit(population, data, generations=1, fitness=fitness, out=None, **QUIET)
    assert all(member.grad_step == 0 for member in population)


def test_offline_fitness_is_a_lower_bound_on_episodes_that_nobody_learns_from(dataset):
    fitness = OfflineFitness(n_steps=20, n_resamples=2, confidence=0.9)
    learned = fitness.prepare(dataset, 0)
    parts = [learned, fitness._judging, fitness._reporting]
    assert sum(part.n_episodes for part in parts) == dataset.n_episodes
    firsts = [set(map(bytes, part.observations[part.episode_starts])) for part in parts]
    assert not firsts[0] & firsts[1] | firsts[0] & firsts[2] | firsts[1] & firsts[2]
    members = [algo(seed=s).fit(learned, 5, out=None, progress=False) for s in range(2)]
    twins = [*members, members[0]]
    verdicts = fitness.judge(twins, 1)
    # One-sided t with 1 degree of freedom at 0.9: tan(0.4 pi) = 3.0777.
    for verdict in verdicts:
        assert verdict.fitness == pytest.approx(verdict.value - 3.0777 * verdict.spread, rel=1e-3)
    assert verdicts[0].value == pytest.approx(verdicts[2].value)  # The same judge for all.
    reported = fitness.report(members[0])
    assert reported.low < reported.value < reported.high


def test_members_whose_values_disagree_or_that_leave_the_data_are_held_back(dataset):
    fitness = OfflineFitness(max_td_error=10.0, max_distance=1.0)
    assert "TD error" in fitness._reason(0.1, 50.0, limit=20.0)
    assert "TD error" in fitness._reason(0.1, math.inf, limit=math.inf)
    assert "deviations from the data" in fitness._reason(1.5, 1.0, limit=20.0)
    assert "deviations from the data" in fitness._reason(math.nan, 1.0, limit=20.0)
    assert fitness._reason(0.5, math.nan, limit=math.inf) == ""
    fitness.prepare(dataset, 0)
    members = [algo(seed=s).build(dataset) for s in range(3)]
    with torch.no_grad():
        for parameter in members[1].impl.q.parameters():
            parameter.mul_(30.0)
    assert [bool(why) for why in fitness._guards(members)] == [False, True, False]


def test_policies_without_values_have_no_td_error_and_are_ranked(dataset):
    fitness = OfflineFitness()
    fitness.prepare(dataset, 0)
    clone = DiscreteBC(seed=0, encoder=MLPEncoder((8,))).build(dataset)
    assert fitness._guards([clone]) == [""]


def test_the_winner_plays_episodes_that_nobody_was_ranked_by(dataset):
    seen = []

    class Env:
        pass

    fitness = EnvironmentFitness(env="CartPole-v1", n_episodes=2, n_reported=3)
    fitness.prepare(dataset, 7)
    fitness._returns = lambda member, n, seed: seen.append((n, seed)) or [1.0, 2.0]
    member = algo().build(dataset)
    for generation in (1, 2):
        fitness.judge([member, member], generation)
    reported = fitness.report(member)
    assert seen[0] == seen[1] != seen[2] == seen[3]
    assert seen[-1][0] == 3
    assert seen[-1][1] >= 2**30 > max(seed for _, seed in seen[:-1])
    # Mean 1.5, standard error sqrt(0.5) / sqrt(2) = 0.5, t of 1 degree at 0.975 12.7062: 1.5 +- 6.3531.
    assert (reported.low, reported.high) == pytest.approx((-4.8531, 7.8531), abs=1e-4)


def test_an_evaluator_of_which_less_is_better_ranks_the_lowest_first(dataset):
    fitness = as_fitness("td_error")
    fitness.prepare(dataset, 0)
    members = [algo(seed=s).build(dataset) for s in range(2)]
    first, second = fitness.judge(members, 1)
    assert first.fitness == -first.value
    assert (first.fitness > second.fitness) == (first.value < second.value)


def test_fits_take_settings_of_their_own(dataset, monkeypatch):
    made, settings = [], {"encoder": MLPEncoder((4,)), "batch_size": 4}
    fitness = OfflineFitness(n_steps=3, n_resamples=2, fit_settings=settings)
    fitness.prepare(dataset, 0)
    start = FQE.start_value
    monkeypatch.setattr(FQE, "start_value", lambda fit, data: made.append(fit) or start(fit, data))
    fitness.judge([algo().build(dataset)], 1)
    assert {(fit.encoder, fit.batch_size, fit.gamma) for fit in made} == {(MLPEncoder((4,)), 4, 0.99)}
    assert json.loads(json.dumps(fitness.describe()))["fit_settings"]["encoder"]["hidden_sizes"] == [4]


# Refusals.


@pytest.mark.parametrize(
    ("settings", "given", "error", "message"),
    [
        ({"search": {"learning_rat": Range(1e-4, 1e-2)}}, {}, TypeError, "learning_rate"),
        ({"search": {"learning_rate": Range(1e-2, 1e-1)}}, {}, ValueError, "outside of its search space"),
        ({"search": {"gamma": Range(0.5, 1.5)}}, {}, ValueError, "gamma must be in"),
        ({"search": {"n_critics": Range(1, 3, integer=True)}}, {}, ValueError, "stays as it is"),
        ({"search": {}}, {}, ValueError, "hyperparameter=0"),
        ({}, {"lr_schedule": "cosine"}, ValueError, "lr_schedule='constant'"),
        (
            {"min_units": 8, "max_units": 15},
            {"encoder": MLPEncoder((8,), layer_norm=True)},
            UnsupportedError,
            "layer_norm=False",
        ),
    ],
)
def test_what_cannot_move_is_refused_before_anything_is_trained(dataset, settings, given, error, message):
    scheduler = evolution(**settings)
    with pytest.raises(error, match=message):
        scheduler.fit([algo(**given), algo(**given, seed=1)], dataset, fitness=start_value, out=None, **QUIET)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"search": ["learning_rate"]}, TypeError, "search must name"),
        ({"factor": 1.0}, ValueError, "factor"),
        ({"min_units": 64, "max_units": 32}, ValueError, "min_units"),
        ({"no_mutation": 0, "architecture": 0, "parameters": 0, "hyperparameter": 0}, ValueError, "above 0"),
        ({"tournament_sise": 3}, TypeError, "tournament_size"),
    ],
)
def test_settings_are_checked(given, error, message):
    with pytest.raises(error, match=message):
        Evolution(**given)


def test_agilerl_semantics_are_named_flags(dataset):
    scheduler = Evolution.agilerl(search=SEARCH, seed=1, hyperparameter=1.0)
    assert (scheduler.average, scheduler.mutate_elite, scheduler.keep_function) == (1, True, False)
    found = scheduler.fit(
        scheduler.population(algo(encoder=MLPEncoder((32, 32))), 4),
        dataset,
        generations=3,
        fitness=start_value,
        out=None,
        **QUIET,
    )
    assert all(row.move for row in found.lineage.generation(1))
    rates = [row.values["learning_rate"] for row in found.lineage.rows]
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)
    assert np.isfinite([row.fitness for row in found.lineage.rows]).all()


def test_sigterm_ends_what_a_judge_trains_and_the_run_goes_on_with_the_same_bits(dataset, tmp_path):
    judged, inner = [], algo()

    @more_is_better
    def trained_value(member, data):
        judged.append(member)
        if len(judged) == 3:  # The first of the second generation.
            for _ in inner.fitter(data, 1_000, out=None, log_interval=2, progress=False):
                signal.raise_signal(signal.SIGTERM)
        return start_value(member, data)

    settings = {**QUIET, "fitness": trained_value, "out": tmp_path, "preemptible": True}
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Preempted, match=r"in generation 2; go on with resume='"):
        evolution().fit(evolution().population(algo(), 2), dataset, generations=3, **settings)
    assert inner.grad_step < 10
    assert signal.getsignal(signal.SIGTERM) is before
    (folder,) = tmp_path.iterdir()
    assert Lineage.read(folder).last == 1
    settings["out"] = None
    resumed = evolution().fit(
        evolution().population(algo(), 2), dataset, generations=3, resume=folder, **settings
    )
    whole = evolution().fit(evolution().population(algo(), 2), dataset, generations=3, **settings)
    assert same(bits(resumed.population), bits(whole.population))


@pytest.mark.parametrize(
    ("written", "remedy"), [(False, r"nothing saved \(out=None\)"), (True, "no generation was complete")]
)
def test_a_run_that_ends_in_its_first_generation_has_nothing_to_go_on_with(
    dataset, tmp_path, written, remedy
):
    def interrupted(member, data):
        raise KeyboardInterrupt

    settings = {**QUIET, "fitness": more_is_better(interrupted), "out": tmp_path if written else None}
    with pytest.raises(KeyboardInterrupt, match=f"^in generation 1; {remedy}$"):
        evolution().fit([algo(), algo(seed=1)], dataset, **settings)


def test_a_function_that_does_not_say_whether_more_is_better_is_told_how_to(dataset):
    def plain(algo, data):
        return 1.0

    def run(fitness):
        return evolution().fit([algo()], dataset, generations=1, fitness=fitness, out=None, **QUIET)

    remedy = (
        r"fitness=EvaluatorFitness\(evaluator=plain, maximize=True\).*@more_is_better .*above the function"
    )
    with pytest.raises(ValueError, match=remedy):
        run(plain)
    with pytest.raises(ValueError, match=r"EvaluatorFitness\(evaluator=f, maximize=True\)"):
        run(lambda algo, data: 1.0)
    assert run(EvaluatorFitness(evaluator=plain, maximize=False)).lineage.rows[0].fitness == -1.0
    assert run(more_is_better(plain)).lineage.rows[0].fitness == 1.0
