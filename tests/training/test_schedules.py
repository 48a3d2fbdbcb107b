"""Learning rates over a run: by name, or a function of the share that is done."""

from __future__ import annotations

import math

import pytest
import torch

import offlinekit
from offlinekit.algos import IQL, Population
from offlinekit.errors import FileFormatError, TrainingError
from offlinekit.ground.schedules import check_schedule, factor_at
from offlinekit.testing import small_dataset
from offlinekit.training import policy_file

QUIET = {"out": None, "progress": False, "log_interval": 1}


def small(**given):
    return IQL(**{"seed": 0, "encoder": [8], "batch_size": 8, "device": "cpu", **given})


def halves(done):
    return 1.0 if done < 0.5 else 0.25


@pytest.mark.parametrize(
    ("schedule", "done", "factor"),
    [
        ("constant", 0.7, 1.0),
        ("linear", 0.25, 0.75),
        ("linear", 1.5, 0.0),  # Of a run that goes on beyond its end.
        ("cosine", 0.5, 0.5),  # (1 + cos(pi / 2)) / 2
        ("cosine", 1.0, 0.0),
        (halves, 0.5, 0.25),
    ],
)
def test_factors(schedule, done, factor):
    assert factor_at(schedule, done) == pytest.approx(factor)


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_rates_of_a_run_follow_a_function(engine):
    rates = []

    def note(algo, row):
        rates.append(float(algo.impl.objectives[0].optimizer.learning_rate))

    algo = small(lr_schedule=halves, value_learning_rate=1e-3)
    assert algo.impl_class.__name__ == "IQLImpl"
    algo.fit(small_dataset("continuous"), 4, engine=engine, callbacks=[note], **QUIET)
    # Shares 0, 1/4, 1/2, 3/4 of four updates.
    assert rates == pytest.approx([1e-3, 1e-3, 2.5e-4, 2.5e-4])


def test_a_function_equals_the_name_that_does_the_same():
    data = small_dataset("continuous")
    named = small(lr_schedule="cosine").fit(data, 4, **QUIET)
    given = small(lr_schedule=lambda done: 0.5 * (1 + math.cos(math.pi * done))).fit(data, 4, **QUIET)
    assert named.history[-1]["critic_loss"] == given.history[-1]["critic_loss"]


def test_files_keep_that_there_was_a_function(tmp_path):
    path = (
        small(lr_schedule=halves).fit(small_dataset("continuous"), 2, **QUIET).save(tmp_path / "policy.okt")
    )
    with pytest.raises(
        FileFormatError, match=r"was the function halves, .*offlinekit\.load\(path, lr_schedule="
    ):
        offlinekit.load(path)
    again = offlinekit.load(path, lr_schedule=halves)
    assert again.lr_schedule is halves
    assert again.fit(small_dataset("continuous"), 2, **QUIET).grad_step == 4


def test_a_run_resumes_with_the_function_given_again(tmp_path):
    data, settings = small_dataset("continuous"), {**QUIET, "out": tmp_path, "checkpoint_interval": 2}
    whole = small(lr_schedule=halves).fit(data, 4, **settings)
    (whole.run_dir / "policy.okt").unlink()
    (whole.run_dir / "checkpoints" / "step_000000004.okt").unlink()
    again = small(lr_schedule=halves).fit(data, 4, resume=whole.run_dir, **{**settings, "out": "runs"})
    assert again.history[-1]["critic_loss"] == whole.history[-1]["critic_loss"]


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
def test_a_function_of_no_factor_is_refused(wrong):
    with pytest.raises(TrainingError, match=r"lr_schedule gave .* at 0% of the run; return a finite factor"):
        small(lr_schedule=lambda done: wrong).fit(small_dataset("continuous"), 2, **QUIET)


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="did you mean 'cosine'"):
        small(lr_schedule="cosin")
    with pytest.raises(ValueError, match=r"lr_schedule must be one of .* got 3"):
        check_schedule(3)


def shares(seen):
    """A schedule that notes the shares of a run that it is called with."""

    def schedule(done):
        seen.append(done)
        return 1.0 - done / 2

    return schedule


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_a_schedule_begins_anew_with_each_fit(engine):
    seen: list[float] = []
    algo = small(lr_schedule=shares(seen))
    for n_steps, expected in ((4, [0.0, 0.25, 0.5, 0.75]), (2, [0.0, 0.5])):
        seen.clear()
        algo.fit(small_dataset("continuous"), n_steps, engine=engine, **QUIET)
        assert sorted(set(seen)) == expected
    assert algo.impl.schedule_start == 0  # As a copy, which no run has.


def test_a_second_fit_that_was_killed_goes_on_with_its_schedule(tmp_path):
    data, settings = small_dataset("continuous"), {**QUIET, "checkpoint_interval": 2}

    def begun():
        return small(lr_schedule="cosine").fit(data, 5, **QUIET)

    whole = begun().fit(data, 8, **{**settings, "out": tmp_path / "whole"})
    broken = begun()
    for step, _ in broken.fitter(data, 8, **{**settings, "out": tmp_path / "broken"}):
        if step == 10:
            break
    again = small(lr_schedule="cosine").fit(data, 8, resume=broken.run_dir, **settings)
    assert again.grad_step == 13
    for name, value in whole.impl.state_tensors().items():
        assert torch.equal(value, again.impl.state_tensors()[name]), name


def test_a_run_that_an_earlier_version_began_goes_on_with_its_schedule(tmp_path):
    """Schedules of a second run went on from the share 4/8 of all updates; its checkpoints name no start of them."""
    data, seen = small_dataset("continuous"), []
    algo = small(lr_schedule=shares(seen)).fit(data, 4, **QUIET)
    for step, _ in algo.fitter(data, 4, **{**QUIET, "out": tmp_path, "checkpoint_interval": 1}):
        if step == 6:
            break
    path = algo.run_dir / "checkpoints" / "step_000000006.okt"
    header, tensors = policy_file.read(path, torch.device("cpu"))
    assert header["run"].pop("schedule_start") == 4
    policy_file.write(path, header, tensors)
    seen.clear()
    small(lr_schedule=shares(seen)).fit(data, 4, resume=algo.run_dir, **QUIET)
    assert sorted(set(seen)) == [6 / 8, 7 / 8]


def test_members_of_a_population_begin_their_schedules_anew_with_each_fit():
    data = small_dataset("continuous")

    def member(seed):
        return small(seed=seed, lr_schedule="cosine")

    population = Population([member(0), member(1)])
    alone = member(1)
    for n_steps in (4, 6):
        population.fit(data, n_steps, **QUIET)
        alone.fit(data, n_steps, **QUIET)
    assert len(population.stacks) == 1
    for name, value in alone.impl.state_tensors().items():
        torch.testing.assert_close(
            population[1].impl.state_tensors()[name], value, rtol=1e-4, atol=1e-6, msg=name
        )
